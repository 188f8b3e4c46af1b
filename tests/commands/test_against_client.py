"""Our commands print what the stock client prints, on the same daemon at the same time."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from labkernel.commands import CommandError
from tests.commands.conftest import Commands


@pytest.fixture
def populated(run: Commands) -> Commands:
    """Some containers, images, a network and a volume."""
    run(
        "build",
        "-t",
        "me/x",
        "-t",
        "me/x:2",
        "-",
        stdin=b"FROM busybox\nRUN echo hi > /x\nENV A=b\nEXPOSE 80\n",
    )
    run("volume", "create", "--label", "kind=test", "vol")
    script = "echo out; echo err >&2; touch /new; rm /etc/group; exec sleep 1000"
    flags = ["-d", "--name", "web", "-p", "18080:80", "-p", "18081-18082:81-82/udp", "--label", "role=web"]
    run("run", *flags, "-v", "vol:/data", "-e", "Q=1", "me/x", "sh", "-c", script)
    run("create", "--name", "made", "--expose", "90", "busybox", "true")
    run("run", "-d", "--name", "ended", "busybox", "sh", "-c", "exit 3")
    run("wait", "ended")
    return run


LINES = [
    ["ps"],
    ["ps", "-a"],
    ["ps", "-a", "--no-trunc"],
    ["ps", "-aq"],
    ["ps", "-as"],
    ["ps", "-l"],
    ["ps", "-n", "2"],
    ["ps", "-a", "-f", "status=exited"],
    ["ps", "-a", "-f", "name=web", "-f", "label=role=web"],
    ["ps", "-a", "--format", 'table {{.Names}}\t{{.Ports}}\t{{.Label "role"}}'],
    ["ps", "-a", "--format", "{{.Names}} {{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.State}}"],
    ["container", "ls", "-a"],
    ["images"],
    ["images", "--digests"],
    ["images", "-q", "--no-trunc"],
    ["images", "me/x"],
    ["images", "me/x:2", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}"],
    ["image", "ls", "-f", "reference=busy*"],
    ["history", "me/x"],
    ["history", "--no-trunc", "me/x"],
    ["history", "-q", "me/x"],
    ["history", "-H=false", "me/x"],
    ["port", "web"],
    ["port", "web", "80"],
    ["port", "web", "82/udp"],
    ["port", "made"],
    ["inspect", "web"],
    ["inspect", "-s", "web"],
    ["inspect", "web", "made"],
    ["inspect", "me/x"],
    ["inspect", "bridge"],
    ["inspect", "vol"],
    ["inspect", "--type", "image", "busybox"],
    ["image", "inspect", "busybox"],
    ["network", "inspect", "bridge"],
    ["volume", "inspect", "vol"],
    ["inspect", "-f", "{{.NetworkSettings.Ports}}", "web"],
    ["inspect", "-f", "{{.Config.Cmd}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy}}", "ended"],
    ["inspect", "-f", "{{json .Config.Env}} {{json .Mounts}}", "web"],
    ["inspect", "-f", '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "web"],
    ["inspect", "-f", "{{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}{{.Config.Labels.role}}", "web"],
    ["inspect", "-f", "{{range $k, $v := .Config.ExposedPorts}}{{$k}} {{end}}{{len .Config.Env}}", "me/x"],
    ["logs", "web"],
    ["logs", "-t", "-n", "1", "web"],
    ["network", "ls"],
    ["network", "ls", "-q"],
    ["volume", "ls"],
    ["volume", "ls", "-f", "label=kind=test", "--format", "{{.Name}} {{.Driver}} {{.Labels}}"],
    ["version", "-f", "{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}"],
    ["info", "-f", "{{.Driver}} {{.NCPU}} {{.ServerVersion}}"],
]


MOVING = [["top", "web"], ["top", "web", "-o", "pid,comm"], ["info"], ["system", "df"], ["diff", "web"]]
"""Their text has times of day in it, or lines in no order."""

FAILING = [
    ["inspect", "nosuch"],
    ["logs", "nosuch"],
    ["rmi", "nosuch"],
    ["start", "nosuch"],
    ["stop", "nosuch"],
    ["rm", "web"],
    ["port", "web", "99"],
    ["exec", "made", "ls"],
    ["tag", "nosuch", "x"],
    ["history", "nosuch"],
    ["rename", "web", "made"],
    ["create", "--name", "web", "busybox"],
    ["run", "--name", "web", "busybox"],
    ["run", "-d", "--rm", "-p", "18080:80", "busybox", "true"],
    ["run", "--rm", "busybox", "nosuch"],
    ["run", "--rm", "busybox", "/etc"],
    ["run", "--rm", "-w", "relative", "busybox", "true"],
    ["run", "--rm", "-m", "1k", "busybox", "true"],
    ["run", "--rm", "--cap-add", "NOPE", "busybox", "true"],
    ["run", "--restart", "always", "--rm", "busybox"],
    ["cp", "web:/nosuch", "/tmp/x"],
    ["volume", "rm", "vol"],
    ["network", "rm", "nosuch"],
    ["kill", "ended"],
    ["inspect", "-f", "{{.Nope}}", "web"],
    ["attach", "ended"],
]


def test_same_text_as_the_stock_client(populated: Commands) -> None:
    _none([_difference(populated, words, str) for words in LINES])


def test_same_text_but_for_what_moves(populated: Commands) -> None:
    def steady(text: str) -> str:
        text = text.split("\nServer:", 1)[-1]  # the clients call themselves by their own names
        return "\n".join(sorted(re.sub(r"\d\d:\d\d(:\d\d)?", "", text).strip().splitlines()))

    _none([_difference(populated, words, steady) for words in MOVING])


def _none(differences: list[str]) -> None:
    assert not any(differences), "\n\n".join(filter(None, differences))


def _difference(run: Commands, words: list[str], steady: Callable[[str], str]) -> str:
    """Nothing for the same on both streams; tried again when the clock may have moved on between the two."""
    for _ in range(3):
        ran = run(*words)
        stock = run.daemon.docker(*words)
        assert stock.returncode == 0, stock.stderr
        ours, theirs = steady(ran.printed) + ran.stderr.decode(), steady(stock.stdout) + stock.stderr
        if ours == theirs:
            return ""
    return f"docker {' '.join(words)}\nours:\n{ours}\nthe stock client's:\n{theirs}"


def test_same_words_and_exit_code_when_it_fails(populated: Commands) -> None:
    differences = []
    for words in FAILING:
        stock = populated.daemon.docker(*words)
        with pytest.raises(CommandError) as raised:
            populated(*words)
        theirs = _steady_error(stock.stderr.split("\n\n", 1)[0].strip()), stock.returncode
        ours = _steady_error(raised.value.what), raised.value.exit_code
        if ours != theirs:
            differences.append(f"docker {' '.join(words)}\nours: {ours}\nthe stock client's: {theirs}")
        assert raised.value.where
    _none(differences)


def _steady_error(text: str) -> str:
    """Without what the engine makes up for each try, the client's summing-up, and columns in templates."""
    text = re.sub(r"\n(Error: failed to (start|rename) container|exit status \d).*", "", text)
    text = re.sub(r"(template: :\d+:)\d+:", r"\1", text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "ID", text)
    return re.sub(r"endpoint \w+ ", "endpoint NAME ", text)
