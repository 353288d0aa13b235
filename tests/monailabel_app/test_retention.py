"""Explanations go when they are old or take too much room, the oldest first, and never those that people spoke of."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from otherwise.images.writing import write_image
from support.app_in_process import open_app

MIB = 2**20


class _Disk(NamedTuple):
    total: int
    used: int
    free: int


SIZES = st.lists(st.integers(0, 3 * MIB), max_size=12)


@pytest.fixture(scope="module")
def retention(app_class: Any) -> Any:
    return importlib.import_module("lib.storage.retention")


@given(sizes=SIZES, quota=st.integers(1, 10 * MIB), referred=st.sets(st.integers(0, 11)))
def test_the_oldest_go_until_there_is_room(retention: Any, sizes: list[int], quota: int, referred: set[int]) -> None:
    kept = [retention.StoredExplanation(float(number), str(number), size) for number, size in enumerate(sizes)]
    ids = {str(number) for number in referred}
    limits = retention.RetentionLimits(gib=quota / 2**30, grace=0)

    going = retention.expired(reversed(kept), limits, 1e6, ids)

    assert going == sorted(going)
    assert not {each.id for each in going} & ids
    left = sum(sizes) - sum(each.size for each in going)
    free = [each for each in kept if each.id not in ids]
    assert left <= quota or going == free, "or nothing more may go"
    if going:
        assert left + going[-1].size > quota, "no more than has to"
        assert going == free[: len(going)]


def test_age_counts_by_days_and_a_new_one_may_always_be_fetched(retention: Any) -> None:
    day = retention.DAY
    kept = [retention.StoredExplanation(age * day, str(age), 1) for age in (1, 5, 9)]
    assert [each.id for each in retention.expired(kept, retention.RetentionLimits(days=4.5), 10 * day, set())] == [
        "1",
        "5",
    ]
    assert retention.expired(kept, retention.RetentionLimits(), 1e9, set()) == []
    full = retention.RetentionLimits(gib=1e-9)
    assert [each.id for each in retention.expired(kept, full, 9 * day + 60, set())] == ["1", "5"]
    assert retention.expired(kept, retention.RetentionLimits(days=1), 0, set()) == [], (
        "a clock that was set back removes nothing"
    )


def test_the_server_cleans_up_and_asks_again_what_it_forgot(
    app_class: Any, new_plane: Any, new_explainer: Any, tmp_path: Path
) -> None:
    studies, state = tmp_path / "studies", tmp_path / "state" / "explanations"
    write_image(new_plane(1, 0.1), studies / "dark.nrrd")
    conf = {"state": str(tmp_path / "state"), "device": "cpu", "keep_days": "2"}

    def explain(client: Any, seed: int) -> Any:
        query = {"image": "dark", "params": {"seed": seed}}
        job = client.post("/otherwise/jobs", json=query).json()
        end = time.monotonic() + 20
        while job["state"] != "done" and time.monotonic() < end:
            job = client.get(f"/otherwise/jobs/{job['id']}").json()
        return job

    with open_app(app_class, studies, conf, new_explainer()) as (client, _):
        old, spoken_of, new = (explain(client, seed)["result"]["id"] for seed in (1, 2, 3))
        reply = client.post("/otherwise/annotations", json={"kind": "disagree", "explanation": spoken_of})
        assert reply.status_code == 201, reply.text
        for id in (old, spoken_of):
            os.utime(state / id / "explanation.json", (time.time() - 3 * 86400,) * 2)
        unfinished, begun = state / ".abc.unfinished", state / ".def.begun"
        for folder in (unfinished, begun):
            folder.mkdir()
        os.utime(unfinished, (time.time() - 3 * 86400,) * 2)

    with open_app(app_class, studies, conf, new_explainer()) as (client, app):
        end = time.monotonic() + 20
        while (state / old).exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert sorted(app.host.store.ids()) == sorted([spoken_of, new])
        assert not unfinished.exists()
        assert begun.exists(), "somebody may be writing it"
        assert client.get(f"/otherwise/explanations/{old}").status_code == 404
        again = explain(client, 1)
        assert (again["cached"], again["result"]["id"] == old) == (False, False)
        assert explain(client, 3)["cached"]


def test_a_disk_that_is_nearly_full_refuses_explanations_and_loses_none(
    app_class: Any, new_plane: Any, new_explainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may ask for explanations without end: the disk is not filled, and those of others are not lost."""
    disk = importlib.import_module("lib.storage.disk")
    write_image(new_plane(1, 0.1), tmp_path / "studies" / "dark.nrrd")
    conf = {"state": str(tmp_path / "state"), "device": "cpu"}

    def free(bytes: int) -> None:
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: _Disk(10**12, 10**12 - bytes, bytes))

    def explain(client: Any, seed: int) -> Any:
        job = client.post("/otherwise/jobs", json={"image": "dark", "params": {"seed": seed}}).json()
        end = time.monotonic() + 20
        while job["state"] not in ("done", "failed") and time.monotonic() < end:
            job = client.get(f"/otherwise/jobs/{job['id']}").json()
        return job

    with open_app(app_class, tmp_path / "studies", conf, new_explainer()) as (client, app):
        free(disk.LEAST_FREE)
        first = explain(client, 1)
        assert first["state"] == "done"
        free(disk.LEAST_FREE - 1)
        refused = explain(client, 2)
        assert refused["state"] == "failed"
        assert refused["error"]["error"] == "storage"
        assert "nearly full" in refused["error"]["detail"]
        assert app.host.store.ids() == [first["result"]["id"]]
        free(disk.LEAST_FREE)
        assert explain(client, 2)["state"] == "done"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("keep_days", "-1"),
        ("keep_gib", "nan"),
        ("waiting", "1.5"),
        ("waiting_per_user", "0"),
        ("deadline_seconds", "x"),
    ],
)
def test_limits_that_are_none_are_refused(app_class: Any, key: str, value: str) -> None:
    options = importlib.import_module("lib.settings.options")
    with pytest.raises(options.OptionError, match=key):
        options.Options.read({key: value}, "studies")


def test_files_can_be_fetched_in_parts(running: Any) -> None:
    made = running.infer("explain", image="dark", output="json").json()
    url = f"{running.url}/otherwise/explanations/{made['id']}/files/{made['files']['counterfactual']}"
    whole = requests.get(url, timeout=20)
    assert whole.headers["Accept-Ranges"] == "bytes"
    tag = whole.headers["ETag"]

    part = requests.get(url, headers={"Range": "bytes=10-19", "If-Range": tag}, timeout=20)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    rest = requests.get(url, headers={"Range": "bytes=20-"}, timeout=20)
    assert rest.content == whole.content[20:]
    other = requests.get(url, headers={"Range": "bytes=10-19", "If-Range": '"another"'}, timeout=20)
    assert (other.status_code, other.content) == (200, whole.content), "it has changed meanwhile: the whole of it"
    beyond = requests.get(url, headers={"Range": "bytes=999999999-"}, timeout=20)
    assert beyond.status_code == 416
