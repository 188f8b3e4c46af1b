"""POST /build: the messages of each step, the image, the cache, and Dockerfiles that are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder, json_body, streams
from tests.differential.scenarios.files import archive

_TAR = {"Content_Type": "application/x-tar"}


def _context(dockerfile: str, files: Mapping[str, str | None] | None = None) -> bytes:
    return archive({"Dockerfile": dockerfile, **(files or {})})


def _output(body: bytes) -> list[Any]:
    """The build's messages: text joined, ids of intermediate images and containers taken out."""
    messages: list[Any] = []
    values = json_body(body)
    for message in values if isinstance(values, list) else [values]:
        if "stream" in message and messages and isinstance(messages[-1], str):
            messages[-1] += message["stream"]
        else:
            messages.append(message.get("stream", message))
    return [_settled(message) if isinstance(message, str) else message for message in messages]


def _settled(text: str) -> str:
    """Ids of intermediate things taken out, and pieces of an error stream, each coloured, joined again."""
    return re.sub(r"(?<= )[0-9a-f]{12}\b", "<short id>", text.replace("\x1b[0m\x1b[91m", ""))


def _build(api: Recorder, name: str, context: bytes, query: str = "t=me/it") -> str:
    """The image's id, which is known by the step's name; empty when the build failed."""
    answer = api.send("POST", f"/build?{query}", context, **_TAR)
    found = re.findall(rb"Successfully built ([0-9a-f]{12})", answer.body)
    image = ""
    if found:
        image = str(api.need("GET", f"/images/{found[-1].decode()}/json").json()["Id"])
        api.know(image, name)
    api.record(name, answer, _output)
    return image


_EVERYTHING = """\
# every instruction once
ARG BASE=busybox
FROM ${BASE}
LABEL course=containers part="1 of 2"
ENV MSG="hello world" EMPTY=
ENV OLD form of it
ARG WHO=me
WORKDIR /srv
COPY a.txt sub/ ./
ADD inner.txt /added/
RUN echo "$MSG $WHO" > message && cat message
RUN ["sh", "-c", "echo exec form"]
EXPOSE 80 53/udp
VOLUME /data
USER daemon
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s CMD true
SHELL ["/bin/sh", "-ec"]
ONBUILD RUN echo later
ENTRYPOINT ["sh"]
CMD ["-c", "cat message"]
"""
_FILES = {"a.txt": "a\n", "sub": None, "sub/b.txt": "b\n", "inner.txt": "inner\n"}


def every_instruction(api: Recorder) -> None:
    image = _build(api, "first", _context(_EVERYTHING, _FILES))
    api.get("image", "/images/me/it/json")
    api.get("history", "/images/me/it/history")
    assert _build(api, "again", _context(_EVERYTHING, _FILES)) == image
    api.finish("box", Image="me/it")
    api.get("a container of it", "/containers/box/logs?stdout=1&stderr=1", read=streams)


def cache(api: Recorder) -> None:
    dockerfile = "FROM busybox\nRUN echo one > /one\nCOPY a /a\nRUN echo two > /two\n"
    first = _build(api, "first", _context(dockerfile, {"a": "1"}))
    assert _build(api, "again", _context(dockerfile, {"a": "1"})) == first
    assert _build(api, "changed file", _context(dockerfile, {"a": "2"})) != first
    assert _build(api, "without the cache", _context(dockerfile, {"a": "1"}), "nocache=1") != first


def cache_from(api: Recorder) -> None:
    """Only what the named images were built of is taken for done."""
    context = _context("FROM busybox\nENV FOO=bar\nRUN touch baz\nRUN touch bax\n")
    longer = _context("FROM busybox\nENV FOO=bar\nRUN touch baz\nRUN touch bax\nRUN touch more\n")
    _build(api, "first", context, "t=me/first")
    _build(api, "longer", longer, "t=me/longer")
    for name, images in {"all": ["me/longer"], "some": ["nothing", "me/first"], "none": ["nothing"]}.items():
        _build(api, name, longer, f"t=me/{name}&cachefrom={quote(json.dumps(images))}")
    _build(api, "no list", context, "cachefrom=x")


def added_hosts(api: Recorder) -> None:
    context = _context("FROM busybox\nRUN grep 10.0.0 /etc/hosts && ping -c1 one.test >/dev/null\n")
    _build(api, "two", context, "extrahosts=one.test:127.0.0.1&extrahosts=two.test:10.0.0.2")


def stages(api: Recorder) -> None:
    dockerfile = (
        "FROM busybox AS one\nRUN echo made > /made\nFROM busybox\nCOPY --from=one /made /got\nRUN cat /got\n"
    )
    _build(api, "whole", _context(dockerfile))
    _build(api, "one stage", _context(dockerfile), "target=one")
    api.post("unknown stage", "/build?target=three", _context(dockerfile), _output, **_TAR)
    wrong = dockerfile.replace("--from=one", "--from=nothing/there")
    api.post("from an unknown stage", "/build?pull=0", _context(wrong), _output, **_TAR)


def arguments(api: Recorder) -> None:
    dockerfile = "FROM busybox\nARG WHO=nobody\nARG MUST\nRUN echo $WHO $MUST\n"
    given = quote(json.dumps({"WHO": "somebody", "UNUSED": "1"}))
    _build(api, "given", _context(dockerfile), f"buildargs={given}")
    _build(api, "default", _context(dockerfile))
    _build(api, "labels", _context("FROM busybox\n"), "labels=" + quote(json.dumps({"b": "2", "a": "1"})))
    api.post("no JSON", "/build?buildargs={", _context(dockerfile), _output, **_TAR)


def silent(api: Recorder) -> None:
    answer = api.need("POST", "/build?q=1", _context("FROM busybox\nRUN echo hi"), **_TAR)
    api.know(answer.json_lines()[-1]["stream"].strip(), "image")
    api.record("quiet", answer, _output)


def failing_steps(api: Recorder) -> None:
    for name, step in {
        "exit code": "RUN echo before; exit 3",
        "unknown program": "RUN no-such-program",
        "unknown program in exec form": 'RUN ["no-such-program"]',
        "missing file": "COPY missing /there",
        "missing pattern": "COPY missing* /there",
        "outside of the context": "COPY ../outside /there",
        "several to a file": "COPY a b /there",
        "unknown user": "USER nobody-knows\nRUN true",
    }.items():
        context = _context(f"FROM busybox\n{step}\n", {"a": "a", "b": "b"})
        api.post(name, "/build?rm=1&forcerm=1", context, _output, **_TAR)
    api.get("no image is left", "/images/json")
    api.get("no container is left", "/containers/json?all=1")


def wrong_dockerfiles(api: Recorder) -> None:
    for name, dockerfile in {
        "empty": "",
        "only a comment": "# nothing\n",
        "no FROM": "RUN true\n",
        "unknown instruction": "FROM busybox\nJUMP high\n",
        "FROM without a name": "FROM\n",
        "FROM with too much": "FROM busybox AS\n",
        "unknown base, bad name": "FROM UPPER\n",
        "RUN without a command": "FROM busybox\nRUN\n",
        "COPY of one": "FROM busybox\nCOPY a\n",
        "ENV without a value": "FROM busybox\nENV A\n",
        "ENV with a bad pair": "FROM busybox\nENV A=1 B\n",
        "EXPOSE of a word": "FROM busybox\nEXPOSE http\n",
        "unknown flag": "FROM busybox\nCOPY --colour=red a /a\n",
        "WORKDIR without a path": "FROM busybox\nWORKDIR\n",
        "bad quote": 'FROM busybox\nENV A="b\n',
        "bad substitution": "FROM busybox\nENV A=${B\n",
        "CMD that is no JSON list": 'FROM busybox\nCMD ["a"\n',
        "MAINTAINER": "FROM busybox\nMAINTAINER Ada\n",
        "HEALTHCHECK of nothing": "FROM busybox\nHEALTHCHECK\n",
        "HEALTHCHECK of an unknown kind": "FROM busybox\nHEALTHCHECK MAYBE true\n",
        "STOPSIGNAL that is none": "FROM busybox\nSTOPSIGNAL SIGNOTHING\n",
        "SHELL that is no list": "FROM busybox\nSHELL sh\n",
        "ONBUILD FROM": "FROM busybox\nONBUILD FROM busybox\n",
        "ONBUILD ONBUILD": "FROM busybox\nONBUILD ONBUILD RUN true\n",
        "ARG without a name": "FROM busybox\nARG\n",
        "LABEL without a value": "FROM busybox\nLABEL a\n",
        "VOLUME of nothing": 'FROM busybox\nVOLUME [""]\n',
        "unknown escape": "# escape=x\nFROM busybox\n",
    }.items():
        api.post(name, "/build", _context(dockerfile), _output, **_TAR)


def wrong_contexts(api: Recorder) -> None:
    api.post("no tar", "/build", b"this is no tar" * 100, _output, **_TAR)
    api.post("nothing", "/build", b"", _output, **_TAR)
    api.post("cut tar", "/build", _context("FROM busybox\n", {"a": "a" * 5000})[:2500], _output, **_TAR)
    api.post("no Dockerfile", "/build", archive({"a": "a"}), _output, **_TAR)
    api.post(
        "another Dockerfile, missing", "/build?dockerfile=other", _context("FROM busybox\n"), _output, **_TAR
    )
    outside = _context("FROM busybox\n")
    api.post("Dockerfile outside", "/build?dockerfile=../Dockerfile", outside, _output, **_TAR)
    api.post("bad name", "/build?t=UPPER", _context("FROM busybox\n"), _output, **_TAR)
    api.post("bad type", "/build", _context("FROM busybox\n"), _output, Content_Type="text/plain")
    dockerfile = "FROM busybox\nCOPY . /all\nRUN ls -A /all\n"
    _build(api, "ignored files", _context(dockerfile, {"a": "a", "b": "b", ".dockerignore": "b\n"}))


def another_dockerfile(api: Recorder) -> None:
    context = _context("FROM nowhere\n", {"here": "FROM busybox\nRUN echo another\n"})
    _build(api, "named", context, "dockerfile=here")


def names(api: Recorder) -> None:
    _build(api, "two names", _context("FROM busybox\nRUN echo x > /x\n"), "t=me/one:v1&t=me/two")
    tags = api.need("GET", "/images/me/one:v1/json").json()["RepoTags"]
    api.note("names", sorted(tags))


def cleared_cache(api: Recorder) -> None:
    api.post("prune", "/build/prune")
