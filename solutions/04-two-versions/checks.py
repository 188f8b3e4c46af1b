"""Exercise 04: me/web-app:v1 and :v2 greet differently, share what is below, and run side by side."""

import re

from labkernel.course import Lab, check, fail
from labkernel.course.lab import Image

BASE = "me/web-base"
V1, V2 = "me/web-app:v1", "me/web-app:v2"
MAIN = "/go/src/example.org/learner/webapp/web-app/main.go"
FIRST = "hello learner!"


@check
def v1(lab: Lab) -> None:
    """me/web-app:v1 is the web-app that greets with "hello learner!"."""
    found = _greeting(lab.image(V1))
    if found != FIRST:
        fail(f"the sources in {V1} should greet with {FIRST!r}, and greet with {found!r}")


@check(after=v1)
def v2(lab: Lab) -> None:
    """me/web-app:v2 is a web-app with another greeting."""
    if _greeting(lab.image(V2)) == FIRST:
        fail(f"the sources in {V2} should have a new greeting, and greet with {FIRST!r} as {V1} does")


@check(after=v2)
def shared(lab: Lab) -> None:
    """The two share the layers of me/web-base."""
    base = lab.image(BASE)
    for image in (lab.image(V1), lab.image(V2)):
        if not image.stands_on(base):
            below = zip(image.layers, base.layers, strict=False)
            number = sum(1 for ours, theirs in below if ours == theirs)
            fail(
                f"{image.name} should have all {len(base.layers)} layers of {BASE}, and has {number} of them"
            )


@check(after=v1)
def v1_runs(lab: Lab) -> None:
    """The container web-app-v1 runs me/web-app:v1, at port 8080 of this machine."""
    _runs(lab, "web-app-v1", V1, 8080)


@check(after=v2)
def v2_runs(lab: Lab) -> None:
    """The container web-app-v2 runs me/web-app:v2, at port 8082 of this machine."""
    _runs(lab, "web-app-v2", V2, 8082)


@check(after=(v1_runs, v2_runs))
def both(lab: Lab) -> None:
    """Both answer at once, each with the greeting of its version."""
    for name, port in ((V1, 8080), (V2, 8082)):
        expected = _greeting(lab.image(name))
        answer = lab.get(port).partition("\n")[0]
        if answer != expected:
            fail(f"port {port} should greet with {expected!r}, as {name} has it, and says {answer!r}")


def _greeting(image: Image) -> str:
    """The greeting in the sources that an image holds."""
    found = re.search(r'greeting\s*=\s*"([^"]*)"', image.file(MAIN).decode(errors="replace"))
    return found[1] if found else fail(f"{MAIN} in {image.name} should have a line with: const greeting =")


def _runs(lab: Lab, name: str, image: str, port: int) -> None:
    container = lab.running(name)
    if container.image != lab.image(image).id:
        given = container.inspected["Config"]["Image"]
        other = f"an earlier {image}" if given == image else given
        fail(f"the container {name} should run {image}, and runs {other}")
    if port not in container.ports.get("8080/tcp", []):
        fail(f"port 8080 of the container {name} should be port {port} of this machine, and is not")
