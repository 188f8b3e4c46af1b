"""The magics in a real shell, on our engine and on Docker's."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.commands import Finished, Listing
from labkernel.notebook.build_report import BuildReport
from tests.notebook.conftest import Shell
from tests.support.daemons import Daemon

LOOP = """sh -c 'while true; do echo "hello"; sleep 0.1; done'"""


def test_a_slides_line_as_it_is(lab_shell: Shell) -> None:
    assert lab_shell.succeeds('%docker run --rm busybox echo "Hello World"').stdout == "Hello World\n"
    assert lab_shell.succeeds('%docker docker run --rm busybox echo "Hello World"').stdout == "Hello World\n"


def test_results_are_objects(lab_shell: Shell) -> None:
    lab_shell.succeeds(f"made = %container run -d --name loop busybox {LOOP}")
    lab_shell.succeeds("running = %container ps")
    running = lab_shell.ipython.user_ns["running"]
    assert isinstance(running, Listing)
    assert [row["Names"] for row in running] == ["loop"]
    assert lab_shell.succeeds("running").displayed[0]["text/html"].startswith("<table")
    assert lab_shell.succeeds("%container ps -q --no-trunc --filter id={made}").stdout.strip() == str(
        lab_shell.ipython.user_ns["made"]
    )
    lab_shell.succeeds("%container rm -f $made")
    assert len(lab_shell.succeeds("%container ps -a").value) == 0


def test_the_life_of_a_container(lab_shell: Shell) -> None:
    lab_shell.succeeds(f"%container run -d --name loop busybox {LOOP}")
    assert "/bin" in lab_shell.succeeds("%container exec loop ls /").stdout.replace("bin", "/bin")
    for command, state in [("stop -t 0", "exited"), ("start", "running"), ("restart -t 0", "running")]:
        lab_shell.succeeds(f"%container {command} loop")
        shown = lab_shell.succeeds("%container inspect -f '{{.State.Status}}' loop")
        assert shown.stdout.strip() == state
    assert lab_shell.succeeds("%container logs loop").stdout.startswith("hello\n")
    lab_shell.succeeds("%container commit loop me/loop")
    assert "me/loop" in lab_shell.succeeds("%image ls").text
    lab_shell.succeeds("%container rm -f loop")


def test_streams_go_where_they_belong(lab_shell: Shell) -> None:
    ran = lab_shell.succeeds("%docker run --rm busybox sh -c 'echo out; echo err >&2; exit 3'")
    assert isinstance(ran.value, Finished)
    assert (ran.stdout, ran.stderr) == ("out\n", "err\nexit code 3\n")
    assert (ran.value.exit_code, ran.value.stdout) == (3, b"out\n")


def test_there_is_no_input_in_a_cell(lab_shell: Shell) -> None:
    ran = lab_shell.succeeds("%docker run --rm -i busybox sh -c 'cat; echo read'")
    assert ran.stdout == "read\n"
    assert "note: there is no input here, so this runs without -i" in ran.stderr


def test_what_ended_a_container_is_named(lab_shell: Shell) -> None:
    ran = lab_shell.succeeds("%docker run --rm busybox sh -c 'exit 137'")
    assert "exit code 137: ended by signal 9, SIGKILL" in ran.text


def test_several_lines(lab_shell: Shell) -> None:
    ran = lab_shell.succeeds(
        "%%docker\n"
        "# it's a script\n"
        "$ docker create --name several \\\n"
        "    busybox true\n"
        "docker ps -a --format '{{.Names}}'\n"
        "docker run --rm busybox sh -c 'echo a\necho b'\n"
        "docker rm $(docker ps -aq)\n"
    )
    assert "several\na\nb\n" in ran.stdout
    assert len(lab_shell.succeeds("%docker ps -a").value) == 0


def test_a_cell_is_built(lab_shell: Shell) -> None:
    cell = "%%dockerfile -t me/greeting\nFROM busybox\nRUN echo hi > /greeting\nCMD cat /greeting\n"
    first = lab_shell.succeeds(cell).value
    assert isinstance(first, BuildReport)
    assert [step.cached for step in first.steps[1:]] == [False, False]
    assert first.sizes == {2: 3}
    again = lab_shell.succeeds(cell).value
    assert (again.image, [step.cached for step in again.steps[1:]]) == (first.image, [True, True])
    assert "2 of 3 steps from the cache" in again.text
    assert lab_shell.succeeds("%docker run --rm me/greeting").stdout == "hi\n"
    picture = lab_shell.succeeds("%layers me/greeting")
    assert "shared with busybox" in picture.text
    assert "RUN echo hi" in picture.displayed[0]["text/html"]


def test_a_cell_says_why_a_step_was_run_again(lab_shell: Shell, docker_host: Daemon) -> None:
    cell = "%%dockerfile -t me/again\nFROM busybox\nENV A=1\nRUN head -c 5000 /dev/zero > /x\nRUN rm /x\n"
    first = lab_shell.succeeds(cell).value
    again = lab_shell.succeeds(cell.replace("A=1", "A=2")).value
    if docker_host.kind == "dockerd":
        assert not again.explanation
        return
    assert first.explanation.is_first
    assert "step 2 ENV A=2: because the line changed: ENV A=1 -> ENV A=2" in again.text
    assert "step 3 RUN head -c 5000 /dev/zero > /x: because step 2 was run again" in again.text
    assert "step 3 wastes 5kB: /x (deleted by step 4)" in again.text
    assert "ENV A=1 -&gt; ENV A=2" in again._repr_html_()


def test_a_cell_with_a_context(lab_shell: Shell) -> None:
    Path("src").mkdir()
    Path("src/a.txt").write_text("from the context\n")
    lab_shell.succeeds(
        "%%dockerfile -t me/copied --context src\nFROM busybox\nCOPY a.txt /\nCMD cat /a.txt\n"
    )
    assert lab_shell.succeeds("%docker run --rm me/copied").stdout == "from the context\n"
    Path("src/Dockerfile").write_text("FROM busybox\nCMD echo from a file\n")
    assert isinstance(lab_shell.succeeds("%docker build -t me/file src").value, BuildReport)
    assert lab_shell.succeeds("%docker run --rm me/file").stdout == "from a file\n"


def test_ports(lab_shell: Shell) -> None:
    assert "no container publishes a port" in lab_shell.succeeds("%ports").text
    lab_shell.succeeds("%docker run -d -p 8080:80 --name web busybox sleep 60")
    assert "http://localhost:8080" in lab_shell.succeeds("%ports").text
    assert "web:80/tcp" in lab_shell.succeeds("%ports web").text
    lab_shell.succeeds("%docker rm -f web")


@pytest.mark.parametrize(
    ("cell", "message", "hint"),
    [
        ("%docker rnu busybox", "unknown command", "did you mean"),
        ("%docker run --privilegd busybox", "unknown flag: --privilegd", "--privileged"),
        ("%docker run --rm busybox nothing-of-this-name", "executable file not found", ""),
        ("%docker ps | grep x", "pipe", "!docker ps | grep x"),
        ("%%docker\nfor i in 1 2; do\ndocker ps\ndone", "a second command", "`for` is for a shell"),
        ("%%docker\ncd /tmp\ndocker ps", "unknown command: docker cd", "`%cd DIRECTORY` goes there"),
        ("%%dockerfile --context nodir\nFROM busybox\n", 'path "nodir" not found', "--context names"),
        ("%%dockerfile\nFROM busybox\nRUN apt-get update\n", "non-zero code: 127", "FROM debian has it"),
        ("%container logs nobody", "No such container: nobody", "docker ps -a"),
        ("%layers nothing", "No such image or container: nothing", "%image ls"),
        ("%ports nobody", "No such container: nobody", "%container ps"),
        ("%%dockerfile\nFROM busybox\nRUM true\n", "unknown instruction: RUM", "did you mean RUN?"),
        (
            "%%dockerfile\nFROM busybox\nRUN echo why; false\n",
            "returned a non-zero code: 1",
            "printed, above",
        ),
        ("%%dockerfile\nFROM busybox\nADD . /\n", "build context", "--context DIR"),
        ("%docker -H unix:///nowhere/sock ps", "Cannot connect", "labkernel engine start"),
    ],
)
def test_failures_are_one_block(lab_shell: Shell, cell: str, message: str, hint: str) -> None:
    ran = lab_shell.run(cell)
    assert ran.error is not None
    assert message in ran.stdout
    assert "hint:" in ran.stdout
    assert hint in ran.stdout
    assert "Traceback" not in ran.stdout


def test_help(lab_shell: Shell) -> None:
    assert "Usage:  docker container run" in lab_shell.succeeds("%container run --help").stdout
    assert "--context DIR" in lab_shell.succeeds("%%dockerfile --help\n#").stdout
    assert "Usage:" in lab_shell.succeeds("%layers").stdout


def test_unloading_leaves_nothing(lab_shell: Shell) -> None:
    matchers = list(lab_shell.ipython.Completer.custom_matchers)
    lab_shell.succeeds("%unload_ext labkernel")
    for kind, name in [("line", "docker"), ("line", "layers"), ("cell", "dockerfile")]:
        assert name not in lab_shell.ipython.magics_manager.magics[kind]
    assert len(lab_shell.ipython.Completer.custom_matchers) == len(matchers) - 1
    loaded = lab_shell.succeeds("%load_ext labkernel")
    assert "answers at unix://" in loaded.stdout
    assert lab_shell.succeeds("%reload_ext labkernel").error is None
    assert len(lab_shell.ipython.Completer.custom_matchers) == len(matchers)


def test_a_cell_has_notes_at_their_lines(lab_shell: Shell, docker_host: Daemon) -> None:
    """hadolint's findings stay folded; what the engine says of the build does not."""
    plain = "%%dockerfile\nFROM busybox\nRUN true\nMAINTAINER me\n"
    html = lab_shell.succeeds(plain).value._repr_html_()
    assert "DL4000" in html
    assert "hadolint/wiki/DL4000" in html
    assert "<details open" not in html.partition("On the Dockerfile")[0][-60:]
    if docker_host.kind == "dockerd":
        return
    cell = "%%dockerfile\nARG A=1\nFROM busybox\nRUN head -c 6000 /dev/zero > /w\nRUN rm /w\nCMD ['sh']\n"
    report = lab_shell.succeeds(cell).value
    html = report._repr_html_()
    assert report.sizes == {3: 6000, 4: 0}
    assert "On the Dockerfile: 1 warning, 6kB wasted, " in html
    assert html.count("wastes 6kB: /w (deleted by step 4)") == 1
    notes = html.partition("On the Dockerfile")[2]
    places = [notes.index(text) for text in ("/zero &gt; /w</span>", "wastes 6kB", "CMD [", "list of words")]
    assert places == sorted(places)
    assert "line 5: this looks like a list of words" in report.text


def test_a_cell_is_checked_only(lab_shell: Shell) -> None:
    ran = lab_shell.succeeds("%%dockerfile --check -t me/unmade\nFROM busybox:1\nRUN cd /app\n")
    assert "WARNING: DL3003 - " in ran.stdout
    assert "No such image" in lab_shell.run("%image inspect me/unmade").stdout
