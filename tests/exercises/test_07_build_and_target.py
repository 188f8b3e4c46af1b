"""07: an image that builds and images that only run; right and wrong ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exercises.desk import Desk
from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon

NAME = "07-build-and-target"
MADE = ["me/slim-web-app", "me/flat-web-app", "me/multi-web-app"]
STATIC = """
FROM me/web-base AS build
ADD . /go/src/example.org/learner/webapp
RUN go build -o /web-app -ldflags '-linkmode external -extldflags -static' example.org/learner/webapp/web-app
FROM scratch
COPY --from=build /web-app /web-app
ENTRYPOINT ["/web-app"]
"""


@pytest.fixture(scope="module", params=["engine", "user_engine", "dockerd"])
def host(request: pytest.FixtureRequest, app_archive: Path) -> Iterator[Daemon]:
    """Each engine, with what the exercise starts from."""
    daemon: Daemon = request.getfixturevalue(request.param)
    load_archive(daemon, app_archive)
    yield daemon
    daemon.clear()


@pytest.fixture
def learner(host: Daemon, desk: Callable[..., Desk]) -> Iterator[Desk]:
    """The exercise on a desk, with app-v2 as the notebook's second cell makes it."""
    made = desk(host, NAME)
    sources = made.directory / "app-v2"
    shutil.copytree(made.directory / "app", sources)
    main = sources / "web-app" / "main.go"
    main.write_text(main.read_text().replace("hello learner!", "hello from a small image!"))
    yield made
    clear(host)


def clear(host: Daemon) -> None:
    """Take away what an answer has made; the images that it starts from stay."""
    containers = host.docker("ps", "-aq").stdout.split()
    if containers:
        host.docker("rm", "-f", *containers)
    host.docker("rmi", "-f", *MADE)


on_our_engine = pytest.mark.parametrize("host", ["engine"], indirect=True)
on_two = pytest.mark.parametrize("host", ["engine", "dockerd"], indirect=True)


def test_solution(host: Daemon, desk: Callable[..., Desk]) -> None:
    solved = desk(host, NAME, solved=True)
    ran = solved.run_notebook()
    assert ran.text("weigh").count(" MB ") == 7
    assert "hello from a small image!" in ran.text("multi-run")
    found = solved.check()
    assert {name: checked.message for name, checked in found.items() if checked.outcome != "pass"} == {}
    assert sum(checked.max_points for checked in found.values()) == 10
    assert not (solved.directory / "full.tar").exists()
    clear(host)


@on_our_engine
def test_exercise_as_given(host: Daemon, desk: Callable[..., Desk]) -> None:
    """All the given cells run; no check passes."""
    given = desk(host, NAME)
    ran = given.run_notebook(allow_errors=True)
    assert not {"load", "start", "images"} & set(ran.failed)
    outcomes = given.outcomes()
    for name, image in zip(("slim_image", "flat_image", "multi_image"), MADE, strict=True):
        assert outcomes.pop(name).startswith(f"fail: there is no image {image}")
    assert all(outcome.startswith("skipped: comes after") for outcome in outcomes.values()), outcomes


@on_two
def test_another_way(learner: Desk) -> None:
    """Static programs on scratch and busybox, entry points, shell forms, ports that the engine chooses."""
    (learner.directory / "app-v2" / "Dockerfile").write_text(STATIC)
    learner.docker("build", "-t", "me/multi-web-app", "app-v2")
    learner.docker("run", "-d", "-p", "127.0.0.1:9001:8080", "--name", "mine", "me/multi-web-app")
    learner.docker("cp", "mine:/web-app", "server")
    program = (learner.directory / "server").read_bytes()
    dockerfile = "FROM busybox\nEXPOSE 8080\nCOPY server /bin/server\nCMD exec server"
    learner.image("me/slim-web-app", dockerfile, {"server": program})
    learner.docker("run", "-d", "-P", "me/slim-web-app")
    learner.docker("create", "--name", "files", "me/slim-web-app")
    learner.docker("export", "-o", "files.tar", "files")
    learner.docker("import", "-m", "flat", "files.tar", "me/flat-web-app")
    learner.docker("run", "-d", "-p", "9002:8080", "me/flat-web-app", "/bin/server")
    assert set(learner.outcomes().values()) == {"pass"}


@on_two
def test_slim_image_that_is_not(learner: Desk) -> None:
    learner.docker("tag", "me/web-app", "me/slim-web-app")
    found = learner.found_by("slim_image")
    assert found.startswith("me/slim-web-app should hold no Go toolchain, and holds /usr/local/go/")
    learner.image("me/slim-web-app", "FROM me/web-app\nRUN rm -rf /usr/local/go")
    found = learner.found_by("slim_size")
    assert found.startswith("me/slim-web-app should be less than a third of me/web-app, which is ")
    assert learner.check("slim_size")["slim_size"].hints[0].startswith("what a step removes still takes")


@on_our_engine
def test_slim_image_that_does_not_serve(learner: Desk) -> None:
    other = {"index.html": "it works", "www/index.html": "hello\n>>> pkg-config --cflags python2\n"}
    base = "FROM busybox\nADD . /\nEXPOSE 8080\n"
    learner.image("me/slim-web-app", base + "CMD web-app")
    assert learner.found_by("slim_serves") == "no container of me/slim-web-app runs"
    learner.docker("run", "-d", "-p", "8080:8080", "--name", "slim", "me/slim-web-app")
    learner.docker("wait", "slim")
    assert learner.found_by("slim_serves") == (
        "no container of me/slim-web-app runs: the last one is exited (127); "
        "the last that it wrote: /bin/sh: web-app: not found"
    )
    learner.image("me/slim-web-app", base + "CMD httpd -f -p 8080 -h /", other)
    assert learner.found_by("slim_serves") == (
        "the containers of me/slim-web-app are of an earlier one: run one of the new image"
    )
    learner.docker("run", "-d", "--name", "closed", "me/slim-web-app")
    assert learner.found_by("slim_serves") == (
        "a container of me/slim-web-app runs, and its port 8080 is not published on this machine"
    )
    learner.docker("run", "-d", "-p", "8081:8080", "me/slim-web-app")
    assert learner.found_by("slim_serves") == (
        "me/slim-web-app should greet and then show '>>> pkg-config --cflags python2', as the web-app does; "
        "it answers 'it works'"
    )


@on_two
def test_flat_image_that_is_not(learner: Desk) -> None:
    learner.image("me/flat-web-app", "FROM busybox\nCOPY server /bin/server", {"server": ""})
    found = learner.found_by("flat_image")
    assert found.startswith("me/flat-web-app should be imported, and was built from a Dockerfile: COPY ")
    learner.docker("run", "--name", "changed", "busybox", "touch", "/new")
    learner.docker("commit", "changed", "me/flat-web-app")
    assert learner.found_by("flat_image") == (
        "me/flat-web-app should have one layer, as an imported image has, and has 2"
    )
    learner.docker("export", "-o", "files.tar", "changed")
    learner.docker("import", "files.tar", "me/flat-web-app")
    assert learner.found_by("flat_serves") == "no container of me/flat-web-app runs"
    nothing = learner.daemon.docker("run", "-d", "-p", "8080:8080", "me/flat-web-app", "/bin/web-app")
    assert nothing.returncode == 127
    found = learner.found_by("flat_serves")
    assert found.startswith("no container of me/flat-web-app runs: the last one is created (")
    assert "no such file or directory" in found


@on_our_engine
def test_multi_image_that_is_not(learner: Desk) -> None:
    learner.docker("tag", "me/web-base", "me/multi-web-app")
    assert "should hold no Go toolchain" in learner.found_by("multi_image")
    old = "FROM debian\nCOPY --from=me/web-app /go/bin/web-app /usr/bin/web-app\nCMD web-app"
    learner.image("me/multi-web-app", old)
    learner.docker("run", "-d", "-p", "8080:8080", "--name", "old", "me/multi-web-app")
    assert learner.found_by("multi_serves") == (
        "me/multi-web-app should greet as app-v2/web-app/main.go says, 'hello from a small image!', "
        "and greets with 'hello learner!'"
    )
    learner.docker("cp", "old:/usr/bin/web-app", "app-v2/program")
    assert learner.found_by("multi_serves") == (
        "app-v2/program is a program, compiled before the build: app-v2 should hold sources only"
    )
    shutil.rmtree(learner.directory / "app-v2")
    assert learner.found_by("multi_serves") == (
        "app-v2/web-app/main.go should be there and have a line: const greeting = ..."
    )
