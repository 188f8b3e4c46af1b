"""A web site with what a build can be given the address of: Dockerfiles, archives, git repositories."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemons import Daemon
from tests.support.room import wait_until

DOCKERFILE = "FROM busybox\nCOPY . /copied\n"
COMMIT_TIME = 1_600_000_000
_WHO = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (
    ("NAME", "a"), ("EMAIL", "a@b.c"), ("DATE", f"{COMMIT_TIME} +0000"))}  # fmt: skip


class Site:
    """`directory` is what is served: over HTTP at `port` (of git only what any file server can do), and by
    git's own protocol at `git_port`."""

    def __init__(self, directory: Path, port: int, git_port: int) -> None:
        self.directory = directory
        self.port = port
        self.git_port = git_port

    def seen_by(self, daemon: Daemon) -> str:
        """The site's address for a daemon in its room."""
        way_out = daemon.room.run(["ip", "route", "show", "default"]).stdout.split()[2]
        return f"http://{way_out}:{self.port}"

    def git(self, *arguments: str) -> str:
        environment = {**os.environ, **_WHO, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def repository(self, name: str, files: dict[str, str], *, links: dict[str, str] | None = None) -> str:
        """Commit these files to the repository NAME.git, made if need be; the name of the commit."""
        work = self.directory / f"{name}-work"
        if not work.exists():
            self.git("init", "--quiet", "--initial-branch=trunk", work.name)
            self.git("init", "--quiet", "--bare", "--initial-branch=trunk", f"{name}.git")
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        for path, target in (links or {}).items():
            (work / path).symlink_to(target)
        self.git("-C", work.name, "add", "--all")
        self.git("-C", work.name, "commit", "--quiet", "--message=x")
        self.push(name)
        return self.git("-C", work.name, "rev-parse", "HEAD")

    def push(self, name: str) -> None:
        self.git(
            "-C", f"{name}-work", "push", "--quiet", "--tags", f"../{name}.git", "HEAD:trunk", "HEAD:master"
        )
        self.git("-C", f"{name}.git", "update-server-info")


class _Handler(http.server.SimpleHTTPRequestHandler):
    """What is in the folder `private` is for who knows that me's password is pass-word."""

    def do_GET(self) -> None:
        known = "Basic " + base64.b64encode(b"me:pass-word").decode()
        if self.path.startswith("/private/") and self.headers.get("Authorization") != known:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(directory: Path) -> Iterator[Site]:
    (directory / "Dockerfile").write_text("FROM busybox\nRUN echo made > /made\n")
    (directory / "copies").write_text(DOCKERFILE)
    (directory / "empty").touch()
    (directory / "page.html").write_text("<html></html>")
    context = directory / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "other").write_text("FROM busybox\nCOPY file /only\n")
    (context / "file").write_text("text\n")
    for name, mode in (("plain.tar", "w"), ("packed.tar.gz", "w:gz"), ("packed.tar.xz", "w:xz")):
        with tarfile.open(directory / name, mode) as tar:
            tar.add(context, ".")
    with socket.create_server(("127.0.0.1", 0)) as free:
        git_port = free.getsockname()[1]
    daemon = subprocess.Popen(
        [
            *("git", "daemon", "--export-all", f"--base-path={directory}", "--listen=127.0.0.1"),
            f"--port={git_port}",
        ],
        stderr=subprocess.DEVNULL,
    )
    handler = functools.partial(_Handler, directory=str(directory))
    try:
        with http.server.ThreadingHTTPServer(("", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            site = Site(directory, server.server_address[1], git_port)
            site.repository(
                "project",
                {**{path.name: path.read_text() for path in context.iterdir()}, "sub/Dockerfile": DOCKERFILE},
                links={"sub/away": "/etc", "link": "sub", "up": ".."},
            )
            for _ in wait_until(10):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", git_port)) == 0:
                        break
            yield site
            server.shutdown()
            thread.join()
    finally:
        daemon.terminate()
        daemon.wait()
