from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands.http import Demultiplexer


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=6),
    st.lists(st.integers(min_value=0, max_value=300)),
)
def test_frames_come_back_however_they_are_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(
        bytes([number, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for number, data in frames
    )
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    demultiplexer = Demultiplexer()
    found = [frame for start, end in pairwise(places) for frame in demultiplexer.feed(stream[start:end])]
    assert found == frames
