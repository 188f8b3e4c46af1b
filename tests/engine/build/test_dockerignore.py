"""The stock client is the oracle: what it sends, dockerd copies."""

from __future__ import annotations

import http.server
import io
import os
import posixpath
import re
import socketserver
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkernel.commands.dockerignore import DockerIgnore
from labkernel.engine.build.dockerignore import Dockerignore
from labkernel.engine.errors import InvalidParameter
from tests.engine.build.conftest import Workshop, context_tar
from tests.support.daemons import Daemon

PATHS = [
    "a.txt",
    "b.go",
    "README.md",
    "node_modules/x/y.js",
    "src/main.go",
    "src/main_test.go",
    "src/deep/er/x_test.go",
    "src/deep/keep.md",
    "dir/a.txt",
    "dir/sub/b.txt",
    "dir/sub/c.log",
    ".git/config",
    ".hidden",
    "x/y/z/file",
    "docs/README.md",
    "foo.temp",
    "tempdir/f",
    "a[1]",
]

# Exceptions that begin with a wildcard are not among them: the client does not enter an excluded folder for
# those.
IGNORES = [
    "a.txt\n*.md\n!README.md\n",
    "**/*_test.go\nnode_modules\n",
    "*\n!src\nsrc/deep\n!src/deep/keep.md\n",
    "dir\n!dir/sub/b.txt\n",
    "dir/*\n!dir/sub\n",
    "# comment\n #notcomment\n\n  .git/  \n/x/y\n./docs\n",
    "*/*\n!src/*.go\n",
    "**\n!docs/README.md\n",
    "**.go\n",
    "**/sub/**\n",
    "src/**/x_test.go\n*/temp*\n?.txt\n",
    "[a-b].*\n",
    "!a.txt\n*.txt\n",
    "dir/../a.txt\nx//y\n",
    "x/y/z/file\n!x\n",
    "a\\[1]\n",
    ".*\n!.hidden\n",
    "*.go\n!*/main.go\n",
    "src\n!src/deep\nsrc/deep/er\n",
    "**/deep\n!src/deep/keep.md\n",
    "**foo*\n**README*\n",
    "a.txt  \n \tb.go\t\n# x\n\\#x\n",
    "\ufeffa.txt\r\n*.md\r\n!README.md\r\n",
    "/a.txt\n//b.go\n./src/\n/\n!x\n",
    "Dockerfile\n.dockerignore\n",
    "*\n",
    "**\n!**/\n",
    "*\n! src/main.go \n",
    "..\n../a.txt\nsrc/..\n",
    "[^a]*\n",
    "?[^x]y/z\n",
    "[b-f]*\n!dir\n",
    "[a-b]?txt\n[[]x\n[\\^x]\n",
    "**/[a-c].txt\n",
    "s**/x*\n",
    "src/*\n!src/deep/*.md\n",
    "dir\n!dir\ndir/sub\n!dir/sub/c.log\n",
    "a\\.txt\nfoo\\.*\n",
    "node_modules/\n!node_modules/x\n",
    "**/**/x\n",
    " !a.txt\n*.txt\n!\ta.txt\n",
    "[^a] /\n",
]
# Whether the files that steer a build arrive themselves.
STEERED = ["a.txt\n*.md\n!README.md\n", "*\n!src\n", "Dockerfile\n", ".dockerignore\n", "**/D*\n.*\n"]
REFUSED = ["!\n", "! \n", "[\n", "a\n[b-a]\n", "\\", "[]\n", "[a-]\n", "!/\n", "*\n!./\n!.\n!/.\n", "x[a\n"]


class _Client:
    """The stock client, building for a daemon that only listens."""

    def __init__(self, directory: Path) -> None:
        self._context = directory / "context"
        for path in (*PATHS, "Dockerfile"):
            (self._context / path).parent.mkdir(parents=True, exist_ok=True)
            (self._context / path).write_text("FROM scratch\n")
        self._socket = directory / "socket"
        self._server = _Server(str(self._socket), _Listener)
        threading.Thread(target=self._server.serve_forever).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sends(self, ignore: str) -> set[str] | str:
        """The files of the context that it sends, but for the two that steer the build; or what it says."""
        (self._context / ".dockerignore").write_text(ignore)
        self._server.received.clear()
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self._socket}", "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            ["docker", "build", "-q", str(self._context)], capture_output=True, text=True, env=environment
        )
        if not self._server.received:
            return done.stderr
        return _names(self._server.received[0]) - {"Dockerfile", ".dockerignore"}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.received: list[bytes] = []

    def handle_error(self, *_: Any) -> None:
        """The client closes connections early."""


class _Listener(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(b"OK")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.received.append(body)
        self._answer(b'{"stream":"Successfully built 000000000000"}\n')

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        for name, value in {"Api-Version": "1.41", "Builder-Version": "1", "Ostype": "linux"}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def client(tmp_path: Path) -> Iterator[_Client]:
    made = _Client(tmp_path)
    yield made
    made.close()


def test_the_stock_client_sends_the_same(client: _Client) -> None:
    differing = {
        ignore: sent ^ kept if isinstance(sent, set) else sent
        for ignore in IGNORES
        if (sent := client.sends(ignore))
        != (kept := {p for p in PATHS if not Dockerignore(ignore).excludes(p)})
    }
    assert differing == {}


def test_the_stock_client_refuses_the_same(client: _Client) -> None:
    for ignore in REFUSED:
        with pytest.raises(InvalidParameter) as caught:
            Dockerignore(ignore)
        said = client.sends(ignore)
        assert isinstance(said, str), ignore
        assert caught.value.message in said


IGNORE_PIECES = [
    *(
        "a",
        "b",
        "d",
        "*",
        "**",
        "**/",
        "/**",
        "/",
        "?",
        "[ab]",
        "[^a]",
        "[a-c]",
        "\\",
        "!",
        ".",
        "..",
        "-",
        "[",
    ),
    *("*.", "d/b", "a/b", " ", "\t", "#", "\n", "\n", "\n!", "*\n!", "\r\n"),
]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(IGNORE_PIECES), max_size=8).map("".join),
    st.lists(st.sampled_from("ab./-d"), min_size=1, max_size=6).map("".join),
)
def test_the_commands_leave_out_the_same(ignore: str, path: str) -> None:
    """Both sides of the API have the rules, and neither can have the other's."""
    path = posixpath.normpath(path).strip("/")
    try:
        ours = Dockerignore(ignore).excludes(path)
    except InvalidParameter as error:
        with pytest.raises(ValueError, match=re.escape(error.message.rpartition(": ")[2])):
            DockerIgnore(ignore)
    else:
        assert DockerIgnore(ignore).excludes(path) == ours


def test_the_stock_client_leaves_out_the_same(workshop: Workshop, dockerd: Daemon, tmp_path: Path) -> None:
    """One build for all the ignore files: each stands in a context of its own."""
    differing = []
    for number, ignore in enumerate(STEERED):
        directory = tmp_path / f"context{number}"
        for path in PATHS:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(path)
        (directory / ".dockerignore").write_text(ignore)
        (directory / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        built = dockerd.docker(
            "build", "-q", str(directory), env={**dockerd.environment(), "DOCKER_BUILDKIT": "0"}
        )
        assert built.returncode == 0, built.stderr
        theirs = _files_of(dockerd, built.stdout.strip())
        files = {path: path for path in PATHS}
        image = workshop.build("FROM scratch\nCOPY . /\n", {**files, ".dockerignore": ignore}).image
        out = io.BytesIO()
        workshop.store.layers.pack(workshop.images.layers(image)[0], out)
        # Whether the two files that steer the build arrive themselves is compared too.
        ours = _names(out.getvalue())
        if ours != theirs:
            differing.append((ignore, sorted(ours - theirs), sorted(theirs - ours)))
    assert not differing, "\n".join(map(repr, differing))


def _files_of(dockerd: Daemon, image_id: str) -> set[str]:
    answer = dockerd.http.call("GET", f"/images/{image_id}/get")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        layer = next(name for name in tar.getnames() if name.endswith("layer.tar"))
        stream = tar.extractfile(layer)
        assert stream
        return _names(stream.read())


def _names(layer: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {member.name for member in tar if member.isfile()}


def test_exceptions_with_wildcards() -> None:
    ignore = Dockerignore("*/*\n**/deep\n!**/*.go\n")
    assert [ignore.excludes(path) for path in ("a/b", "a/b.go", "a/deep/c", "a/deep/c.go", "b.go")] == [
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("text", "line"), [("a\n!\n", 2), ("[\n", 1), ("ok\n\nx[\n", 3), ("a\\\n", 1)])
def test_bad_patterns_name_their_line(text: str, line: int) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Dockerignore(text)
    assert f".dockerignore line {line}:" in (caught.value.hint or "")


def test_a_byte_order_mark_is_no_pattern() -> None:
    assert Dockerignore("\ufeffa.txt").excludes("a.txt")


def test_an_empty_file_excludes_nothing() -> None:
    assert not Dockerignore("\n# x\n")
    assert not Dockerignore("").excludes("a")


def test_what_was_excluded_is_named_in_the_error(workshop: Workshop) -> None:
    with pytest.raises(InvalidParameter) as caught:
        workshop.build("FROM scratch\nCOPY a.log /\n", {"a.log": "x", ".dockerignore": "*.log"})
    assert caught.value.message.startswith(
        "COPY failed: file not found in build context or excluded by .dockerignore"
    )
    assert caught.value.hint == "a.log is excluded by .dockerignore, line 1: *.log"


def test_the_dockerfile_may_be_excluded_and_still_be_used(workshop: Workshop) -> None:
    built = workshop.build("FROM scratch\nCOPY . /\n", {".dockerignore": "*\n!b\n", "a": "", "b": ""})
    assert _names(context_tar({"b": ""})) == _names(_packed(workshop, built.image.chain_id))


def _packed(workshop: Workshop, chain_id: str | None) -> bytes:
    assert chain_id
    out = io.BytesIO()
    workshop.store.layers.pack(workshop.store.layers.get(chain_id), out)
    return out.getvalue()


def test_a_dockerfile_may_have_its_own(workshop: Workshop) -> None:
    """As BuildKit has it: docs.docker.com/build/concepts/context, "Filename and location"."""
    files = {
        "sub/Other": "FROM scratch\nCOPY . /\n",
        "sub/Other.dockerignore": "a\nsub\n",
        ".dockerignore": "b\n",
        "a": "",
        "b": "",
    }
    built = workshop.build("FROM scratch\nCOPY . /\n", files, dockerfile="sub/Other")
    assert _names(_packed(workshop, built.image.chain_id)) == {"b", "Dockerfile", ".dockerignore"}
    built = workshop.build("FROM scratch\nCOPY . /\n", files)
    assert "a" in _names(_packed(workshop, built.image.chain_id))
    with pytest.raises(InvalidParameter) as caught:
        workshop.build(None, {**files, "sub/Other": "FROM scratch\nCOPY a /\n"}, dockerfile="sub/Other")
    assert (caught.value.hint or "").startswith("a is excluded by sub/Other.dockerignore, line 1: a")
