"""What happens before MONAI Label makes the app: options, models, and settings of its own that must be ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial

from filelock import FileLock
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore

from lib.access.choice import authenticator
from lib.dicomweb.datastore import DicomWebDatastore
from lib.host import ExplainerLike, Host, start_host
from lib.infers.task import HostedTask
from lib.jobs.jobs import Jobs
from lib.jobs.order import Desk
from lib.jobs.record import FILE_NAME as JOBS_FILE
from lib.jobs.record import Record
from lib.keeping import Keeping, Limits, References
from lib.operations.logs import configure
from lib.options import Options
from lib.routes.sources import READABLE, from_datastore
from lib.sole import claim
from lib.teaching.mirroring import mirror
from lib.teaching.sources import Images
from lib.teaching.teaching import Teaching
from otherwise.annotations.database import FILE_NAME
from otherwise.annotations.store import AnnotationStore
from otherwise.annotations.vocabulary import load_vocabulary
from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.image import Image


def start(
    conf: Mapping[str, str], studies: str, explainer: ExplainerLike | None = None
) -> tuple[Options, Host, FileLock | None]:
    """Read the options, take the state folder and load the models.

    Returns:
        The options, what is hosted, and the hold on the state folder, which a training of MONAI Label's does not need.

    Raises:
        OtherwiseError: if an option is wrong, the state folder is another server's, or a model cannot be loaded.
    """
    try:
        options = Options.read(conf, studies)
        if _inside_server() or (conf.get("log") and not _is_task()):
            configure(options.log)  # MONAI Label's own logs quote requests
        authenticator(options.access)  # before the models, which take longer
        hold = None if _is_task() else claim(options.state)
        host = start_host(options, explainer)
    except OtherwiseError:
        _end_in_one_line()
        raise
    if not os.environ.get("MONAI_LABEL_SESSION_PATH"):
        settings.MONAI_LABEL_SESSION_PATH = str(options.state / "sessions")
    settings.MONAI_LABEL_DATASTORE_FILE_EXT = [f"*{ending}" for ending in READABLE]
    return options, host, hold


def open_teaching(host: Host, options: Options, datastore: Datastore) -> Teaching:
    """Open what people have said.

    Raises:
        OtherwiseError: if the database or the vocabulary cannot be used.
    """

    def read(id: str) -> Image:
        try:
            return from_datastore(datastore, id).read()
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
        images = Images(lambda: sorted(ids()), read, partial(mirror, datastore))
        return Teaching(host, annotations, vocabulary, images, options.state / "concepts", options.units)
    except OtherwiseError:
        _end_in_one_line()
        raise


def open_jobs(app: MONAILabelApp, tasks: Mapping[str, HostedTask], host: Host, options: Options) -> Jobs:
    """Open the record of jobs.

    Raises:
        StorageError: if it cannot be written.
    """
    try:
        record = Record(options.state / JOBS_FILE)
    except OtherwiseError:
        _end_in_one_line()
        raise
    desk = Desk(app, tasks, host.store)
    return Jobs(desk, host.worker, host.store, record, options.jobs.deadline_seconds)


def open_keeping(host: Host, options: Options, teaching: Teaching, jobs: Jobs) -> Keeping:
    """Make what removes explanations that need not be kept."""
    limits = Limits(options.jobs.keep_days, options.jobs.keep_gib)
    return Keeping(host.store, limits, References(teaching.annotations), jobs.forget_answers)


def _end_in_one_line() -> None:
    # Started by `monailabel start_server`, the app is made while the server starts, and what is raised there is printed
    # with its traceback before the server gives up. Only then, and nothing comes after it.
    if _inside_server():
        sys.tracebacklimit = 0


def _is_task() -> bool:
    # MONAI Label's trainings are processes of their own, whose log is read by whoever watches them.
    return getattr(sys.modules["__main__"].__spec__, "name", "") == "monailabel.interfaces.utils.app"


def _inside_server() -> bool:
    server = sys.modules.get("monailabel.app")
    return server is not None and not hasattr(server.app.state, "otherwise")
