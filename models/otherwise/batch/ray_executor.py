"""Workers on Ray: several processes of this machine, or of a cluster of machines.

Each worker is an actor that loads the models once, holds its own device and is given one image at a time. The bytes of
bundles and images travel to it, and those of the explanation's folder come back: no disk need be shared, and this
process alone writes the results. Source: https://docs.ray.io/en/latest/ray-core/actors.html.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from otherwise.batch.errors import DIED, MOST_DEATHS, BatchError, Failure
from otherwise.batch.executor import ImageOutcome, Task
from otherwise.batch.parcel import Parcel, pack_image, unpack
from otherwise.batch.ray_session import cores, gpu_share, ray_session
from otherwise.batch.remote_worker import Equipment, RemoteWorker
from otherwise.batch.worker import BatchOrder, LoadedModels
from otherwise.images.atomic import WriteError, atomic_folder


class RayExecutor:
    """An executor that explains images on Ray.

    Args:
        order: What is asked of every image.
        workers: How many; None: one for each GPU, or each processor where there is none or none is wanted.
        address: See ``ray_session``.
    """

    def __init__(self, order: BatchOrder, workers: int | None = None, address: str | None = None) -> None:
        # Ray shows each worker its own GPU only, which is the first one then.
        self._order = replace(order, device="cuda") if order.device.startswith("cuda") else order
        self._workers, self._address = workers, address
        self._closing = ExitStack()
        self._ray: Any = None
        self._actor: Any = None
        self._equipment: Any = None
        self._loading: dict[Any, Any] = {}
        self._actors: list[Any] = []
        self._idle: list[Any] = []
        self._models: LoadedModels | None = None
        self._deaths = 0

    def start(self) -> LoadedModels:
        """Start the workers, and wait until the first of them has loaded its models.

        Raises:
            BatchError: if there is no Ray, no GPU though one is wanted, or workers die as they start.
            OtherwiseError: if the models cannot be loaded.
        """
        equipment = Equipment.of(self._order)
        self._ray = self._closing.enter_context(ray_session(self._address))
        self._equipment = self._ray.put(equipment)
        count, resources = self._resources()
        self._actor = self._ray.remote(RemoteWorker).options(**resources)
        for _ in range(count):
            self._engage()
        while self._models is None:
            self._greet(self._next(self._loading))
        return self._models

    def run(self, tasks: Iterable[Task], progress: Callable[[float], None]) -> Iterator[ImageOutcome]:
        """See ``Executor.run``; an image at which a worker died is given to one other."""
        coming = ((task, 0) for task in tasks)
        again: deque[tuple[Task, int]] = deque()
        working: dict[Any, tuple[Any, Task, int]] = {}
        while True:
            while self._idle and (following := again.popleft() if again else next(coming, None)):
                task, deaths = following
                try:
                    files = pack_image(task.image)
                except OSError as error:
                    yield ImageOutcome(
                        task, Failure("image", f"It cannot be read: {error.strerror}.", "Check the file.")
                    )
                    continue
                actor = self._idle.pop()
                working[actor.explain.remote(task.image, files)] = (actor, task, deaths)
            if self._idle and not working:
                return
            done = self._next([*self._loading, *working])
            if done in self._loading:
                self._greet(done)
                continue
            actor, task, deaths = working.pop(done)
            answer = self._answer(done)
            if answer is not None:
                self._idle.append(actor)
                yield ImageOutcome(task, answer if isinstance(answer, Failure) else _keep(answer, task.out))
                continue
            self._ray.kill(actor)
            self._engage()
            if deaths + 1 < MOST_DEATHS:
                again.append((task, deaths + 1))
            else:
                yield ImageOutcome(task, DIED)

    def close(self) -> None:
        """Let workers and Ray go."""
        for actor in self._actors:
            with suppress(Exception):  # it may be gone, and the cluster too
                self._ray.kill(actor)
        self._actors, self._idle, self._loading, self._equipment = [], [], {}, None
        self._closing.close()

    def _resources(self) -> tuple[int, dict[str, Any]]:
        """Return the number of workers and what each holds; Ray gives each as many threads as processors."""
        there = self._ray.cluster_resources()
        gpus = 0 if self._order.device == "cpu" else int(there.get("GPU", 0))
        if self._order.device == "cuda" and not gpus:
            raise BatchError("Ray has no GPU.", "Use --device cpu.")
        count = self._workers or gpus or int(there.get("CPU", 1))
        # A machine of a cluster may have any number; here, the workers share all.
        cpus = 1 if self._address else cores() / count if count > cores() else cores() // count
        return count, {"num_cpus": cpus, "num_gpus": gpu_share(count, gpus)}

    def _engage(self) -> None:
        actor = self._actor.remote()
        self._actors.append(actor)
        self._loading[actor.load.remote(self._equipment)] = actor

    def _greet(self, loaded: Any) -> None:
        """Take in a worker that has loaded its models; engage another one where it died."""
        actor = self._loading.pop(loaded)
        answer = self._answer(loaded)
        if answer is None:
            self._deaths += 1
            if self._deaths == MOST_DEATHS:
                raise BatchError(
                    "Ray's workers die while they load the models.",
                    "Install Otherwise on every machine, and give each worker enough memory.",
                )
            self._engage()
            return
        if isinstance(answer, Failure):
            raise BatchError(f"A worker cannot begin: {answer.detail}", answer.hint)
        if self._models not in (None, answer):
            raise BatchError("The workers do not hold the same models.", "Install the same on every machine.")
        self._deaths, self._models = 0, answer
        self._idle.append(actor)

    def _next(self, awaited: Iterable[Any]) -> Any:
        done, _ = self._ray.wait(list(awaited), num_returns=1)
        return done[0]

    def _answer(self, reference: Any) -> Any:
        """Return the answer of a worker; None if it died before."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            return Failure.of(error.cause)
        except self._ray.exceptions.RayError:
            return None


def _keep(explanation: Parcel, out: Path) -> Failure | None:
    try:
        with atomic_folder(out) as folder:
            unpack(explanation, folder)
    except WriteError as error:
        return Failure.of(error)
    return None
