from __future__ import annotations

import pytest

from labkernel.engine.build.errors import DockerfileError
from labkernel.engine.build.instructions import (
    Arg,
    Command,
    Copy,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Onbuild,
    Volume,
    instruction,
)
from labkernel.engine.build.parser import parse
from tests.support.mistakes import marked


def read(text: str) -> Instruction:
    """The last instruction of a Dockerfile."""
    dockerfile = parse(text)
    return [instruction(dockerfile, node) for node in dockerfile.nodes][-1]


def test_from() -> None:
    step = read("FROM --platform=linux/arm64 a:1 As Base.x-1")
    assert isinstance(step, From)
    assert (step.base, step.stage, step.platform) == ("a:1", "base.x-1", "linux/arm64")
    assert step.code == "FROM --platform=linux/arm64 a:1 As Base.x-1"


def test_pairs_and_arguments() -> None:
    step = read("ENV a=b c='d e'")
    assert isinstance(step, Env)
    assert step.pairs == (("a", "b"), ("c", "'d e'"))
    step = read("ARG a b= c=d=e")
    assert isinstance(step, Arg)
    assert step.arguments == (("a", None), ("b", ""), ("c", "d=e"))


def test_copy() -> None:
    step = read("COPY --from=x --chown=1:2 --chmod=755 a b /c/")
    assert isinstance(step, Copy)
    assert (step.sources, step.destination, step.stage, step.chown, step.chmod) == (
        ("a", "b"),
        "/c/",
        "x",
        "1:2",
        "755",
    )
    assert not step.is_add


def test_copy_of_heredocs() -> None:
    step = read("ADD <<a b <<-'c' /d/\n1\na\n\t2\n\tc\n")
    assert isinstance(step, Copy)
    assert step.is_add
    assert step.sources == ("b",)
    assert [(h.name, h.text, h.expand) for h in step.heredocs] == [("a", "1\n", True), ("c", "2\n", False)]


def test_commands() -> None:
    step = read('RUN ["a", "b"]')
    assert isinstance(step, Command)
    assert (step.arguments, step.is_shell) == (("a", "b"), False)
    step = read("CMD a  b")
    assert isinstance(step, Command)
    assert (step.arguments, step.is_shell) == (("a  b",), True)


def test_healthcheck() -> None:
    step = read("HEALTHCHECK --interval=1m30s --timeout=.5s --start-period=1h2m --retries=3 CMD a b")
    assert isinstance(step, Healthcheck)
    assert step.test == ("CMD-SHELL", "a b")
    seconds = 10**9
    assert (step.interval, step.timeout, step.start_period, step.retries) == (
        90 * seconds,
        seconds // 2,
        3720 * seconds,
        3,
    )


def test_sorted_ports_trimmed_volumes_whole_triggers() -> None:
    step = read("EXPOSE 90 80")
    assert isinstance(step, Expose)
    assert step.ports == ("80", "90")
    volume = read('VOLUME [" /a ", "/b"]')
    assert isinstance(volume, Volume)
    assert volume.paths == ("/a", "/b")
    trigger = read("ONBUILD RUN <<X\ny\nX\n")
    assert isinstance(trigger, Onbuild)
    assert trigger.expression == "RUN <<X\ny\nX"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("FRMO x", "unknown instruction: FRMO"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        (
            "FROM a AS 1x",
            'invalid name for build stage: "1x", name can\'t start with a number or contain symbols',
        ),
        ("FROM --foo=x a", "Unknown flag: foo"),
        ("FROM --platform a", "Missing a value on flag: platform"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV =b", "ENV names can not be blank"),
        ("ENV --x=y a=b", "Unknown flag: x"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("LABEL", "LABEL requires at least one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
        ),
        ("COPY --from=a --from=b x y", "Duplicate flag specified: from"),
        ("ADD --from=a x y", "Unknown flag: from"),
        ("RUN --device=x y", "RUN --device is not offered by this builder"),
        ("RUN --network=x y", 'unsupported network mode "x"'),
        ("COPY a <<b\nb", "COPY cannot accept a heredoc as a destination"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK TCP x", 'Unknown type "TCP" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --interval=3 CMD x", 'time: missing unit in duration "3"'),
        ("HEALTHCHECK --interval=x CMD x", 'time: invalid duration "x"'),
        ("HEALTHCHECK --timeout=3ns CMD x", 'Interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=0 CMD x", "--retries must be at least 1 (not 0)"),
        ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD RNU x", "unknown instruction: RNU"),
        ("SHELL", "SHELL requires at least one argument"),
        ("SHELL a", "SHELL requires the arguments to be in JSON form"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
    ],
)
def test_errors_are_dockers(line: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        read("FROM a\n\n" + line)
    assert caught.value.message == f"dockerfile parse error on line 3: {message}"
    assert caught.value.line == 3
    assert caught.value.details["failure"]["lines"][-1]["text"] == line.split("\n")[-1]


@pytest.mark.parametrize(
    ("line", "hint", "mark"),
    [
        ("FRMO x", "did you mean FROM?", "FRMO"),
        ("COPY --fron=x a b", "did you mean --from?", "--fron"),
        ("HEALTHCHECK --interval=30 CMD x", "give the unit, for example --interval=30s", "30"),
    ],
)
def test_hints_mark_the_place(line: str, hint: str, mark: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        read(line)
    assert (caught.value.hint, marked(caught.value.details["failure"])) == (hint, mark)
