"""The Models section of the real panel, before a server that keeps versions of its models and trains new ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from support.fake_teaching_server import Models, School, version, version_id
from support.panel_session import Desk

if TYPE_CHECKING:
    from conftest import BadServer

LOG = "[2030-01-31 12:00:07,120] [411] [MainThread] [INFO] (otherwise.agent.training.trainer:98) - {line}"


@pytest.fixture
def server(bad_server: BadServer) -> Models:
    school = School()
    bad_server.on("/", school)
    return school.models


@pytest.fixture
def seated(desk: Desk, server: Models, bad_server: BadServer) -> Desk:
    """Connected to a server with two versions, of which the second is in use."""
    server.versions.append(version(1, 0.912, 0.934))
    server.choose(version_id(1))
    return sit(desk, bad_server)


def sit(desk: Desk, bad_server: BadServer) -> Desk:
    desk.answers["real"] = True
    desk.ui.addressEdit.setText(bad_server.url)
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy and desk.ui.studyBox.count() == 1 and desk.panel.models.models.told)
    return desk


def rows(desk: Desk) -> list[list[str]]:
    table = desk.ui.modelTable
    return [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount())]


def first_column(desk: Desk) -> list[str]:
    return [row[0] for row in rows(desk)]


def short(number: int) -> str:
    return version_id(number)[:8]


def message(desk: Desk) -> str:
    return str(desk.ui.modelsMessage.text())


def begin(desk: Desk, server: Models) -> None:
    """Press Train, and wait until it runs."""
    desk.press("trainButton")
    desk.until(lambda: server.running and not desk.ui.trainingBar.isHidden())


def test_without_a_server_nothing_can_be_chosen_and_it_says_why(desk: Desk) -> None:
    assert desk.ui.modelsStateLabel.text() == "Not connected. Connect to a server first."
    for button in ("useModelButton", "rollBackButton", "trainButton", "stopTrainingButton"):
        assert not getattr(desk.ui, button).isEnabled()
        assert "Connect" in getattr(desk.ui, button).toolTip()
    assert desk.ui.trainingBar.isHidden()


def test_a_server_without_versions_is_told_apart(desk: Desk) -> None:
    desk.connect()
    desk.until(lambda: "tells nothing of its models" in desk.ui.modelsStateLabel.text())
    assert message(desk) == ""
    assert desk.ui.classifyButton.isEnabled()


def test_versions_are_listed_the_newest_first(seated: Desk) -> None:
    note = "Trained on the studies: validity 0.912 before, 0.934 after, on 40 held-out images."
    assert rows(seated) == [
        [f"{short(1)} (in use)", "2030-01-31 12:01", "0.912 → 0.934", "mammogram_agent (00000001)", note],
        [short(0), "2030-01-31 12:00", "–", "mammogram_agent (538c7c38)", "The server was started with it."],
    ]
    assert seated.ui.modelsStateLabel.text() == f"Version {short(1)} is in use. {note}"
    tip = seated.ui.modelTable.item(0, 0).toolTip().split("\n")
    assert tip[:2] == [f"Version {version_id(1)}", "Classifier: mammogram_classifier (9a1505c5)"]
    assert tip[3:5] == [f"Trained on from {short(0)}", "On 160 images"]
    assert seated.ui.minutesSpin.value() == 30
    assert seated.ui.modelNote.isHidden()
    seated.ui.modelTable.selectRow(0)
    assert seated.ui.modelNote.text() == note


def test_another_version_is_put_to_use_once_somebody_has_said_yes(seated: Desk, server: Models) -> None:
    assert "Select" in seated.ui.useModelButton.toolTip()
    seated.ui.modelTable.selectRow(0)
    assert "in use" in seated.ui.useModelButton.toolTip()
    seated.ui.modelTable.selectRow(1)
    seated.answers["confirm"] = False
    seated.press("useModelButton")
    assert "for everybody" in seated.questions[-1]
    assert "mammogram_agent (538c7c38)" in seated.questions[-1]
    assert server.bodies == []
    seated.answers["confirm"] = True
    seated.press("useModelButton")
    assert not seated.ui.rollBackButton.isEnabled(), "the first answer is waited for"
    seated.until(lambda: message(seated) == f"Version {short(0)} is in use now.")
    assert first_column(seated) == [short(1), f"{short(0)} (in use)"]
    assert seated.panel.models._selected_id() == version_id(0), "what was selected stays so"
    seated.until(lambda: "538c7c38" in seated.ui.serverLabel.text())


def test_rolling_back_uses_what_was_in_use_before(seated: Desk, server: Models) -> None:
    seated.answers["confirm"] = False
    seated.press("rollBackButton")
    assert server.bodies == []
    seated.answers["confirm"] = True
    seated.press("rollBackButton")
    seated.until(lambda: message(seated) == f"Version {short(0)} is in use now.")
    seated.press("rollBackButton")
    seated.until(lambda: message(seated) == "Nothing else was in use before. Activate a version.")
    assert seated.ui.rollBackButton.isEnabled()


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (
            403,
            {"error": "forbidden", "detail": 'Role "monailabel-admin" is required.', "hint": "Ask the administrator."},
            'Role "monailabel-admin" is required. Ask the administrator.',
        ),
        (401, {"detail": "Could not validate credentials"}, "Could not validate credentials"),
    ],
)
@pytest.mark.parametrize("button", ["rollBackButton", "trainButton"])
def test_who_may_not_is_told_in_the_servers_words(
    seated: Desk, server: Models, status: int, content: dict, told: str, button: str
) -> None:
    server.forbidden = status, content
    seated.press(button)
    seated.until(lambda: message(seated) == f"{told} Log in as somebody who may do that.")
    assert getattr(seated.ui, button).isEnabled()
    assert seated.ui.trainingBar.isHidden()
    assert server.used == version_id(1)


def test_a_training_is_followed_until_its_version_is_in_use(seated: Desk, server: Models) -> None:
    models, began = seated.panel.models.models, time.monotonic()
    seated.ui.minutesSpin.setValue(10)
    begin(seated, server)
    assert server.bodies == [{"minutes": 10}]
    assert seated.ui.trainingLabel.text() == "The training begins …"
    assert "runs already" in seated.ui.trainButton.toolTip()
    assert not seated.ui.minutesSpin.isEnabled()
    server.say(LOG.format(line="step 120, loss 0.031"))
    models.now = lambda: began + 5 * 60
    seated.until(lambda: seated.ui.trainingLabel.text() == "step 120, loss 0.031")
    assert seated.ui.trainingBar.maximum() == 1000
    assert 490 <= seated.ui.trainingBar.value() <= 510
    models.now = lambda: began + 11 * 60
    seated.until(lambda: seated.ui.trainingLabel.text().startswith("The time is up; the server finishes"))
    assert seated.ui.trainingBar.maximum() == 0, "nobody knows how long measuring takes"
    server.say("validate                ━━━━━━━━━╸━━━━━━━━ 40% 0:01:10")
    seated.until(lambda: seated.ui.trainingLabel.text().endswith("what came of it. validate 40% 0:01:10"))
    server.lag = 4
    server.make(0.934, 0.951)
    seated.until(lambda: "takes over" in seated.ui.trainingLabel.text())
    assert f"changes over to {short(2)}" in seated.ui.modelsStateLabel.text()
    assert not seated.ui.stopTrainingButton.isEnabled()
    note = "Trained on the studies: validity 0.934 before, 0.951 after, on 40 held-out images."
    seated.until(lambda: message(seated) == f"The training is done, and its version {short(2)} is in use. {note}")
    assert first_column(seated) == [f"{short(2)} (in use)", short(1), short(0)]
    assert seated.ui.trainingBar.isHidden()
    assert seated.ui.trainButton.isEnabled()
    seated.until(lambda: "00000002" in seated.ui.serverLabel.text())


def test_a_worse_version_is_kept_and_not_used_and_says_so(seated: Desk, server: Models) -> None:
    begin(seated, server)
    server.make(0.934, 0.8)
    seated.until(lambda: message(seated).startswith(f"The training is done. Its version {short(2)} is kept, but not"))
    assert message(seated).endswith("worse, so it is kept but not used.")
    assert first_column(seated) == [short(2), f"{short(1)} (in use)", short(0)]


def test_a_version_that_cannot_be_loaded_is_told_with_its_reason(seated: Desk, server: Models) -> None:
    begin(seated, server)
    server.problem = "Its bundle is damaged."
    server.make(0.934, 0.94)
    seated.until(lambda: "cannot use it: Its bundle is damaged." in message(seated))
    assert "⚠" in seated.ui.modelsStateLabel.text()


def test_a_failed_training_shows_its_last_line(seated: Desk, server: Models) -> None:
    begin(seated, server)
    server.say("otherwise.errors.AgentError: Only 4 of 6 images can be used. Give at least 32.")
    server.end("ERROR")
    seated.until(lambda: "failed: Only 4 of 6 images can be used. Give at least 32." in message(seated))
    assert seated.ui.trainButton.isEnabled()


def test_a_training_is_stopped_once_somebody_has_said_yes(seated: Desk, server: Models) -> None:
    begin(seated, server)
    seated.answers["confirm"] = False
    seated.press("stopTrainingButton")
    assert server.running
    seated.answers["confirm"] = True
    seated.press("stopTrainingButton")
    seated.until(lambda: message(seated) == "The training was stopped. Nothing has changed.")
    assert server.trainings[-1]["status"] == "STOPPED"
    assert seated.ui.trainButton.isEnabled()
    assert not seated.ui.stopTrainingButton.isEnabled()


def test_a_training_that_waits_for_its_turn_cannot_be_stopped_yet(seated: Desk, server: Models) -> None:
    begin(seated, server)
    server.trainings[-1]["status"] = "SUBMITTED"
    seated.until(lambda: seated.ui.trainingLabel.text() == "Waiting to begin …")
    seated.press("stopTrainingButton")
    seated.until(lambda: message(seated).startswith("The server has nothing to stop."))
    assert seated.ui.stopTrainingButton.isEnabled()


def test_nothing_of_a_server_stays_when_the_next_one_does_not_answer(seated: Desk, server: Models) -> None:
    begin(seated, server)
    seated.ui.addressEdit.setText("127.0.0.1:9")
    seated.press("connectButton")
    seated.until(lambda: not seated.logic.busy)
    assert seated.ui.modelsStateLabel.text().startswith("Not connected.")
    assert seated.ui.trainingBar.isHidden()
    assert not seated.ui.stopTrainingButton.isEnabled()


def test_one_training_at_a_time(seated: Desk, server: Models) -> None:
    server.begin({"minutes": 5})
    seated.press("trainButton")
    seated.until(lambda: message(seated) == "A training runs already. Wait for its end, or stop it.")
    seated.until(lambda: not seated.ui.trainingBar.isHidden())
    assert len(server.trainings) == 1


def test_a_training_that_somebody_else_began_is_followed_too(desk: Desk, server: Models, bad_server: BadServer) -> None:
    server.begin({"minutes": 5})
    server.say("step 3")
    sit(desk, bad_server)
    desk.until(lambda: desk.ui.trainingLabel.text() == "step 3")
    assert desk.ui.trainingBar.maximum() == 0, "nobody here knows when it began"
    server.make(0.9, 0.9)
    desk.until(lambda: f"its version {short(1)} is in use" in message(desk))


def test_a_server_that_was_started_anew_has_lost_its_training(seated: Desk, server: Models) -> None:
    begin(seated, server)
    server.trainings.clear()
    seated.until(lambda: "knows nothing of the training any more" in message(seated))
    assert seated.ui.trainButton.isEnabled()


def test_a_server_that_falls_silent_is_asked_again(seated: Desk, server: Models, bad_server: BadServer) -> None:
    school: Any = bad_server.answers["/"]
    begin(seated, server)
    school.down = True
    seated.until(lambda: "does not answer" in seated.ui.modelsStateLabel.text())
    assert not seated.ui.trainingBar.isHidden()
    server.make(0.934, 0.94)
    school.down = False
    seated.until(lambda: f"its version {short(2)} is in use" in message(seated))


def test_what_others_choose_is_seen(seated: Desk, server: Models) -> None:
    server.choose(version_id(0))
    seated.until(lambda: first_column(seated) == [short(1), f"{short(0)} (in use)"])
    assert message(seated) == ""


def test_the_main_thread_waits_for_no_answer(seated: Desk, server: Models) -> None:
    server.slow.clear()
    seated.press("trainButton")
    longest, last = 0.0, time.perf_counter()
    end = last + 0.7
    while time.perf_counter() < end:
        seated.application.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.5
    assert seated.ui.trainingLabel.text() == "Asking the server …"
    server.slow.set()
    seated.until(lambda: server.running and not seated.ui.trainingBar.isHidden())


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/otherwise/models", {"active": "a", "versions": [{"id": 3}]}),
        ("/otherwise/models", {"versions": []}),
        ("/train/", {"id": "one", "status": "HUNGRY"}),
    ],
)
def test_an_answer_without_sense_changes_nothing(
    desk: Desk, server: Models, bad_server: BadServer, path: str, content: dict
) -> None:
    bad_server.on(path, lambda visit: visit.json(content))
    desk.answers["real"] = True
    desk.ui.addressEdit.setText(bad_server.url)
    desk.press("connectButton")
    desk.until(lambda: "did not send" in message(desk))
    assert not desk.ui.trainButton.isEnabled()


def test_a_real_server_tells_its_versions(desk: Desk, served: Any) -> None:
    desk.answers["real"] = True
    desk.ui.addressEdit.setText(served.url)
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy and desk.ui.modelTable.rowCount() == 1, 60)
    ((first, _made, validity, agent, note),) = rows(desk)
    assert (first[8:], validity, note) == (" (in use)", "–", "The server was started with it.")
    assert agent.startswith("mammogram_agent (")
    assert "No training" in desk.ui.stopTrainingButton.toolTip()
    desk.press("rollBackButton")
    desk.until(lambda: message(desk).startswith("There is no earlier version"))
    desk.ui.modelTable.selectRow(0)
    assert "in use" in desk.ui.useModelButton.toolTip()


@pytest.mark.slow
def test_a_real_server_begins_a_training_and_says_that_it_has_too_few_images(desk: Desk, served: Any) -> None:
    desk.answers["real"] = True
    desk.ui.addressEdit.setText(served.url)
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy and desk.ui.modelTable.rowCount() == 1, 60)
    desk.press("trainButton")
    desk.until(lambda: message(desk) != "", 120)
    assert message(desk).startswith("The training failed: Only ")
    assert message(desk).endswith("Give at least 32.")


def test_it_looks_as_it_should(seated: Desk, server: Models) -> None:
    """A picture, where somebody asked for pictures."""
    server.versions.append(version(2, 0.934, 0.871))
    models, began = seated.panel.models.models, time.monotonic()
    begin(seated, server)
    server.say(LOG.format(line="step 1480, loss 0.0312, 12 minutes left"))
    models.now = lambda: began + 18 * 60
    seated.until(lambda: len(rows(seated)) == 3 and "1480" in seated.ui.trainingLabel.text())
    seated.ui.modelTable.selectRow(0)
    seated.picture("models", seated.ui.modelsSection)
    assert seated.ui.trainingBar.value() == pytest.approx(600, abs=5)
