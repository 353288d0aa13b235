"""Open the parts of the app: settings, state folder, models, teaching, jobs and retention."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial

from filelock import FileLock
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore

from lib.access.authentication import Authenticator
from lib.access.selection import choose_authenticator
from lib.dicomweb.datastore import DicomWebDatastore
from lib.infers.task import HostedTask
from lib.jobs.service import JobService
from lib.jobs.spec import JobResolver
from lib.jobs.store import FILE_NAME as JOBS_FILE
from lib.jobs.store import JobStore
from lib.observability.logs import configure
from lib.runtime.host import ExplainerLike, Host, start_host
from lib.settings.options import Options
from lib.storage.image_sources import READABLE, from_datastore
from lib.storage.retention import References, Retention, RetentionLimits
from lib.storage.state_lock import lock_state_folder
from lib.teaching.label_sync import mirror
from lib.teaching.service import TeachingService
from lib.teaching.study_images import StudyImages
from otherwise.annotations.database import FILE_NAME
from otherwise.annotations.store import AnnotationStore
from otherwise.annotations.vocabulary import load_vocabulary
from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.image import Image

BACKGROUND = " background"
"""Owner of the memory that background reading takes; no name of a user begins with a space."""
BACKGROUND_PATIENCE = 600.0


def start(
    conf: Mapping[str, str], studies: str, explainer: ExplainerLike | None = None
) -> tuple[Options, Host, Authenticator, FileLock | None]:
    """Read the options, take the state folder and load the models.

    Returns:
        The options, what is hosted, what knows the users, and the lock on the state folder, which a training of MONAI
        Label's does not need.

    Raises:
        OtherwiseError: if an option is wrong, the state folder is another server's, or a model cannot be loaded.
    """
    try:
        options = Options.read(conf, studies)
        if _inside_server() or (conf.get("log") and not _is_task()):
            configure(options.log)  # MONAI Label's own logs quote requests
        hold = None if _is_task() else lock_state_folder(options.state)
        authenticator = choose_authenticator(options.tokens, options.state)  # before the models, which take longer
        host = start_host(options, explainer)
    except OtherwiseError:
        _end_in_one_line()
        raise
    if not os.environ.get("MONAI_LABEL_SESSION_PATH"):
        settings.MONAI_LABEL_SESSION_PATH = str(options.state / "sessions")
    settings.MONAI_LABEL_DATASTORE_FILE_EXT = [f"*{ending}" for ending in READABLE]
    return options, host, authenticator, hold


def open_teaching(host: Host, options: Options, datastore: Datastore) -> TeachingService:
    """Open the annotations.

    Raises:
        OtherwiseError: if the database or the vocabulary cannot be used.
    """

    def read(id: str) -> Image:
        try:
            return from_datastore(datastore, id).read(host.reading, BACKGROUND, BACKGROUND_PATIENCE)
        except OtherwiseError:
            raise
        except Exception as error:  # of an archive that is away, or a series that cannot be converted
            raise ImageError(
                f"Image {id} cannot be fetched ({type(error).__name__}).", "Look at the archive."
            ) from error

    try:
        vocabulary = load_vocabulary(options.vocabulary)
        annotations = AnnotationStore(options.database or options.state / FILE_NAME)
        ids = datastore.at_hand if isinstance(datastore, DicomWebDatastore) else datastore.list_images
        images = StudyImages(lambda: sorted(ids()), read, partial(mirror, datastore))
        return TeachingService(host, annotations, vocabulary, images, options.state / "concepts", options.units)
    except OtherwiseError:
        _end_in_one_line()
        raise


def open_jobs(app: MONAILabelApp, tasks: Mapping[str, HostedTask], host: Host, options: Options) -> JobService:
    """Open the record of jobs.

    Raises:
        StorageError: if it cannot be written.
    """
    try:
        record = JobStore(options.state / JOBS_FILE)
    except OtherwiseError:
        _end_in_one_line()
        raise
    resolver = JobResolver(app, tasks)
    return JobService(resolver, host.worker, host.store, record, options.deadline_seconds)


def open_retention(host: Host, options: Options, teaching: TeachingService, jobs: JobService) -> Retention:
    """Return the retention of explanations."""

    def forget(id: str) -> None:
        host.owners.remove(id)
        jobs.forget_answers(id)

    limits = RetentionLimits(options.keep_days, options.keep_gib)
    return Retention(host.store, limits, References(teaching.annotations), forget)


def _end_in_one_line() -> None:
    # `monailabel start_server` makes the app while the server starts, prints errors with their traceback and ends.
    # Only in this case, in which nothing follows, tracebacks are cut.
    if _inside_server():
        sys.tracebacklimit = 0


def _is_task() -> bool:
    # MONAI Label's trainings are processes of their own, whose log is shown by GET /train/.
    return getattr(sys.modules["__main__"].__spec__, "name", "") == "monailabel.interfaces.utils.app"


def _inside_server() -> bool:
    server = sys.modules.get("monailabel.app")
    return server is not None and not hasattr(server.app.state, "otherwise")
