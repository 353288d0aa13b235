"""The MONAI Label app."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.access.local_secret import LocalSecret
from lib.activelearning.strategy import QuestionStrategy
from lib.dicomweb.datastore import open_archive
from lib.infers.explain import REGION_NAMES
from lib.infers.find import PatchScoreCache
from lib.infers.kinds import TaskParts, make_tasks
from lib.infers.task import HostedTask
from lib.install.opening import open_jobs, open_retention, open_teaching, start
from lib.install.server import install_app
from lib.observability.metrics import Metrics
from lib.runtime.cpu_fallback import CpuFallback, registered_pair_loader
from lib.runtime.host import ExplainerLike
from lib.runtime.memory_pools import keep_few_kernels, share_pools
from lib.runtime.model_switcher import ModelSwitcher
from lib.runtime.shutdown import let_finish
from lib.settings.options import MIB
from lib.storage.image_sources import from_datastore
from lib.storage.served_folder import ServedFolder
from lib.storage.sessions import SafeSessions
from lib.trainers.agent import TrainAgent
from otherwise import __version__
from otherwise.concepts.questions import STRATEGIES
from otherwise.registry.registry import Registry

logger = logging.getLogger(__name__)


class OtherwiseApp(MONAILabelApp):
    """Hosts one classifier and its agent.

    Args:
        app_dir: This folder.
        studies: Folder of images, or address of a DICOMweb server.
        conf: See ``lib/settings/options.py``.
        explainer: Used instead of the one that ``conf`` names.

    Raises:
        OtherwiseError: if an option is wrong or a model cannot be loaded.
    """

    def __init__(
        self, app_dir: str, studies: str, conf: Mapping[str, str], explainer: ExplainerLike | None = None
    ) -> None:
        keep_few_kernels()
        self.options, self.host, self.authenticator, self._hold = start(conf, studies, explainer)
        self.registry = Registry(self.options.state / "models")
        self.host.with_fallback = CpuFallback(
            self.host, registered_pair_loader(self.registry, self.options.trust_code, self.options.precision)
        ).run
        scores = PatchScoreCache(self.host) if self.host.classifier.inputs.patches else None
        parts = TaskParts(self.host, scores, lambda found: self.teaching.with_names(found), self._on_saved)
        tasks = make_tasks(parts)
        self.tasks = {kind: task for kind, task in tasks.items() if task.stock}
        question = f"What would make {self.host.classifier.name} decide otherwise?"
        super().__init__(app_dir, studies, dict(conf), "Otherwise", question, __version__, list(REGION_NAMES))
        self.teaching = open_teaching(self.host, self.options, self.datastore())
        self.jobs = open_jobs(self, tasks, self.host, self.options)
        self.metrics = Metrics(self.host, self.jobs.figures)
        for name, task in tasks.items():
            self.metrics.watch(name, task)
        self.retention = open_retention(self.host, self.options, self.teaching, self.jobs)
        self.switcher = ModelSwitcher(self.host, self.options, self.registry, self.teaching.models_changed)
        install_app(self)

    def on_init_complete(self) -> None:
        """Start the background work; a training process, which makes the app as well, does not call this."""
        super().on_init_complete()
        self.begin()

    def begin(self) -> None:
        """Keep models and names current from now on, and resume the jobs of a former server."""
        share_pools()
        self.switcher.start()
        self.teaching.start()
        self.retention.start()
        self.jobs.resume()

    def init_datastore(self) -> Datastore:
        """Return the datastore of an archive, or of a folder."""
        if self.studies.startswith(("http://", "https://")):
            if settings.MONAI_LABEL_DATASTORE:  # XNAT, DSA
                return super().init_datastore()
            options = self.options
            return open_archive(self.studies, options.dicomweb_search, options.state, options.dicomweb_cache_mib * MIB)
        return ServedFolder(
            self.studies,
            self.options.state,
            watch=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT,
        )

    def _load_sessions(self, load: bool = False) -> SafeSessions | None:
        return SafeSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY) if load else None

    def init_infers(self) -> dict[str, HostedTask]:
        """Return the tasks that MONAI Label's clients may ask for."""
        return self.tasks

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return the trainings; names are learned without being asked."""
        return {"agent": TrainAgent(self.host, self.options, self.registry)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the strategies that choose the next case."""
        return {name: QuestionStrategy(name, lambda: self.teaching) for name in STRATEGIES}

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Answer MONAI Label's own callers, by image id only: it would take any path of the server for an image."""
        source = from_datastore(datastore or self.datastore(), str(request.get("image", "")))
        return super().infer({**request, "image_id": source.id}, datastore)

    def batch_infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Answer for many images; MONAI Label would divide them among GPUs, of which there may be none."""
        return super().batch_infer({**request, "multi_gpu": False, "max_workers": 1}, datastore)

    def _on_saved(self) -> None:
        """Tell teaching and retention of a new explanation."""
        self.teaching.wake()
        self.retention.wake()

    @property
    def address_path(self) -> str:
        """Return the path with the secret, which clients append to the address; empty where people have tokens."""
        return f"/token/{self.authenticator.secret}" if isinstance(self.authenticator, LocalSecret) else ""

    def close(self, grace: float = 0.0) -> None:
        """Stop the threads.

        Args:
            grace: Seconds that the running job has to end; no waiting job starts any more.
        """
        if grace and not let_finish(self.host.worker, grace):
            logger.warning("The running job did not end within %g s; it is stopped.", grace)
        # The worker first: names are learned on it, between two jobs.
        self.jobs.close()
        self.switcher.close()
        self.retention.close()
        self.teaching.close()
        if isinstance(self.datastore(), ServedFolder):
            self.datastore().close()
        self.let_go()

    def let_go(self) -> None:
        """Release the state folder for another server."""
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.release()
