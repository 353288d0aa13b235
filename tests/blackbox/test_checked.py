"""Nothing a host says is believed unseen, and everything it is asked is counted."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otherwise.blackbox.checked import CheckedBlackBox, CountingBlackBox, RememberingBlackBox, decision_value
from otherwise.blackbox.hosted import HostedClassifier, probabilities
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import ClassifierError, ImageError


def classifier(answer, multi_label=False) -> CheckedBlackBox:
    """A host that returns whatever ``answer`` makes of the batch."""
    spec = ClassifierSpec("odd", "0" * 64, ("a", "b", "c"), InputSpec((4, 4)), "none", multi_label)
    return CheckedBlackBox(HostedClassifier(spec, answer))


def batch(count: int) -> np.ndarray:
    return np.full((count, 1, 4, 4), 0.5, np.float32)


def thirds(images: np.ndarray) -> np.ndarray:
    return np.full((len(images), 3), 1 / 3)


def spoiled(value, rows: int):
    def answer(images: np.ndarray) -> np.ndarray:
        answers = thirds(images)
        answers[:rows, 0] = value
        return answers

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (spoiled(np.nan, 3), "Classifier odd returned NaN for 3 of 8 images"),
        (spoiled(np.inf, 1), "returned infinity for 1 of 8 images"),
        (spoiled(-0.5, 1), "from -0.5 to 0.3333, no probabilities"),
        (spoiled(7.0, 1), "to 7, no probabilities.*softmax or sigmoid"),
        (spoiled(0.9, 2), r"rows that do not sum to one for 2 of 8 images \(for example 1.567\)"),
        (lambda images: thirds(images)[:, :2], r"shape \(8, 2\) instead of \(8, 3\)"),
        (lambda images: thirds(images)[:1], r"shape \(1, 3\) instead of \(8, 3\)"),
        (lambda images: 0.5, r"shape \(\) instead"),
    ],
)
def test_what_is_no_set_of_probabilities_is_named(answer, message):
    with pytest.raises(ClassifierError, match=message) as caught:
        classifier(answer).predict(batch(8))
    assert "\n" not in str(caught.value)


def test_rounding_errors_are_forgiven_and_removed():
    answers = classifier(lambda images: np.array([[-0.0005, 1.0004, 0.0]] * len(images))).predict(batch(2))
    assert answers.min() >= 0
    assert answers.max() <= 1


def test_multi_label_rows_need_not_sum_to_one():
    answers = classifier(spoiled(0.9, 8), multi_label=True).predict(batch(8))
    np.testing.assert_allclose(answers[0], [0.9, 1 / 3, 1 / 3])
    with pytest.raises(ClassifierError, match="NaN"):
        classifier(spoiled(np.nan, 1), multi_label=True).predict(batch(8))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 4, 5), np.float32), r"shape \(2, 1, 4, 5\) do not fit classifier odd"),
        (np.zeros((1, 4, 4), np.float32), "do not fit"),
        (np.zeros((2, 1, 4, 4), np.uint8), "type uint8"),
        (np.full((2, 1, 4, 4), 255.0, np.float32), "span 255 to 255"),
        (np.full((2, 1, 4, 4), np.nan, np.float32), "span nan"),
    ],
)
def test_images_that_do_not_fit_are_refused_before_the_model_sees_them(images, message):
    def never(images: np.ndarray) -> np.ndarray:
        raise AssertionError("asked")

    with pytest.raises(ImageError, match=message):
        classifier(never).predict(images)


def test_every_image_asked_is_counted_from_many_threads():
    seen: list[int] = []

    def answer(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return thirds(images)

    counting = CountingBlackBox(classifier(answer), batch_size=4)
    assert isinstance(counting, BlackBox)
    threads = [threading.Thread(target=counting.predict, args=(batch(10),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting.queries == sum(seen) == 80
    assert max(seen) == 4
    assert counting.predict(batch(0)).shape == (0, 3)
    assert counting.queries == 80


def test_batches_come_back_in_order():
    def answer(images: np.ndarray) -> np.ndarray:
        first = images[:, 0, 0, 0].astype(np.float64)
        return np.stack([first, 1 - first, np.zeros_like(first)], axis=1)

    images = batch(11) * np.linspace(0, 1, 11, dtype=np.float32)[:, None, None, None]
    answers = CountingBlackBox(classifier(answer), batch_size=3).predict(images)
    np.testing.assert_allclose(answers[:, 0], np.linspace(0, 0.5, 11), atol=1e-6)


def test_an_image_is_asked_about_once_and_its_answer_is_remembered():
    asked: list[np.ndarray] = []

    def answer(images: np.ndarray) -> np.ndarray:
        asked.extend(images)
        first = images[:, 0, 0, 0].astype(np.float64)
        return np.stack([first, 1 - first, np.zeros_like(first)], axis=1)

    images = batch(6) * np.linspace(0, 1, 6, dtype=np.float32)[:, None, None, None]
    remembering = RememberingBlackBox(classifier(answer), batch_size=4)
    plain = classifier(answer).predict(images)
    del asked[:]
    first = remembering.predict(images[[0, 3, 0, 5]])
    np.testing.assert_array_equal(first, plain[[0, 3, 0, 5]])
    assert len(asked) == remembering.queries == 3
    first[:] = -1  # whoever changes an answer changes only their own
    np.testing.assert_array_equal(remembering.predict(images[::-1]), plain[::-1])
    assert len(asked) == remembering.queries == 6
    assert remembering.predict(images[:0]).shape == (0, 3)
    turned = images[3].swapaxes(1, 2) + np.arange(4, dtype=np.float32) / 100
    np.testing.assert_array_equal(remembering.predict(turned[None])[0, 0], turned[0, 0, 0].astype(np.float64))


@given(st.floats(0, 1), st.floats(0, 1))
def test_decision_value_is_finite_odd_and_rises(p, q):
    value, other = decision_value(np.array([[1 - p, p], [1 - q, q]]), 1)
    assert np.isfinite(value)
    assert value == pytest.approx(-decision_value(np.array([1 - p, p]), 0), abs=1e-6)
    assert value <= other if p <= q else value >= other
    assert value >= 0 if p >= 0.5 else value <= 0


def test_activations():
    scores = np.array([[0.0, np.log(3.0)]])
    np.testing.assert_allclose(probabilities(scores, "softmax", 2), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities(scores, "sigmoid", 2, multi_label=True), [[0.5, 0.75]])
    np.testing.assert_allclose(probabilities(scores[:, 1], "sigmoid", 2), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities(np.array([[0.75]]), "none", 2), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities(np.array([[-1e4, 1e4]]), "softmax", 2), [[0, 1]])
