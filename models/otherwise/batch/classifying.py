"""Ask a classifier about many images, in this process or on Ray's workers; the answers are the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from otherwise import __version__
from otherwise.batch.errors import MOST_DEATHS, BatchError, Failure
from otherwise.batch.parcel import Parcel, pack, pack_image, unpack, unpack_image
from otherwise.batch.ray_session import cores, gpu_share, ray_session
from otherwise.blackbox.answers import Answer, classify_images
from otherwise.blackbox.bundle import read_bundle
from otherwise.blackbox.loading import find_bundle, load_classifier
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import OtherwiseError
from otherwise.finding.finder import Finder
from otherwise.images.image import Image
from otherwise.images.kinds import Projection
from otherwise.images.listing import FoundImage
from otherwise.images.projecting import project
from otherwise.images.reading import read_image

CHUNK = 16
"""Number of images in one request to a worker."""
UNREADABLE = Failure("image", "It cannot be read.", "Check the file and its permissions.")
DIED = Failure("worker-died", "Twice a process died at this image or those beside it.", "Classify it by itself.")
Progress = Callable[[int, int], None]
"""Called with how many images are done, and of how many."""


@dataclass(frozen=True)
class ClassifyOrder:
    """What to ask about every image.

    Attributes:
        classifier: Bundle folder, or name of a shipped bundle.
        device: Where PyTorch runs it.
        trust_code: Whether Python that the bundle brings or names may be run.
        slice_index: For a 2-D classifier and volumes: which slice.
        projection: Project volumes along their slices first.
    """

    classifier: str
    device: str = "cpu"
    trust_code: bool = False
    slice_index: int | None = None
    projection: Projection | None = None


def classify_here(
    box: BlackBox, images: Sequence[FoundImage], order: ClassifyOrder, progress: Progress = lambda done, total: None
) -> list[Answer]:
    """Ask about whole images; a classifier of patches is asked for its best find in each."""

    def prepare(image: Image) -> Image:
        return project(image, order.projection) if order.projection is not None else image

    if box.inputs.patches is None:
        return list(classify_images(box, images, slice_index=order.slice_index, prepare=prepare, progress=progress))
    finder, answers = Finder(box), []
    for done, found in enumerate(images, start=1):
        try:
            best = finder.find(prepare(read_image(found)), order.slice_index, most=1)[0].probabilities
            answers.append(Answer(found.id, found.name, max(best, key=lambda name: best[name]), dict(best)))
        except OtherwiseError as error:
            answers.append(Answer(found.id, found.name, "", {}, error=str(error)))
        progress(done, len(images))
    return answers


class RemoteClassifier:
    """Classify on a machine that shares no disk with the caller; failures are returned, not raised."""

    def load(self, bundle: Parcel, order: ClassifyOrder, version: str) -> Failure | None:
        """Load the classifier; a failure where that cannot be done."""
        if failure := Failure.of_version(version):
            return failure
        with TemporaryDirectory() as place:
            folder = Path(place) / order.classifier
            try:
                unpack(bundle, folder)
                self._box = load_classifier(folder, device=order.device, trust_code=order.trust_code)
            except Exception as error:
                return Failure.of(error)
        self._order = order
        return None

    def _answers(self, images: Sequence[FoundImage]) -> list[Any]:
        return classify_here(self._box, images, self._order)

    @staticmethod
    def _refused(images: Sequence[FoundImage], failure: Failure) -> list[Any]:
        return _refused(images, failure)

    def ask(self, images: Sequence[FoundImage], files: Sequence[Parcel]) -> list[Any] | Failure:
        """Ask about some images; one without files is one that could not be read."""
        try:
            with TemporaryDirectory() as place:
                pairs = enumerate(zip(images, files, strict=True))
                here = [unpack_image(parcel, image, Path(place) / str(n)) for n, (image, parcel) in pairs if parcel]
                answers = iter(self._answers(here))
                return [
                    next(answers) if parcel else self._refused([image], UNREADABLE)[0]
                    for image, parcel in zip(images, files, strict=True)
                ]
        except OSError as error:  # of its temporary folder
            return Failure.of_disk(error)
        except OtherwiseError as error:
            return Failure.of(error)


def classify_on_ray(
    images: Sequence[FoundImage],
    order: ClassifyOrder,
    workers: int | None,
    address: str | None,
    progress: Progress = lambda done, total: None,
) -> list[Answer]:
    """Classify images on Ray; see ``on_ray``."""
    return on_ray(images, order, RemoteClassifier, _refused, workers, address, progress)


def on_ray(
    images: Sequence[FoundImage],
    order: ClassifyOrder,
    remote: type[RemoteClassifier],
    refused: Callable[[Sequence[FoundImage], Failure], list[Any]],
    workers: int | None,
    address: str | None,
    progress: Progress,
) -> list[Any]:
    """Ask about images on Ray; see ``ray_executor`` for how the work is shared.

    Args:
        images: Of a listing.
        order: What is asked.
        remote: Who is asked.
        refused: Makes the results of images at which workers died.
        workers: How many processes; None: one for each GPU, or each processor.
        address: Of a cluster; None: this machine.
        progress: Called with how many are done.

    Returns:
        What ``remote`` returns, in the order of ``images``.

    Raises:
        BatchError: if there is no Ray, or the workers cannot begin.
        OtherwiseError: if the bundle cannot be read.
    """
    folder = read_bundle(find_bundle(order.classifier), kind="classifier").folder
    device = "cuda" if order.device.startswith("cuda") else order.device  # each worker sees its own GPU only
    named = replace(order, classifier=folder.resolve().name, device=device)
    starts = range(0, len(images), CHUNK)
    chunks = deque((start, 0) for start in starts)
    answers: dict[int, list[Any]] = {}
    with ray_session(address) as ray:
        there = ray.cluster_resources()
        gpus = 0 if device == "cpu" else int(there.get("GPU", 0))
        count = min(workers or gpus or int(there.get("CPU", 1)), max(1, len(starts)))
        cpus = 1 if address else max(1, cores() // count) if count <= cores() else cores() / count
        actor = ray.remote(remote).options(num_cpus=cpus, num_gpus=gpu_share(count, gpus))
        bundle = ray.put(pack(folder))
        working: dict[Any, tuple[Any, int, int]] = {}  # reference -> worker, first image (-1: it loads), deaths

        def engage() -> None:
            worker = actor.remote()
            working[worker.load.remote(bundle, named, __version__)] = (worker, -1, 0)

        for _ in range(count):
            engage()
        loading_deaths = 0
        while len(answers) < len(starts):
            (done,), _ = ray.wait(list(working), num_returns=1)
            worker, start, deaths = working.pop(done)
            answer = _answer(ray, done)
            if answer is _DEAD:
                with suppress(Exception):
                    ray.kill(worker)
                loading_deaths += start < 0
                if loading_deaths == MOST_DEATHS:
                    raise BatchError("Ray's workers die while they load the classifier.", "Give them more memory.")
                if start >= 0 and deaths + 1 < MOST_DEATHS:
                    chunks.append((start, deaths + 1))
                elif start >= 0:
                    answers[start] = refused(images[start : start + CHUNK], DIED)
                engage()
                continue
            if start < 0 and isinstance(answer, Failure):
                raise BatchError(f"A worker cannot begin: {answer.detail}", answer.hint)
            if start >= 0:
                some = images[start : start + CHUNK]
                answers[start] = refused(some, answer) if isinstance(answer, Failure) else answer
                progress(sum(len(each) for each in answers.values()), len(images))
            if chunks:
                start, deaths = chunks.popleft()
                some = images[start : start + CHUNK]
                working[worker.ask.remote(some, [_packed(image) for image in some])] = (worker, start, deaths)
    return [answer for start in starts for answer in answers[start]]


_DEAD = object()


def _answer(ray: Any, reference: Any) -> Any:
    """Return what a worker answered; ``_DEAD`` if it died before."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return Failure.of(error.cause)
    except ray.exceptions.RayError:
        return _DEAD


def _packed(image: FoundImage) -> Parcel:
    """Return an image's files; none where they cannot be read, which the worker then says of this image."""
    try:
        return pack_image(image)
    except OSError:
        return {}


def _refused(images: Sequence[FoundImage], failure: Failure) -> list[Answer]:
    return [Answer(image.id, image.name, "", {}, error=f"{failure.detail} {failure.hint}") for image in images]
