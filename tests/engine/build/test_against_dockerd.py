"""The same Dockerfiles and contexts built by us and by dockerd: configuration, history, every layer."""

from __future__ import annotations

import bz2
import difflib
import gzip
import hashlib
import io
import json
import lzma
import posixpath
import re
import tarfile
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from labkernel.engine.image.images import Image
from tests.engine.build.conftest import Files, Workshop, context_tar, member
from tests.support.daemons import Daemon

DIRECTORY, SYMLINK = tarfile.DIRTYPE, tarfile.SYMTYPE


@dataclass(frozen=True)
class Case:
    dockerfile: str
    files: Files = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def archive() -> bytes:
    """A tar with owners, modes and times of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, mode, owner in (
            ("in", DIRECTORY, 0o750, 5),
            ("in/file", tarfile.REGTYPE, 0o4711, 6),
            ("link", SYMLINK, 0o777, 7),
            ("deep/er/file", tarfile.REGTYPE, 0o600, 8),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = kind, mode, 1_400_000_000
            entry.uid, entry.gid = owner, owner + 1
            data = b"unpacked\n" if kind == tarfile.REGTYPE else b""
            entry.size, entry.linkname = len(data), "in/file" if kind == SYMLINK else ""
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


TREE: Files = {
    "a.txt": "a\n",
    "b.txt": "b\n",
    "dir": member(DIRECTORY, mode=0o700, uid=3, gid=4),
    "dir/one": "1\n",
    "dir/sub": member(DIRECTORY, mode=0o1777),
    "dir/sub/two": "2\n",
    "dir/link": member(SYMLINK, target="../a.txt"),
    "dir/away": member(SYMLINK, target="/etc/passwd"),
    "link": member(SYMLINK, target="dir/one"),
    "dirlink": member(SYMLINK, target="dir"),
    "empty": member(DIRECTORY),
}

CASES = {
    "env": Case(
        """
FROM busybox
ENV A=1 B="two words" C=$A
ENV D the rest of it
ENV A=${A}x E=${NO:-default} F=${A:+set}
ENV PATH=/opt:$PATH
"""
    ),
    "label": Case(
        """
FROM busybox
LABEL a=b "c d"="e f" g='$h'
LABEL a=z
LABEL multi="x\\
y"
"""
    ),
    "option labels": Case("FROM busybox\nLABEL a=b\n", options={"labels": {"z": "1", "a": "$A"}}),
    "maintainer and user": Case(
        """
FROM busybox
MAINTAINER A B <a@b.c>
USER daemon:1
ENV a=b
USER 5
"""
    ),
    "commands": Case(
        """
FROM busybox
CMD echo "hi"
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["a", "b\\tc"]
ENTRYPOINT echo x
"""
    ),
    "empty commands": Case("FROM busybox\nCMD\nENTRYPOINT\n"),
    "empty lists": Case("FROM busybox\nCMD []\nENTRYPOINT []\n"),
    "cmd before entrypoint": Case("FROM busybox\nCMD a\nCMD []\nENTRYPOINT b\n"),
    "expose and volume": Case(
        """
FROM busybox
ENV P="81 82/udp"
EXPOSE 80 443/tcp 1000-1002/udp $P
VOLUME /a /b
VOLUME ["/c d"]
"""
    ),
    "healthcheck": Case(
        """
FROM busybox
HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=2ms --retries=7 CMD curl -f x
"""
    ),
    # dockerd lets an option that is left out keep the value of the HEALTHCHECK before: not compared.
    "healthcheck overridden": Case(
        """
FROM busybox
HEALTHCHECK CMD ["true"]
HEALTHCHECK NONE
HEALTHCHECK --interval=1h CMD false
HEALTHCHECK --interval=2h30m CMD x y
"""
    ),
    "shell and stopsignal": Case(
        """
FROM busybox
SHELL ["/bin/sh", "-e", "-c"]
RUN echo x > /x
STOPSIGNAL SIGRTMIN+3
STOPSIGNAL 9
CMD a
"""
    ),
    "arguments": Case(
        """
ARG V=1
ARG TAG=latest
FROM busybox:${TAG}
ARG V
ARG W=w$V X
ENV Y=$W
RUN echo $V $W $X $Y > /out
ARG V=2
RUN echo $V > /out2
""",
        options={"build_args": {"X": "given", "HTTP_PROXY": "http://p"}},
    ),
    "proxy only": Case(
        "FROM busybox\nRUN echo $http_proxy > /p\n", options={"build_args": {"http_proxy": "http://q"}}
    ),
    "run": Case(
        """
FROM busybox
RUN echo hi > /tmp/x && mkdir -p /a/b && chmod 2750 /a
RUN ["touch", "-d", "@5", "/a/b/c"]
RUN rm -r /a/b /bin/ls
RUN true
RUN ln /etc/passwd /etc/hard; ln -s x /y; mkfifo /f
RUN mv /etc/hard /etc/moved; chown 1:2 /etc
"""
    ),
    "workdir": Case(
        """
FROM busybox
WORKDIR /one/two
RUN pwd > x
WORKDIR three
RUN pwd > y
RUN rmdir /one/two/none; cd / && rm -r /one
RUN pwd
ENV D=/four
WORKDIR $D/../five
USER 1
WORKDIR /six
RUN ln -s one /tmp/link
WORKDIR /tmp/link/new
WORKDIR /six
"""
    ),
    "workdir through a link": Case(
        """
FROM busybox
RUN ln -s /var /lnk
WORKDIR /lnk/new
RUN pwd > here
COPY a.txt .
""",
        TREE,
    ),
    "copy files": Case(
        """
FROM busybox
COPY a.txt /
COPY a.txt /new/
COPY a.txt /other/name
COPY a.txt b.txt /two/
COPY a.txt /two
COPY ./a.txt /new/dir/./x
WORKDIR /w
COPY b.txt .
COPY b.txt rel/
COPY b.txt ./c.txt
COPY link /l
""",
        TREE,
    ),
    "copy folders": Case(
        """
FROM busybox
COPY dir /d
COPY dir /tmp
COPY dir/ /e/
COPY dir dir/sub /f/
COPY . /all
COPY empty /g
COPY dirlink /h
COPY dirlink/one /i
""",
        TREE,
    ),
    "copy wildcards": Case(
        """
FROM busybox
COPY *.txt /t/
COPY d*r /d/
COPY ?.txt /q/
COPY [ab].txt /c/
COPY dir/[ols]* /s/
COPY ["a.txt", "b.txt", "/json dir/"]
""",
        TREE,
    ),
    "copy over": Case(
        """
FROM busybox
RUN mkdir -p /d/sub /x && echo old > /d/one && echo old > /x/a.txt && ln -s /d /dl
COPY dir /d
COPY dir /dl
COPY a.txt /x/a.txt
COPY a.txt /dl/sub
COPY a.txt /dl/new/
RUN ln -s /x/a.txt /fl; ln -s /nowhere/file /broken
COPY b.txt /fl
COPY b.txt /broken
""",
        TREE,
    ),
    "copy replaces kinds": Case(
        """
FROM busybox
RUN mkdir -p /t/one/inner && ln -s /etc /t/sub && echo x > /t/link
COPY dir /t
""",
        TREE,
    ),
    "chown": Case(
        """
FROM busybox
COPY --chown=daemon a.txt /1
COPY --chown=7:8 dir /2
COPY --chown=daemon:wheel dir /tmp
COPY --chown=9 a.txt /new/parents/3
COPY --chown=9 a.txt /also/new/
ENV U=11
ADD --chown=$U a.txt /4
""",
        TREE,
    ),
    "add archives": Case(
        """
FROM busybox
ADD x.tar.gz /a
ADD x.tar /b/
ADD x.tar.bz2 /tmp
ADD not.tar.gz /n/
COPY x.tar.gz /c/
ADD x.tar.xz a.txt dir /several/
""",
        {
            **TREE,
            "x.tar.gz": gzip.compress(archive()),
            "x.tar": archive(),
            "x.tar.bz2": bz2.compress(archive()),
            "x.tar.xz": lzma.compress(archive()),
            "not.tar.gz": b"\x1f\x8bno",
        },
    ),
    "add through links": Case(
        """
FROM busybox
RUN mkdir -p /t/real && ln -s real /t/deep && ln -s /t /in
ADD x.tar /t
ADD x.tar /in
""",
        {"x.tar": archive()},
    ),
    "stages": Case(
        """
FROM busybox AS one
RUN mkdir /o && echo 1 > /o/f && chown -R 5:6 /o && chmod 700 /o/f && ln /o/f /o/g
FROM busybox AS Two
COPY --from=one /o /from-one
COPY --from=0 /o/f /f
COPY --from=one --chown=1 /o /x
FROM two
COPY --from=TWO /from-one/f /bin/busybox /y/
COPY --from=busybox /etc/passwd /p
ENV last=1
"""
    ),
    "target": Case(
        """
FROM busybox AS a
ENV a=1
FROM a AS b
ENV b=2
FROM b
ENV c=3
""",
        options={"target": "b"},
    ),
    "scratch": Case(
        """
FROM scratch
COPY a.txt /
ENV A=b
COPY dir /d
WORKDIR /w
CMD ["/x"]
""",
        TREE,
    ),
    "stages side by side": Case(
        """
FROM busybox AS slow
RUN sleep 0.5; echo slow | tee /slow
RUN echo both
FROM busybox AS quick
RUN echo quick | tee /quick
FROM busybox AS copied
COPY a.txt /copied
FROM busybox
COPY --from=quick /quick /
COPY --from=copied /copied /
COPY --from=slow /slow /again
RUN cat /quick /copied /again > /all
""",
        TREE,
    ),
    "only from": Case("FROM busybox\n"),
    "odd spelling": Case(
        """# syntax=docker/dockerfile:1

  from   busybox   aS   x
# comment
  run echo a && \\
  # in between
    echo b > /b
cmd   [ "a" ]
EnV x="a b"\\ c
"""
    ),
    "escape directive": Case(
        """# escape=`
FROM busybox
ENV a=b\\c d=e`
  f=g
RUN echo a`
  b > /x
"""
    ),
    "onbuild": Case(
        """
FROM busybox
ONBUILD RUN echo x > /x
ONBUILD  ENV a=b
onbuild copy a.txt /
""",
        TREE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_image_and_messages(name: str, workshop: Workshop, dockerd: Daemon) -> None:
    case = CASES[name]
    ours = workshop.build(case.dockerfile, case.files, **case.options)
    their_messages = messages(dockerd, case, nocache=True)
    theirs = saved(dockerd, image_id(their_messages))
    assert differences(comparable(ours.image.config), comparable(theirs.config)) == []
    assert differences(layers_of(workshop, ours.image), theirs.layers) == []
    assert differences([*map(normal, ours.messages)], [*map(normal, their_messages)]) == []


def test_triggers_of_a_base(workshop: Workshop, dockerd: Daemon) -> None:
    """ONBUILD runs in the next build, and only there."""
    base = Case(
        "FROM busybox\nONBUILD ENV a=b\nONBUILD RUN echo $a > /a\nONBUILD COPY a.txt /\n",
        {},
        {"tags": ["on"]},
    )
    child = Case("FROM on\nENV c=d\n", TREE)
    workshop.build(base.dockerfile, base.files, **base.options)
    ours = workshop.build(child.dockerfile, child.files)
    build_with(dockerd, base)
    theirs = saved(dockerd, build_with(dockerd, child))
    assert differences(comparable(ours.image.config), comparable(theirs.config)) == []
    assert differences(layers_of(workshop, ours.image), theirs.layers) == []


# --- dockerd


def messages(dockerd: Daemon, case: Case, **parameters: Any) -> list[dict[str, Any]]:
    options = case.options
    query: dict[str, Any] = {
        "buildargs": json.dumps(options.get("build_args", {})),
        "labels": json.dumps(options.get("labels", {})),
        "target": options.get("target", ""),
        "rm": 1,
        "t": "".join(options.get("tags", [])),
        **({"nocache": 1} if parameters.get("nocache") else {}),
    }
    tar = context_tar({"Dockerfile": case.dockerfile, **case.files})
    answer = dockerd.http.call(
        "POST", f"/v1.41/build?{urlencode(query)}", tar, {"Content-Type": "application/x-tar"}
    )
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json_lines()
    return found


def build_with(dockerd: Daemon, case: Case) -> str:
    return image_id(messages(dockerd, case))


def image_id(found: list[dict[str, Any]]) -> str:
    assert "error" not in found[-1], found[-1]
    last: str = [message["aux"]["ID"] for message in found if "aux" in message][-1]
    return last


class Saved(NamedTuple):
    config: dict[str, Any]
    layers: list[dict[str, str]]


def saved(dockerd: Daemon, image_id: str) -> Saved:
    answer = dockerd.http.call("GET", f"/images/{image_id}/get")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        manifest = json.loads(read(tar, "manifest.json"))[0]
        return Saved(
            json.loads(read(tar, manifest["Config"])),
            [layer_files(read(tar, name)) for name in manifest["Layers"]],
        )


def read(tar: tarfile.TarFile, name: str) -> bytes:
    """dockerd stores a layer that occurs twice as a link to the first."""
    found = tar.getmember(name)
    if found.issym():
        found = tar.getmember(posixpath.normpath(posixpath.join(posixpath.dirname(name), found.linkname)))
    stream = tar.extractfile(found)
    assert stream
    return stream.read()


# --- what is compared


def differences(ours: Any, theirs: Any) -> list[str]:
    """The lines in which two JSON values differ: `-` ours, `+` theirs."""
    our_page, their_page = (
        json.dumps(value, sort_keys=True, indent=1).splitlines() for value in (ours, theirs)
    )
    return [line for line in difflib.ndiff(our_page, their_page) if line.startswith(("-", "+"))]


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Configuration and history without what names a moment, a machine's ids, or the way files are hashed."""
    config = {**document["config"], "Image": ""}
    history = [
        {
            **{key: value for key, value in entry.items() if key != "created"},
            "created_by": re.sub(r"(file|dir|multi):[0-9a-f]{64}", r"\1:HASH", entry.get("created_by", "")),
        }
        for entry in document["history"]
    ]
    kept = {key: document.get(key) for key in ("architecture", "os", "author")}
    return {"config": config, "history": history, **kept}


def layers_of(workshop: Workshop, image: Image) -> list[dict[str, str]]:
    found = []
    for layer in workshop.images.layers(image):
        out = io.BytesIO()
        workshop.store.layers.pack(layer, out)
        found.append(layer_files(out.getvalue()))
    return found


def layer_files(tar_bytes: bytes) -> dict[str, str]:
    """Every entry by name. Times only where they are older than this test: those were copied."""
    found: dict[str, str] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        for entry in tar:
            name = entry.name.rstrip("/")
            stream = tar.extractfile(entry) if entry.isfile() or entry.islnk() else None
            content = hashlib.sha256(stream.read()).hexdigest()[:12] if stream else ""
            if entry.islnk():
                links[name] = entry.linkname
            kind = "0" if entry.islnk() else entry.type.decode()
            mode = "" if entry.issym() else oct(entry.mode & 0o7777)
            target = entry.linkname if entry.issym() else ""
            time = int(entry.mtime) if entry.mtime < 1_650_000_000 else "now"
            if posixpath.basename(name).startswith(".wh."):
                found[name] = "whiteout"
                continue
            found[name] = f"{kind} {mode} {entry.uid}:{entry.gid} {time} {content}{target}"
    for name, target in links.items():
        # Which of the names is the link depends on the order alone.
        group = " = ".join(sorted({name, target}))
        found[name] += f" ({group})"
        found[target] += f" ({group})"
    return found


def normal(message: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(message)
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:ID", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    changed: dict[str, Any] = json.loads(text)
    return changed
