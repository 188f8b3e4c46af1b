from __future__ import annotations

import asyncio
import json
import subprocess
import timeit
from collections.abc import AsyncIterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkernel.engine.containers.log_files import Rotation
from labkernel.engine.containers.logs import PART, Entry, Log
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.timestamps import parse_time, rfc3339
from tests.support.room import wait_until


async def _all(entries: AsyncIterator[Entry]) -> list[Entry]:
    return [entry async for entry in entries]


def read(log: Log, **options: Any) -> list[bytes]:
    return [entry.line for entry in asyncio.run(_all(log.read(**options)))]


def written(path: Path, *pieces: bytes, stream: str = "stdout") -> Log:
    log = Log(path)
    log.open()
    for piece in pieces:
        log.write(stream, piece)
    log.close()
    return log


def test_the_format_is_json_file_s(tmp_path: Path) -> None:
    log = written(tmp_path / "log", b'tab\t"quoted" \\ \x1b[1m gr\xc3\xbcn\n')
    record = json.loads(log.path.read_bytes())
    assert list(record) == ["log", "stream", "time"]
    assert record["log"] == 'tab\t"quoted" \\ \x1b[1m grün\n'
    assert record["stream"] == "stdout"
    assert log.path.read_bytes().endswith(b'Z"}\n')


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], [b"a\n", b"b\n"]),
        ([b"a", b"b\n"], [b"ab\n"]),
        ([b"no newline"], [b"no newline"]),
        ([b"\n\n"], [b"\n", b"\n"]),
        ([b"gr\xc3", b"\xbcn\n"], ["grün\n".encode()]),
        ([b"\xff\n"], ["\ufffd\n".encode()]),
        ([b"x" * PART + b"\n"], [b"x" * PART, b"\n"]),
        ([b"x" * (PART - 1) + b"\n"], [b"x" * (PART - 1) + b"\n"]),
        ([b"x" * (3 * PART + 1)], [b"x" * PART] * 3 + [b"x"]),
        ([b"a\n" + b"x" * PART + b"\nb\n"], [b"a\n", b"x" * PART, b"\n", b"b\n"]),
        ([b"a\n\xe2\x82\nb\nc"], [b"a\n", "\ufffd\n".encode(), b"b\n", b"c"]),
        ([b'\\n\n"\n{"log":""}\n'], [b"\\n\n", b'"\n', b'{"log":""}\n']),
        (["\udc0a\n".encode("utf-8", "surrogatepass") * 2], ["\ufffd\ufffd\ufffd\n".encode()] * 2),
    ],
)
def test_lines_and_parts(tmp_path: Path, pieces: list[bytes], lines: list[bytes]) -> None:
    assert read(written(tmp_path / "log", *pieces)) == lines


@given(st.text(max_size=80), st.lists(st.integers(1, 9), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
def test_how_the_output_is_cut_does_not_matter(tmp_path: Path, text: str, cuts: list[int]) -> None:
    data, pieces = text.encode(), []
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    log = written(tmp_path / "log", *pieces, data)
    assert b"".join(read(log)) == text.encode() if log.path.exists() else not text
    log.path.unlink(missing_ok=True)


def test_a_flood_of_short_lines_keeps_the_loop_for_little(tmp_path: Path) -> None:
    """Beside encoding the same lines and nothing else."""
    log, data = Log(tmp_path / "log"), b"y\n" * (32 << 10)

    def logged() -> None:
        log.write("stdout", data)

    def one_by_one() -> None:
        for line in data.splitlines():
            f'{{"log":{encode_basestring(line.decode())}}}\n'.encode()

    ours, theirs = (min(timeit.repeat(work, number=1, repeat=7)) for work in (logged, one_by_one))
    assert ours < 4 * theirs
    log.close()


def test_streams_are_kept_apart(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write("stdout", b"out")
    log.write("stderr", b"err\n")
    log.write("stdout", b"put\n")
    assert [(one.stream, one.line) for one in asyncio.run(_all(log.read()))] == [
        ("stderr", b"err\n"),
        ("stdout", b"output\n"),
    ]


@pytest.mark.parametrize("count", [0, 1, 3, 10, 5000])
@pytest.mark.parametrize("tail", [0, 1, 3, 4999, 9999])
def test_the_tail(tmp_path: Path, count: int, tail: int) -> None:
    lines = [f"{number} {'x' * (number % 50)}\n".encode() for number in range(count)]
    assert read(written(tmp_path / "log", *lines), tail=tail) == (lines[-tail:] if tail else [])


def test_since_and_until(tmp_path: Path) -> None:
    log = written(tmp_path / "log")
    records = [
        json.dumps({"log": f"{n}\n", "stream": "stdout", "time": rfc3339(n * 1_000_000_000)})
        for n in range(1, 6)
    ]
    log.path.write_text("\n".join(records) + "\n")
    assert read(log, since=parse_time("3")) == [b"3\n", b"4\n", b"5\n"]
    assert read(log, until=parse_time("2")) == [b"1\n", b"2\n"]
    assert read(log, since=parse_time("1.5"), until=parse_time("4"), tail=2) == [b"3\n", b"4\n"]
    assert read(log, since=parse_time("9")) == []


def test_a_line_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    log = written(tmp_path / "log", b"first\n")
    with log.path.open("ab") as file:
        file.write(b'{"log":"cut\n')
    log.write("stdout", b"after\n")
    assert read(log) == [b"first\n", b"after\n"]
    with log.path.open("ab") as file:
        file.write(b'{"log":"unfinished')
    assert read(log) == [b"first\n", b"after\n"]
    assert read(log, tail=1) == [b"after\n"]


def test_following_ends_with_the_container(tmp_path: Path) -> None:
    async def following() -> list[bytes]:
        log = Log(tmp_path / "log")
        log.open()
        log.write("stdout", b"before\n")
        reading = asyncio.ensure_future(_all(log.read(follow=True)))
        for number in range(3):
            await asyncio.sleep(0.01)
            log.write("stdout", f"{number}\nhalf".encode())
        await asyncio.sleep(0.01)
        assert not reading.done()
        log.close()
        return [entry.line for entry in await asyncio.wait_for(reading, 5)]

    assert asyncio.run(following()) == [b"before\n", b"0\n", b"half1\n", b"half2\n", b"half"]


def test_following_from_the_tail_and_before_there_is_a_file(tmp_path: Path) -> None:
    async def following() -> list[bytes]:
        log = Log(tmp_path / "log")
        log.open()
        reading = asyncio.ensure_future(_all(log.read(follow=True, tail=0)))
        await asyncio.sleep(0.01)
        log.write("stdout", b"new\n")
        log.close()
        return [entry.line for entry in await asyncio.wait_for(reading, 5)]

    assert asyncio.run(following()) == [b"new\n"]


def test_a_log_that_is_off_keeps_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", enabled=False)
    log.open()
    log.write("stdout", b"x\n")
    log.close()
    assert not log.path.exists()


def test_a_full_disk_loses_lines_and_nothing_else(root: None, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "small", small], check=True)
    try:
        log = Log(small / "log")
        log.open()
        for number in range(1000):
            log.write("stdout", f"{number} {'x' * 50}\n".encode())
        (small / "log").write_bytes((small / "log").read_bytes()[:8000])  # room again
        log.write("stdout", b"last\n")
        log.close()
        lines = read(log)
    finally:
        subprocess.run(["umount", small], check=True)
    assert lines[0].startswith(b"0 x")
    assert lines[-1] == b"last\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("0", ""),
        ("1", "1970-01-01T00:00:01.000000000Z"),
        ("1.5", "1970-01-01T00:00:01.500000000Z"),
        ("1.000000001", "1970-01-01T00:00:01.000000001Z"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000000000Z"),
        ("2024-01-02T03:04:05.123456789Z", "2024-01-02T03:04:05.123456789Z"),
        ("2024-01-02T03:04:05+02:00", "2024-01-02T01:04:05.000000000Z"),
        ("2024-01-02", "2024-01-02T00:00:00.000000000Z"),
    ],
)
def test_times(text: str, wanted: str) -> None:
    assert parse_time(text) == wanted


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.1234567890", "²", "99999999999999999999", "1e3"])
def test_no_times(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_time(text)


# rotation


def _lines(first: int, last: int) -> list[bytes]:
    return [b"%06d\n" % number for number in range(first, last)]


def _filled(path: Path, rotation: Rotation, count: int = 100) -> Log:
    log = Log(path, rotation=rotation)
    log.open()
    for line in _lines(0, count):
        log.write("stdout", line)
    return log


def _record_size(path: Path) -> int:
    return written(path, b"000000\n").path.stat().st_size


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    size = _record_size(tmp_path / "one")
    log = _filled(tmp_path / "log", Rotation(10 * size, 3))
    log.close()
    assert sorted(path.name for path in tmp_path.glob("log*")) == ["log", "log.1", "log.2"]
    assert {path.stat().st_size for path in tmp_path.glob("log*")} == {10 * size}
    assert read(log) == _lines(70, 100)


def test_one_file_begins_anew(tmp_path: Path) -> None:
    log = _filled(tmp_path / "log", Rotation(10 * _record_size(tmp_path / "one")), 25)
    log.close()
    assert [path.name for path in tmp_path.glob("log*")] == ["log"]
    assert read(log) == _lines(20, 25)


def test_a_line_larger_than_a_file_is_written_whole(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", rotation=Rotation(10, 3))
    log.write("stdout", b"x" * 100 + b"\n" + b"y\n")
    log.close()
    assert read(log) == [b"x" * 100 + b"\n", b"y\n"]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("tail", [0, 1, 5, 10, 11, 29, 30, 31, 1000])
def test_the_tail_reaches_into_older_files(tmp_path: Path, tail: int, compress: bool) -> None:
    log = _filled(tmp_path / "log", Rotation(10 * _record_size(tmp_path / "one"), 3, compress))
    log.close()
    assert read(log, tail=tail) == _lines(max(70, 100 - tail), 100)


def test_older_files_are_compressed(tmp_path: Path) -> None:
    log = _filled(tmp_path / "log", Rotation(10 * _record_size(tmp_path / "one"), 3, True))
    log.close()
    for _ in wait_until(5, 0.01):
        if sorted(path.name for path in tmp_path.glob("log*")) == ["log", "log.1.gz", "log.2.gz"]:
            break
    else:
        raise AssertionError(f"not compressed: {list(tmp_path.iterdir())}")
    assert read(log) == _lines(70, 100)


@given(
    st.integers(1, 400),
    st.integers(1, 4),
    st.lists(st.binary(max_size=60).map(lambda b: b + b"\n"), max_size=30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_what_is_kept_is_the_end(tmp_path: Path, size: int, files: int, pieces: list[bytes]) -> None:
    for left in tmp_path.iterdir():
        left.unlink()
    log = Log(tmp_path / "log", rotation=Rotation(size, files))
    for piece in pieces:
        log.write("stdout", piece)
    log.close()
    lines = [line.decode("utf-8", "replace").encode() for line in b"".join(pieces).split(b"\n")[:-1]]
    kept = read(log)
    assert kept == [line + b"\n" for line in lines[len(lines) - len(kept) :]]
    assert len(list(tmp_path.iterdir())) <= files
    assert bool(kept) == bool(pieces)


@pytest.mark.parametrize("begun", [0, 25])
def test_followers_get_every_line_over_rotations(tmp_path: Path, begun: int) -> None:
    async def follow() -> list[bytes]:
        log = _filled(tmp_path / "log", Rotation(10 * _record_size(tmp_path / "one"), 3), begun)
        follower = asyncio.create_task(_all(log.read(follow=True)))
        for line in _lines(begun, 100):
            await asyncio.sleep(0.002)
            log.write("stdout", line)
        await asyncio.sleep(0.05)
        log.close()
        return [entry.line for entry in await asyncio.wait_for(follower, 5)]

    assert asyncio.run(follow()) == _lines(0, 100)


def test_a_new_engine_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    rotation = Rotation(10 * _record_size(tmp_path / "one"), 3)
    _filled(tmp_path / "log", rotation, 15).close()
    log = Log(tmp_path / "log", rotation=rotation)
    for line in _lines(15, 32):
        log.write("stdout", line)
    log.close()
    assert read(log) == _lines(10, 32)


def test_attributes_are_noted_with_every_line(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", attributes=lambda: {"a": "b"})
    log.open()
    log.write("stderr", b"x\n")
    log.close()
    assert [*json.loads(log.path.read_bytes())] == ["log", "stream", "attrs", "time"]
    assert [entry.attributes for entry in asyncio.run(_all(log.read()))] == [{"a": "b"}]
