"""01: me/web-base, made right in other ways, and wrong ones. A small image stands in for golang."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.exercises.desk import Desk
from tests.support.daemons import Daemon

DIRECTORY = "docker-web-base"
INSTALL = "RUN printf '#!/bin/sh\\necho 1.8.1\\n' > /bin/pkg-config && chmod +x /bin/pkg-config\n"
RIGHT = "FROM golang\n" + INSTALL + "EXPOSE 8080\n"


@pytest.fixture
def learner(docker_host: Daemon, desk: Callable[..., Desk]) -> Desk:
    """The exercise on a desk, and an image golang."""
    made = desk(docker_host, "01-web-base")
    (made.directory / DIRECTORY).mkdir()
    made.image("golang", "FROM busybox\nCOPY go /usr/local/go/bin/go\n", {"go": ""})
    return made


def build(learner: Desk, dockerfile: str, *, name: str = "me/web-base") -> None:
    """As the notebook does: the Dockerfile alone, kept in docker-web-base."""
    (learner.directory / DIRECTORY / "Dockerfile").write_text(dockerfile)
    learner.image(name, dockerfile)


ANOTHER_WAY = """
# the version is named, the port comes first, and much is set that nobody asked for
FROM golang:1.27 AS base
MAINTAINER learner@example.org
EXPOSE 8080/tcp 9090

RUN ["mkdir", "/opt"]
RUN printf '#!/bin/sh\\necho 1.8.1\\n' \\
      > /opt/pkg-config && \\
    # a comment
    chmod +x /opt/pkg-config
ENV PATH=/opt:$PATH
COPY --chown=1:1 notes /opt/
USER nobody
ENTRYPOINT ["/bin/false"]
"""


def test_another_way(learner: Desk) -> None:
    """docker build with files beside the Dockerfile, one of them left out by .dockerignore."""
    learner.docker("tag", "golang", "golang:1.27")
    place = learner.directory / DIRECTORY
    for name, text in {"Dockerfile": ANOTHER_WAY, "notes": "mine", ".dockerignore": "lo*"}.items():
        (place / name).write_text(text)
    learner.docker("build", "-t", "me/web-base", DIRECTORY)
    learner.docker("rmi", "golang:latest")
    (place / "log").write_text("the build does not see this")
    assert set(learner.outcomes().values()) == {"pass"}


WRONG = [
    (
        "FROM busybox\n" + INSTALL + "EXPOSE 8080",
        "golang",
        "me/web-base should be made FROM golang, and is made from busybox",
    ),
    ("FROM golang\nEXPOSE 8080", "pkg_config", "the image me/web-base has no program pkg-config"),
    (
        "FROM golang\n" + INSTALL.replace("1.8.1", "broken; exit 3"),
        "pkg_config",
        "pkg-config --version in me/web-base should succeed, and ends with 3: broken",
    ),
    ("FROM golang\n" + INSTALL, "port", "me/web-base should expose 8080/tcp, and exposes no port"),
    (
        "FROM golang\nEXPOSE 8080/udp 80",
        "port",
        "me/web-base should expose 8080/tcp, and exposes 80/tcp, 8080/udp",
    ),
]
"""Dockerfiles, the check that finds what is wrong, and what it says."""


def test_wrong_images(learner: Desk) -> None:
    for dockerfile, check, message in WRONG:
        build(learner, dockerfile)
        assert learner.found_by(check) == message
        assert learner.outcomes("cache")["cache"].startswith("skipped: ")


def test_no_image_of_that_name(learner: Desk) -> None:
    build(learner, RIGHT, name="me/webbase")
    assert learner.found_by("image") == "there is no image me/web-base; there is me/webbase"


def test_no_golang(learner: Desk) -> None:
    build(learner, RIGHT)
    learner.docker("rmi", "golang")
    assert (
        learner.found_by("golang") == "me/web-base should stand on golang, and there is no image golang here"
    )


def test_built_from_another_file(learner: Desk) -> None:
    """All is right with the image, but docker-web-base does not give it."""
    build(learner, RIGHT)
    dockerfile = learner.directory / DIRECTORY / "Dockerfile"
    assert learner.outcomes("cache") == {"cache": "pass"}
    dockerfile.write_text(RIGHT.replace("8080", "8081"))
    assert learner.found_by("cache") == (
        "docker-web-base/Dockerfile says 'EXPOSE 8081' where me/web-base was made with 'EXPOSE 8080'"
    )
    dockerfile.write_text("FROM golang")
    assert learner.found_by("cache") == (
        "docker-web-base/Dockerfile has other steps than those that me/web-base was made with"
    )
    dockerfile.write_text("FORM golang")
    assert learner.found_by("cache").startswith("docker-web-base/Dockerfile does not build: ")
    dockerfile.unlink()
    assert learner.found_by("cache") == "there is no file docker-web-base/Dockerfile"
    (learner.directory / DIRECTORY).rmdir()
    (learner.directory / DIRECTORY).symlink_to("/etc")
    assert learner.found_by("cache") == "docker-web-base leads out of the exercise's directory"


def test_a_step_done_anew(learner: Desk) -> None:
    """The same steps, but another snapshot: the file that COPY brings is another one."""
    dockerfile = RIGHT + "COPY notes /\n"
    build(learner, RIGHT)
    learner.image("me/web-base", dockerfile, {"notes": "once"})
    (learner.directory / DIRECTORY / "Dockerfile").write_text(dockerfile)
    (learner.directory / DIRECTORY / "notes").write_text("now")
    assert learner.found_by("cache").startswith(
        "docker-web-base gives another image than me/web-base, though"
    )


def test_made_by_hand(learner: Desk) -> None:
    """A container with pkg-config, committed: no Dockerfile says how to make it again."""
    script = INSTALL.removeprefix("RUN ").strip()
    learner.docker("run", "--name", "hand", "golang", "sh", "-c", script)
    learner.docker("commit", "--change", "EXPOSE 8080", "hand", "me/web-base")
    outcomes = learner.outcomes()
    assert outcomes.pop("cache") == "fail: there is no file docker-web-base/Dockerfile"
    assert set(outcomes.values()) == {"pass"}


def test_checks_leave_things_as_they_were(learner: Desk) -> None:
    def around() -> list[list[object]]:
        files = learner.directory.rglob("*")
        listed = [learner.docker(*words).split() for words in (["ps", "-aq"], ["images", "-aq"])]
        return [sorted(things) for things in (*listed, files)]

    build(learner, RIGHT)
    before = around()
    assert set(learner.outcomes().values()) == {"pass"}
    assert around() == before
