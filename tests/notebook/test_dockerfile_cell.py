from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.notebook.dockerfile_cell import first_copy, read_cell


@pytest.mark.parametrize(
    ("dockerfile", "found"),
    [
        ("FROM x\nADD . /src\n", "ADD . /src"),
        ("FROM x\n copy --chown=1:1 a b /c/\n", "copy --chown=1:1 a b /c/"),
        ("FROM x\nCOPY \\\n a \\\n /b\n", "COPY   a   /b"),
        ("FROM x AS y\nFROM z\nCOPY --from=y /a /b\n", None),
        ("FROM x\nADD https://example.org/a /a\n", None),
        ("FROM x\nCOPY <<EOF /a\nhello\nEOF\n", None),
        ("FROM x\n# COPY a b\nRUN echo ADD a b\n", None),
        ("FROM x\nADD https://example.org/a b /c/\n", "ADD https://example.org/a b /c/"),
    ],
)
def test_what_needs_a_context_is_found(dockerfile: str, found: str | None) -> None:
    assert first_copy(dockerfile) == found


def test_without_a_context_nothing_is_sent() -> None:
    cell = read_cell(["-t", "me/x", "--build-arg", "A=1"], "FROM x\n")
    assert cell.invocation.arguments == ["-"]
    assert cell.invocation.options["tag"] == ["me/x"]
    assert cell.invocation.options["build-arg"] == ["A=1"]
    assert cell.stdin.read() == b"FROM x\n"


@pytest.mark.parametrize("words", [["--context", "src"], ["--context=src"], ["src"], ["-t", "x", "src"]])
def test_a_context_is_named_in_two_ways(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    cell = read_cell(words, "FROM x\nADD . /\n")
    assert cell.invocation.arguments == ["src"]
    assert cell.invocation.options["file"] == "-"


def test_file_writes_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    read_cell(["-f", str(path)], "FROM x\n")
    assert path.read_text() == "FROM x\n"


@pytest.mark.parametrize(
    ("words", "body", "message", "hint"),
    [
        ([], "FROM x\nADD . /\n", "files from a build context", "--context DIR"),
        ([], " \n", "no instruction yet", "FROM busybox"),
        ([], "# YOUR CODE HERE\n", "no instruction yet", "FROM busybox"),
        (["--contxt", "."], "FROM x\n", "unknown flag: --contxt", "did you mean --context?"),
        (["--xyzzy"], "FROM x\n", "unknown flag: --xyzzy", "`%%dockerfile --help` lists the flags"),
        (["-t"], "FROM x\n", "flag needs an argument", "Name of the image"),
        (["--context", "nodir"], "FROM x\n", 'path "nodir" not found', "--context names the directory"),
        (["--context", "notebook/viewz"], "FROM x\n", 'path "notebook/viewz" not found', "`."),
        (["a", "b"], "FROM x\n", "one context, not 2", "'.'"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], body: str, message: str, hint: str) -> None:
    with pytest.raises(CommandError) as caught:
        read_cell(words, body)
    assert message in caught.value.what
    assert hint in (caught.value.hint or "")


def test_the_nearest_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    for name, hint in (("sorce", "did you mean source?"), ("source/iner", "did you mean source/inner?")):
        with pytest.raises(CommandError) as caught:
            read_cell(["--context", name], "FROM x\n")
        assert caught.value.hint == hint
        assert caught.value.where == f"%%dockerfile --context {name}"
    with pytest.raises(CommandError, match='path "file" is not a directory'):
        read_cell(["file"], "FROM x\n")
    assert read_cell(["https://example.org/a.git"], "FROM x\n").invocation.arguments == [
        "https://example.org/a.git"
    ]


def test_help_names_our_options_and_dockers() -> None:
    text = read_cell(["--help"], "").invocation.help
    assert text is not None
    assert "--context DIR" in text
    assert "--build-arg" in text
