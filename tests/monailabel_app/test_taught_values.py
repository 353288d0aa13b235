"""Names that are taught about a model of a value: their effects are in its unit, on every page and in every table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.protocol import InputSpec
from support.teachable_server import SIZE, SPICULATED, TeachableServer, teachable_server
from support.value_models import SquareValue, save

RISK = OutputKind("value", unit="%", range=(0, 100), reference=50, spread=10, tolerance=2, name="risk")


@pytest.fixture
def server(tmp_path: Path, app_class: Any) -> Iterator[TeachableServer]:
    module = save(SquareValue(), tmp_path / "m.ts", SIZE)
    import_classifier(module, tmp_path / "bundle", inputs=InputSpec(SIZE), answer=RISK)
    with teachable_server(tmp_path, app_class, load_classifier(tmp_path / "bundle")) as running:
        yield running


def test_a_named_region_is_reported_with_its_effect_in_percentage_points(server: TeachableServer) -> None:
    explained = server.explain("image-00")
    id, value = explained["id"], explained["value"]
    reply = server.say(kind="name", explanation=id, region={"label": 1}, author="Ada", term=SPICULATED)
    assert reply.status_code == 201, reply.text
    server.settle()

    region = server.get(f"/explanations/{id}")["regions"][0]
    assert region["concept"]["name"] == "Spiculated lesion"
    page = server.client.get(f"/otherwise/explanations/{id}/report.html").text
    assert "percentage points" in page
    assert "Spiculated lesion" in page

    (row,) = list(csv.DictReader(io.StringIO(server.client.get("/otherwise/concepts/table.csv").text)))
    assert (row["meaning"], row["unit"]) == ("Spiculated lesion", "%")
    assert float(row["value"]) == pytest.approx(value["original"])
    assert float(row["value_after"]) == pytest.approx(value["counterfactual"])
    assert row["answer"].endswith(" %")
    assert float(row["effect"]) == pytest.approx(region["effect"], abs=1e-3)
    assert 0 < float(row["effect"]) < 100
    change = abs(value["counterfactual"] - value["original"])
    assert float(row["effect"]) == pytest.approx(change, rel=0.5), "in points, and not in log-odds"
