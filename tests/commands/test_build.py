from __future__ import annotations

import io
import os
import re
import tarfile
from pathlib import Path

import pytest

from labkernel.commands import Built, CommandError, Recorder, parse
from labkernel.commands.build_errors import explain_build_error
from labkernel.commands.build_source import BuildSource
from labkernel.commands.results import BuildStep
from tests.commands.conftest import Commands

NO_FROM = "a Dockerfile begins with FROM, such as FROM busybox; only ARG may stand before it"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(
        'FROM busybox\nCOPY hello.txt /\nRUN echo built > /built\nCMD ["cat", "/hello.txt"]\n'
    )
    (tmp_path / "hello.txt").write_text("hello\n")
    return tmp_path


def built(run: Commands, *argv: str, stdin: bytes | None = None) -> Built:
    result = run("build", *argv, stdin=stdin).result
    assert isinstance(result, Built)
    return result


def test_a_build_streams_its_steps_and_returns_them(run: Commands, context: Path) -> None:
    result = built(run, "-t", "me/x", "-t", "me/x:2", str(context))
    assert [step.instruction for step in result.steps] == [
        *("FROM busybox", "COPY hello.txt /", "RUN echo built > /built", 'CMD ["cat", "/hello.txt"]'),
    ]
    assert not any(step.cached for step in result.steps)
    assert b"Step 1/4 : FROM busybox\n" in run.last.stdout
    assert b"Successfully tagged me/x:2\n" in run.last.stdout
    assert "Sending build context" in run.last.progress_lines["context"]
    assert run("images", "-q", "--no-trunc", "me/x:2").printed.strip() == result.image
    assert run("run", "--rm", "me/x").stdout == b"hello\n"


def test_a_second_build_comes_from_the_cache(run: Commands, context: Path) -> None:
    first = built(run, "-t", "me/x", str(context))
    second = built(run, "-t", "me/x", str(context))
    assert [step.cached for step in second.steps[1:]] == [True, True, True]
    assert second.image == first.image
    (context / "hello.txt").write_text("changed\n")
    third = built(run, "-t", "me/x", str(context))
    assert [step.cached for step in third.steps[1:]] == [False, False, False]


def test_why_a_step_was_run_again(run: Commands, context: Path) -> None:
    """Docker's engine does not say, and nothing is shown then."""
    (context / "Dockerfile").write_text(
        'FROM busybox\nCOPY hello.txt /told\nRUN echo told > /built\nCMD ["cat", "/told"]\n'
    )
    build = ("--explain", "-t", "me/explained", str(context))
    first = built(run, *build)
    (context / "hello.txt").write_text("hello, world\n")
    second = built(run, *build)
    if run.daemon.kind == "dockerd":
        assert (first.text, second.text) == ("", "")
        return
    assert first.text == "0 of 4 steps from the cache; this was not built before"
    assert second.text.splitlines() == [
        "0 of 4 steps from the cache; first run again: "
        "step 2 COPY hello.txt /told because hello.txt changed (6B -> 13B)",
        "  step 2 COPY hello.txt /told: because hello.txt changed (6B -> 13B)",
        "  step 3 RUN echo told > /built: because step 2 was run again",
        '  step 4 CMD ["cat", "/told"]: because step 3 was run again, which goes back to step 2',
    ]
    assert built(run, *build).text == "3 of 4 steps from the cache"
    assert built(run, str(context)).text == ""


def test_the_cache_is_shared_with_the_stock_client(run: Commands, context: Path) -> None:
    environment = {**run.daemon.environment(), "DOCKER_BUILDKIT": "0"}
    assert run.daemon.docker("build", "-t", "me/x", str(context), env=environment).returncode == 0
    result = built(run, "-t", "me/x", str(context))
    assert [step.cached for step in result.steps[1:]] == [True, True, True]


def test_only_the_id_when_quiet(run: Commands, context: Path) -> None:
    result = built(run, "-q", str(context))
    assert str(result) == result.image
    assert run.last.stdout == b""


def test_flags_take_effect(run: Commands, context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (context / "Other").write_text("FROM busybox AS one\nARG A=0\nRUN echo $A > /a\nFROM one\nRUN exit 1\n")
    iid = tmp_path_factory.mktemp("out") / "iid"
    flags = [
        "-f",
        str(context / "Other"),
        "--build-arg",
        "A=7",
        "--target",
        "one",
        "--label",
        "k=v",
        "--iidfile",
        str(iid),
    ]
    result = built(run, *flags, "-t", "me/y", str(context))
    assert iid.read_text() == result.image
    assert run("run", "--rm", "me/y", "cat", "/a").stdout == b"7\n"
    assert run("inspect", "-f", "{{.Config.Labels.k}}", "me/y").printed == "v\n"


def test_a_dockerfile_from_standard_input_leaves_the_context_as_it_is(run: Commands, context: Path) -> None:
    dockerfile = b"FROM busybox\nCOPY . /all\nRUN ls -A /all > /list\n"
    built(run, "-t", "me/x", "-f", "-", str(context), stdin=dockerfile)
    assert run("run", "--rm", "me/x", "cat", "/list").stdout == b"Dockerfile\nhello.txt\n"
    again = built(run, "-t", "me/x", "-f", "-", str(context), stdin=dockerfile)
    assert [step.cached for step in again.steps[1:]] == [True, True]
    assert sorted(os.listdir(context)) == ["Dockerfile", "hello.txt"]


def test_a_context_from_standard_input(run: Commands) -> None:
    built(run, "-t", "me/x", "-", stdin=b"FROM busybox\nCMD echo alone\n")
    assert run("run", "--rm", "me/x").stdout == b"alone\n"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = 13
        tar.addfile(info, io.BytesIO(b"FROM busybox\n"))
    assert built(run, "-", stdin=archive.getvalue()).image


def test_ignored_files_are_not_sent(run: Commands, context: Path) -> None:
    (context / ".dockerignore").write_text("*\n!hello.txt\n")
    (context / "secret").write_text("x" * 1_000_000)
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN ls -A /all > /list\n")
    built(run, "-t", "me/x", str(context))
    assert run("run", "--rm", "me/x", "cat", "/list").stdout == b"hello.txt\n"


@pytest.mark.parametrize(
    ("dockerfile", "what", "failing", "hint"),
    [
        ("FROM busybox\nRNU x\n", "unknown instruction: RNU", ["RNU x"], "did you mean RUN?"),
        ("FROM busybox\nCOPY helo.txt /\n", "helo.txt", ["COPY helo.txt /"], "did you mean hello.txt?"),
        (
            "FROM busybox\nRUN true && \\\n    exit 7\nCMD x\n",
            "returned a non-zero code: 7",
            ["RUN true && \\", "    exit 7"],
            None,
        ),
        ("", "the Dockerfile (Dockerfile) cannot be empty", [], NO_FROM),
        ("RUN true\n", "no build stage in current context", ["RUN true"], NO_FROM),
        (
            "FROM busybox\nRUN apt-get update\n",
            "returned a non-zero code: 127",
            ["RUN apt-get update"],
            "FROM debian has it",
        ),
        (
            "FROM busybox\nRUN nosuch\n",
            "returned a non-zero code: 127",
            ["RUN nosuch"],
            "an earlier RUN may install it",
        ),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(
    run: Commands, context: Path, dockerfile: str, what: str, failing: list[str], hint: str | None
) -> None:
    (context / "Dockerfile").write_text(dockerfile)
    with pytest.raises(CommandError) as raised:
        run("build", "-t", "me/x", str(context))
    error = raised.value
    assert what in error.what
    assert (
        [line.text for line in error.failure.lines if line.is_failing] == failing
        if error.failure
        else (not failing or "no build stage" in what)
    )
    assert error.hint is hint or str(hint) in str(error.hint)
    code = re.search(r"non-zero code: (\d+)", what)
    assert error.exit_code == (int(code[1]) if code else 1)
    assert run("images", "-q", "me/x").printed == ""


def test_a_failed_build_as_text(run: Commands, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\n\nRUN echo because >&2 && \\\n\tnosuch\nCMD x\n")
    with pytest.raises(CommandError) as raised:
        run("build", str(context))
    is_ours = run.daemon.kind == "labkernel"
    mark = ["    |     \t^^^^^^"] if is_ours else []
    assert raised.value.text.splitlines()[1:-2] == [
        "Dockerfile:3",
        "  1 |     FROM busybox",
        "  2 |",
        "  3 | >>> RUN echo because >&2 && \\",
        "  4 | >>> \tnosuch",
        *mark,
        "  5 |     CMD x",
        "exit code 127: command not found" if is_ours else "exit code 127",
        "the last lines of its output:",
        "  | because",
        "  | /bin/sh: nosuch: not found",
    ]
    assert "\x1b[31m>>>\x1b[0m" in raised.value.rendered(in_colours=True)


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["nowhere"], 'path "nowhere" not found', "the last word of docker build"),
        (["-f", "Dockrfile", "."], "Dockrfile", "did you mean -f Dockerfile?"),
        (["-t", "UPPER", "."], "invalid reference format", "names of images are in lower case"),
        (["-"], "there is no standard input here", "write the Dockerfile to a file"),
    ],
)
def test_a_build_that_cannot_begin(
    run: Commands, context: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str, hint: str
) -> None:
    monkeypatch.chdir(context)
    with pytest.raises(CommandError) as raised:
        run("build", *words)
    assert what in raised.value.what
    assert (raised.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("instruction", "output", "hint"),
    [
        ("RUN apt-get install -y jq", "E: Unable to locate package jq", "package lists are not part"),
        (
            "RUN apt-get update && apt-get install -y pkgconfg",
            "E: Unable to locate package pkgconfg",
            "no package of that name: pkgconfg",
        ),
        ("RUN apt update && apt install jq", "Do you want to continue? [Y/n] Abort.\n", "apt-get install -y"),
        ("RUN false", "nothing", None),
    ],
)
def test_slips_with_apt(context: Path, instruction: str, output: str, hint: str | None) -> None:
    error = CommandError("The command returned a non-zero code: 100")
    source = BuildSource(parse(["build", str(context)]), Recorder())
    found = explain_build_error(error, source, [BuildStep(instruction, output=output)]).hint
    assert found is hint or str(hint) in str(found)
