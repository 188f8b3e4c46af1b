"""What a right answer to 07-build-and-target comes to: images that only run, beside one that builds."""

from __future__ import annotations

import re
from pathlib import Path

from labkernel.commands.units import human_size
from labkernel.course import Lab, check, fail
from labkernel.course.objects import Image

BUILDS = "me/web-app"
SLIM = "me/slim-web-app"
FLAT = "me/flat-web-app"
MULTI = "me/multi-web-app"

TOOLCHAIN = re.compile(r"(^|/)(bin/(go|gofmt)|pkg/tool/\w+/compile)$")
ANSWER = ">>> pkg-config --cflags python2"


@check
def slim_image(lab: Lab) -> None:
    """There is an image me/slim-web-app, and no Go toolchain in it."""
    without_go(lab.image(SLIM))


@check(after=slim_image)
def slim_size(lab: Lab) -> None:
    """me/slim-web-app is less than a third of me/web-app."""
    less_than_a_third(lab, lab.image(SLIM))


@check(after=slim_image)
def slim_serves(lab: Lab) -> None:
    """A container of me/slim-web-app runs and greets, on a published port."""
    greeting(lab, lab.image(SLIM))


@check
def flat_image(lab: Lab) -> None:
    """There is an image me/flat-web-app, made by docker import: it has one layer."""
    image = lab.image(FLAT)
    steps = [step for step in image.instructions if re.match("(ADD|COPY|RUN) ", step)]
    if steps:
        fail(f"{FLAT} should be imported, and was built from a Dockerfile: {steps[-1][:100]}")
    if len(image.layers) != 1:
        fail(f"{FLAT} should have one layer, as an imported image has, and has {len(image.layers)}")


@check(after=flat_image)
def flat_serves(lab: Lab) -> None:
    """A container of me/flat-web-app runs and greets, on a published port."""
    greeting(lab, lab.image(FLAT))


@check
def multi_image(lab: Lab) -> None:
    """There is an image me/multi-web-app, less than a third of me/web-app, and no Go toolchain in it."""
    image = lab.image(MULTI)
    without_go(image)
    less_than_a_third(lab, image)


@check(after=multi_image)
def multi_serves(lab: Lab) -> None:
    """A container of me/multi-web-app greets as the sources in app-v2 say: the build has compiled them."""
    wanted = greeting_in(lab.directory / "app-v2")
    found = greeting(lab, lab.image(MULTI))
    if found != wanted:
        fail(
            f"{MULTI} should greet as app-v2/web-app/main.go says, {wanted!r}, and greets with {found!r}",
            hint="the program in it was compiled from other sources: compile app-v2 in the build itself",
        )


def without_go(image: Image) -> None:
    for path in image.paths():
        if TOOLCHAIN.search(path):
            fail(
                f"{image.name} should hold no Go toolchain, and holds /{path.removeprefix('./')}",
                hint="its last FROM decides what it stands on",
            )


def less_than_a_third(lab: Lab, image: Image) -> None:
    builds = lab.image(BUILDS)
    if image.size * 3 < builds.size:
        return
    below = image.stands_on(builds) or any(image.stands_on(base) for base in lab.versions("golang"))
    fail(
        f"{image.name} should be less than a third of {BUILDS}, which is {human_size(builds.size)}, "
        f"and is {human_size(image.size)}",
        hint="what a step removes still takes its place in the layers below" if below else None,
    )


def greeting(lab: Lab, image: Image) -> str:
    """The first line of what a container of the image answers."""
    answer = lab.get(lab.port_of(image))
    first, _, rest = answer.partition("\n")
    if ANSWER not in rest:
        fail(
            f"{image.name} should greet and then show {ANSWER!r}, as the web-app does; "
            f"it answers {answer[:80]!r}"
        )
    return first


def greeting_in(sources: Path) -> str:
    """The greeting in the app's sources; that is also where a program ready-made would be copied from."""
    for path in sources.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    fail(
                        f"{path.relative_to(sources.parent)} is a program, compiled before the build: "
                        f"{sources.name} should hold sources only"
                    )
    main = sources / "web-app" / "main.go"
    found = re.search(r'greeting\s*=\s*"(.*)"', main.read_text(errors="replace")) if main.is_file() else None
    if not found:
        fail(
            f"{sources.name}/web-app/main.go should be there and have a line: const greeting = ...",
            hint="the notebook's second cell makes it",
        )
    return found[1]
