from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labkernel.display.placement import GAP, place

_sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))
_windows = st.lists(
    st.tuples(st.integers(-50, 900), st.integers(-50, 900), st.integers(1, 500), st.integers(1, 500)),
    max_size=6,
)


@given(_sizes, _windows, _sizes)
def test_it_is_on_the_screen_where_it_fits(
    size: tuple[int, int], others: list[tuple[int, int, int, int]], screen: tuple[int, int]
) -> None:
    for start, length, whole in zip(place(size, others, screen), size, screen, strict=True):
        assert start >= 0
        assert start + length <= whole or start == 0


def test_windows_stand_beside_each_other_and_then_in_the_next_row() -> None:
    found: list[tuple[int, int, int, int]] = []
    for _ in range(4):
        found.append((*place((200, 100), found, (480, 400)), 200, 100))
    assert [window[:2] for window in found] == [
        (GAP, GAP),
        (GAP + 200 + GAP, GAP),
        (GAP, GAP + 100 + GAP),
        (GAP + 200 + GAP, GAP + 100 + GAP),
    ]


def test_it_fits_at_the_edge_without_a_gap() -> None:
    assert place((190, 100), [(0, 0, 200, 400)], (400, 400)) == (210, GAP)


def test_where_all_is_full_it_covers_as_little_as_can_be() -> None:
    x, y = place((200, 200), [(0, 0, 400, 200), (0, 200, 150, 200)], (400, 400))
    assert (x, y) == (150 + GAP, 200)
    assert place((100, 100), [(0, 0, 400, 400)], (400, 400)) == (GAP, GAP)
