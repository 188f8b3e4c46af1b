from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands.flags import FlagError, cpus, duration, integer, many, parse_flags, size, switch, text

FLAGS = (
    switch("detach", "d", ""),
    switch("interactive", "i", ""),
    switch("sig-proxy", "", "", default=True),
    text("name", "", ""),
    many("env", "e", ""),
    many("publish", "p", ""),
    integer("pids-limit", "", ""),
    size("memory", "m", ""),
    cpus("cpus", "", ""),
    duration("health-interval", "", ""),
)


@pytest.mark.parametrize(
    ("line", "options", "arguments"),
    [
        ("--name web busybox", {"name": "web"}, ["busybox"]),
        ("--name=web", {"name": "web"}, []),
        ("--name= x", {"name": ""}, ["x"]),
        ("-di busybox", {"detach": True, "interactive": True}, ["busybox"]),
        ("-dp80:80 x", {"detach": True, "publish": ["80:80"]}, ["x"]),
        ("-e A=1 -e=B=2 --env C=3 x", {"env": ["A=1", "B=2", "C=3"]}, ["x"]),
        ("--detach=false x", {"detach": False}, ["x"]),
        ("--sig-proxy=0", {"sig-proxy": False}, []),
        ("-m 512m", {"memory": 512 * 1024**2}, []),
        ("-m1.5g", {"memory": 3 * 1024**3 // 2}, []),
        ("--cpus 1.5", {"cpus": 1_500_000_000}, []),
        ("--cpus .25", {"cpus": 250_000_000}, []),
        ("--pids-limit -1", {"pids-limit": -1}, []),
        ("--health-interval 1m30s", {"health-interval": 90 * 10**9}, []),
        ("x -d y", {"detach": True}, ["x", "y"]),
        ("-- -d", {"detach": False}, ["-d"]),
        ("-", {}, ["-"]),
    ],
)
def test_lines_are_read_as_pflag_reads_them(
    line: str, options: dict[str, object], arguments: list[str]
) -> None:
    parsed = parse_flags(FLAGS, line.split())
    assert {name: parsed.options[name] for name in options} == options
    assert parsed.arguments == arguments


def test_flags_after_the_image_belong_to_the_command() -> None:
    parsed = parse_flags(FLAGS, ["-d", "busybox", "sh", "-c", "echo --name", "--help"], interspersed=False)
    assert parsed.arguments == ["busybox", "sh", "-c", "echo --name", "--help"]
    assert parsed.options["detach"] is True
    assert not parsed.wants_help


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--nmae web", "unknown flag: --nmae"),
        ("-dz", "unknown shorthand flag: 'z' in -z"),
        ("--name", "flag needs an argument: --name"),
        ("-dp", "flag needs an argument: 'p' in -p"),
        (
            "--detach=x",
            'invalid argument "x" for "-d, --detach" flag: strconv.ParseBool: parsing "x": invalid syntax',
        ),
        (
            "--pids-limit x",
            'invalid argument "x" for "--pids-limit" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        ("-m x", 'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\''),
        ("---x", "bad flag syntax: ---x"),
    ],
)
def test_what_cannot_be_read_is_said_in_pflags_words(line: str, message: str) -> None:
    with pytest.raises(FlagError) as raised:
        parse_flags(FLAGS, line.split())
    assert raised.value.message == message


@pytest.mark.parametrize("line", ["--help", "-h", "-d --help --nmae"])
def test_help_is_noticed(line: str) -> None:
    assert parse_flags(FLAGS, line.split()).wants_help


@given(st.lists(st.text(max_size=6), max_size=6))
def test_any_words_parse_or_raise_the_one_error(words: list[str]) -> None:
    try:
        parsed = parse_flags(FLAGS, words)
    except FlagError:
        return
    assert set(parsed.options) == {flag.name for flag in FLAGS}


@given(st.lists(st.text(min_size=1).filter(lambda word: not word.startswith("-"))))
def test_words_after_the_first_argument_are_left_alone(words: list[str]) -> None:
    assert parse_flags(FLAGS, ["image", *words], interspersed=False).arguments == ["image", *words]
