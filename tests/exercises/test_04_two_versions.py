"""04: two versions of me/web-app, made right in other ways, and wrong ones. They stand on a small image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exercises.desk import Desk
from tests.exercises.stand_ins import SOURCES, web_base
from tests.support.daemons import Daemon

FIRST, NEW = "hello learner!", "good day!"


@pytest.fixture
def learner(docker_host: Daemon, desk: Callable[..., Desk]) -> Desk:
    """The exercise on a desk with its images, as the notebook's first cells make them."""
    made = desk(docker_host, "04-two-versions")
    web_base(made)
    made.docker("build", "-t", "me/web-app", "app")
    return made


def edit(learner: Desk, greeting: str = NEW) -> None:
    main: Path = learner.directory / "app" / "web-app" / "main.go"
    main.write_text((learner.directory / "first" / "main.go").read_text().replace(FIRST, greeting))


def build_both(learner: Desk) -> None:
    learner.docker("tag", "me/web-app", "me/web-app:v1")
    edit(learner)
    learner.docker("build", "-t", "me/web-app:v2", "app")


def run(learner: Desk, name: str, image: str, *options: str) -> None:
    learner.docker("run", "-d", f"--name={name}", *options, image)


def test_another_way(learner: Desk) -> None:
    """v1 built anew, v2 made of a container; one waits for its port on one address, one is restarted."""
    learner.docker("build", "-t", "me/web-app:v1", "app")
    edit(learner)
    learner.docker("run", "-d", "--name", "hand", "me/web-app", "sleep", "60")
    learner.docker("cp", "app/web-app/main.go", f"hand:{SOURCES}/web-app/main.go")
    learner.docker("exec", "hand", "go", "install")
    learner.docker("commit", "--change", 'CMD ["web-app"]', "hand", "me/web-app:v2")
    learner.docker("rmi", "me/web-app")
    run(learner, "web-app-v2", "me/web-app:v2", "-p", "8082:8080", "-p", "9000:8080")
    run(learner, "web-app-v1", "me/web-app:v1", "-p", "127.0.0.1:8080:8080")
    learner.docker("restart", "-t", "0", "web-app-v2")
    assert set(learner.outcomes().values()) == {"pass"}


def test_wrong_images(learner: Desk) -> None:
    assert learner.found_by("v1") == "there is no image me/web-app:v1; there is me/web-app"
    learner.docker("tag", "me/web-base", "me/web-app:v1")
    assert learner.found_by("v1") == f"the image me/web-app:v1 has no file {SOURCES}/web-app/main.go"
    edit(learner)
    learner.docker("build", "-t", "me/web-app:v1", "app")
    assert learner.found_by("v1") == (
        "the sources in me/web-app:v1 should greet with 'hello learner!', and greet with 'good day!'"
    )
    learner.docker("tag", "me/web-app", "me/web-app:v1")
    assert learner.found_by("v2") == "there is no image me/web-app:v2; there is me/web-app:v1"
    learner.docker("tag", "me/web-app", "me/web-app:v2")
    assert learner.found_by("v2") == (
        "the sources in me/web-app:v2 should have a new greeting, and greet with 'hello learner!' "
        "as me/web-app:v1 does"
    )
    assert learner.outcomes("shared")["shared"].startswith("skipped: ")
    main = learner.directory / "app" / "web-app" / "main.go"
    main.write_text("package main\n")
    learner.docker("build", "-t", "me/web-app:v2", "app")
    assert learner.found_by("v2") == (
        f"{SOURCES}/web-app/main.go in me/web-app:v2 should have a line with: const greeting ="
    )


def test_nothing_shared(learner: Desk) -> None:
    """v2 has all that it should, in layers of its own."""
    build_both(learner)
    learner.docker("create", "--name", "files", "me/web-app:v2")
    learner.docker("export", "-o", "files.tar", "files")
    learner.docker("import", "--change", "CMD web-app", "files.tar", "me/web-app:v2")
    assert learner.found_by("shared") == (
        "me/web-app:v2 should have all 2 layers of me/web-base, and has 0 of them"
    )


def test_wrong_containers(learner: Desk) -> None:
    build_both(learner)
    assert learner.found_by("v1_runs") == "there is no container web-app-v1"
    run(learner, "web-app-v1", "me/web-app:v2", "-p", "8082:8080")
    assert learner.found_by("v1_runs") == (
        "the container web-app-v1 should run me/web-app:v1, and runs me/web-app:v2"
    )
    learner.docker("rm", "-f", "web-app-v1")
    run(learner, "web-app-v1", "me/web-app:v1", "-p", "8082:8080")
    assert learner.found_by("v1_runs") == (
        "port 8080 of the container web-app-v1 should be port 8080 of this machine, and is not"
    )
    assert learner.found_by("v2_runs") == "there is no container web-app-v2; there is web-app-v1"
    learner.docker("stop", "-t", "0", "web-app-v1")
    assert learner.found_by("v1_runs") == "the container web-app-v1 should run, and is exited (137)"
    run(learner, "web-app-v2", "me/web-app:v2", "-p", "8082:8082")
    assert learner.found_by("v2_runs") == (
        "port 8080 of the container web-app-v2 should be port 8082 of this machine, and is not"
    )
    assert learner.outcomes("both")["both"].startswith("skipped: ")


def test_an_old_server_in_a_new_image(learner: Desk) -> None:
    """The sources are new and nobody has compiled them; then they are, and the container is the old one."""
    build_both(learner)
    edit(learner, "good night!")
    sources = (learner.directory / "app" / "web-app" / "main.go").read_bytes()
    dockerfile = f"FROM me/web-app:v2\nCOPY main.go {SOURCES}/web-app/main.go\n"
    learner.image("me/web-app:v2", dockerfile, {"main.go": sources})
    run(learner, "web-app-v1", "me/web-app:v1", "-p", "8080:8080")
    run(learner, "web-app-v2", "me/web-app:v2", "-p", "8082:8080")
    assert learner.found_by("both") == (
        "port 8082 should greet with 'good night!', as me/web-app:v2 has it, and says 'good day!'"
    )
    learner.docker("build", "-t", "me/web-app:v2", "app")
    assert learner.found_by("v2_runs") == (
        "the container web-app-v2 should run me/web-app:v2, and runs an earlier me/web-app:v2"
    )
