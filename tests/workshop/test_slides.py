"""The slides, line by line, with the stock docker client on our engine (curriculum, parts 2 and 3).

What the slides do with search, push, pull from a registry and X11 comes with later lessons.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon
from tests.support.source_tree import REPOSITORY

APP = REPOSITORY / "notebooks" / "app"
IMPORT_PATH = "example.org/learner/webapp"


@pytest.fixture
def lab(engine: Daemon, images_archive: Path) -> Iterator[Daemon]:
    """Our engine as root, with the images that the slides start from."""
    loaded = engine.docker("load", "-i", str(images_archive), timeout=300)
    assert loaded.returncode == 0, loaded.stderr
    yield engine
    engine.clear()


def run(daemon: Daemon, *words: str, timeout: float = 120, **options: object) -> str:
    """A line of a slide; what it prints. It must succeed."""
    done = daemon.docker(*words, timeout=timeout, **options)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def eventually(daemon: Daemon, container: str, text: str) -> str:
    """The container's log once `text` is in it."""
    for _ in range(100):
        log = daemon.docker("logs", container)
        if text in log.stdout + log.stderr:
            return log.stdout + log.stderr
        time.sleep(0.1)
    raise AssertionError(f"{container} has not logged {text!r}: {log.stdout}{log.stderr}")


def test_tour(lab: Daemon) -> None:
    assert "Server: labkernel" in run(lab, "version")
    assert "Storage Driver: overlay2" in run(lab, "info")
    assert "Management Commands" in run(lab, "help")
    assert "busybox" in run(lab, "images")
    assert run(lab, "run", "busybox", "echo", "Hello World") == "Hello World"
    loop = run(lab, "run", "-d", "busybox", "sh", "-c", 'while true; do echo "hello"; sleep 1; done;')
    assert re.fullmatch(r"[0-9a-f]{64}", loop)
    listed = run(lab, "ps", "--no-trunc")
    assert loop in listed
    assert "Up " in listed
    assert run(lab, "ps", "-q", "-l") == loop[:12]
    eventually(lab, loop, "hello\nhello\n")
    for words in (["logs", "-f", "--tail", "1"], ["attach", "--sig-proxy=false"]):
        followed = lab.run(["timeout", "-s", "KILL", "3", "docker", *words, loop])
        assert followed.stdout.count("hello\n") >= 2, followed.stderr
    assert "Up " in run(lab, "ps")
    run(lab, "stop", "-t", "1", loop)
    assert "Exited (137)" in run(lab, "ps", "-a")
    run(lab, "start", loop)
    assert json.loads(run(lab, "inspect", "-f", "{{json .State.Running}}", loop)) is True
    run(lab, "restart", "-t", "0", loop)
    assert run(lab, "exec", loop, "cat", "/etc/hostname") == loop[:12]
    run(lab, "rm", "-f", loop)
    run(lab, "tag", "busybox", "me/busybox:mine")
    assert "Untagged: me/busybox:mine" in run(lab, "rmi", "me/busybox:mine")


def test_a_port(lab: Daemon) -> None:
    server = run(lab, "run", "-d", "-p", "8080:80", "busybox", "httpd", "-f", "-h", "/etc")
    assert "0.0.0.0:8080->80/tcp" in run(lab, "ps")
    assert "root:x:0:0" in lab.curl(8080, "/passwd")
    taken = lab.docker("run", "-d", "-p", "8080:80", "busybox", "httpd", "-f")
    assert taken.returncode == 125
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in taken.stderr
    run(lab, "rm", "-f", server)


def test_interactively_customized_image(lab: Daemon) -> None:
    """docker run -it, apt-get install inside, docker commit, and a server from the result as another user."""
    typed = "apt-get update -qq && apt-get install -y -qq memcached >/dev/null && echo installed\nexit\n"
    done = lab.docker("run", "-i", "--name", "interactive", "debian", "bash", input=typed, timeout=300)
    assert "installed" in done.stdout, done.stderr
    latest = run(lab, "ps", "-q", "-l")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", run(lab, "commit", latest, "me/memcached"))
    server = run(lab, "run", "-d", "-p", "11211", "-u", "daemon", "me/memcached", "memcached")
    port = run(lab, "port", server, "11211").splitlines()[0].rpartition(":")[2]
    assert int(port) >= 32768
    answer = lab.run(
        ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}; echo version >&3; head -1 <&3"], timeout=20
    )
    assert answer.stdout.startswith("VERSION "), answer.stderr
    assert run(lab, "top", server, "-o", "pid,user,cmd").splitlines()[1].split()[1] in ("daemon", "1")
    assert f"->{11211}/tcp" in run(lab, "ps")


def test_nginx_dockerfile(lab: Daemon, tmp_path: Path) -> None:
    """The slide's, but for the folder: Debian's nginx of today serves /var/www/html."""
    (tmp_path / "Dockerfile").write_text(
        "FROM debian\n"
        "RUN apt-get update\n"
        "RUN apt-get install -y nginx\n"
        'ENV MSG="Hi, I am in your container!"\n'
        'RUN echo "$MSG" > /var/www/html/index.html\n'
        'CMD nginx -g "daemon off;"\n'
        "EXPOSE 80\n"
    )
    built = run(lab, "build", "-t", "me/server", ".", cwd=tmp_path, timeout=400)
    assert "Successfully tagged me/server:latest" in built
    server = run(lab, "run", "-d", "-P", "me/server")
    ports = run(lab, "inspect", "-f", "{{.NetworkSettings.Ports}}", server)
    port = re.fullmatch(r"map\[80/tcp:\[\{0\.0\.0\.0 (\d+)\} .*\]\]", ports)
    assert port, ports
    assert lab.curl(int(port[1])) == "Hi, I am in your container!\n"
    again = run(lab, "build", "-t", "me/server", ".", cwd=tmp_path)
    assert again.count("Using cache") == 6
    assert "Running in" not in again


@pytest.mark.timeout(900)  # Go compiles its library for each of three programs
def test_hands_on(lab: Daemon, tmp_path: Path) -> None:
    """web-base, the development workflow, web-app, two versions at once, logs, and the slim image."""
    sources = tmp_path / "webapp"
    shutil.copytree(APP, sources)
    (sources / "docker-web-base" / "Dockerfile").write_text(
        "## base environment w/ deps for the web-app\n"
        "FROM golang\n"
        "MAINTAINER learner@example.org\n\n"
        "## dependencies already contained in `golang`\n"
        "## but we need 'pkg-config'\n"
        "RUN apt-get update -y && apt-get install -y pkg-config\n\n"
        "## prepare for web server\n"
        "EXPOSE 8080\n"
    )
    run(lab, "build", "-t", "me/web-base", "docker-web-base", cwd=sources, timeout=300)
    base = run(lab, "inspect", "-f", "{{.Id}}", "me/web-base")

    # the sources mounted into the base image: an edit outside is seen inside
    target = f"/go/src/{IMPORT_PATH}"
    main = sources / "web-app" / "main.go"
    developed = "go run ./src/" + IMPORT_PATH + "/web-app/main.go"
    started = ["run", "-d", "-v", f"{sources}:{target}", "-p", "8080:8080", "--name", "dev", "me/web-base"]
    run(lab, *started, "bash", "-c", f"cd /go && GO111MODULE=auto {developed}")
    eventually_answers(lab, 8080, "hello")
    assert ">>> pkg-config --cflags python2" in lab.curl(8080)
    run(lab, "rm", "-f", "dev")

    # the final image
    (sources / "Dockerfile").write_text(
        "## image for the web-app\n"
        "FROM me/web-base\n\n"
        "MAINTAINER learner@example.org\n\n"
        "## add the whole git-repo\n"
        f"ADD . {target}\n\n"
        f"RUN go install {IMPORT_PATH}/web-app\n\n"
        "CMD web-app\n"
    )
    run(lab, "build", "-t", "me/web-app", ".", cwd=sources, timeout=600)
    first = run(lab, "inspect", "-f", "{{.Id}}", "me/web-app")
    unchanged = run(lab, "build", "-t", "me/web-app", ".", cwd=sources)
    assert unchanged.count("Using cache") == 4
    assert run(lab, "inspect", "-f", "{{.Id}}", "me/web-app") == first
    run(lab, "tag", "me/web-app", "me/web-app:v1")

    # another version beside it: only what follows the changed file is run again
    main.write_text(main.read_text().replace("hello", "good day"))
    changed = run(lab, "build", "-t", "me/web-app:v2", ".", cwd=sources, timeout=600)
    assert changed.count("Using cache") == 1
    assert changed.count("Running in") == 2
    run(lab, "run", "-d", "-p", "8082:8080", "--name=web-app-v2", "me/web-app:v2")
    run(lab, "run", "-d", "-p", "8080:8080", "--name=web-app-v1", "me/web-app:v1")
    eventually_answers(lab, 8082, "good day")
    eventually_answers(lab, 8080, "hello")
    assert "listening on: http://localhost:8080" in eventually(lab, "web-app-v2", "listening")

    # logs of an interactive container
    run(lab, "run", "-d", "-i", "--name", "shell", "debian", "bash")
    attached = ["timeout", "-s", "KILL", "5", "docker", "attach", "shell"]
    lab.run(attached, input="logger -s plop 2>&1 || echo plop >&2\n")
    assert "plop" in eventually(lab, "shell", "plop")

    # a pair of images: one builds, one runs
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    wanted = ["go/bin/web-app", f"go/src/{IMPORT_PATH}/Dockerfile"]
    exported = lab.run(
        ["bash", "-c", f"docker export web-app-v2 | tar -xf - -C {rootfs} {' '.join(wanted)}"], timeout=120
    )
    assert exported.returncode == 0, exported.stderr
    assert all((rootfs / name).exists() for name in wanted)
    run(lab, "cp", "web-app-v2:/go/bin/web-app", "web-app", cwd=rootfs)
    assert (rootfs / "web-app").stat().st_mode & 0o111
    (rootfs / "Dockerfile").write_text("FROM debian\nADD web-app /usr/bin/web-app\nCMD web-app\n")
    run(lab, "build", "-t", "slim-web-app", ".", cwd=rootfs)
    run(lab, "rm", "-f", "web-app-v1")
    run(lab, "run", "-d", "-p", "8080:8080", "--name", "slim", "slim-web-app")
    eventually_answers(lab, 8080, "good day")
    assert size(lab, "slim-web-app") < 0.35 * size(lab, "me/web-app")
    assert base.startswith("sha256:")

    # docker import: the same files in one layer
    flattened = lab.run(["bash", "-c", "docker export slim | docker import -c 'CMD web-app' - me/flat"])
    assert flattened.returncode == 0, flattened.stderr
    assert len(json.loads(run(lab, "inspect", "-f", "{{json .RootFS.Layers}}", "me/flat"))) == 1
    run(lab, "rm", "-f", "slim")
    run(lab, "run", "-d", "-p", "8080:8080", "me/flat")
    eventually_answers(lab, 8080, "good day")


def size(daemon: Daemon, image: str) -> int:
    return int(run(daemon, "inspect", "-f", "{{.Size}}", image))


def eventually_answers(daemon: Daemon, port: int, text: str) -> None:
    """Wait for a server that may have to be compiled first."""
    deadline = time.monotonic() + 240
    while True:
        try:
            assert text in daemon.curl(port)
            return
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
