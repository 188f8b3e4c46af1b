from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkernel.engine.catalog.apt_conf import AptConf
from labkernel.engine.catalog.download import Downloader, Missing
from labkernel.engine.errors import Unavailable
from tests.engine.catalog.signed_archive import Server, serving

DATA = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"file": DATA}) as running:
        yield running


@pytest.fixture
def downloader() -> Iterator[Downloader]:
    made = Downloader(AptConf())
    yield made
    made.close()


def fetch(downloader: Downloader, server: Server, file: Path) -> int:
    """Fetches /file; returns how many bytes were reported."""
    arrived: list[int] = []
    downloader.fetch(f"{server.url}/file", file, SHA256, len(DATA), arrived.append)
    assert file.read_bytes() == DATA
    assert not file.with_name(file.name + ".part").exists()
    return sum(arrived)


def test_a_file_is_fetched_once(downloader: Downloader, server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(downloader, server, tmp_path / "file") == len(DATA)
    assert server.requests == [("file", "")]


def test_a_part_is_continued(downloader: Downloader, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(DATA[:1000])
    assert fetch(downloader, server, tmp_path / "file") == len(DATA)
    assert server.requests == [("file", "bytes=1000-")]


def test_a_server_without_ranges_sends_all_of_it(
    downloader: Downloader, server: Server, tmp_path: Path
) -> None:
    server.ranges = False
    (tmp_path / "file.part").write_bytes(DATA[:1000])
    assert fetch(downloader, server, tmp_path / "file") == len(DATA)


def test_a_connection_that_breaks_is_continued(
    downloader: Downloader, server: Server, tmp_path: Path
) -> None:
    server.faults["file"] = ["cut", "cut"]
    assert fetch(downloader, server, tmp_path / "file") == len(DATA)
    assert [wanted != "" for _, wanted in server.requests] == [False, True, True]


@pytest.mark.parametrize(
    "part", [DATA + b"more", b"x" * 1000, b"x" * len(DATA)], ids=["long", "wrong", "whole, wrong"]
)
def test_a_wrong_part_is_thrown_away(
    part: bytes, downloader: Downloader, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(part)
    fetch(downloader, server, tmp_path / "file")


def test_a_damaged_file_is_fetched_again(downloader: Downloader, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * len(DATA))
    fetch(downloader, server, tmp_path / "file")


def test_errors_that_pass_are_waited_out(downloader: Downloader, server: Server, tmp_path: Path) -> None:
    server.faults["file"] = [503, 500]
    fetch(downloader, server, tmp_path / "file")
    assert len(server.requests) == 3


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"<html>", b"x" * len(DATA), b""])
def test_what_is_not_the_file_is_refused(
    data: bytes, downloader: Downloader, server: Server, tmp_path: Path
) -> None:
    server.files["file"] = data
    with pytest.raises(
        Unavailable, match=r"/file is not what the archive's signed index says|cannot reach the archive"
    ):
        fetch(downloader, server, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_missing(downloader: Downloader, server: Server, tmp_path: Path) -> None:
    with pytest.raises(Missing):
        downloader.read(f"{server.url}/nowhere", 10)


def test_too_large(downloader: Downloader, server: Server) -> None:
    with pytest.raises(Unavailable, match="larger than it may be"):
        downloader.read(f"{server.url}/file", 10)


def test_a_refusal_names_the_host_and_the_answer(downloader: Downloader, server: Server) -> None:
    server.faults["file"] = [403]
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 answers 403 Forbidden for http://127"):
        downloader.read(f"{server.url}/file", 10)


def test_an_unreachable_archive_is_named_without_its_password(downloader: Downloader) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable) as error:
            downloader.read(f"http://me:secret@127.0.0.1:{port}/file", 10)
    assert error.value.message == "cannot reach the archive at 127.0.0.1: Connection refused"
    assert error.value.hint is not None


def test_a_name_that_does_not_exist(downloader: Downloader) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach the archive at nowhere\.invalid: "):
        downloader.read("http://nowhere.invalid/file", 10)


def test_apts_proxy_is_used_and_direct_means_without(server: Server) -> None:
    proxied = Downloader(AptConf({"acquire::http::proxy": server.url}))
    assert proxied.read("http://nowhere.invalid/file", len(DATA)) == DATA
    proxied.close()
    direct = Downloader(
        AptConf({"acquire::http::proxy": "http://127.0.0.1:1", "acquire::http::proxy::127.0.0.1": "DIRECT"})
    )
    assert direct.read(f"{server.url}/file", len(DATA)) == DATA
    direct.close()


def test_the_environments_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    downloader = Downloader(AptConf())
    assert downloader.read("http://nowhere.invalid/file", len(DATA)) == DATA
    downloader.close()
