"""Daemons that speak the Docker Engine API, each in a room of its own: Docker's and ours, behind one face."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import docker

from tests.support.base_images import BUSYBOX, busybox_archive
from tests.support.http import Http
from tests.support.leaks import Leftovers, settled
from tests.support.room import Room, wait_until

Kind = Literal["labkernel", "dockerd"]


class Daemon:
    """A running daemon: `url` is what DOCKER_HOST names it by, `root` its state, `pid` its process."""

    def __init__(self, kind: Kind, directory: Path, room: Room, options: Sequence[str] = ()) -> None:
        self.kind = kind
        self.directory = directory
        self.room = room
        self._options = options
        self.root = directory / "root"
        self.socket = directory / "api.sock"
        self.url = f"unix://{self.socket}"
        self.log = directory / "log"
        self.http = Http(self.socket)
        self.variables: dict[str, str] = {}
        """Further variables of the process's environment, from its next start on."""
        self._cgroup = f"labkernel-test-{room.pid}"
        self.start()

    def start(self) -> None:
        """Start the process (again); return when it answers a ping."""
        self.pid = self.room.start(self._command(), env=self._environment(), log=self.log)
        for _ in wait_until(30):
            code = self.room.poll(self.pid)
            if code is not None:
                raise RuntimeError(f"{self.kind} ended with {code}:\n{self.log.read_text()}")
            try:
                if self.http.call("GET", "/_ping").status == 200:
                    return
            except OSError:
                continue
        raise TimeoutError(f"{self.kind} does not answer:\n{self.log.read_text()}")

    def _command(self) -> list[str]:
        if self.kind == "labkernel":
            serve = [sys.executable, "-m", "labkernel", "engine", "serve"]
            return [*serve, "--root", str(self.root), "--host", self.url, *self._options]
        return [
            "dockerd",
            f"--data-root={self.root}",
            f"--exec-root={self.directory}/exec",
            f"--host={self.url}",
            f"--pidfile={self.directory}/pid",
            "--storage-driver=overlay2",
            f"--cgroup-parent=/{self._cgroup}",
            *self._options,
        ]

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOCKER_", "LABKERNEL_", "XDG_"))
        }
        if self.room.user:
            kept |= {
                "HOME": str(self.directory),
                "USER": self.room.user,
                "XDG_RUNTIME_DIR": str(self.directory),
            }
        return {
            **kept,
            **self.variables,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def stop(self) -> None:
        """End the process as `engine stop` and service managers do."""
        os.kill(self.pid, signal.SIGTERM)
        self.room.wait(self.pid, 30)

    def kill(self) -> None:
        """End the process with no chance to tidy up."""
        os.kill(self.pid, signal.SIGKILL)
        self.room.wait(self.pid, 10)

    def client(self, timeout: float = 60) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.url, timeout=timeout)

    def environment(self) -> dict[str, str]:
        """The environment of a program that is to use this daemon."""
        return {**os.environ, "DOCKER_HOST": self.url}

    def run(self, args: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program that uses this daemon, where the daemon's published ports are on localhost."""
        return self.room.run(args, **{"env": self.environment(), **options})

    def docker(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the stock client; its streams are captured as text."""
        return self.run(["docker", *args], **options)

    def room_popen(self, *args: str) -> subprocess.Popen[str]:
        """The stock client, started and left to run; its output is a pipe."""
        command = [*self.room.inside, "docker", *args]
        return subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE, text=True)

    def curl(self, port: int, path: str = "/") -> str:
        """The body behind a published TCP port, tried until the server is up; raises TimeoutError."""
        for _ in wait_until(10, 0.05):
            got = self.room.run(["curl", "-sS", "--fail", "--noproxy", "*", f"http://localhost:{port}{path}"])
            if got.returncode == 0:
                return got.stdout
        raise TimeoutError(f"port {port} does not answer: {got.stderr}")

    def clear(self) -> None:
        """Remove the containers, volumes, networks and images that a test made; have the base image back."""
        client = self.client().api
        for container in client.containers(all=True, quiet=True):
            _remove_container(client, container["Id"])
        for volume in client.volumes()["Volumes"] or []:
            client.remove_volume(volume["Name"], force=True)
        for network in client.networks():
            if network["Name"] not in {"bridge", "host", "none"}:
                client.remove_network(network["Id"])
        left = client.images()
        while left:
            left = _remove_images(client, left)
        if not client.images(BUSYBOX):
            self.load_base_image()
        client.close()

    def load_base_image(self) -> None:
        loaded = self.http.call("POST", "/images/load?quiet=1", busybox_archive())
        if loaded.status != 200 or b"error" in loaded.body:
            raise RuntimeError(f"{self.kind} does not load the base image: {loaded.body!r}")


def _remove_container(client: docker.APIClient, container: str) -> None:
    """Remove it, or wait until who is removing it is done: a builder that was left, AutoRemove."""
    for _ in wait_until(10):
        try:
            return client.remove_container(container, force=True, v=True)
        except docker.errors.NotFound:
            return None
        except docker.errors.APIError as error:
            if "already in progress" not in str(error):
                raise
    raise TimeoutError(f"{container} is not removed")


def _remove_images(client: docker.APIClient, images: list[Any]) -> list[Any]:
    """Remove images but the base image; return those that are still in use, by others that are gone now.

    A list of images is in order of time to the second only: one may come before those built on it.
    """
    kept = []
    for image in images:
        names = image["RepoTags"] or []
        for name in set(names) - {BUSYBOX} if BUSYBOX in names else [image["Id"]]:
            try:
                client.remove_image(name, force=True)
            except docker.errors.APIError as error:
                if image is images[-1] and len(kept) == len(images) - 1:
                    raise
                if "dependent child images" not in str(error):
                    raise
                kept.append(image)
    return kept


@contextmanager
def running(
    kind: Kind, *, user: str | None = None, directory: Path | None = None, options: Sequence[str] = ()
) -> Iterator[Daemon]:
    """A daemon with the busybox image; at the end nothing of it is left.

    For our own engine that is a test: raises AssertionError naming what is left after it was stopped.
    Its state is in memory, or in `directory`: an empty folder whose path is short, as a socket's must be.
    `options` are further ones of the command, which both take.
    """
    mounted = None
    if directory is None:
        directory = mounted = Path(tempfile.mkdtemp(prefix=f"{kind[:2]}-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=4g", "tmpfs", directory], check=True)
    room = None
    try:
        if user:
            shutil.chown(directory, user, user)
        room = Room(user)
        before = Leftovers.of(room, directory / "root")
        daemon = Daemon(kind, directory, room, options)
        daemon.load_base_image()
        yield daemon
        daemon.stop()
        if kind == "labkernel":
            before.compare(settled(room, before, root=daemon.root))
    finally:
        if room:
            room.close()
        if mounted:
            subprocess.run(["umount", mounted], check=True)
            mounted.rmdir()
        _remove_cgroups(f"labkernel-test-{room.pid}" if room else "")


def _remove_cgroups(parent: str) -> None:
    """Remove dockerd's cgroups, all of them below `parent`; by then no process is in them."""
    if parent:
        for top in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            for group in sorted((top / parent).glob("**/"), reverse=True):
                group.rmdir()
