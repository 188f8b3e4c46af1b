from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from labkernel.notebook.build_stream import KEPT, BuildStream

TEXT = """\
Step 1/3 : FROM busybox
 ---> a41263c39b75
Step 2/3 : RUN echo hi
 ---> Running in 943335341e08
\x1b[91mhi
\x1b[0mRemoving intermediate container 943335341e08
 ---> e0e658ebddae
Step 3/3 : CMD true
 ---> Using cache
 ---> 8f537350b20b
Successfully built 8f537350b20b
Successfully tagged x:latest
"""


class Clock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def read(*pieces: str) -> BuildStream:
    stream = BuildStream(Clock())
    for piece in pieces:
        stream.feed(piece)
    stream.finish()
    return stream


def test_steps_with_their_results() -> None:
    first, second, third = read(TEXT).steps
    assert (first.number, first.instruction, first.image) == (1, "FROM busybox", "a41263c39b75")
    assert (second.instruction, second.output, second.cached) == ("RUN echo hi", "hi\n", False)
    assert (third.instruction, third.cached, third.output) == ("CMD true", True, "")
    assert all(step.is_done for step in (first, second, third))


def test_what_comes_before_the_first_step_is_kept_apart() -> None:
    stream = read("Sending build context to Docker daemon  2kB\nMaking golang\n", TEXT)
    assert stream.before == "Making golang\n"
    assert stream.total == 3


def test_a_stage_that_fails_leaves_out_steps_of_others() -> None:
    first, second = read("Step 1/9 : FROM a\nStep 4/9 : RUN false\nbecause\n").steps
    assert (first.number, second.number, second.output) == (1, 4, "because\n")


def test_the_build_of_a_base_image_belongs_to_from() -> None:
    inner = TEXT.replace("/3 :", "/9 :")
    first, second, third = read(
        "Step 1/3 : FROM golang\n", inner, " ---> 0123456789ab\nStep 2/3 : RUN true\nStep 3/3 : CMD true\n"
    ).steps
    assert (first.instruction, first.image, first.cached) == ("FROM golang", "0123456789ab", False)
    assert "Step 2/9 : RUN echo hi" in first.output
    assert (second.instruction, third.instruction) == ("RUN true", "CMD true")


def test_the_step_that_runs_is_known() -> None:
    stream = BuildStream(Clock())
    stream.feed("Step 1/2 : FROM x\nStep 2/2 : RUN sleep 9\nstill ru")
    assert stream.current is not None
    assert stream.current.number == 2
    assert stream.steps[0].seconds == 1.0


def test_only_the_end_of_a_long_output_is_kept() -> None:
    stream = read("Step 1/1 : RUN yes\n", "y" * 99 + "\n", "line\n" * KEPT)
    assert stream.steps[0].cut
    assert len(stream.steps[0].output) == KEPT


@given(st.lists(st.integers(0, len(TEXT))))
def test_it_does_not_matter_where_pieces_end(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[start:end] for start, end in pairwise(places)]
    whole = [(s.instruction, s.output, s.cached, s.image) for s in read(TEXT).steps]
    assert [(s.instruction, s.output, s.cached, s.image) for s in read(*pieces).steps] == whole


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    read(TEXT, text)
