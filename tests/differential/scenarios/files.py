"""Files in and out of containers: archive, export, commit."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from urllib.parse import quote

from tests.differential.recorder import Recorder, streams, tar_members

_TAR = {"Content_Type": "application/x-tar"}


def archive(contents: Mapping[str, str | None]) -> bytes:
    """A tar of text files by name; None makes a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in contents.items():
            member = tarfile.TarInfo(name)
            member.mtime = 1700000000
            if text is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            member.size = len(text or "")
            tar.addfile(member, io.BytesIO((text or "").encode()))
    return out.getvalue()


def stat(api: Recorder) -> None:
    api.finish(
        "box",
        "sh",
        "-c",
        "echo hello > /tmp/file; ln -s /tmp/file /link; ln -s no /broken; mkfifo /fifo",
    )
    for path in (
        "/tmp/file",
        "tmp/file",
        "/tmp",
        "/tmp/",
        "/tmp/.",
        "/link",
        "/link/",
        "/broken",
        "/fifo",
        "/",
    ):
        api.step(f"stat {path}", "HEAD", "/containers/box/archive?path=" + quote(path))
    for path in ("/missing", "/tmp/file/below", "/tmp/file/", "../../etc", ""):
        api.step(f"stat {path!r}", "HEAD", "/containers/box/archive?path=" + quote(path))


def fetch(api: Recorder) -> None:
    made = "echo a > a; mkdir sub; echo b > sub/b; ln -s a link; ln a hard; chmod 4755 a; chown 1:1 sub/b"
    api.finish("box", "sh", "-c", f"mkdir /srv; cd /srv; {made}")
    for path in ("/srv", "/srv/", "/srv/.", "/srv/a", "/srv/link", "/srv/sub", "/etc/passwd"):
        api.get(f"fetch {path}", "/containers/box/archive?path=" + quote(path), read=tar_members)
    api.get("missing", "/containers/box/archive?path=/nowhere")
    api.get("no path", "/containers/box/archive")
    api.get("fetch from /proc", "/containers/box/archive?path=/proc/self")


def put(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"], HostConfig={"Binds": ["data:/data"]})
    one = archive({"a": "one\n", "sub": None, "sub/b": "two\n"})
    api.step("into a folder", "PUT", "/containers/box/archive?path=/tmp", one, **_TAR)
    api.get("there it is", "/containers/box/archive?path=/tmp/sub", read=tar_members)
    api.step("into a volume", "PUT", "/containers/box/archive?path=/data", one, **_TAR)
    api.step("into a missing folder", "PUT", "/containers/box/archive?path=/missing", one, **_TAR)
    api.step("into a file", "PUT", "/containers/box/archive?path=/etc/passwd", one, **_TAR)
    api.step("no path", "PUT", "/containers/box/archive", one, **_TAR)
    api.step("no tar", "PUT", "/containers/box/archive?path=/tmp", b"this is no tar" * 100, **_TAR)
    api.step("cut tar", "PUT", "/containers/box/archive?path=/tmp", archive({"c": "c" * 5000})[:1500], **_TAR)
    api.step("empty tar", "PUT", "/containers/box/archive?path=/tmp", b"\0" * 1024, **_TAR)
    api.step("nothing", "PUT", "/containers/box/archive?path=/tmp", b"", **_TAR)
    file_for_folder = "/containers/box/archive?path=/tmp&noOverwriteDirNonDir="
    api.step("file over folder", "PUT", file_for_folder + "true", archive({"sub": "file\n"}), **_TAR)
    api.step("folder over file", "PUT", file_for_folder + "true", archive({"a": None}), **_TAR)
    api.step("unknown", "PUT", "/containers/nobody/archive?path=/tmp", one, **_TAR)
    api.need("POST", "/containers/box/start")
    api.step("while running", "PUT", "/containers/box/archive?path=/", archive({"late": "late\n"}), **_TAR)
    api.get("seen while running", "/containers/box/archive?path=/late", read=tar_members)


def put_into_a_read_only_root(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"], HostConfig={"ReadonlyRootfs": True})
    api.step("put", "PUT", "/containers/box/archive?path=/tmp", archive({"a": "one\n"}), **_TAR)


def export(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "echo new > /new; rm /etc/group; ln -s /new /link")

    def changed(body: bytes) -> list[dict[str, object]]:
        members = {str(member["name"]): member for member in tar_members(body)}
        return [
            members.get(name, {"name": name, "gone": True})
            for name in ("new", "link", "etc/group", "etc/passwd")
        ]

    api.get("export", "/containers/box/export", read=changed)


def commit(api: Recorder) -> None:
    api.finish(
        "box", "sh", "-c", "echo new > /new", Env=["A=1"], Labels={"from": "container"}, WorkingDir="/tmp"
    )
    answer = api.post("commit", "/commit?container=box&repo=me/box&tag=v1&comment=a+new+file&author=Ada")
    image = api.know(answer.json()["Id"], "image")
    api.get("image", f"/images/{image}/json")
    api.get("history", "/images/me/box:v1/history")
    config = {"Env": ["B=2"], "Cmd": ["cat", "/new"]}
    answer = api.post("with a configuration", "/commit?container=box&repo=me/box&tag=v2", config)
    api.know(answer.json()["Id"], "second image")
    api.note("its configuration", api.need("GET", "/images/me/box:v2/json").json()["Config"])
    changes = quote('CMD ["cat","/new"]\nEXPOSE 80\nENV C=3')
    answer = api.post("with changes", f"/commit?container=box&repo=me/box&tag=v3&changes={changes}")
    api.know(answer.json()["Id"], "third image")
    api.note("its configuration too", api.need("GET", "/images/me/box:v3/json").json()["Config"])
    api.post("with a bad change", "/commit?container=box&changes=" + quote("RUN true"))
    api.post("with an unknown change", "/commit?container=box&changes=" + quote("JUMP"))
    api.post("to a bad name", "/commit?container=box&repo=UPPER")
    api.post("without a container", "/commit")
    again = api.finish("again", "cat", "/new", Image="me/box:v1")
    api.get("a container of it", f"/containers/{again}/logs?stdout=1", read=streams)


def commit_while_running(api: Recorder) -> None:
    api.run("box", "sh", "-c", "echo kept > /kept; sleep 1000")
    api.until("/containers/box/changes", lambda found: bool(found))
    answer = api.post("commit", "/commit?container=box&repo=me/box")
    api.know(answer.json()["Id"], "image")
    api.note("still running", api.need("GET", "/containers/box/json").json()["State"]["Status"])
    api.finish("again", "cat", "/kept", Image="me/box")
    api.get("what was kept", "/containers/again/logs?stdout=1", read=streams)
