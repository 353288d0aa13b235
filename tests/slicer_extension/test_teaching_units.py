"""The units that answer to a region, in the real panel."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from support.fake_teaching_server import FakeTeachingServer
from support.panel_session import PanelSession
from support.teach_section import rows


def test_the_units_that_answer_come_with_their_votes_and_pictures(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.regionTable.selectRow(0)
    assert teaching_app.ui.thresholdSpin.text() == "limit of each unit"
    teaching_app.press("queryButton")
    teaching_app.until(lambda: teaching_app.ui.unitTable.rowCount() == 3)
    assert teaching_server.asked == [{"explanation": "one", "region": {"label": 1}}]
    assert rows(teaching_app.ui.unitTable) == [
        ["layer3/17", "0.62", "Spiculated lesion", "yes"],
        ["layer3/4", "0.35", "Mammographic breast mass", ""],
        ["layer3/40", "0.27", "not named", ""],
    ]
    votes = teaching_app.ui.unitTable.item(0, 0).toolTip()
    assert votes == "ann: Spiculated lesion, overlap 0.41\nbob: Burned-in marker, overlap 0.22, not sure"
    assert "3 units answer" in teaching_app.ui.answerLabel.text()
    assert "Mammographic breast mass (83%)" in teaching_app.ui.answerLabel.text()
    teaching_app.until(lambda: not teaching_app.ui.patch3.isHidden())
    assert "layer3/17" in teaching_app.ui.patchTitle.text()
    assert teaching_app.ui.patch0.pixmap().width() == 80
    teaching_app.until(lambda: not teaching_app.ui.unitMap.isHidden())
    assert teaching_server.marked == [["layer3/17", "layer3/4", "layer3/40"]]
    assert teaching_app.widget.minimumSizeHint().width() <= 400, "a map is no reason to widen Slicer's module panel"
    teaching_app.ui.unitTable.selectRow(2)
    teaching_app.until(lambda: "layer3/40" in teaching_app.ui.patchTitle.text())
    teaching_app.ui.thresholdSpin.setValue(0.5)
    teaching_app.press("queryButton")
    teaching_app.until(lambda: teaching_app.ui.unitTable.rowCount() == 1)
    assert teaching_server.asked[-1]["threshold"] == 0.5
    assert "1 units overlap the region by more than 0.50" in teaching_app.ui.answerLabel.text()
    teaching_app.ui.regionTable.selectRow(1)
    assert teaching_app.ui.unitTable.rowCount() == 0, "the answer was about another region"
    assert teaching_app.ui.patchTitle.isHidden()
    assert teaching_app.ui.unitMap.isHidden()


def test_the_selected_unit_is_outlined_on_the_image_asked_about(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.regionTable.selectRow(0)
    assert teaching_app.ui.unitContour.isHidden()
    teaching_app.press("queryButton")
    teaching_app.until(lambda: not teaching_app.ui.unitContour.isHidden())
    assert teaching_server.outlined == [("layer3/17", "one", "1")]
    assert teaching_app.ui.unitContour.pixmap().width() == 300
    assert teaching_app.widget.minimumSizeHint().width() <= 400
    teaching_app.ui.unitTable.selectRow(2)
    teaching_app.until(lambda: len(teaching_server.outlined) == 2 and not teaching_app.ui.unitContour.isHidden())
    assert teaching_server.outlined[-1] == ("layer3/40", "one", "1")
    teaching_app.ui.regionTable.selectRow(1)
    assert teaching_app.ui.unitContour.isHidden(), "it was of another region"
