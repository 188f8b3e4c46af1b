"""What COPY, ADD and RUN leave in the layers, built by us and by dockerd: many rows in few builds.

What dockerd's classic builder does otherwise than BuildKit has rows of its own, with literal values.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from typing import Any

import pytest
import zstandard

from tests.engine.build.beside_dockerd import (
    DIRECTORY,
    SYMLINK,
    TREE,
    Case,
    archive,
    comparable,
    differences,
    image_id,
    layers_of,
    messages,
    saved,
)
from tests.engine.build.conftest import Files, Workshop, member
from tests.support.daemons import Daemon

REGULAR, HARD_LINK = tarfile.REGTYPE, tarfile.LNKTYPE
CAPABILITY = "\x01\x00\x00\x02\x00\x04" + "\x00" * 14


def entry(
    name: str, kind: bytes, mode: int = 0o644, data: str = "", **more: Any
) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.type, found.mode, found.mtime = kind, mode, 1_400_000_000
    content = data.encode() if kind == REGULAR else b""
    found.size, found.linkname = len(content), "" if kind == REGULAR else data
    for field, value in more.items():
        setattr(found, field, value)
    return found, content


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for found, content in entries:
            tar.addfile(found, io.BytesIO(content))
    return out.getvalue()


RICH = packed(
    entry("./", DIRECTORY, 0o755),
    entry("./a", REGULAR, 0o600, "a", uid=5, gid=6),
    entry("./b", HARD_LINK, 0o600, "./a", uid=5, gid=6),
    entry("./d", DIRECTORY, 0o2770, uid=1),
    entry("./d/relative", SYMLINK, 0o777, "../a"),
    entry("./d/absolute", SYMLINK, 0o777, "/etc/passwd"),
    entry("/top", REGULAR, 0o4755, "t"),
    entry("twice", REGULAR, 0o644, "1"),
    entry("twice", REGULAR, 0o640, "22"),
    entry("pipe", tarfile.FIFOTYPE),
    entry("null", tarfile.CHRTYPE, 0o666, devmajor=1, devminor=3),
    entry("able", REGULAR, 0o755, "x", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY}),
    entry("half", REGULAR, 0o644, mtime=1_400_000_000.25),
    entry("im/plied/file", REGULAR),
    entry("\u00e9/\u00fc n", REGULAR),
    entry("x" * 120 + "/" + "y" * 130, REGULAR),
)
NAMES: Files = {
    **TREE,
    ".dot": "d",
    ".dir": member(DIRECTORY),
    ".dir/x": "x",
    "deep": member(DIRECTORY),
    "deep/1": member(DIRECTORY, mode=0o2775),
    "deep/1/x": "4",
    "a b": "blank",
    "\u00e9": "e",
    "[x]": "brackets",
    "x": "plain",
    "*": "star",
    "broken": member(DIRECTORY),
    "broken/link": member(SYMLINK, target="nowhere"),
    "one-name": "h",
    "two-names": member(HARD_LINK, mode=0o644, target="one-name"),
}
NAMES["two-names"].mtime = 1_600_000_000  # type: ignore[index, union-attr]

CASES = {
    "archives": Case(
        """
FROM busybox
ADD rich.tar /rich/
ADD plain.gz /g
ADD plain.gz /h/
ADD plain.bz2 plain.xz /i/
ADD empty /empty1
ADD empty.tar /empty2/
ADD empty /empty3/
ADD old.lzma /j
ADD --chown=7:8 x.tar /k
ADD hides.tar /bin/
WORKDIR /w
ENV A=x.tar
ADD $A below
ADD ${A} .
""",
        {
            "rich.tar": RICH,
            "plain.gz": gzip.compress(b"plain"),
            "plain.bz2": bz2.compress(b"plain"),
            "plain.xz": lzma.compress(b"plain"),
            "empty": b"",
            "empty.tar": packed(),
            "old.lzma": lzma.compress(archive(), format=lzma.FORMAT_ALONE),
            "x.tar": archive(),
            "hides.tar": packed(entry(".wh.ls", REGULAR), entry("new", REGULAR)),
        },
    ),
    "what is copied": Case(
        r"""
FROM busybox
COPY . /all/
COPY .dot .dir /dots/
COPY .d* /dot-something/
COPY */x /x/
COPY deep /deep
COPY deep/1/ /deep-1
COPY ["a b", "/q r/"]
COPY é /é2
COPY [[]x] /bracket/
COPY \* /star/
COPY [a-x] /class/
COPY [^a]* /no-a/
COPY one-name two-names /links/
COPY broken /broken
COPY a.t* /one-match
COPY dir/on* /another
COPY d?r/s*b /folder
COPY /a.txt /1
COPY ./dir/../b.txt /2
COPY dir/ /3
COPY dir/. /4
COPY /dir/ /5/
COPY //dir//one /6
""",
        NAMES,
    ),
    "where it is copied to": Case(
        """
FROM busybox
COPY a.txt /tmp
COPY a.txt b.txt /tmp/
COPY b.txt /tmp/.
WORKDIR /w/x
COPY a.txt ..
COPY a.txt ../y/
COPY a.txt ../z
COPY a.txt ../../../../q
COPY dir ./
COPY a.txt ./.
ENV S=a.txt D=/to
COPY $S $D/
COPY ${S} ${D}/${S}2
COPY ["$S", "$D/json"]
ARG Z=b.txt
ADD $Z $D/$Z
RUN mkdir /real && ln -s real /l && ln -s /etc/passwd /p && ln -s /real /real/self
COPY dir /l/
COPY a.txt /p
COPY dir /real/self
COPY a.txt /l
""",
        TREE,
    ),
    "out of a stage": Case(
        """
FROM busybox AS one
RUN mkdir -p /o/d /o/e && echo 1 > /o/f && ln /o/f /o/g && ln -s f /o/s && ln -s /o/d /o/abs && \\
    mknod /o/n c 1 3 && mkfifo /o/p && chmod 4755 /o/f && touch -d @7 /o/d /o/e && chown 3:4 /o/e && \\
    ln -s o /l && ln -s /o /m && mkdir /w && touch /w/a /w/b
RUN rm -r /w && mkdir /w && touch /w/c
RUN rm /w/c && touch /w/e && ln -s e /w/c
FROM busybox
COPY --from=one /o /1
COPY --from=one /o/ /2/
COPY --from=one o/d /3
COPY --from=one /o/abs /4
COPY --from=one /o/s /5
COPY --from=one /o/d /o/e /6/
COPY --from=one /o/[de] /7/
COPY --from=one /o/./d/../f /8/x
COPY --from=one --chown=daemon /o/e /9
COPY --from=busybox /etc/passwd /etc/group /10/
COPY --from=one /l/f /11
COPY --from=one /m/f /12
COPY --from=one /l /13
COPY --from=one /m/ /14/
COPY --from=one /w /15
"""
    ),
    "owners": Case(
        """
FROM busybox
RUN echo 'me:x:1234:77::/home/me:/bin/sh' >> /etc/passwd && echo 'me:x:77:' >> /etc/group && \\
    echo 'grp:x:88:me' >> /etc/group && mkdir -m 777 /home/open
COPY --chown=me:grp a.txt /c1
COPY --chown=me a.txt /c2
COPY --chown=1234 a.txt /c3
COPY --chown=77:me dir /c4
ADD --chown=me:0 dir /c5/
USER me
RUN cd /home/open; id -u > 1; id -g >> 1; id -G >> 1; echo $HOME >> 1; whoami >> 1
USER 1234
RUN cd /home/open; id > 3; echo $HOME >> 3
USER 99:88
RUN cd /home/open; id > 4; echo $HOME >> 4
WORKDIR /home/open/w
COPY a.txt .
ENV U=daemon
USER ${U}:$U
RUN id > /home/open/5
""",
        TREE,
    ),
    "changed by commands": Case(
        """
FROM busybox
RUN mkdir -p /d/e && touch /d/e/f /d/g && ln -s g /d/l
RUN rm -r /d/e && echo x > /d/e && rm /d/g && mkdir /d/g && rm /d/l && touch /d/l
RUN rm -rf /d && ln -s /etc /d
RUN rm /d && mkdir /d && touch /d/n
RUN mv /d /dd && mkdir /d && mv /dd/n /d/n
RUN chmod 600 /etc/group; touch -d @9 /etc/passwd; rm -f /etc/shadow; mkdir /etc/x; rmdir /etc/x
RUN echo a \\
  # comment

  b > /3
RUN\techo "multi \\
line" '$V' > /4
RUN ["/bin/sh", "-c", "echo \\"$HOME\\" > /5"]
"""
    ),
    "working directories": Case(
        """
FROM busybox
WORKDIR a
WORKDIR b/
RUN pwd > p
WORKDIR ..
WORKDIR .
WORKDIR //x//y/
ENV W=/e/f
WORKDIR $W
WORKDIR ${W}/../g h
RUN pwd > p
WORKDIR "/quoted dir"
WORKDIR '/q2'
RUN pwd > p
USER daemon
WORKDIR /owned/by
"""
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_files(name: str, workshop: Workshop, dockerd: Daemon) -> None:
    case = CASES[name]
    ours = workshop.build(case.dockerfile, case.files).image
    theirs = saved(dockerd, image_id(messages(dockerd, case)))
    assert differences(layers_of(workshop, ours), theirs.layers) == []
    assert differences(comparable(ours.config), comparable(theirs.config)) == []


def test_what_is_newer_than_dockerd(workshop: Workshop) -> None:
    """Zstandard is unpacked; COPY keeps a set-user-id bit and extended attributes; what a step writes into a
    volume stays, and VOLUME makes no directory: docs.docker.com/reference/dockerfile "ADD" and "VOLUME"."""
    able = member(REGULAR)
    able.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY, "SCHILY.xattr.user.x": "y"}
    built = workshop.build(
        """
FROM busybox
ADD x.tar.zst /zst
COPY able /able
COPY --chown=1:2 tool /tool
VOLUME /kept /other
RUN mkdir -p /kept && echo 1 > /kept/file && test ! -e /other
HEALTHCHECK --start-period=0s CMD true
""",
        {
            "x.tar.zst": zstandard.compress(archive()),
            "able": able,
            "tool": member(REGULAR, mode=0o4755),
        },
    )
    _, unpacked, copied, owned, kept = layers_of(workshop, built.image)
    assert "zst/deep/er/file" in unpacked
    assert copied["able"].endswith(f" security.capability={CAPABILITY!r} user.x='y'")
    assert owned["tool"].startswith("0 0o4755 1:2 ")
    assert set(kept) == {"kept", "kept/file"}
