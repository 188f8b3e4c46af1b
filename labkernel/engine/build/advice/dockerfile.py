"""Advice about what is wrong with the Dockerfile itself, and with what COPY is asked for."""

from __future__ import annotations

import posixpath
import re

from labkernel.engine.build.advice.shell import COMMANDS, undeclared_argument
from labkernel.engine.build.advice.situation import Advice, Rule, Situation

_SHOWN = 8
_OPERATORS = ("&&", "||", "|", ";")
_GOES_ON = re.compile(
    r"\s*(RUN|ENV|LABEL|COPY|CMD|ENTRYPOINT)\b|\s*(&&|\|\||\||;|-)|.*(&&|\|\||\||,)$", re.IGNORECASE
)


def _no_instruction(situation: Situation, found: re.Match[str]) -> str | None:
    """A command where an instruction should be: the line before lost its backslash, or RUN is missing."""
    word = found[1]
    is_command = word in COMMANDS or word in _OPERATORS or word.startswith("-")
    if situation.hint and not is_command:
        return None  # it is near an instruction's name
    if word in _OPERATORS or _GOES_ON.match(situation.line_before.rstrip()):
        return f"does this go on from line {situation.line - 1}? Then that line has to end with a backslash"
    if is_command:
        return f"commands belong behind RUN: RUN {situation.text.strip()}"
    return "a line begins with an instruction, such as FROM, RUN, COPY or CMD"


def _several_sources(situation: Situation, found: re.Match[str]) -> Advice:
    destination = situation.text.split()[-1] if situation.text else "DESTINATION"
    return Advice(f"end the destination with a slash, so that it is a folder: {destination}/", destination)


def _outside(situation: Situation, found: re.Match[str]) -> Advice:
    path = found[1]
    return Advice(
        f"a build sees nothing outside of its context, the folder given to docker build: start it in the "
        f"folder that has {posixpath.basename(path)} too, and name the Dockerfile with -f",
        path,
    )


def _unknown_user(situation: Situation, found: re.Match[str]) -> Advice:
    return Advice(
        f"the image has no user {found[1]}: RUN useradd {found[1]} (adduser -D {found[1]} on alpine and "
        "busybox) before it",
        found[1],
    )


def _no_program(situation: Situation, found: re.Match[str]) -> Advice | None:
    program = found[1]
    if program == "/bin/sh" and situation.base == "scratch":
        return Advice("scratch is empty, it has no shell: RUN needs another base, COPY works")
    if " " in program:
        return Advice('each word of the list stands alone: RUN ["echo", "hello"]', program)
    return Advice(
        f"the image has no program {program}" + _hint_of_list(situation),
        program,
    )


def _hint_of_list(situation: Situation) -> str:
    if re.match(r"RUN\s*\[", situation.text):
        return "; a list of words is executed as it is, without a shell and its built-in commands"
    return ""


_EXAMPLES = {
    "ARG": "ARG VERSION=1.0",
    "CMD": 'CMD ["python3", "app.py"]',
    "COPY": "COPY app.py /app/",
    "ENV": "ENV NAME=VALUE",
    "EXPOSE": "EXPOSE 8080",
    "FROM": "FROM debian, or FROM debian AS build",
    "HEALTHCHECK": "HEALTHCHECK CMD curl -f http://localhost/",
    "LABEL": "LABEL version=1.0",
    "MAINTAINER": "MAINTAINER me@example.org",
    "ONBUILD": "ONBUILD COPY . /app",
    "SHELL": 'SHELL ["/bin/bash", "-c"]',
    "STOPSIGNAL": "STOPSIGNAL SIGTERM",
    "USER": "USER nobody",
    "VOLUME": "VOLUME /data",
    "WORKDIR": "WORKDIR /app",
}


def _example(situation: Situation, found: re.Match[str]) -> str | None:
    example = _EXAMPLES.get(found[1])
    return f"it is written so: {example}" if example and not situation.hint else None


def _absent(situation: Situation, found: re.Match[str]) -> Advice:
    """A file that is not in the context, or not there."""
    path = found[1]
    if situation.hint or "build context" not in situation.message:
        return Advice("", path)
    if file := situation.context_file(posixpath.basename(path.rstrip("/"))):
        return Advice(f"did you mean {file.path}?", path)
    if len(situation.context_names) == 1:
        only = situation.context_names[0]
        return Advice(f"the build context has nothing but {only}: docker build FOLDER sends a folder", path)
    names = ", ".join(situation.context_names[:_SHOWN])
    more = ", ..." if len(situation.context_names) > _SHOWN else ""
    has = f"has {names}{more}" if names else "is empty"
    return Advice(f"the build context, the folder given to docker build, {has}", path)


def _no_platform(situation: Situation, found: re.Match[str]) -> Advice:
    flag = re.search(r"--platform=\S+", situation.text)
    wanted = f"without {flag[0]}" if flag else "without --platform"
    return Advice(
        f"the image is not to be had for {found[1]}: {wanted} the build is for this machine",
        flag[0] if flag else "",
    )


def _comment(situation: Situation, found: re.Match[str]) -> Advice | None:
    if not re.search(r"\s#", situation.text):
        return None
    return Advice("a comment has a line of its own: behind an instruction, # is a word like others", "#")


RULES = (
    Rule("message", r"requires (?:either one or three|exactly one) argument|containerPort: #", _comment),
    Rule("message", r"unknown instruction: (\S+)", _no_instruction),
    Rule(
        "message",
        r"no build stage in current context|the Dockerfile \(\S*\) cannot be empty",
        "a Dockerfile begins with FROM, such as FROM busybox; only ARG may stand before it",
    ),
    Rule(
        "message",
        r"file with no instructions",
        "there are only comments and empty lines: a Dockerfile begins with FROM, such as FROM busybox",
    ),
    Rule(
        "message",
        r"can't find = in \"([^\"]*)\"",
        lambda situation, found: Advice(
            f"write {situation.name} NAME=VALUE, with no space around =, and a value of several words in "
            f'double quotes: {situation.name} NAME="two words"',
            found[1],
        ),
    ),
    Rule(
        "message",
        r"(ENV|LABEL) (?:must have two arguments|names can not be blank)",
        lambda situation, found: f"write {found[1]} NAME=VALUE",
    ),
    Rule(
        "message",
        r"[Ii]nvalid (?:containerPort|hostPort|port|proto|start port|end port|range)[^:]*:? ?(\S*)",
        lambda situation, found: Advice(
            "EXPOSE takes ports of the container, up to 65535: EXPOSE 8080, EXPOSE 53/udp; "
            "docker run -p HOST:CONTAINER publishes them",
            found[1],
        ),
    ),
    Rule("message", r"stat (\S+): file does not exist", _absent),
    Rule("message", r"no matching manifest for ([a-z0-9/]+)", _no_platform),
    Rule(
        "message",
        r"manifest for (\S+):(\S+) not found",
        lambda situation, found: Advice(
            f"there is no tag {found[2]} of {found[1]}: is it spelt right? Without a tag, latest is meant",
            found[2],
        ),
    ),
    Rule("message", r"(\w+) requires (?:exactly one|at least one|at least two) argument", _example),
    Rule(
        "message",
        r"Unknown type \"(\w+)\" in HEALTHCHECK",
        lambda situation, found: Advice(
            f"HEALTHCHECK takes CMD and a command, or NONE: {_EXAMPLES['HEALTHCHECK']}", found[1]
        ),
    ),
    Rule(
        "message",
        r"Invalid signal: (\S+)",
        lambda situation, found: Advice("a signal is a name such as SIGTERM, or a number", found[1]),
    ),
    Rule(
        "message",
        r"unsupported mount type \"([^\"]+)\"",
        lambda situation, found: Advice("the types are bind, cache, tmpfs, secret and ssh", found[1]),
    ),
    Rule(
        "text",
        r"^\w+\s+\[\s*\"[^\"]*\"\s+\"",
        "a list of words is JSON, with a comma between two of them",
    ),
    Rule("message", r"invalid from flag value ([^\s:]+):", lambda situation, found: Advice("", found[1])),
    Rule("message", r"with more than one source file, the destination must be", _several_sources),
    Rule("message", r"forbidden path outside the build context: (\S+)", _outside),
    Rule("message", r"source can't be a URL for COPY", "ADD can fetch a URL"),
    Rule(
        "message",
        r"unterminated heredoc",
        "the here-document has no end: a line with its name alone, nothing before or behind it",
    ),
    Rule("message", r"(?:unable to find|no such) user:? (\S+?)(?::|$)", _unknown_user),
    Rule("message", r"exec: \"([^\"]+)\": (?:executable file not found|stat )", _no_program),
    Rule(
        "message",
        r"exec format error",
        "the program is for another kind of machine, or a script without #! in its first line",
    ),
    Rule(
        "message",
        r"repository name .*must be lowercase",
        "names of images are in lower case, such as debian or me/web-app",
    ),
    Rule(
        "message",
        r"invalid reference format",
        "an image is written NAME, NAME:TAG or REGISTRY/NAME:TAG, without spaces",
    ),
    Rule(
        "text", r"\$", lambda s, found: undeclared_argument(s, found) if s.name in ("COPY", "ADD") else None
    ),
)
