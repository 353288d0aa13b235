"""Every kind of phantom in the registry keeps the promises of all, and the command offers it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import ImageError
from otherwise.phantoms.registry import KINDS, PhantomKind, SeriesOptions, draw_series, draw_whole, find_kind

SMALL = {"whole-mammogram": (1300, 1400), "whole-mammogram-mlo": (1300, 1400), "whole-ct": (120, 120, 72)}


def options(kind: PhantomKind, seed: int = 3, count: int = 2, **more: object) -> SeriesOptions:
    return SeriesOptions(seed, count, SMALL.get(kind.name, kind.size), **more)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_phantom_depends_on_seed_and_number_alone(kind: PhantomKind) -> None:
    first, second = draw_series(kind, options(kind))
    (alone,) = draw_series(kind, options(kind, count=1, start=1))
    (other,) = draw_series(kind, options(kind, seed=4, count=1, start=1))
    assert alone.image.sha256 == second.image.sha256
    assert alone.image.id == second.image.id
    assert len({first.image.sha256, second.image.sha256, other.image.sha256}) == 3
    assert len({first.image.id, second.image.id, other.image.id}) == 3
    assert first.image.geometry.shape[: len(kind.size)] == SMALL.get(kind.name, kind.size)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_marker_is_burned_in_or_refused(kind: PhantomKind) -> None:
    if kind.marker:
        marked = list(draw_series(kind, options(kind, count=6, confound=1.0)))
        assert {phantom.label for phantom in marked if phantom.masks["marker"].any()} == {"malignant"}
    else:
        with pytest.raises(ImageError, match="have no marker"):
            draw_series(kind, options(kind, confound=1.0))


def test_a_size_needs_a_number_for_each_axis() -> None:
    with pytest.raises(ImageError, match="has no size"):
        draw_series(find_kind("nodule"), SeriesOptions(1, 1, (48, 48)))


def test_an_unknown_kind_and_one_that_is_not_whole_are_refused() -> None:
    with pytest.raises(ImageError, match="no phantom 'moon'"):
        find_kind("moon")
    with pytest.raises(ImageError, match="not of whole size"):
        draw_whole("nodule", 1, 1)


def test_the_command_offers_every_kind(tmp_path: Path) -> None:
    run = CliRunner()
    result = run.invoke(build(), ["phantoms", "moon", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert all(kind.name in result.output for kind in KINDS)
    drawn = run.invoke(build(), ["phantoms", "nodule", "--count", "1", "--oblique", "--out", str(tmp_path / "n")])
    assert drawn.exit_code == 0, drawn.output
    refused = run.invoke(build(), ["phantoms", "whole-ct", "--oblique", "--out", str(tmp_path / "w")])
    assert refused.exit_code != 0
    assert "not turned" in str(refused.exception or refused.output)
