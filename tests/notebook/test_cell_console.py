from __future__ import annotations

import pytest

from labkernel.notebook.cell_console import MOST_CHARACTERS, MOST_LINES, CellConsole


def test_characters_that_come_in_pieces_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    console = CellConsole(live=False)
    for byte in "grüße".encode():
        console.write(bytes([byte]))
    console.write_error(b"\xff!")
    console.close()
    assert capsys.readouterr() == ("grüße", "\ufffd!")


@pytest.mark.parametrize("chunk", [b"y\n" * 1000, b"x" * 50_000, b"\n"])
def test_a_cell_shows_only_so_much(chunk: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    console = CellConsole(live=False)
    for _ in range(MOST_LINES + 10):
        console.write(chunk)
    shown, said = capsys.readouterr()
    assert len(shown) <= MOST_CHARACTERS
    assert shown.count("\n") <= MOST_LINES
    assert said.count("more than a cell can show") == 1
    assert "hint: " in said


def test_a_note_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook shows standard error in red."""
    CellConsole(live=False).note(b"Unable to find image 'x:latest' locally\n")
    assert capsys.readouterr() == ("Unable to find image 'x:latest' locally\n", "")
