"""What makes an answer doubtful stands wherever the explanation is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from pypdf import PdfReader

from otherwise.explain.explanation import Explanation
from otherwise.images.image import Geometry
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.pdf import write_pdf
from otherwise.warning import AnswerWarning
from support.square_models import toy_explanation

CLIPPED = AnswerWarning("clipped", "99.9 % of the pixels lie beyond the classifier's window, 0 to 255.")


@pytest.fixture
def explanation() -> Explanation:
    return replace(toy_explanation(Geometry((12, 12, 4), np.eye(4))), warnings=(CLIPPED,), notes=("Look twice.",))


def test_json_carries_warnings_there_and_back(explanation: Explanation, tmp_path: Path) -> None:
    content = explanation_json(explanation)
    jsonschema.validate(content, schema())
    assert content["warnings"] == [{"code": "clipped", "text": CLIPPED.text}]
    assert read_explanation(write_explanation(explanation, tmp_path / "e")).warnings == (CLIPPED,)


def test_an_explanation_of_an_earlier_version_has_none(explanation: Explanation, tmp_path: Path) -> None:
    folder = write_explanation(explanation, tmp_path / "e")
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    del content["warnings"]
    (folder / "explanation.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_explanation(folder).warnings == ()


def test_page_and_print_show_them(explanation: Explanation, tmp_path: Path) -> None:
    folder = write_explanation(explanation, tmp_path / "e")
    assert "lie beyond the classifier&#39;s window" in (folder / "report.html").read_text(encoding="utf-8")
    text = "".join(page.extract_text() for page in PdfReader(write_pdf(explanation, tmp_path / "r.pdf")).pages)
    assert "beyond the classifier" in " ".join(text.split())
