"""An annotation is complete, within its grammar, and comes back from JSON as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otherwise.annotations.annotation import (
    MOST_UNITS,
    Annotation,
    AnnotationError,
    ModelVersions,
    now,
    schema,
    withdrawal,
)
from otherwise.annotations.vocabulary import Term, VocabularyError, local_term
from otherwise.errors import OtherwiseError

Say = Callable[..., Annotation]


def every_kind(say: Say) -> list[Annotation]:
    first = say()
    disagree = say(kind="disagree", term=None, region=None, units=())
    return [first, say(region=None, slice_index=None), say(units=()), disagree, withdrawal(first, "Reader B", "wrong")]


def test_every_kind_comes_back_and_obeys_the_schema(say: Say) -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    for annotation in every_kind(say):
        text = annotation.to_text()
        assert "\n" not in text
        again = Annotation.from_text(text)
        assert again == annotation
        assert again.to_text() == text
        jsonschema.validate(json.loads(text), schema())


def test_the_schema_refuses_what_no_annotation_says(say: Say) -> None:
    for change in ({"kind": "praise"}, {"slice_index": -1}, {"colour": "red"}, {"created": "yesterday"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**say().to_json(), **change}, schema())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(author=st.text(max_size=140), comment=st.text(max_size=200), meaning=st.text(max_size=70))
def test_whatever_people_write_is_kept_exactly_or_refused(say: Say, author: str, comment: str, meaning: str) -> None:
    message = ""
    try:
        annotation = say(author=author, comment=comment, term=local_term(meaning))
    except OtherwiseError as error:
        message = str(error)
    else:
        assert Annotation.from_text(annotation.to_text().encode()) == annotation
    assert len(message.splitlines()) <= 1


def test_the_region_is_kept_on_its_smallest_box_and_finds_its_place_again(say: Say) -> None:
    whole = say().region
    assert whole is not None
    assert whole.mask.shape == (3, 3, 1)
    assert whole.mask.all()


def test_left_out_are_a_new_id_and_the_time_of_now(say: Say) -> None:
    earlier = now()
    a, b = (
        Annotation.from_json({"author": "A", "kind": "disagree", "image": "x", "explanation": "e"}) for _ in range(2)
    )
    assert a.id != b.id
    assert earlier <= a.created <= b.created <= now()
    assert a.certain
    assert a.models == ModelVersions()


@pytest.mark.parametrize(
    "change",
    [
        {"author": ""},
        {"author": "  "},
        {"author": "x" * 129},
        {"author": "a\nb"},
        {"author": "a\x00b"},
        {"author": "\ud800"},
        {"author": None},
        {"kind": "praise"},
        {"kind": None},
        {"image": ""},
        {"image": "../x"},
        {"image": ".."},
        {"image": "x" * 256},
        {"image_sha256": "0F" * 32},
        {"image_sha256": "0f"},
        {"slice_index": -1},
        {"slice_index": True},
        {"slice_index": 1.0},
        {"slice_index": 2**31},
        {"region": None, "units": ()},
        {"units": ["layer3/17"]},
        {"units": ("layer3",)},
        {"units": ("layer3/x",)},
        {"units": (17,)},
        {"units": ("a/1", "a/1")},
        {"units": tuple(f"a/{n}" for n in range(MOST_UNITS + 1))},
        {"term": None},
        {"term": "mass"},
        {"region": "here"},
        {"certain": 1},
        {"models": None},
        {"explanation": "../x"},
        {"comment": "x" * 4001},
        {"comment": "\x07"},
        {"id": "x"},
        {"id": "0F" * 16},
        {"created": "2026-01-31"},
        {"created": "2026-01-31T12:00:00+00:00"},
        {"created": "2026-02-30T12:00:00.000000+00:00"},
        {"created": "2026-01-31T12:00:00.000000+01:00"},
        {"created": 3},
        {"withdraws": "0f" * 16},
        {"kind": "disagree", "explanation": ""},
        {"kind": "withdraw"},
        {"kind": "withdraw", "withdraws": "0f" * 16},
        {"kind": "withdraw", "withdraws": "0f" * 16, "id": "0f" * 16, "term": None, "region": None, "units": ()},
    ],
)
def test_what_is_no_annotation_is_refused_in_one_line(say: Say, change: dict[str, Any]) -> None:
    with pytest.raises(AnnotationError) as refused:
        say(**change)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.status == 422
    assert refused.value.hint


@pytest.mark.parametrize("models", [{"classifier": "no version"}, {"agent": 3}, {"concepts": "a@b@c"}])
def test_models_are_a_name_and_a_version(models: dict[str, Any]) -> None:
    with pytest.raises(AnnotationError, match=next(iter(models))):
        ModelVersions(**models)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"schema": "otherwise.annotation/2"},
        {"term": {"scheme": "SCT", "code": "1"}},
        {"term": {"scheme": "SCT", "code": "1", "meaning": "x", "parent": "y"}},
        {"term": ["SCT", "1", "x"]},
        {"models": {"judge": "a@b"}},
        {"models": None},
        {"units": "layer3/17"},
        {"units": [["layer3/17"]]},
        {"units": None},
        {"author": {"name": "A"}},
        {"author": ["A"]},
        {"id": None},
    ],
)
def test_json_of_another_form_is_refused(say: Say, change: dict[str, Any]) -> None:
    with pytest.raises(AnnotationError):
        Annotation.from_json({**say().to_json(), **change})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, "{}", '{"author": "A"}', b"\xff", b"\x00"])
def test_what_is_no_json_of_an_annotation_is_refused(text: str | bytes) -> None:
    with pytest.raises(AnnotationError):
        Annotation.from_text(text)


def test_a_bad_term_and_a_large_region_are_refused_too(say: Say) -> None:
    with pytest.raises(VocabularyError):
        Annotation.from_json({**say().to_json(), "term": {"scheme": "S C T", "code": "1", "meaning": "x"}})
    with pytest.raises(OtherwiseError, match="more than 8 voxels"):
        Annotation.from_json(say().to_json(), most_voxels=8)


def test_two_that_differ_in_anything_are_not_equal(say: Say) -> None:
    annotation = say(id="0f" * 16, created=now())
    assert annotation == replace(annotation)
    assert annotation != replace(annotation, certain=True)
    assert annotation != replace(annotation, term=Term("SCT", "129741003", "Indistinct lesion"))
    assert annotation != replace(annotation, region=None)
