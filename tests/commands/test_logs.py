from __future__ import annotations

import time

import pytest

from labkernel.commands import CommandError, Finished
from labkernel.commands.logs import moment
from tests.commands.conftest import Commands


def test_both_streams_and_the_last_lines(run: Commands) -> None:
    run("run", "--name", "one", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 0.2; echo three")
    result = run("logs", "one").result
    assert isinstance(result, Finished)
    assert (result.stdout, result.stderr) == (b"one\nthree\n", b"two\n")
    assert run("logs", "-n", "1", "one").stdout == b"three\n"
    stamp, _, rest = run("logs", "-t", "--tail", "1", "one").stdout.partition(b" ")
    assert (stamp[:2], rest) == (b"20", b"three\n")


def test_following_ends_with_the_container(run: Commands) -> None:
    run("run", "-d", "--name", "one", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert run("logs", "-f", "one").stdout == b"1\n2\n3\n"


def test_since(run: Commands) -> None:
    run("run", "--name", "one", "busybox", "sh", "-c", "echo old; sleep 1.2; echo new")
    assert run("logs", "--since", "1s", "one").stdout in {b"new\n", b""}
    assert run("logs", "--since", "5m", "one").stdout == b"old\nnew\n"
    assert run("logs", "--until", "1h", "one").stdout == b""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1700000000", 1700000000), ("1700000000.5", 1700000000.5), ("2026-01-01T00:00:00Z", 1767225600)],
)
def test_moments(text: str, seconds: float) -> None:
    assert float(moment(text, "--since")) == seconds


def test_moments_relative_to_now_and_in_local_time() -> None:
    assert float(moment("90s", "--since")) == pytest.approx(time.time() - 90, abs=5)
    assert float(moment("2026-01-01", "--since")) == time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, -1))
    assert float(moment("2026-01-01T12:30", "--since")) == time.mktime((2026, 1, 1, 12, 30, 0, 0, 0, -1))
    with pytest.raises(CommandError, match='invalid value for "--since": soon'):
        moment("soon", "--since")
