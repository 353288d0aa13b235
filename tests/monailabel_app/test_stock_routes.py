"""MONAI Label's own routes do what they did, behind our checks."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from conftest import Running


def test_an_image_and_its_label_come_and_go(running: Running) -> None:
    url, content = running.url, (running.studies / "dark.nrrd").read_bytes()
    image, label = {"image": "new one"}, {"label": "new one", "tag": "final"}
    sent = requests.put(
        f"{url}/datastore/image", params=image, files={"file": ("Miller^Anna.nrrd", content)}, timeout=20
    )
    assert sent.json() == {"image": "new one"}
    assert requests.get(f"{url}/datastore/image", params=image, timeout=20).content == content
    note = {"params": '{"label_info": [{"name": "mass"}]}'}
    files = {"label": ("label.nrrd", content)}
    saved = requests.put(f"{url}/datastore/label", params={**image, "tag": ""}, data=note, files=files, timeout=20)
    assert saved.json() == {"image": "new one", "label": "new one"}
    assert requests.get(f"{url}/datastore/label", params=label, timeout=20).content == content
    kept = requests.get(f"{url}/datastore/label/info", params=label, timeout=20).json()
    assert kept["label_info"] == [{"name": "mass"}]
    archive = requests.get(f"{url}/datastore/dataset", timeout=20)
    assert archive.content.startswith(b"PK")
    gone = requests.delete(f"{url}/datastore/label", params={"id": "new one", "tag": "final"}, timeout=20)
    assert gone.json() == {}
    assert requests.delete(f"{url}/datastore/image", params={"id": "new one"}, timeout=20).json() == {}
    assert not (running.studies / "new one.nrrd").exists()


def test_two_who_ask_for_the_next_case_in_the_same_second_both_get_one(running: Running) -> None:
    for _ in range(30):
        reply = requests.post(f"{running.url}/activelearning/random", json={"client_id": "me"}, timeout=20)
        assert reply.status_code == 200
        assert reply.json()["id"] in running.app.datastore().list_images()


@pytest.mark.timing
def test_a_batch_that_is_waited_for_holds_nobody_up(running: Running) -> None:
    replies = []

    def ask() -> None:
        address = f"{running.url}/batch/infer/explain"
        replies.append(requests.post(address, params={"run_sync": True}, json={"max_batch_size": 1}, timeout=60))

    with running.explainer.held():
        batch = threading.Thread(target=ask)
        batch.start()
        assert running.explainer.entered.wait(20)
        begun = time.monotonic()
        assert running.get("/datastore/").status_code == 200
        assert running.get("/info/").status_code == 200
        assert time.monotonic() - begun < 5
    batch.join(20)
    assert replies[0].status_code == 200


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA512", "MD5"])
def test_an_image_is_known_by_its_checksum(running: Running, algorithm: str) -> None:
    right = hashlib.new(algorithm, (running.studies / "dark.nrrd").read_bytes()).hexdigest()

    def ask(checksum: str) -> int:
        query = {"image": "dark", "check_sum": checksum}
        return requests.head(f"{running.url}/datastore/image", params=query, timeout=20).status_code

    assert ask(f"{algorithm}:{right}") == 200
    assert ask(f"{algorithm}:{right.upper()}") == 200
    assert ask(f"{algorithm}:{'0' * len(right)}") == 404
    assert ask(right) == (200 if algorithm == "SHA256" else 404), "without a name it is SHA256"
    assert ask(f"CRC:{right}") == 422


@pytest.mark.timing
def test_batches_that_wait_for_the_worker_leave_images_and_uploads_alone(running: Running) -> None:
    address, content = f"{running.url}/batch/infer/explain", (running.studies / "dark.nrrd").read_bytes()

    def batch() -> int:
        query, body = {"run_sync": True}, {"max_batch_size": 1}
        return requests.post(address, params=query, json=body, timeout=60).status_code

    with ThreadPoolExecutor(6) as clients:
        with running.explainer.held():
            batches = [clients.submit(batch) for _ in range(6)]
            assert running.explainer.entered.wait(20)
            begun = time.monotonic()
            assert requests.head(f"{running.url}/datastore/image", params={"image": "dark"}, timeout=20).ok
            assert requests.put(f"{running.url}/session/", files={"files": ("a.nrrd", content)}, timeout=20).ok
            assert requests.post(f"{running.url}/activelearning/random", json={}, timeout=20).ok
            assert time.monotonic() - begun < 5
        assert {each.result(60) for each in batches} <= {200, 429}
