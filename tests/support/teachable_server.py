"""A server in this process that can be taught, with twelve images of bright squares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.explain.explainer import Explainer
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.app_in_process import open_app
from support.square_models import SquareClassifier, eager_agent, squares

SIZE = (32, 32)
SPICULATED = {"scheme": "SCT", "code": "129742005", "meaning": "Spiculated lesion"}
COUNT = 12


@dataclass
class TeachableServer:
    """The server under test, with the requests that tests repeat."""

    client: TestClient
    app: Any

    def get(self, address: str) -> Any:
        reply = self.client.get(f"/otherwise{address}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def explain(self, image: str) -> Any:
        reply = self.client.post("/infer/explain", params={"image": image, "output": "json"}, data={"params": "{}"})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def say(self, **body: Any) -> Any:
        return self.client.post("/otherwise/annotations", json=body)

    def settle(self) -> None:
        assert self.app.teaching.settled(60)


@contextmanager
def teachable_server(root: Path, app_class: Any, classifier: BlackBox | None = None) -> Iterator[TeachableServer]:
    """Open a server; a later one may continue with the same state.

    Args:
        root: Folder for its images and its state.
        app_class: The app.
        classifier: A black box for its images; None: a ``SquareClassifier``.
    """
    studies = root / "studies"
    if not studies.is_dir():
        affine = np.diag([0.5, 0.5, 1.0, 1.0])
        arrays = squares(SIZE, COUNT, seed=3)
        arrays[-1] = 0.99 * arrays[0]  # the first patient's next image
        for number, array in enumerate(arrays):
            image = Image(array[..., None], Geometry((*SIZE, 1), affine), dimension=2)
            write_image(image, studies / f"image-{number:02d}.nrrd")
    black_box = classifier or SquareClassifier(InputSpec(SIZE))
    hurried = SearchSettings(steps=2, rounds=1, alternatives=0)
    teacher = SquareClassifier(black_box.inputs, version=black_box.version)
    explainer = Explainer(black_box, eager_agent(teacher), hurried)
    conf = {"state": str(root / "state"), "device": "cpu"}
    with open_app(app_class, studies, conf, explainer) as (client, app):
        yield TeachableServer(client, app)
