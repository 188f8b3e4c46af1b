"""Exercise 03: me/web-app is built from its sources on me/web-base, and greets on port 8080."""

import re

from labkernel.course import Lab, check, fail

NAME = "me/web-app"
BASE = "me/web-base"
MAIN = "/go/src/example.org/learner/webapp/web-app/main.go"
PORT = 8080

BRINGS = re.compile(r"(ADD|COPY) ")
COMPILES = re.compile(
    # A RUN in exec form is written without its word in an image's history.
    r"(?!(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|HEALTHCHECK|LABEL|ONBUILD|WORKDIR) ).*\bgo\b.*\b(install|build)\b"
)


@check
def image(lab: Lab) -> None:
    """There is an image me/web-app, made from me/web-base."""
    if not lab.image(NAME).stands_on(lab.image(BASE)):
        fail(f"{NAME} should stand on the layers of {BASE}, and its lowest layers are those of another image")


@check(after=image)
def sources(lab: Lab) -> None:
    """A step of its Dockerfile has put our sources where Go looks for them."""
    lab.image(NAME).file(MAIN)
    steps = _steps(lab)
    if not any(BRINGS.match(step) for step in steps):
        fail(f"an ADD or COPY should bring the sources; the steps above {BASE} are: {_listed(steps)}")


@check(after=sources)
def compiled(lab: Lab) -> None:
    """A RUN after that has compiled the server."""
    steps = _steps(lab)
    first = next(number for number, step in enumerate(steps) if BRINGS.match(step))
    if not any(COMPILES.match(step) for step in steps[first:]):
        after = _listed(steps[first + 1 :])
        fail(f"a RUN after {steps[first]!r} should compile the server; what follows is: {after}")


@check(after=image)
def command(lab: Lab) -> None:
    """It has a command of its own, for its containers to start with."""
    own, below = (
        [*(found.config.get("Entrypoint") or []), *(found.config.get("Cmd") or [])]
        for found in (lab.image(NAME), lab.image(BASE))
    )
    if own == below:
        fail(f"{NAME} should start the server, and starts what {BASE} does: {' '.join(own) or 'nothing'}")


@check(after=(compiled, command))
def published(lab: Lab) -> None:
    """A container of it runs, and its port 8080 is port 8080 of this machine."""
    found = lab.image(NAME)
    holder = lab.published(PORT)
    if holder is None or holder.image != found.id:
        lab.port_of(found)
        fail(f"port 8080 of {NAME} should be port {PORT} of this machine, and is another one")
    if PORT not in holder.ports.get("8080/tcp", []):
        [inside] = [port for port, outside in holder.ports.items() if PORT in outside]
        fail(f"port {PORT} of this machine should lead to 8080/tcp of the container, and leads to {inside}")


@check(after=published)
def greets(lab: Lab) -> None:
    """http://localhost:8080 answers with the greeting that is in the sources."""
    source = lab.image(NAME).file(MAIN).decode(errors="replace")
    expected = re.search(r'greeting\s*=\s*"([^"]*)"', source)
    answer = lab.get(PORT)
    greeting = answer.partition("\n")[0]
    if expected and greeting != expected[1]:
        fail(f"port {PORT} should greet with {expected[1]!r}, and says {greeting!r}")
    if ">>> pkg-config" not in answer:
        fail(f"port {PORT} greets with {greeting!r}, and does not show what pkg-config says")


def _steps(lab: Lab) -> list[str]:
    return lab.image(NAME).steps_above(lab.image(BASE))


def _listed(steps: list[str]) -> str:
    return "; ".join(steps) or "nothing"
