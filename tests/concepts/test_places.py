"""Places of ordinary tissue: outside every region, of their shape, and the same ones each time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from otherwise.concepts.places import CLEAR, tissue_places


@given(
    st.tuples(st.integers(20, 40), st.integers(20, 40), st.sampled_from([1, 12])),
    st.integers(0, 2**16),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_places_keep_clear_of_every_region(shape: tuple[int, int, int], seed: int, spacing: float) -> None:
    rng = np.random.default_rng(seed)
    regions = np.zeros(shape, np.uint8)
    for label in (1, 2):
        corner = [int(rng.integers(0, max(1, edge - 4))) for edge in shape]
        regions[corner[0] : corner[0] + 4, corner[1] : corner[1] + 3, corner[2] : corner[2] + 2] = label
    found = tissue_places(regions, np.full(3, spacing), np.random.default_rng(seed))
    assert len(found) <= 3
    outside = ndimage.distance_transform_edt(regions == 0, sampling=np.full(3, spacing))
    sizes = {int((regions == label).sum()) for label in (1, 2)}
    for place in found:
        assert outside[place].min() >= min(CLEAR, spacing)
        assert int(place.sum()) in sizes
    again = tissue_places(regions, np.full(3, spacing), np.random.default_rng(seed))
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_where_there_is_no_room_there_is_no_place() -> None:
    assert tissue_places(np.ones((8, 8, 1), np.uint8), np.ones(3), np.random.default_rng(0)) == []
    assert tissue_places(np.zeros((8, 8, 1), np.uint8), np.ones(3), np.random.default_rng(0)) == []
