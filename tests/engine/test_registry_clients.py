"""Registries through the engine, as its clients use them: docker, docker-py and skopeo."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.distribution.servers import HTPASSWD, PASSWORD, USER, RegistryProcess
from tests.support.daemons import Daemon, running

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Place:
    """An engine and its registries, all in one room."""

    engine: Daemon
    debian: str
    ours: str
    private: str

    def run(self, *words: str, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        ended = self.engine.run(
            words, env={**self.engine.environment(), **environment}, stdin=subprocess.DEVNULL
        )
        assert (ended.returncode == 0) is ok, ended.stdout + ended.stderr
        return ended


@pytest.fixture(scope="module")
def place(root: None) -> Iterator[Place]:
    with running("labkernel") as engine, ExitStack() as stack:

        def registry(auth: str = "", *, ours: bool = False) -> str:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (directory / "htpasswd").write_text(HTPASSWD)
            auth = auth.replace("DIRECTORY", str(directory))
            process = RegistryProcess(directory, auth, ours=ours, inside=engine.room.inside)
            stack.callback(process.stop)
            return process.domain

        debian, ours = registry(), registry(ours=True)
        private = registry("auth: {htpasswd: {realm: classroom, path: DIRECTORY/htpasswd}}")
        # As the environment tells every engine that is started in it, be it by a notebook.
        engine.variables = {
            "LABKERNEL_REGISTRY_MIRRORS": f"http://{ours}",
            "LABKERNEL_INSECURE_REGISTRIES": "classroom:5000,10.0.0.0/8",
        }
        engine.stop()
        engine.start()
        yield Place(engine, debian, ours, private)


@pytest.fixture(autouse=True)
def cleared(place: Place) -> Iterator[None]:
    yield
    place.engine.clear()


LABKERNEL_DOCKER = [sys.executable, "-m", "labkernel", "docker"]


@pytest.mark.parametrize("docker", [["docker"], LABKERNEL_DOCKER], ids=["stock", "labkernel"])
def test_logging_in_and_out(place: Place, tmp_path: Path, docker: list[str]) -> None:
    kept = {"DOCKER_CONFIG": str(tmp_path)}
    name = f"{place.private}/me/web:v1"
    place.run("docker", "tag", "busybox", name)
    refused = place.run(*docker, "push", name, ok=False, **kept)
    assert "no basic auth credentials" in refused.stdout + refused.stderr
    wrong = place.run(*docker, "login", "-u", USER, "-p", "wrong", place.private, ok=False, **kept)
    assert f"login attempt to http://{place.private}/v2/ failed with status: 401" in wrong.stderr
    assert not (tmp_path / "config.json").exists()
    place.run(*docker, "login", "-u", USER, "-p", PASSWORD, place.private, **kept)
    assert place.private in json.loads((tmp_path / "config.json").read_text())["auths"]
    place.run(*docker, "push", name, **kept)
    place.run("docker", "rmi", name)
    place.run(*docker, "pull", name, **kept)
    place.run(*docker, "logout", place.private, **kept)
    place.run("docker", "rmi", name)
    refused = place.run(*docker, "pull", name, ok=False, **kept)
    assert "no basic auth credentials" in refused.stderr
    if docker == LABKERNEL_DOCKER:
        assert f"hint:  log in first: docker login {place.private}" in refused.stderr


# The protocol of docker-credential-helpers: a verb, and JSON or a server's address on standard input.
HELPER = """#!{python}
import json, pathlib, sys
file, verb, given = pathlib.Path({file!r}), sys.argv[1], sys.stdin.read()
kept = json.loads(file.read_text()) if file.exists() else {{}}
if verb == "store":
    entry = json.loads(given)
    kept[entry["ServerURL"]] = entry
elif verb == "get":
    if given.strip() not in kept:
        print("credentials not found in native keychain")
        raise SystemExit(1)
    print(json.dumps(kept[given.strip()]))
elif verb == "erase":
    kept.pop(given.strip(), None)
elif verb == "list":
    print(json.dumps({{address: entry["Username"] for address, entry in kept.items()}}))
file.write_text(json.dumps(kept))
"""


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
@pytest.mark.parametrize(
    ("first", "second"), [(["docker"], LABKERNEL_DOCKER), (LABKERNEL_DOCKER, ["docker"])], ids=["->", "<-"]
)
def test_a_credential_store_is_shared(
    place: Place, tmp_path: Path, key: str, first: list[str], second: list[str]
) -> None:
    """Who logs in with one client is logged in with the other; no password is in the configuration."""
    helper, store = tmp_path / "docker-credential-testing", tmp_path / "store"
    helper.write_text(HELPER.format(python=sys.executable, file=str(store)))
    helper.chmod(0o755)
    chosen = {"credsStore": "testing", "credHelpers": {place.private: "testing"}}[key]
    (tmp_path / "config.json").write_text(json.dumps({key: chosen}))
    kept = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    name = f"{place.private}/me/stored:v1"
    place.run("docker", "tag", "busybox", name)
    place.run(*first, "login", "-u", USER, "-p", PASSWORD, place.private, **kept)
    place.run(*second, "push", name, **kept)
    assert PASSWORD not in (tmp_path / "config.json").read_text()
    assert json.loads(store.read_text())[place.private]["Secret"] == PASSWORD
    place.run(*second, "logout", place.private, **kept)
    assert json.loads(store.read_text()) == {}
    place.run(*first, "push", name, ok=False, **kept)


def test_building_from_a_private_image(place: Place, tmp_path: Path) -> None:
    kept = {"DOCKER_CONFIG": str(tmp_path / "config"), "DOCKER_BUILDKIT": "0"}
    name = f"{place.private}/me/base:v1"
    place.run("docker", "tag", "busybox", name)
    place.run("docker", "login", "-u", USER, "-p", PASSWORD, place.private, **kept)
    place.run("docker", "push", name, **kept)
    place.run("docker", "rmi", name)
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nCMD echo built\n")
    place.run("docker", "build", str(tmp_path), ok=False, DOCKER_BUILDKIT="0")
    place.run("docker", "build", "-t", "built", str(tmp_path), **kept)
    assert place.run("docker", "run", "--rm", "built").stdout == "built\n"


def test_skopeo_out_of_the_engine_and_into_it(place: Place) -> None:
    """The image's id is the digest of its configuration, the same everywhere, and the layers' digests stay on
    every way; the manifest's does from registry to registry."""
    image = json.loads(place.run("docker", "image", "inspect", "busybox").stdout)[0]["Id"]
    ours, debian = f"docker://{place.ours}/skopeo/web:v1", f"docker://{place.debian}/skopeo/web:v1"
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    url = place.engine.url
    place.run(
        *("skopeo", "copy", "--src-daemon-host", url, "--dest-tls-verify=false"),
        *("docker-daemon:busybox:latest", ours),
    )
    place.run("skopeo", "copy", *plain, ours, debian)
    place.run("docker", "rmi", "-f", "busybox")
    place.run(
        *("skopeo", "copy", "--dest-daemon-host", url, "--src-tls-verify=false"),
        *(debian, "docker-daemon:skopeo/back:v1"),
    )
    back = json.loads(place.run("docker", "image", "inspect", "skopeo/back:v1").stdout)[0]
    assert back["Id"] == image
    place.run("docker", "rmi", "-f", "skopeo/back:v1")
    # From one registry to the other through the engine.
    name = f"{place.ours}/skopeo/web:v1"
    place.run("docker", "pull", name)
    place.run("docker", "tag", name, f"{place.debian}/docker/web:v1")
    place.run("docker", "push", f"{place.debian}/docker/web:v1")
    first, second, third = (
        json.loads(place.run("skopeo", "inspect", "--tls-verify=false", address).stdout)
        for address in (ours, debian, f"docker://{place.debian}/docker/web:v1")
    )
    assert first["Digest"] == second["Digest"]
    assert first["Layers"] == second["Layers"] == third["Layers"]
    repositories = json.loads(place.run("docker", "image", "inspect", name).stdout)[0]["RepoDigests"]
    assert f"{place.ours}/skopeo/web@{first['Digest']}" in repositories
    assert f"{place.debian}/docker/web@{third['Digest']}" in repositories


def test_docker_py(place: Place) -> None:
    program = """
import docker, sys
client = docker.from_env()
name = sys.argv[1] + "/me/py"
for tag in ("a", "b"):
    client.images.get("busybox").tag(name, tag)
assert "error" not in client.images.push(name)
for tag in ("a", "b"):
    client.images.remove(name + ":" + tag)
pulled = client.images.pull(name, all_tags=True)
tags = sorted(tag for image in pulled for tag in image.tags if tag.startswith(name))
assert tags == [name + ":a", name + ":b"]
found = client.images.get_registry_data(name + ":a")
assert found.has_platform("linux/" + client.version()["Arch"]), found.attrs
assert not found.has_platform("plan9/mips"), found.attrs
try:
    client.images.pull(name, tag="none")
except docker.errors.NotFound as error:
    assert "manifest unknown" in str(error)
else:
    raise SystemExit("pulled what is not there")
print(found.id)
"""
    for domain in (place.debian, place.ours):
        assert place.run(sys.executable, "-c", program, domain).stdout.startswith("sha256:")


def test_mirror_and_insecure_registries_of_the_environment(place: Place) -> None:
    info = json.loads(place.run("docker", "info", "--format", "{{json .RegistryConfig}}").stdout)
    assert info["Mirrors"] == [f"http://{place.ours}/"]
    assert info["InsecureRegistryCIDRs"] == ["10.0.0.0/8", "127.0.0.0/8"]
    assert info["IndexConfigs"]["classroom:5000"]["Secure"] is False
    place.run("docker", "tag", "busybox", f"{place.ours}/library/mirrored:v1")
    place.run("docker", "push", f"{place.ours}/library/mirrored:v1")
    place.run("docker", "rmi", f"{place.ours}/library/mirrored:v1")
    assert (
        "Status: Downloaded newer image for mirrored:v1" in place.run("docker", "pull", "mirrored:v1").stdout
    )
    place.run("docker", "rmi", "mirrored:v1")
    assert "mirrored\n" in place.run("docker", "search", "--format", "{{.Name}}", "mirrored").stdout


def test_an_index_of_several_platforms(place: Place) -> None:
    """Copied whole by skopeo, described and read by docker's own client, pulled for the platform wanted."""
    program = """
import json, sys
from labkernel.engine.distribution.manifests import OCI_INDEX, digest
from labkernel.engine.distribution.registry import Registry
domain, images = sys.argv[1], []
registry = Registry(domain, "me/multi", familiar_name="me/multi", actions="pull,push")
for platform in ("amd64", "arm64"):
    data, media_type = registry.manifest(platform)
    entry = {"mediaType": media_type, "digest": digest(data), "size": len(data)}
    images.append({**entry, "platform": {"os": "linux", "architecture": platform}})
index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images}).encode()
registry.put_manifest("all", index, OCI_INDEX)
print(digest(index))
"""
    name = f"{place.ours}/me/multi"
    for platform in ("amd64", "arm64"):
        arguments = ("docker", "import", "--platform", f"linux/{platform}", "-", f"{name}:{platform}")
        place.engine.run(arguments, input=_archive(platform), text=False)
        place.run("docker", "push", f"{name}:{platform}")
    digest = place.run(sys.executable, "-c", program, place.ours).stdout.strip()
    plain = ("--all", "--src-tls-verify=false", "--dest-tls-verify=false")
    copy = f"docker://{place.debian}/me/multi:all"
    place.run("skopeo", "copy", *plain, f"docker://{name}:all", copy)
    place.run("skopeo", "copy", *plain, copy, f"docker://{name}:back")
    found = place.run("skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}:back").stdout
    assert "sha256:" + hashlib.sha256(found.encode()).hexdigest() == digest
    listed = json.loads(place.run("docker", "manifest", "inspect", "--insecure", f"{name}:back").stdout)
    assert [entry["platform"]["architecture"] for entry in listed["manifests"]] == ["amd64", "arm64"]
    for platform in ("amd64", "arm64"):
        place.run("docker", "pull", "--platform", f"linux/{platform}", f"{name}@{digest}")
        image = json.loads(place.run("docker", "image", "inspect", f"{name}@{digest}").stdout)[0]
        assert image["Architecture"] == platform
    refused = place.run("docker", "pull", "--platform", "linux/s390x", f"{name}:all", ok=False)
    assert "no matching manifest for linux/s390x in the manifest list entries" in refused.stderr


def _archive(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def test_search(place: Place) -> None:
    for domain in (place.debian, place.ours):
        name = f"{domain}/search/apple:v1"
        place.run("docker", "tag", "busybox", name)
        place.run("docker", "push", name)
        place.run("docker", "rmi", name)
        found = place.run("docker", "search", "--format", "{{.Name}}", f"{domain}/apple").stdout
        assert found == f"{domain}/search/apple\n"
    found = place.run("docker", "search", "--filter", "is-official=true", "--format", "{{.Name}}", "golang")
    assert found.stdout == "golang\n"
    assert "nothing\n" not in place.run("docker", "search", "--format", "{{.Name}}", "nothing").stdout
    refused = place.run("docker", "search", "127.0.0.1:1/x", ok=False)
    assert "connection refused" in refused.stderr


def test_progress_of_each_layer(place: Place, tmp_path: Path) -> None:
    """A client sees every layer by its own name, from its first byte to its last."""
    subprocess.run(["dd", "if=/dev/urandom", f"of={tmp_path}/one", "bs=1M", "count=20"], check=True)
    subprocess.run(["dd", "if=/dev/urandom", f"of={tmp_path}/two", "bs=1M", "count=20"], check=True)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY one /\nCOPY two /\n")
    name = f"{place.ours}/me/large"
    place.run("docker", "build", "-t", name, str(tmp_path), DOCKER_BUILDKIT="0")
    place.run("docker", "push", name)
    place.run("docker", "rmi", "-f", name)
    answer = place.engine.http.call("POST", f"/images/create?fromImage={name}&tag=latest")
    seen: dict[str, list[str]] = {}
    for message in answer.json_lines():
        if "id" in message:
            seen.setdefault(message["id"], []).append(message["status"])
    stories = [list(dict.fromkeys(story)) for layer, story in seen.items() if len(layer) == 12]
    steps = ["Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Extracting"]
    assert [story for story in stories if story == [*steps, "Pull complete"]], stories
