"""Exercise 01: me/web-base is made from golang, has pkg-config, and names port 8080."""

from labkernel.course import Lab, check, fail

NAME = "me/web-base"
DIRECTORY = "docker-web-base"


@check
def image(lab: Lab) -> None:
    """There is an image me/web-base."""
    lab.image(NAME)


def stands_on(lab: Lab, name: str) -> bool:
    return any(lab.image(NAME).stands_on(version) for version in lab.versions(name))


@check(after=image)
def golang(lab: Lab) -> None:
    """It is made from golang."""
    if not lab.versions("golang"):
        fail(
            f"{NAME} should stand on golang, and there is no image golang here",
            hint="%docker pull golang",
        )
    if not stands_on(lab, "golang"):
        others = [name for name in ("debian", "busybox") if stands_on(lab, name)]
        fail(
            f"{NAME} should be made FROM golang, and is made from {others[0] if others else 'another image'}"
        )


@check(after=image)
def pkg_config(lab: Lab) -> None:
    """pkg-config runs in it."""
    ran = lab.run(lab.image(NAME), ["pkg-config", "--version"])
    if ran.exit_code != 0:
        said = ran.output.strip().partition("\n")[0]
        fail(f"pkg-config --version in {NAME} should succeed, and ends with {ran.exit_code}: {said}")


@check(after=image)
def port(lab: Lab) -> None:
    """It says that port 8080 is where to knock."""
    exposed = lab.image(NAME).exposed
    if "8080/tcp" not in exposed:
        fail(f"{NAME} should expose 8080/tcp, and exposes {', '.join(exposed) or 'no port'}")


@check(after=(golang, pkg_config, port))
def cache(lab: Lab) -> None:
    """Building docker-web-base again gives the very same image."""
    found = lab.image(NAME)
    again = lab.image(lab.build(DIRECTORY))
    if again.id == found.id:
        return
    for ours, theirs in zip(again.instructions, found.instructions, strict=False):
        if ours != theirs:
            fail(f"{DIRECTORY}/Dockerfile says {ours!r} where {NAME} was made with {theirs!r}")
    if len(again.instructions) != len(found.instructions):
        fail(f"{DIRECTORY}/Dockerfile has other steps than those that {NAME} was made with")
    fail(
        f"{DIRECTORY} gives another image than {NAME}, though by the same steps: one of them was done anew",
        hint="build it once more from the directory: the cache has all of its steps now",
    )
