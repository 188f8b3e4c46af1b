"""Images: named, listed, described, imported, saved, loaded, removed."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder
from tests.differential.scenarios.files import archive

_TAR = {"Content_Type": "application/x-tar"}


def unknown_image(api: Recorder) -> None:
    for part in ("json", "history", "get"):
        api.get(part, f"/images/nothing/{part}")
    api.post("tag", "/images/nothing/tag?repo=me/it")
    api.post("push", "/images/nothing/push", X_Registry_Auth="e30=")
    api.delete("remove", "/images/nothing")
    api.get("invalid name", "/images/UPPER/json")
    api.get("no such id", "/images/sha256:" + "0" * 64 + "/json")


def described(api: Recorder) -> None:
    image = api.get("by name", "/images/busybox/json")
    api.get("by full name", "/images/docker.io/library/busybox:latest/json")
    api.get("by short id", f"/images/{image.json()['Id'][7:19]}/json")
    api.get("history", "/images/busybox/history")
    api.get("list", "/images/json")


def tags(api: Recorder) -> None:
    api.post("tag", "/images/busybox/tag?repo=me/busybox&tag=v1")
    api.post("tag again", "/images/busybox/tag?repo=me/busybox&tag=v1")
    api.post("tag with the name in one", "/images/busybox/tag?repo=me/busybox:v2")
    api.post("tag with a registry", "/images/busybox/tag?repo=localhost:5000/me/busybox")
    for name in ("", "UPPER", "a b", "me/busybox@sha256:" + "0" * 64, "a" * 64):
        api.post(f"bad repository {name[:12]!r}", "/images/busybox/tag?repo=" + quote(name))
    api.post("bad tag", "/images/busybox/tag?repo=me/busybox&tag=a:b")
    api.get("tags", "/images/busybox/json", read=_names)
    api.delete("untag", "/images/me/busybox:v1")
    api.delete("untag what is gone", "/images/me/busybox:v1")
    api.delete("untag latest", "/images/me/busybox")
    image = api.need("GET", "/images/busybox/json").json()["Id"]
    api.delete("remove by id with several names", f"/images/{image}")


def _names(body: bytes) -> list[str]:
    return sorted(json.loads(body)["RepoTags"])


def _by_size(body: bytes) -> list[Any]:
    """A list of images; the order of those of one second is nobody's."""
    return sorted(json.loads(body), key=lambda image: int(image["Size"]))


def listed(api: Recorder) -> None:
    imported = api.need("POST", "/images/create?fromSrc=-&repo=me/it&tag=v1", archive({"a": "one"}))
    api.know(imported.json_lines()[-1]["status"], "imported")
    api.need("POST", "/images/busybox/tag?repo=me/busybox")

    def names(body: bytes) -> list[Any]:
        return sorted(sorted(image["RepoTags"] or []) for image in json.loads(body))

    api.get("all", "/images/json", read=_by_size)
    for name, filters in {
        "reference": {"reference": ["me/*"]},
        "references": {"reference": ["busybox:latest", "me/it"]},
        "reference of nothing": {"reference": ["nothing"]},
        "before": {"before": ["me/it:v1"]},
        "since": {"since": ["busybox"]},
        "dangling": {"dangling": ["true"]},
        "not dangling": {"dangling": ["false"]},
        "label": {"label": ["none"]},
        "unknown key": {"colour": ["red"]},
        "before an unknown one": {"before": ["nothing"]},
        "dangling that is no truth value": {"dangling": ["maybe"]},
    }.items():
        api.get(f"by {name}", "/images/json?filters=" + quote(json.dumps(filters)), read=names)


def imported(api: Recorder) -> None:
    tar = archive({"etc": None, "etc/hello": "hello\n", "bin": None})
    answer = api.need("POST", "/images/create?fromSrc=-&repo=me/plain&message=from+a+tar", tar)
    api.know(answer.json_lines()[-1]["status"], "plain")
    api.record("import", answer)
    api.get("image", "/images/me/plain/json")
    api.get("history", "/images/me/plain/history")
    changes = "&".join(
        "changes=" + quote(change) for change in ('CMD ["/bin/hello"]', "ENV A=1", "EXPOSE 80")
    )
    answer = api.need("POST", f"/images/create?fromSrc=-&repo=me/changed&{changes}", tar)
    api.know(answer.json_lines()[-1]["status"], "changed")
    api.note("configuration", api.need("GET", "/images/me/changed/json").json()["Config"])
    answer = api.need("POST", "/images/create?fromSrc=-", tar)
    api.know(answer.json_lines()[-1]["status"], "nameless")
    api.get("without a name", f"/images/{answer.json_lines()[-1]['status']}/json")
    api.post("no tar", "/images/create?fromSrc=-&repo=me/bad", b"this is no tar" * 100)
    api.post("nothing", "/images/create?fromSrc=-&repo=me/nothing", b"")
    api.post("bad name", "/images/create?fromSrc=-&repo=UPPER", tar)
    api.post("bad change", "/images/create?fromSrc=-&changes=" + quote("RUN true"), tar)


def removed(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "echo new > /new")
    image = api.need("POST", "/commit?container=box&repo=me/box").json()["Id"]
    api.know(image, "image")
    api.create("user", Image="me/box", Cmd=["sleep", "1000"])
    api.delete("used by a container", "/images/me/box")
    api.need("POST", "/containers/user/start")
    api.delete("used by a running container", f"/images/{image}")
    api.delete("used by a running container, with force", f"/images/{image}?force=1")
    api.delete("only a name of it, with force", "/images/me/box?force=1")
    api.need("DELETE", "/containers/user?force=1")
    api.need("POST", f"/images/{image}/tag?repo=me/again")
    api.delete("the last name", "/images/me/again")
    api.delete("base of nothing, used by a container", "/images/busybox")


def removed_with_children(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "echo new > /new")
    parent = api.know(api.need("POST", "/commit?container=box&repo=me/parent").json()["Id"], "parent")
    api.finish("next", "sh", "-c", "echo more > /more", Image="me/parent")
    api.know(api.need("POST", "/commit?container=next&repo=me/child").json()["Id"], "child")
    api.need("DELETE", "/containers/next")
    api.need("DELETE", "/containers/box")
    api.delete("by id, while it has a child", f"/images/{parent}")
    api.delete("by name, while it has a child", "/images/me/parent")
    api.delete("the child", "/images/me/child")


def pruned(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "echo new > /new")
    api.know(api.need("POST", "/commit?container=box&repo=me/box").json()["Id"], "named")
    api.know(api.need("POST", "/commit?container=box").json()["Id"], "nameless")
    api.need("DELETE", "/containers/box")
    api.post("unknown filter", "/images/prune?filters=" + quote('{"colour": ["red"]}'))
    api.post("nameless ones", "/images/prune")
    api.create("user")
    api.step("unused ones", "POST", "/images/prune?filters=" + quote('{"dangling": ["false"]}'))


def loaded(api: Recorder) -> None:
    for name, body in {
        "no tar": b"this is no tar" * 100,
        "nothing": b"",
        "tar of something else": archive({"a": "one"}),
        "manifest that is no JSON": archive({"manifest.json": "x"}),
    }.items():
        api.post(name, "/images/load", body, **_TAR)


def saved(api: Recorder) -> None:
    """What a `docker save` archive holds, whatever else its writer puts in it."""
    api.need("POST", "/images/busybox/tag?repo=me/busybox")

    def manifest(body: bytes) -> list[Any]:
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            listed = tar.extractfile("manifest.json")
            assert listed
            entries = json.loads(listed.read())
            for entry in entries:
                configuration = tar.extractfile(entry["Config"])
                assert configuration
                entry["Config"] = json.loads(configuration.read())
                entry["Layers"] = [tar.getmember(layer).size for layer in entry["Layers"]]
                entry["RepoTags"] = sorted(entry["RepoTags"] or [])
        return list(entries)

    api.get("one name", "/images/busybox/get", read=manifest)
    api.get("two names", "/images/get?names=busybox&names=me/busybox", read=manifest)
    api.get("an unknown name among them", "/images/get?names=busybox&names=nothing")
    body = api.need("GET", "/images/get?names=me/busybox").body
    api.need("DELETE", "/images/me/busybox")
    api.post("loaded again", "/images/load", body, **_TAR)
    api.get(
        "and named again", "/images/me/busybox/json", read=lambda body: sorted(json.loads(body)["RepoTags"])
    )


def pulled(api: Recorder) -> None:
    """Names that are refused before any registry is asked: what comes after is the network's affair."""
    api.post("bad name", "/images/create?fromImage=UPPER")
    api.post("nothing", "/images/create?fromImage=")
    api.post("bad tag", "/images/create?fromImage=busybox&tag=a:b")


def untagged(api: Recorder) -> None:
    """What the removal of one name of several does, and of an image by its id, in use or not."""
    image = api.need("GET", "/images/busybox/json").json()["Id"]
    for name in ("me/one&tag=a", "me/one&tag=b", "me/two&tag=a"):
        api.need("POST", f"/images/busybox/tag?repo={name}")
    api.create("box")
    api.delete("one of several, used", "/images/me/one:a")
    api.delete("by id, several repositories", f"/images/{image}")
    api.delete("by short id, several repositories", f"/images/{image[7:19]}")
    api.delete("by id, used, with force", f"/images/{image}?force=1")
    api.need("POST", "/containers/box/start")
    api.need("POST", "/containers/box/wait")
    api.get("names left", "/images/json", read=lambda body: [item["RepoTags"] for item in json.loads(body)])
    api.note("the container's image", api.need("GET", "/containers/json?all=1").json()[0]["Image"])


def used_on_disk(api: Recorder) -> None:
    api.need("POST", "/volumes/create", {"Name": "data"})
    api.need("POST", "/volumes/create", {"Name": "unused"})
    binds = ["data:/data"]
    api.finish("box", "sh", "-c", "echo 12345 > /data/file; echo new > /new", HostConfig={"Binds": binds})
    api.know(api.need("POST", "/commit?container=box&repo=me/box").json()["Id"], "image")
    found = api.need("GET", "/system/df").json()
    api.note("layers", found["LayersSize"] > 0)
    for image in sorted(found["Images"], key=lambda item: int(item["Size"])):
        api.note(
            f"image {image['RepoTags'][0]}",
            {key: image[key] for key in ("Containers", "SharedSize", "Size", "RepoTags")},
        )
    for volume in sorted(found["Volumes"], key=lambda item: str(item["Name"])):
        api.note(f"volume {volume['Name']}", volume["UsageData"])
    api.note("container", {key: found["Containers"][0][key] for key in ("SizeRw", "SizeRootFs", "Names")})
