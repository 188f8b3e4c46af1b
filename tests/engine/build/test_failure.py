from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.build.failure import last_lines, marked, meaning, place, shortened
from labkernel.engine.build.interface import error_message
from labkernel.engine.errors import EngineError
from tests.engine.build.conftest import Workshop


@pytest.mark.parametrize(
    ("word", "numbers"),
    [
        ("", [*range(8, 15), *range(86, 93)]),
        ("50", [*range(8, 15), *range(45, 55), *range(86, 93)]),
        ("88", [*range(8, 15), *range(83, 93)]),
    ],
)
def test_a_long_instruction_keeps_its_ends_and_what_is_marked(word: str, numbers: list[int]) -> None:
    failure = place([f"line {n}" for n in range(1, 101)], 10, 90, 10)
    marked(failure, word)
    shortened(failure)
    assert [line["number"] for line in failure["lines"]] == numbers


@pytest.mark.parametrize(
    ("lines", "word", "mark"),
    [
        (["RUN apt install pkg", "  pkg-config pkg"], "pkg", (1, 17, 3)),
        (["RUN true &&", "  x &&"], "&&", (1, 10, 2)),
        (["RUN x"], "y", None),
        (["RUN x"], "", None),
    ],
)
def test_the_mark_is_on_a_word_of_its_own(
    lines: list[str], word: str, mark: tuple[int, int, int] | None
) -> None:
    failure = place(lines, 1, len(lines), 1)
    marked(failure, word)
    found = failure.get("mark")
    assert (tuple(found.values()) if found else None) == mark


def test_what_codes_mean() -> None:
    assert meaning(127) == "command not found"
    assert meaning(129) == "ended by signal 1, SIGHUP"
    assert (meaning(1), meaning(255)) == (None, None)


def test_output_is_as_a_terminal_shows_it() -> None:
    assert last_lines("\x1b[91mone\x1b[0m\n10%\r100%\n\n") == ["one", "100%"]
    assert len(last_lines("x\n" * 1000)) == 15


@given(
    st.lists(st.text(max_size=9), max_size=60), st.integers(0, 70), st.integers(0, 70), st.text(max_size=3)
)
def test_places_are_in_the_source(source: list[str], first: int, last: int, word: str) -> None:
    found = place(source, first, last, first)
    marked(found, word)
    for line in found.get("lines", ()):
        assert source[line["number"] - 1].startswith(line["text"])
    if mark := found.get("mark"):
        text = source[mark["line"] - 1]
        assert text[mark["column"] - 1 :][: mark["width"]] == word


def test_a_trigger_is_of_the_base_image(workshop: Workshop) -> None:
    workshop.build("FROM busybox\nONBUILD RUN nosuch\n", tags=["base"])
    with pytest.raises(EngineError) as caught:
        workshop.build("FROM base\nCMD x\n")
    failure = error_message(caught.value)["errorDetail"]["failure"]
    assert failure["isTrigger"]
    assert failure["lines"] == [{"number": 1, "text": "RUN nosuch"}]
