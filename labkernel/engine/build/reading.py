"""The Dockerfile of a build: found in its context, and parsed."""

from __future__ import annotations

from labkernel.engine.build.context import BuildContext, check_inside
from labkernel.engine.build.located import prefixed
from labkernel.engine.build.nodes import Dockerfile
from labkernel.engine.build.parser import parse
from labkernel.engine.errors import InvalidParameter


def read_dockerfile(context: BuildContext, path: str) -> Dockerfile:
    """Raises InvalidParameter, DockerfileError."""
    content = context.read(check_inside(path))
    if content is None and path == "Dockerfile":
        content = context.read("dockerfile")
    if content is None:
        near = context.nearest(path)
        raise InvalidParameter(
            f"Cannot locate specified Dockerfile: {path}",
            hint=f"did you mean {near[0]}?" if near else "the build context has no such file",
        )
    if not content:
        raise InvalidParameter(
            f"the Dockerfile ({path}) cannot be empty", hint="a Dockerfile begins with FROM"
        )
    with prefixed(f"failed to parse {path}"):
        return parse(content)
