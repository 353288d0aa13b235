"""``otherwise train agent`` from a folder of images to a bundle, and the ways it refuses."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed
from typer.testing import CliRunner

import otherwise
from otherwise.agent.bundle import load_agent, write_agent
from otherwise.agent.training.grain import LEAST, MOST
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.trainer import train_classifier
from otherwise.cli import build
from otherwise.errors import AgentError, BundleError, ImageError
from support import forked_python
from support.quick_search import ONE_ATTEMPT, VALIDATION
from support.square_models import SquareClassifier, eager_agent, squares

ONE_ATTEMPT_COMMAND = """
from otherwise.agent.training import validation
from otherwise.cli import main
from support.quick_search import ONE_ATTEMPT

validation.SearchSettings = lambda **_: ONE_ATTEMPT
main()
"""
# Torchrun starts a Python for each rank, which takes eight seconds to import PyTorch and MONAI: here they are forks.
TORCHRUN_WITH_FORKS = """
import runpy
import sys

from torch.distributed import run
from torch.distributed.launcher.api import elastic_launch


def rank(*words):
    sys.argv = [word for word in words if word != "-u"]
    runpy.run_path(sys.argv[0], run_name="__main__")


def forked(config, entrypoint):
    config.start_method = "fork"
    return elastic_launch(config, rank)


run.elastic_launch = forked
run.main()
"""


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge agents by one attempt an image: they have learned nothing and would try everything."""
    monkeypatch.setattr(VALIDATION, lambda **_: ONE_ATTEMPT)


@pytest.fixture
def classifier_bundle(tmp_path: Path) -> Path:
    images = squares((16, 16), 40, seed=2)
    labels = (images[:, 0, 4:12, 4:12].mean(axis=(1, 2)) > 0.5).astype(int)
    out = tmp_path / "classifier"
    train_classifier(
        images,
        labels,
        ("dark", "bright"),
        InputSpec((16, 16)),
        out,
        validation=(images, labels),
        epochs=1,
        seed=0,
        device="cpu",
    )
    return out


def arguments(classifier: Path, images: Path, out: Path, *more: str) -> list[str]:
    return [
        *("train", "agent", "--classifier", str(classifier), "--images", str(images), "--out", str(out)),
        *("--epochs", "1", "--batch", "8", "--channels", "16,16", "--latent", "8", "--device", "cpu", *more),
    ]


@pytest.mark.long
def test_a_folder_of_images_becomes_an_agent(classifier_bundle: Path, training_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "agent"
    result = CliRunner().invoke(build(), arguments(classifier_bundle, training_folder, out), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    agent = load_agent(out)
    assert agent.classifier_version == load_classifier(classifier_bundle).version
    assert agent.model.architecture.size == (16, 16)
    card = (out / "docs" / "README.md").read_text()
    assert "Student-teacher agreement" in card
    assert (out.with_name("agent.training") / "checkpoint.pt").is_file()
    weights = sum(parameter.numel() for parameter in agent.model.parameters())
    assert (out / "models" / "model.safetensors").stat().st_size < 2.5 * weights, "two bytes for each weight"

    with pytest.raises(BundleError, match="exists already"):
        CliRunner().invoke(build(), arguments(classifier_bundle, training_folder, out), catch_exceptions=False)

    with pytest.raises(AgentError, match=r"is finished.*--resume --replace"):
        CliRunner().invoke(
            build(), arguments(classifier_bundle, training_folder, out, "--resume"), catch_exceptions=False
        )
    (taken,) = re.findall(r"\d+ steps of 8", card)

    # A finished run that is resumed has nothing left to do and writes the same weights, whatever batch is asked for.
    again = arguments(classifier_bundle, training_folder, out, "--resume", "--replace", "--batch", "16")
    result = CliRunner().invoke(build(), again, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Nothing is left to train" in result.output
    assert taken in (out / "docs" / "README.md").read_text()
    assert load_agent(out).version != ""
    for one, other in zip(agent.model.parameters(), load_agent(out).model.parameters(), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())


@pytest.mark.long
def test_a_training_begins_with_an_agent_of_images_of_another_size_but_of_the_same_kind(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    larger = SquareClassifier(InputSpec((20, 24)))
    volumes = SquareClassifier(InputSpec((8, 8, 8)))
    for name, other in (("larger", larger), ("volumes", volumes)):
        write_agent(tmp_path / name, eager_agent(other).model, other, name=name, card="", figures={})
    given = arguments(classifier_bundle, training_folder, tmp_path / "agent", "--start", str(tmp_path / "larger"))
    result = CliRunner().invoke(build(), given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert load_agent(tmp_path / "agent").model.architecture.size == (16, 16)
    anew = ("--start", str(tmp_path / "larger"), "--decoder-only", "--channels", "8,16", "--prediction", "image")
    given = arguments(classifier_bundle, training_folder, tmp_path / "anew", *anew)
    result = CliRunner().invoke(build(), given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "the decoder begins anew" in result.output
    assert "goes on from weights" not in result.output
    known, model = load_agent(tmp_path / "larger").model, load_agent(tmp_path / "anew").model
    assert (model.architecture.channels, model.architecture.prediction) == ((8, 16), "image")
    for part in ("encoder", "student"):
        for one, other in zip(getattr(known, part).parameters(), getattr(model, part).parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)  # stored in half precision
    refused = CliRunner().invoke(
        build(), arguments(classifier_bundle, training_folder, tmp_path / "no", "--start", str(tmp_path / "volumes"))
    )
    assert isinstance(refused.exception, AgentError)
    assert "3 dimensions" in refused.exception.detail


@pytest.mark.long
@pytest.mark.usefixtures("validation_stopped")
def test_a_share_of_the_first_weights_is_kept(classifier_bundle: Path, training_folder: Path, tmp_path: Path) -> None:
    """The same training twice, the second time half of the weights are those that it began with."""
    first, out = SquareClassifier(InputSpec((16, 16))), tmp_path / "agent"
    write_agent(tmp_path / "first", eager_agent(first).model, first, name="first", card="", figures={})
    more = ("--epochs", "10", "--learning-rate", "0.01", "--start", str(tmp_path / "first"))
    given = arguments(classifier_bundle, training_folder, out, *more)
    assert CliRunner().invoke(build(), given, catch_exceptions=False).exit_code == 0
    begun, learned = load_agent(tmp_path / "first").model, load_agent(out).model
    again = [*given, "--resume", "--replace", "--start-share", "0.5"]
    assert CliRunner().invoke(build(), again, catch_exceptions=False).exit_code == 0
    mixed = load_agent(out).model
    moved = 0.0
    for start, end, mean in zip(begun.parameters(), learned.parameters(), mixed.parameters(), strict=True):
        torch.testing.assert_close(mean, (start + end) / 2, rtol=1e-3, atol=5e-4)  # stored in half precision
        moved = max(moved, float((end - start).abs().max()))
    assert moved > 0.005
    assert "--start-share 0.5" in (out / "docs" / "README.md").read_text()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--start-share", "0.5"), "no first weights"),
        (("--start", "FIRST", "--start-share", "0.5", "--channels", "8,8"), "no first weights"),
        (("--start", "FIRST", "--start-share", "1"), "a share of 1"),
    ],
)
def test_a_share_of_weights_that_are_not_there_is_refused(
    more: tuple[str, ...], what: str, classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    first = SquareClassifier(InputSpec((16, 16)))
    write_agent(tmp_path / "first", eager_agent(first).model, first, name="first", card="", figures={})
    words = [str(tmp_path / "first") if word == "FIRST" else word for word in more]
    result = CliRunner().invoke(build(), arguments(classifier_bundle, training_folder, tmp_path / "agent", *words))
    assert isinstance(result.exception, AgentError)
    assert what in result.exception.detail
    assert not (tmp_path / "agent").exists()


@pytest.mark.long
def test_the_log_says_what_is_drawn_from_where_and_figures_stand_beside_the_trivial_ones(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "agent"
    result = CliRunner().invoke(build(), arguments(classifier_bundle, training_folder, out), catch_exceptions=False)
    output = " ".join(result.output.split())
    assert re.search(r"\d+ images; \d+ are held out, of \d+ of \d+ patients", output)
    assert re.search(r"Called bright: \d+ of \d+ images to learn from \(0\.\d+\), \d+ of \d+ held out", output)
    assert "The bundle is written. Validation searches" in output
    metadata = json.loads((out / "configs" / "metadata.json").read_text())
    figures = metadata["eval_metrics"]
    assert figures["always_balanced"] in (0.5, 1.0)
    assert 0 <= figures["balanced_agreement"] <= 1
    assert figures["images_dark"] + figures["images_bright"] == figures["images"]
    assert "Balanced over the classes" in (out / "docs" / "README.md").read_text()


def test_without_a_length_the_training_takes_as_many_steps_as_the_images_need(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def two(images: int, batch: int) -> int:
        asked.append((images, batch))
        return 2

    monkeypatch.setattr("otherwise.agent.training.session.default_steps", two)
    out = tmp_path / "agent"
    given = arguments(classifier_bundle, training_folder, out)
    at = given.index("--epochs")
    result = CliRunner().invoke(build(), [*given[:at], *given[at + 2 :]], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "About 2 steps of 8 images" in " ".join(result.output.split())
    ((images, batch),) = asked
    assert 0 < images < 60
    assert batch == 8
    assert load_agent(out).model.architecture.patch == 2, "follows from 16 x 16"


@pytest.mark.parametrize("epochs", ["0", "-1", "nan", "inf"])
def test_no_or_endless_passes_over_the_images_are_refused(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path, epochs: str
) -> None:
    given = arguments(classifier_bundle, training_folder, tmp_path / "agent")
    given[given.index("--epochs") + 1] = epochs
    with pytest.raises(AgentError, match="passes over the images"):
        CliRunner().invoke(build(), given, catch_exceptions=False)
    assert not (tmp_path / "agent.training").exists()


@pytest.mark.usefixtures("validation_stopped")
@pytest.mark.parametrize("emulated", [True, False])
def test_training_in_bf16_where_the_cpu_emulates_it_is_told(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulated: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": not emulated, "amx_bf16": False})
    given = arguments(classifier_bundle, training_folder, tmp_path / "agent", "--precision", "bf16")
    result = CliRunner().invoke(build(), given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert ("no bf16 instructions" in " ".join(result.output.split())) is emulated


@pytest.mark.parametrize("precision", ["fp16", "auto", "BF16", ""])
def test_a_precision_in_which_nothing_is_trained_is_refused(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path, precision: str
) -> None:
    given = arguments(classifier_bundle, training_folder, tmp_path / "agent", "--precision", precision)
    with pytest.raises(AgentError, match="--precision fp32 or bf16"):
        CliRunner().invoke(build(), given, catch_exceptions=False)
    assert not (tmp_path / "agent.training").exists()


@pytest.mark.usefixtures("validation_stopped")
def test_ctrl_c_while_validating_leaves_a_bundle(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "agent"
    result = CliRunner().invoke(build(), arguments(classifier_bundle, training_folder, out), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Stopped while validating" in " ".join(result.output.split())
    assert load_agent(out).classifier_version == load_classifier(classifier_bundle).version
    assert "| Validation | none" in (out / "docs" / "README.md").read_text()


def test_the_checkpoint_of_an_earlier_run_is_not_overwritten(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "agent"
    (tmp_path / "agent.training").mkdir()
    (tmp_path / "agent.training" / "checkpoint.pt").write_bytes(b"hours of work")
    with pytest.raises(AgentError, match=r"left a checkpoint in agent.training. .*--resume.*--replace"):
        CliRunner().invoke(build(), arguments(classifier_bundle, training_folder, out), catch_exceptions=False)
    assert (tmp_path / "agent.training" / "checkpoint.pt").read_bytes() == b"hours of work"


def test_a_loss_that_is_no_number_advises_to_resume_only_where_there_is_a_checkpoint(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    words = arguments(classifier_bundle, training_folder, tmp_path / "agent", "--learning-rate", "1e30")
    with pytest.raises(AgentError, match="not a number") as caught:
        CliRunner().invoke(build(), words, catch_exceptions=False)
    assert "--resume" not in str(caught.value)
    assert "--resume" not in caught.value.hint


def test_too_few_images_are_refused_in_one_line(classifier_bundle: Path, tmp_path: Path) -> None:
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(ImageError, match="no image in none"):
        CliRunner().invoke(build(), arguments(classifier_bundle, empty, tmp_path / "agent"), catch_exceptions=False)
    assert not (tmp_path / "agent").exists()


def test_a_classifier_is_no_agent(classifier_bundle: Path) -> None:
    with pytest.raises(BundleError, match="not agent"):
        load_agent(classifier_bundle)


def test_an_agent_that_predicts_images_knows_their_grain(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    known = {}
    for prediction in ("image", "velocity"):
        words = arguments(classifier_bundle, training_folder, tmp_path / prediction, "--prediction", prediction)
        result = CliRunner().invoke(build(), words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        known[prediction] = load_agent(tmp_path / prediction).model.architecture
    assert LEAST <= known["image"].grain < MOST
    assert known["velocity"].grain == MOST, "not measured, and not used"


@pytest.mark.skipif(not distributed.is_available(), reason="this PyTorch was built without torch.distributed")
@pytest.mark.long
def test_two_processes_of_torchrun_write_one_agent(
    classifier_bundle: Path, training_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "agent"
    torchrun = ("-c", TORCHRUN_WITH_FORKS) if forked_python.AVAILABLE else ("-m", "torch.distributed.run")
    launch = [sys.executable, *torchrun, "--standalone", "--nproc-per-node", "2"]
    (tmp_path / "command.py").write_text(ONE_ATTEMPT_COMMAND)
    command = [*launch, str(tmp_path / "command.py"), *arguments(classifier_bundle, training_folder, out)]
    packages = os.pathsep.join(
        str(folder) for folder in (Path(otherwise.__file__).parents[1], Path(__file__).parents[2])
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": packages}
    done = forked_python.run(command, 240, env=environment)
    assert done.returncode == 0, done.stderr
    assert load_agent(out).model.architecture.size == (16, 16)
    card = (out / "docs" / "README.md").read_text()
    assert "2 process(es)" in card
    # 24 images are trained on; an epoch is shared by two processes of 8 images each.
    assert "24 images without labels, 2 steps of 16" in card
