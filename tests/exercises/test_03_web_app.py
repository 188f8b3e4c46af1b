"""03: me/web-app, made right in other ways, and wrong ones. A small image stands in for me/web-base."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.exercises.desk import Desk
from tests.exercises.stand_ins import SOURCES, web_base
from tests.support.daemons import Daemon

ADD = f"FROM me/web-base\nADD . {SOURCES}\n"
RIGHT = ADD + "RUN go install example.org/learner/webapp/web-app\nCMD web-app\n"


@pytest.fixture
def learner(docker_host: Daemon, desk: Callable[..., Desk]) -> Desk:
    """The exercise on a desk, and an image me/web-base."""
    made = desk(docker_host, "03-web-app")
    web_base(made)
    return made


def build(learner: Desk, dockerfile: str) -> None:
    (learner.directory / "app" / "Dockerfile").write_text(dockerfile)
    learner.docker("build", "-t", "me/web-app", "app")


@pytest.mark.parametrize(
    ("dockerfile", "run"),
    [
        (
            f'FROM me/web-base\nWORKDIR {SOURCES}\nCOPY . .\nRUN go install ./web-app\nCMD ["web-app"]',
            ["-p", "127.0.0.1:8080:8080", "me/web-app"],
        ),
        (
            f'FROM me/web-base AS all\nARG OUT=/bin/x\nCOPY [".", "{SOURCES}/"]\nUSER root\n'
            f"RUN cd {SOURCES}/web-app && \\\n    go build \\\n      -o $OUT\nLABEL a=b\n"
            'ENTRYPOINT ["/bin/web-app"]',
            ["--name", "other", "-p", "8081:8080", "-p", "8080:8080", "me/web-app", "--verbose"],
        ),
        (
            f'{ADD}ENV GOFLAGS=-v\nRUN ["go", "install", "example.org/learner/webapp/web-app"]\n'
            "CMD exec web-app",
            ["-p", "8080:8080", "me/web-app"],
        ),
    ],
    ids=["workdir", "entrypoint", "exec-forms"],
)
def test_another_way(learner: Desk, dockerfile: str, run: list[str]) -> None:
    build(learner, dockerfile)
    learner.docker("run", "-d", *run)
    assert set(learner.outcomes().values()) == {"pass"}


WRONG = [
    (
        RIGHT.replace("me/web-base", "busybox").replace("RUN go", "RUN echo go"),
        "image",
        "me/web-app should stand on the layers of me/web-base, "
        "and its lowest layers are those of another image",
    ),
    (
        "FROM me/web-base\nADD . /src\n",
        "sources",
        f"the image me/web-app has no file {SOURCES}/web-app/main.go",
    ),
    (
        ADD + "WORKDIR /go/build\nCMD go install example.org/learner/webapp/web-app && web-app",
        "compiled",
        f"a RUN after 'ADD dir in {SOURCES}' should compile the server; what follows is: "
        "WORKDIR /go/build; "
        'CMD ["/bin/sh" "-c" "go install example.org/learner/webapp/web-app && web-app"]',
    ),
    (
        f"FROM me/web-base\nRUN go install ./web-app; true\nADD . {SOURCES}\n",
        "compiled",
        f"a RUN after 'ADD dir in {SOURCES}' should compile the server; what follows is: nothing",
    ),
    (
        RIGHT.replace("CMD web-app\n", ""),
        "command",
        "me/web-app should start the server, and starts what me/web-base does: sh",
    ),
]
"""Dockerfiles, the check that finds what is wrong, and what it says."""


def test_wrong_images(learner: Desk) -> None:
    for dockerfile, check, message in WRONG:
        build(learner, dockerfile)
        assert learner.found_by(check) == message
        assert learner.outcomes("greets")["greets"].startswith("skipped: ")


def test_made_by_hand(learner: Desk) -> None:
    """The sources copied into a container, compiled there, and committed."""
    learner.docker("run", "-d", "--name", "hand", "me/web-base", "sleep", "60")
    learner.docker("exec", "hand", "mkdir", "-p", SOURCES)
    learner.docker("cp", "app/.", f"hand:{SOURCES}")
    learner.docker("exec", "hand", "go", "install")
    learner.docker("commit", "--change", "CMD web-app", "hand", "me/web-app")
    assert learner.found_by("sources") == (
        "an ADD or COPY should bring the sources; the steps above me/web-base are: sleep 60"
    )


def test_wrong_containers(learner: Desk) -> None:
    build(learner, RIGHT)

    def run(*words: str) -> None:
        others = learner.docker("ps", "-aq").split()
        if others:
            learner.docker("rm", "-f", *others)
        learner.docker("run", "-d", *words)

    assert learner.found_by("published") == "no container of me/web-app runs"
    run("--name", "web-app", "me/web-app", "sh", "-c", "echo oh no >&2; exit 3")
    learner.docker("wait", "web-app")
    assert learner.found_by("published") == (
        "no container of me/web-app runs: the last one is exited (3); the last that it wrote: oh no"
    )
    run("me/web-app")
    assert learner.found_by("published") == (
        "a container of me/web-app runs, and its port 8080 is not published on this machine"
    )
    run("-p", "8081:8080", "me/web-app")
    assert learner.found_by("published") == (
        "port 8080 of me/web-app should be port 8080 of this machine, and is another one"
    )
    run("-p", "8080:80", "me/web-app")
    assert learner.found_by("published") == (
        "port 8080 of this machine should lead to 8080/tcp of the container, and leads to 80/tcp"
    )
    run("-p", "8080:8080", "me/web-base", "sleep", "60")
    assert learner.found_by("published") == "no container of me/web-app runs"
    run("-p", "8080:8080", "me/web-app")
    assert learner.outcomes("greets") == {"greets": "pass"}
    build(learner, RIGHT + "LABEL a=b\n")
    assert learner.found_by("published") == (
        "the containers of me/web-app are of an earlier one: run one of the new image"
    )


def test_wrong_servers(learner: Desk) -> None:
    """A container runs at the right port, and something else answers."""
    build(learner, RIGHT + "RUN echo It works! > /www/index.html\n")
    learner.docker("run", "-d", "-p", "8080:8080", "--name", "web-app", "me/web-app")
    assert learner.found_by("greets") == "port 8080 should greet with 'hello learner!', and says 'It works!'"
    learner.docker("exec", "web-app", "sh", "-c", "echo 'hello learner!' > /www/index.html")
    assert learner.found_by("greets") == (
        "port 8080 greets with 'hello learner!', and does not show what pkg-config says"
    )
    learner.docker("exec", "web-app", "rm", "/www/index.html")
    assert learner.found_by("greets") == "http://localhost:8080/ answers with status 404, not 200"
