"""``/train/agent``: go on training the agent on the images of the studies, and use it if it is no worse."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from lib.runtime.host import Host
from lib.runtime.model_switcher import load_version
from lib.settings.options import Options
from lib.settings.params import ParamsError
from otherwise.agent.bundle import Agent, load_agent
from otherwise.agent.training.finishing import VALIDATION_SHARE
from otherwise.agent.training.run_options import TrainingSession
from otherwise.agent.training.session import run_session, training_images
from otherwise.agent.training.trainer import TrainingSettings
from otherwise.agent.training.validation import Figures, validate
from otherwise.blackbox.view import show
from otherwise.errors import AgentError, OtherwiseError
from otherwise.explain.explainer import Explainer
from otherwise.finding.patches import patches_to_learn_from
from otherwise.images.reading import read_image
from otherwise.registry.registry import AGENT, Model, PairVersion, Registry, lasting_reference, now, pair_id

logger = logging.getLogger(__name__)

STOCK = ("model", "name", "gpus", "local_rank", "bundle_path", "device", "client_id", "train_random_seed")
"""Keys of requests that MONAI Label and its clients add."""
WORSE = 0.02
"""An agent whose held-out validity or agreement has fallen by more than this is registered, but not used."""
SUFFICIENT = 60
"""On fewer held-out images chance alone moves a share by more than ``WORSE``: there neither may fall at all."""
LEAST_IMAGES = 32
"""Images that a training needs."""
TRIED = 4
"""Images that are read before a training is accepted."""
LONGEST = 7 * 24 * 60.0


class TrainAgent(TrainTask):
    """Fine-tunes the agent that is in use.

    Args:
        host: Tells which pair is in use.
        options: What the server was started with.
        registry: Takes the new version.
    """

    def __init__(self, host: Host, options: Options, registry: Registry) -> None:
        super().__init__("Go on training the agent on the images of the studies; no label is read")
        self.host, self.options, self.registry = host, options, registry

    def config(self) -> dict[str, Any]:
        """Return the options of a training; stock clients show them."""
        return {"minutes": 30.0, "learning_rate": 0.0003}

    def check(self, datastore: Datastore) -> None:
        """Refuse at once what a training could not use.

        Raises:
            ParamsError: if there are too few images, or none of those that are tried suits the classifier.
        """
        ids = sorted(datastore.list_images())
        inputs = self.host.classifier.inputs
        if len(ids) < LEAST_IMAGES and not inputs.patches:
            raise ParamsError(f"The studies hold {len(ids)} images.", f"A training needs {LEAST_IMAGES}.")
        problem = ""
        for id in ids[:: -(-len(ids) // TRIED)]:
            try:
                show(read_image(Path(datastore.get_image_uri(id))), inputs)
                return
            except OtherwiseError as error:
                problem = problem or error.detail
        raise ParamsError(
            f"The agent cannot learn from these images: {problem}"[:200], "Add images as the classifier takes them."
        )

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, compare with the agent in use on images that neither was trained on here, keep, and maybe activate.

        Raises:
            OtherwiseError: if the request, the images or the disk do not allow it.
        """
        minutes, rate = _numbers(request, self.config())
        explainer = self._pair()
        classifier, parent = explainer.classifier, explainer.agent
        images = tuple(Path(datastore.get_image_uri(id)) for id in sorted(datastore.list_images()))
        draft = self.options.state / "training" / AGENT
        draft.parent.mkdir(parents=True, exist_ok=True)
        session = TrainingSession(
            classifier=classifier,
            images=images,
            out=draft,
            architecture=parent.model.architecture,
            settings=TrainingSettings(minutes=minutes, learning_rate=rate, student_noise=parent.student_noise),
            epochs=None,
            device=self.host.device,
            resume=False,
            replace=True,
            threads=None,
            name=parent.name,
            views=patches_to_learn_from(classifier, np.random.default_rng(0)) if classifier.inputs.patches else None,
            command=f"/train/agent with minutes {minutes:g}, learning_rate {rate:g}",
            start=parent,
        )
        run_session(session)
        made = load_agent(draft, device=self.host.device, precision=self.options.precision)
        data = training_images(session)
        before = validate(parent, classifier, data.held_out, seconds=VALIDATION_SHARE * 60 * minutes)
        after = validate(made, classifier, data.held_out, most=before.searched)
        worse = is_worse(before, after)
        change = (
            f"validity {before.validity:.3f} before, {after.validity:.3f} after, "
            f"agreement {before.agreement:.3f} before, {after.agreement:.3f} after, "
            f"on {after.images} held-out images"
        )
        note = f"Trained on the studies: {change}{'; worse, so it is kept but not used' if worse else ''}."
        version = self._keep(explainer, made, draft, len(data.train), before, after, note)
        shutil.rmtree(session.folder, ignore_errors=True)
        if not worse:
            self.registry.activate(version.id, version.note)
        logger.info("Version %s: %s", version.id, version.note)
        return {"version": version.id, "active": not worse, "before": version.before, "after": version.after}

    def _pair(self) -> Explainer:
        """Return the pair in use; this process has loaded the pair that the server was started with."""
        chosen = self.registry.active().id
        pair = (
            load_version(
                self.registry,
                self.registry.get(chosen),
                self.host.device,
                self.options.trust_code,
                self.options.precision,
            )
            if chosen
            else self.host.explainer
        )
        if not isinstance(pair, Explainer):
            raise AgentError("The agent of this server cannot be trained.", "Host one of otherwise train agent.")
        return pair

    def _keep(
        self, pair: Explainer, made: Agent, bundle: Path, images: int, before: Figures, after: Figures, note: str
    ) -> PairVersion:
        classifier, parent = pair.classifier, pair.agent
        former = pair_id(classifier.version, parent.version)
        reference = lasting_reference(self.options.classifier)
        if former in {version.id for version in self.registry.all()}:
            reference = self.registry.get(former).classifier.reference
        return self.registry.add(
            PairVersion(
                id=pair_id(classifier.version, made.version),
                created=now(),
                classifier=Model(classifier.name, classifier.version, reference),
                agent=Model(made.name, made.version, AGENT),
                parent=former,
                images=images,
                before=before.to_dict(),
                after=after.to_dict(),
                note=note,
            ),
            bundle,
        )


def is_worse(before: Figures, after: Figures) -> bool:
    """Return whether an agent is worse than its parent, as far as the held-out images can tell."""
    falls = (
        (after.searched or after.images, before.validity - after.validity),
        (after.images, before.agreement - after.agreement),
    )
    return any(fall > (WORSE if images >= SUFFICIENT else 0.0) + 1e-9 for images, fall in falls)


def _numbers(request: Mapping[str, Any], known: Mapping[str, float]) -> tuple[float, float]:
    unknown = sorted(key for key in request if key not in known and key not in STOCK)
    if unknown:
        raise ParamsError(f"Unknown: {', '.join(unknown)[:100]}.", f"Allowed are {', '.join(known)}.")
    values = []
    for key, limit in (("minutes", LONGEST), ("learning_rate", 0.1)):
        value = request.get(key, known[key])
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limit:
            raise ParamsError(f"{key} {str(value)[:32]!r} is not above 0 and at most {limit:g}.", "Correct it.")
        values.append(float(value))
    return values[0], values[1]
