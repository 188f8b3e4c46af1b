"""The same Dockerfiles and contexts built by us and by dockerd: configuration, history, every layer."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest

from tests.engine.build.beside_dockerd import (
    TREE,
    Case,
    archive,
    build_with,
    comparable,
    differences,
    image_id,
    layers_of,
    messages,
    normal,
    saved,
)
from tests.engine.build.conftest import Workshop
from tests.support.daemons import Daemon

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
    "every value": Case(
        r"""
FROM busybox
LABEL a="x y" b='z "q"' c=d\ e "k k"=v f= g="" h="a\
b" i.j/k=1
LABEL old style value
LABEL "q"="\"" r=\"s\"
LABEL a=2 a=3
LABEL e=$PATH s='$PATH' t=\$PATH é=ü
ENV a="x y" b='z "q"' c=d\ e f= g="" h="a\
b"
ENV old  style "value" $a
ENV a=1 b=$a c=${b}
ENV a=2 a=3
ENV e=$a$c s='$a' t=\$a u="\$a" v="$a'"
ENV PATH $PATH:/x
ENV lower=1 LOWER=2 w=${a:-x}${zz:-y}${a:+set}
EXPOSE 80 443/TCP 53/udp 7-9 80/tcp 99/sctp
ENV P=1000 Q=1-3
EXPOSE $P ${Q}/udp
STOPSIGNAL SIGTERM
ENV S=INT
STOPSIGNAL $S
VOLUME /a /b /a
VOLUME ["/c","/d e"]
ENV V=/v W=/w
VOLUME $V ${W}/x
VOLUME rel
VOLUME /a/
MAINTAINER  "A B"  <x@y>
MAINTAINER $PATH
HEALTHCHECK CMD echo "a b" | c
healthcheck none
HEALTHCHECK --interval=500ms --timeout=1h1m1s --retries=1 --start-period=1ms CMD ["a","b"]
"""
    ),
    "every command": Case(
        r"""
FROM busybox AS a
CMD ["from a"]
ENTRYPOINT ["first"]
CMD ["again"]
ONBUILD CMD ["never"]
FROM busybox AS b
CMD ["from b"]
FROM b
ENTRYPOINT ["the command of the base is gone"]
CMD [ "a" , "\u00e9\"b\\" ,"$PATH"]
CMD 'a b' "c"
CMD ['a']
CMD ["a" "b"]
CMD   two   spaces \
   kept
ENTRYPOINT ["", " "]
CMD [""]
SHELL ["/bin/sh","-ec"]
HEALTHCHECK CMD d e
ENTRYPOINT c
ONBUILD ADD x /y
ONBUILD CMD ["a"]
ONBUILD ENTRYPOINT b
ONBUILD HEALTHCHECK CMD x
ONBUILD LABEL a="b c"
ONBUILD SHELL ["x"]
ONBUILD USER $x
ONBUILD ARG z=1
onbuild   run   echo   a \
  b
COPY --from=a /etc/passwd /p
"""
    ),
    "scopes": Case(
        """
ARG A=1 B=2
ARG C=$A-$B
FROM busybox AS one
LABEL 1=$A$B$C
ARG A
ARG B=3
LABEL 2=$A$B$C
ENV A=env
LABEL 3=$A
ARG A=later
LABEL 4=$A
USER 5
ONBUILD ENV q=$A
FROM one
LABEL 5=$A$B$C 6=$q
ARG C
ARG G N
LABEL 7=$C$G 8=${N:-none}
ARG D=${C}x E HTTP_PROXY
LABEL 9=$D[$E]$HTTP_PROXY$no_proxy
EXPOSE $NOTHING
USER $NOTHING
ENV B=env
ARG B
COPY a.txt /${B}$A
""",
        TREE,
        {
            "build_args": {
                "A": "given",
                "B": "given",
                "G": "g",
                "N": None,
                "ONLY": "unused",
                "HTTP_PROXY": "http://u:p@h",
                "no_proxy": "x",
            }
        },
    ),
    "spelling": Case(
        "\ufeff# syntax=x\r\nFROM\tbusybox\tAS\tX.y-z_1\r\nENV\ta=1 \\\r\n  b=2\r\n"
        "LABEL\tx\ty  z\t\r\nRUN echo x \\\r\n # note\r\n y > /f\r\nFROM\tx.Y-Z_1\r\n"
        "COPY\t--from=X.Y-Z_1\t/f\t/g\r\nEXPOSE\t80\t81"
    ),
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
