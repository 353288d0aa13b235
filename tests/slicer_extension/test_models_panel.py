"""The Models section of the real panel, before a server that keeps versions of its models and trains new ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from support.fake_model_versions import FakeModelVersions, version, version_id
from support.fake_teaching_server import FakeTeachingServer
from support.panel_session import PanelSession

if TYPE_CHECKING:
    from conftest import BadServer

LOG = "[2030-01-31 12:00:07,120] [411] [MainThread] [INFO] (otherwise.agent.training.trainer:98) - {line}"


@pytest.fixture
def server(bad_server: BadServer) -> FakeModelVersions:
    teaching_server = FakeTeachingServer()
    bad_server.on("/", teaching_server)
    return teaching_server.models


@pytest.fixture
def teaching_app(app: PanelSession, server: FakeModelVersions, bad_server: BadServer) -> PanelSession:
    """Connected to a server with two versions, of which the second is in use."""
    server.versions.append(version(1, 0.912, 0.934))
    server.choose(version_id(1))
    return sit(app, bad_server)


def sit(app: PanelSession, bad_server: BadServer) -> PanelSession:
    app.answers["real"] = True
    app.ui.addressEdit.setText(bad_server.url)
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and app.ui.studyBox.count() == 1 and app.panel.models.models.listing)
    return app


def rows(app: PanelSession) -> list[list[str]]:
    table = app.ui.modelTable
    return [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount())]


def first_column(app: PanelSession) -> list[str]:
    return [row[0] for row in rows(app)]


def short(number: int) -> str:
    return version_id(number)[:8]


def message(app: PanelSession) -> str:
    return str(app.ui.modelsMessage.text())


def begin(app: PanelSession, server: FakeModelVersions) -> None:
    """Press Train, and wait until it runs."""
    app.press("trainButton")
    app.until(lambda: server.running and not app.ui.trainingBar.isHidden())


def test_without_a_server_nothing_can_be_chosen_and_it_says_why(app: PanelSession) -> None:
    assert app.ui.modelsStateLabel.text() == "Not connected. Connect to a server first."
    for button in ("useModelButton", "rollBackButton", "trainButton", "stopTrainingButton"):
        assert not getattr(app.ui, button).isEnabled()
        assert "Connect" in getattr(app.ui, button).toolTip()
    assert app.ui.trainingBar.isHidden()


def test_a_server_without_versions_is_told_apart(app: PanelSession) -> None:
    app.connect()
    app.until(lambda: "has no versions of its models" in app.ui.modelsStateLabel.text())
    assert message(app) == ""
    assert app.ui.classifyButton.isEnabled()


def test_versions_are_listed_the_newest_first(teaching_app: PanelSession) -> None:
    note = "Trained on the studies: validity 0.912 before, 0.934 after, on 40 held-out images."
    assert rows(teaching_app) == [
        [f"{short(1)} (in use)", "2030-01-31 12:01", "0.912 → 0.934", "mammogram_agent (00000001)", note],
        [short(0), "2030-01-31 12:00", "–", "mammogram_agent (538c7c38)", "The server was started with it."],
    ]
    assert teaching_app.ui.modelsStateLabel.text() == f"Version {short(1)} is in use. {note}"
    tip = teaching_app.ui.modelTable.item(0, 0).toolTip().split("\n")
    assert tip[:2] == [f"Version {version_id(1)}", "Classifier: mammogram_classifier (9a1505c5)"]
    assert tip[3:5] == [f"Trained on from {short(0)}", "On 160 images"]
    assert teaching_app.ui.minutesSpin.value() == 30
    assert teaching_app.ui.modelNote.isHidden()
    teaching_app.ui.modelTable.selectRow(0)
    assert teaching_app.ui.modelNote.text() == note


def test_another_version_is_put_to_use_once_somebody_has_said_yes(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    assert "Select" in teaching_app.ui.useModelButton.toolTip()
    teaching_app.ui.modelTable.selectRow(0)
    assert "in use" in teaching_app.ui.useModelButton.toolTip()
    teaching_app.ui.modelTable.selectRow(1)
    teaching_app.answers["confirm"] = False
    teaching_app.press("useModelButton")
    assert "for everybody" in teaching_app.questions[-1]
    assert "mammogram_agent (538c7c38)" in teaching_app.questions[-1]
    assert server.bodies == []
    teaching_app.answers["confirm"] = True
    teaching_app.press("useModelButton")
    assert not teaching_app.ui.rollBackButton.isEnabled(), "the first answer is waited for"
    teaching_app.until(lambda: message(teaching_app) == f"Version {short(0)} is in use now.")
    assert first_column(teaching_app) == [short(1), f"{short(0)} (in use)"]
    assert teaching_app.panel.models._selected_id() == version_id(0), "what was selected stays so"
    teaching_app.until(lambda: "538c7c38" in teaching_app.ui.serverLabel.text())


def test_rolling_back_uses_what_was_in_use_before(teaching_app: PanelSession, server: FakeModelVersions) -> None:
    teaching_app.answers["confirm"] = False
    teaching_app.press("rollBackButton")
    assert server.bodies == []
    teaching_app.answers["confirm"] = True
    teaching_app.press("rollBackButton")
    teaching_app.until(lambda: message(teaching_app) == f"Version {short(0)} is in use now.")
    teaching_app.press("rollBackButton")
    teaching_app.until(lambda: message(teaching_app) == "Nothing else was in use before. Activate a version.")
    assert teaching_app.ui.rollBackButton.isEnabled()


@pytest.mark.parametrize(
    ("status", "content", "wanted"),
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
    teaching_app: PanelSession, server: FakeModelVersions, status: int, content: dict, wanted: str, button: str
) -> None:
    server.forbidden = status, content
    teaching_app.press(button)
    teaching_app.until(lambda: message(teaching_app) == f"{wanted} Log in as a user who may do that.")
    assert getattr(teaching_app.ui, button).isEnabled()
    assert teaching_app.ui.trainingBar.isHidden()
    assert server.used == version_id(1)


def test_a_training_is_followed_until_its_version_is_in_use(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    models, began = teaching_app.panel.models.models, time.monotonic()
    teaching_app.ui.minutesSpin.setValue(10)
    begin(teaching_app, server)
    assert server.bodies == [{"minutes": 10}]
    assert teaching_app.ui.trainingLabel.text() == "The training begins …"
    assert "runs already" in teaching_app.ui.trainButton.toolTip()
    assert not teaching_app.ui.minutesSpin.isEnabled()
    server.say(LOG.format(line="step 120, loss 0.031"))
    models.now = lambda: began + 5 * 60
    teaching_app.until(lambda: teaching_app.ui.trainingLabel.text() == "The training runs: step 120.")
    assert teaching_app.ui.trainingBar.maximum() == 1000
    assert 490 <= teaching_app.ui.trainingBar.value() <= 510
    models.now = lambda: began + 11 * 60
    teaching_app.until(lambda: teaching_app.ui.trainingLabel.text().startswith("The time is up; the server finishes"))
    assert teaching_app.ui.trainingBar.maximum() == 0, "nobody knows how long measuring takes"
    server.say("validate                ━━━━━━━━━╸━━━━━━━━ 40% 0:01:10")
    teaching_app.until(lambda: teaching_app.ui.trainingLabel.text().endswith("measures what came of it."))
    server.lag = 4
    server.make(0.934, 0.951)
    teaching_app.until(lambda: "takes over" in teaching_app.ui.trainingLabel.text())
    assert f"changes over to {short(2)}" in teaching_app.ui.modelsStateLabel.text()
    assert not teaching_app.ui.stopTrainingButton.isEnabled()
    note = "Trained on the studies: validity 0.934 before, 0.951 after, on 40 held-out images."
    teaching_app.until(
        lambda: message(teaching_app) == f"The training is done, and its version {short(2)} is in use. {note}"
    )
    assert first_column(teaching_app) == [f"{short(2)} (in use)", short(1), short(0)]
    assert teaching_app.ui.trainingBar.isHidden()
    assert teaching_app.ui.trainButton.isEnabled()
    teaching_app.until(lambda: "00000002" in teaching_app.ui.serverLabel.text())


def test_a_worse_version_is_kept_and_not_used_and_says_so(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    begin(teaching_app, server)
    server.make(0.934, 0.8)
    teaching_app.until(
        lambda: message(teaching_app).startswith(f"The training is done. Its version {short(2)} is kept, but not")
    )
    assert message(teaching_app).endswith("worse, so it is kept but not used.")
    assert first_column(teaching_app) == [short(2), f"{short(1)} (in use)", short(0)]


def test_a_version_that_cannot_be_loaded_is_told_with_its_reason(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    begin(teaching_app, server)
    server.problem = "Its bundle is damaged."
    server.make(0.934, 0.94)
    teaching_app.until(lambda: "cannot use it: Its bundle is damaged." in message(teaching_app))
    assert "⚠" in teaching_app.ui.modelsStateLabel.text()


def test_a_failed_training_shows_its_last_line(teaching_app: PanelSession, server: FakeModelVersions) -> None:
    begin(teaching_app, server)
    server.say("otherwise.errors.AgentError: Only 4 of 6 images can be used. Give at least 32.")
    server.end("ERROR")
    teaching_app.until(lambda: "failed: Only 4 of 6 images can be used. Give at least 32." in message(teaching_app))
    assert teaching_app.ui.trainButton.isEnabled()


def test_a_training_is_stopped_once_somebody_has_said_yes(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    begin(teaching_app, server)
    teaching_app.answers["confirm"] = False
    teaching_app.press("stopTrainingButton")
    assert server.running
    teaching_app.answers["confirm"] = True
    teaching_app.press("stopTrainingButton")
    teaching_app.until(lambda: message(teaching_app) == "The training was stopped. Nothing has changed.")
    assert server.trainings[-1]["status"] == "STOPPED"
    assert teaching_app.ui.trainButton.isEnabled()
    assert not teaching_app.ui.stopTrainingButton.isEnabled()


def test_a_training_that_waits_for_its_turn_cannot_be_stopped_yet(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    begin(teaching_app, server)
    server.trainings[-1]["status"] = "SUBMITTED"
    teaching_app.until(lambda: teaching_app.ui.trainingLabel.text() == "Waiting to begin …")
    teaching_app.press("stopTrainingButton")
    teaching_app.until(lambda: message(teaching_app).startswith("No training runs."))
    assert teaching_app.ui.stopTrainingButton.isEnabled()


def test_nothing_of_a_server_stays_when_the_next_one_does_not_answer(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    begin(teaching_app, server)
    teaching_app.ui.addressEdit.setText("127.0.0.1:9")
    teaching_app.press("connectButton")
    teaching_app.until(lambda: not teaching_app.logic.busy)
    assert teaching_app.ui.modelsStateLabel.text().startswith("Not connected.")
    assert teaching_app.ui.trainingBar.isHidden()
    assert not teaching_app.ui.stopTrainingButton.isEnabled()


def test_one_training_at_a_time(teaching_app: PanelSession, server: FakeModelVersions) -> None:
    server.begin({"minutes": 5})
    teaching_app.press("trainButton")
    teaching_app.until(lambda: message(teaching_app) == "A training runs already. Wait for its end, or stop it.")
    teaching_app.until(lambda: not teaching_app.ui.trainingBar.isHidden())
    assert len(server.trainings) == 1


def test_a_training_that_somebody_else_began_is_followed_too(
    app: PanelSession, server: FakeModelVersions, bad_server: BadServer
) -> None:
    server.begin({"minutes": 5})
    server.say("step 3")
    sit(app, bad_server)
    app.until(lambda: app.ui.trainingLabel.text() == "The training runs: step 3.")
    assert app.ui.trainingBar.maximum() == 0, "nobody here knows when it began"
    server.make(0.9, 0.9)
    app.until(lambda: f"its version {short(1)} is in use" in message(app))


def test_a_server_that_was_started_anew_has_lost_its_training(
    teaching_app: PanelSession, server: FakeModelVersions
) -> None:
    begin(teaching_app, server)
    server.trainings.clear()
    teaching_app.until(lambda: "knows nothing of the training any more" in message(teaching_app))
    assert teaching_app.ui.trainButton.isEnabled()


def test_a_server_that_falls_silent_is_asked_again(
    teaching_app: PanelSession, server: FakeModelVersions, bad_server: BadServer
) -> None:
    teaching_server: Any = bad_server.answers["/"]
    begin(teaching_app, server)
    teaching_server.down = True
    teaching_app.until(lambda: "does not answer" in teaching_app.ui.modelsStateLabel.text())
    assert not teaching_app.ui.trainingBar.isHidden()
    server.make(0.934, 0.94)
    teaching_server.down = False
    teaching_app.until(lambda: f"its version {short(2)} is in use" in message(teaching_app))


def test_what_others_choose_is_seen(teaching_app: PanelSession, server: FakeModelVersions) -> None:
    server.choose(version_id(0))
    teaching_app.until(lambda: first_column(teaching_app) == [short(1), f"{short(0)} (in use)"])
    assert message(teaching_app) == ""


def test_the_main_thread_waits_for_no_answer(teaching_app: PanelSession, server: FakeModelVersions) -> None:
    server.slow.clear()
    teaching_app.press("trainButton")
    longest, last = 0.0, time.perf_counter()
    end = last + 0.7
    while time.perf_counter() < end:
        teaching_app.application.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.5
    assert teaching_app.ui.trainingLabel.text() == "Asking the server …"
    server.slow.set()
    teaching_app.until(lambda: server.running and not teaching_app.ui.trainingBar.isHidden())


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/otherwise/models", {"active": "a", "versions": [{"id": 3}]}),
        ("/otherwise/models", {"versions": []}),
        ("/train/", {"id": "one", "status": "HUNGRY"}),
    ],
)
def test_an_answer_without_sense_changes_nothing(
    app: PanelSession, server: FakeModelVersions, bad_server: BadServer, path: str, content: dict
) -> None:
    bad_server.on(path, lambda visit: visit.json(content))
    app.answers["real"] = True
    app.ui.addressEdit.setText(bad_server.url)
    app.press("connectButton")
    app.until(lambda: "did not send" in message(app))
    assert not app.ui.trainButton.isEnabled()


def test_a_real_server_tells_its_versions(app: PanelSession, served: Any) -> None:
    app.answers["real"] = True
    app.ui.addressEdit.setText(served.url)
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and app.ui.modelTable.rowCount() == 1, 60)
    ((first, _made, validity, agent, note),) = rows(app)
    assert (first[8:], validity, note) == (" (in use)", "–", "The server was started with it.")
    assert agent.startswith("mammogram_agent (")
    assert "No training" in app.ui.stopTrainingButton.toolTip()
    app.press("rollBackButton")
    app.until(lambda: message(app).startswith("There is no earlier version"))
    app.ui.modelTable.selectRow(0)
    assert "in use" in app.ui.useModelButton.toolTip()


@pytest.mark.slow
def test_a_real_server_begins_a_training_and_says_that_it_has_too_few_images(app: PanelSession, served: Any) -> None:
    app.answers["real"] = True
    app.ui.addressEdit.setText(served.url)
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and app.ui.modelTable.rowCount() == 1, 60)
    app.press("trainButton")
    app.until(lambda: message(app) != "", 120)
    assert message(app).startswith("The training failed: Only ")
    assert message(app).endswith("Give at least 32.")


def test_it_looks_as_it_should(teaching_app: PanelSession, server: FakeModelVersions) -> None:
    """A picture, where somebody asked for pictures."""
    server.versions.append(version(2, 0.934, 0.871))
    models, began = teaching_app.panel.models.models, time.monotonic()
    begin(teaching_app, server)
    server.say(LOG.format(line="step 1480, loss 0.0312, 12 minutes left"))
    models.now = lambda: began + 18 * 60
    teaching_app.until(lambda: len(rows(teaching_app)) == 3 and "1480" in teaching_app.ui.trainingLabel.text())
    teaching_app.ui.modelTable.selectRow(0)
    teaching_app.picture("models", teaching_app.ui.modelsSection)
    assert teaching_app.ui.trainingBar.value() == pytest.approx(600, abs=5)
