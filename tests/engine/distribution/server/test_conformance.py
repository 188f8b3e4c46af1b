"""What the OCI distribution-spec 1.1 wants of a registry, end by end as its table of endpoints names them."""

from __future__ import annotations

import json
import re

import pytest

from labkernel.engine.distribution.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.engine.distribution.server.client import Client, artifact, digest_of

NOWHERE = "sha256:" + "0" * 64


def test_end_1_support(client: Client) -> None:
    answer = client.call("GET", "/v2/")
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_end_2_blobs(client: Client) -> None:
    digest = client.push_blob("pull/blobs", b"0123456789")
    answer = client.call("HEAD", f"/v2/pull/blobs/blobs/{digest}")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "10", b"")
    assert answer.headers["Docker-Content-Digest"] == digest
    assert client.call("GET", f"/v2/pull/blobs/blobs/{NOWHERE}").code == "BLOB_UNKNOWN"
    assert client.call("HEAD", f"/v2/pull/blobs/blobs/{NOWHERE}").status == 404
    # What another repository holds is not in this one.
    assert client.call("GET", f"/v2/pull/others/blobs/{digest}").status == 404


@pytest.mark.parametrize(
    ("wanted", "status", "body", "said"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=5-3", 416, None, "bytes */10"),
        ("bytes=0-", 200, b"0123456789", None),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_end_2_ranges(client: Client, wanted: str, status: int, body: bytes | None, said: str | None) -> None:
    digest = client.push_blob("pull/ranges", b"0123456789")
    answer = client.call("GET", f"/v2/pull/ranges/blobs/{digest}", Range=wanted)
    assert (answer.status, answer.headers["Content-Range"]) == (status, said)
    assert body is None or answer.body == body


def test_end_3_manifests(client: Client) -> None:
    digest = client.push_artifact("pull/manifests", "v1.0")
    for reference in ("v1.0", digest):
        answer = client.call("GET", f"/v2/pull/manifests/manifests/{reference}")
        assert (answer.status, digest_of(answer.body)) == (200, digest)
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.headers["Docker-Content-Digest"] == digest
        head = client.call("HEAD", f"/v2/pull/manifests/manifests/{reference}")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(answer.body))
    for reference in ("v2", NOWHERE, ".no-tag"):
        assert client.call("GET", f"/v2/pull/manifests/manifests/{reference}").code == "MANIFEST_UNKNOWN"
        assert client.call("HEAD", f"/v2/pull/manifests/manifests/{reference}").status == 404


def test_end_4_and_6_post_then_put(client: Client) -> None:
    data = b"x" * 3_000_000
    location = client.begin("push/two")
    answer = client.call("PUT", f"{location}?digest={digest_of(data)}", data)
    assert answer.status == 201
    assert client.call("GET", answer.headers["Location"]).body == data
    assert client.call("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


@pytest.mark.parametrize("data", [b"", b"single"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_end_4b_a_single_post(client: Client, data: bytes, algorithm: str) -> None:
    digest = digest_of(data, algorithm)
    answer = client.call("POST", f"/v2/push/one/blobs/uploads/?digest={digest}", data)
    assert answer.status == 201
    assert client.call("GET", f"/v2/push/one/blobs/{digest}").body == data


def test_end_5_pieces_in_order(client: Client) -> None:
    location = client.begin("push/pieces")
    late = client.call("PATCH", location, b"world", Content_Range="6-10")
    assert (late.status, late.code) == (416, "BLOB_UPLOAD_INVALID")
    answer = client.call("PATCH", location, b"hello ", Content_Range="0-5")
    assert (answer.status, answer.headers["Range"]) == (202, "0-5")
    again = client.call("PATCH", location, b"hello ", Content_Range="0-5")
    assert (again.status, again.headers["Range"]) == (416, "0-5")
    assert client.call("PATCH", location, b"world", Content_Range="6-7").status == 400
    assert client.call("PATCH", location, b"world", Content_Range="some").status == 400
    # end-13
    status = client.call("GET", answer.headers["Location"])
    assert (status.status, status.headers["Range"]) == (204, "0-5")
    done = client.call(
        "PUT", f"{location}?digest={digest_of(b'hello world')}", b"world", Content_Range="6-10"
    )
    assert done.status == 201
    assert client.call("GET", done.headers["Location"]).body == b"hello world"


def test_end_5_streamed(client: Client) -> None:
    """As docker does: one PATCH in HTTP's chunks, then a PUT without a body."""
    pieces = [bytes([n]) * 100_000 for n in range(30)]
    location = client.begin("push/streamed")
    answer = client.call("PATCH", location, iter(pieces))
    assert (answer.status, answer.headers["Range"]) == (202, "0-2999999")
    digest = digest_of(b"".join(pieces))
    assert client.call("PUT", f"{answer.headers['Location']}?digest={digest}", b"").status == 201


def test_an_upload_may_be_given_up(client: Client) -> None:
    location = client.begin("push/cancelled")
    client.call("PATCH", location, b"half")
    assert client.call("DELETE", location).status == 204
    assert client.call("PATCH", location, b"more").code == "BLOB_UPLOAD_UNKNOWN"
    assert client.call("GET", f"/v2/push/other/blobs/uploads/{'0' * 32}").code == "BLOB_UPLOAD_UNKNOWN"


@pytest.mark.parametrize("how", ["POST", "PUT"])
def test_a_wrong_digest_is_refused(client: Client, how: str) -> None:
    wrong = digest_of(b"right")
    location = "/v2/push/wrong/blobs/uploads/" if how == "POST" else client.begin("push/wrong")
    answer = client.call(how, f"{location}?digest={wrong}", b"wrong")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert answer.json()["errors"][0]["detail"] == {"digest": wrong, "computed": digest_of(b"wrong")}
    for digest in (wrong, digest_of(b"wrong")):
        assert client.call("HEAD", f"/v2/push/wrong/blobs/{digest}").status == 404


def test_end_7_what_a_manifest_needs(client: Client) -> None:
    name = "push/needs"
    answer = client.push_manifest(name, "v1", artifact())
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    client.push_blob(name, b"{}")
    layer = {"mediaType": "x/y", "digest": NOWHERE, "size": 3}
    assert client.push_manifest(name, "v1", artifact(layers=[layer])).code == "MANIFEST_BLOB_UNKNOWN"
    elsewhere = artifact(layers=[{**layer, "urls": ["https://layers.example/1"]}])
    assert client.push_manifest(name, "elsewhere", elsewhere).status == 201
    index = {"manifests": [{"mediaType": OCI_MANIFEST, "digest": NOWHERE, "size": 3}]}
    assert client.push_manifest(name, "all", index, OCI_INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    assert client.push_manifest(name, "none", {"manifests": []}, OCI_INDEX).status == 201
    digest = client.push_artifact(name)
    index["manifests"][0]["digest"] = digest
    for media_type in (OCI_INDEX, DOCKER_LIST):
        assert client.push_manifest(name, "all", index, media_type).status == 201
    assert client.push_manifest(name, "docker", artifact(), DOCKER_MANIFEST).status == 201
    assert client.call("GET", f"/v2/{name}/manifests/docker").headers["Content-Type"] == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"", OCI_MANIFEST),
        (b"no JSON", OCI_MANIFEST),
        (b"[" * 100_000, OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b"{}", OCI_MANIFEST),
        (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json"),
        (json.dumps({"schemaVersion": 2, **artifact()}).encode(), "text/plain"),
        (json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, **artifact()}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(layers={})}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(layers=["x"])}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(config=None)}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(subject={"digest": "x"})}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(annotations=[1])}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(artifactType="\ud800")}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, **artifact(artifactType=[])}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, "manifests": 3}).encode(), OCI_INDEX),
    ],
)
def test_end_7_what_is_no_manifest(client: Client, body: bytes, media_type: str) -> None:
    client.push_blob("push/none", b"{}")
    answer = client.call("PUT", "/v2/push/none/manifests/v1", body, Content_Type=media_type)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert client.call("GET", "/v2/push/none/manifests/v1").status == 404


def test_end_7_by_digest(client: Client) -> None:
    client.push_blob("push/digest", b"{}")
    data = json.dumps({"schemaVersion": 2, **artifact()}).encode()
    wrong = client.call("PUT", f"/v2/push/digest/manifests/{NOWHERE}", data, Content_Type=OCI_MANIFEST)
    assert wrong.code == "DIGEST_INVALID"
    for algorithm in ("sha256", "sha512"):
        url = f"/v2/push/digest/manifests/{digest_of(data, algorithm)}"
        assert client.call("PUT", url, data, Content_Type=OCI_MANIFEST).status == 201
        assert client.call("GET", url).body == data
    assert client.call("GET", "/v2/push/digest/tags/list").json() == {"name": "push/digest", "tags": []}


def test_end_7_the_largest_manifest(client: Client) -> None:
    more = {f"note-{n}": "A" * 10_000 for n in range(390)}
    assert client.push_artifact("push/large", annotations=more)
    too_large = artifact(annotations={"note": "A" * (4 << 20)})
    answer = client.push_manifest("push/large", "v2", too_large)
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


def test_end_8_tags(client: Client) -> None:
    name = "list/tags"
    assert client.call("GET", f"/v2/{name}/tags/list").code == "NAME_UNKNOWN"
    for tag in ("b", "a", "C", "d"):
        client.push_artifact(name, tag)
    url = f"/v2/{name}/tags/list"
    assert client.call("GET", url).json() == {"name": name, "tags": ["a", "b", "C", "d"]}
    assert client.call("GET", f"{url}?n=0").json()["tags"] == []
    assert client.call("GET", f"{url}?last=b").json()["tags"] == ["C", "d"]
    assert client.call("GET", f"{url}?n=x").status == 400
    seen: list[list[str]] = []
    following: str | None = f"{url}?n=3"
    while following:
        answer = client.call("GET", following)
        seen.append(answer.json()["tags"])
        link = answer.headers["Link"]
        following = re.fullmatch('<(.*)>; rel="next"', link)[1] if link else None  # type: ignore[index]
    assert seen == [["a", "b", "C"], ["d"]]
    catalog = client.call("GET", "/v2/_catalog?last=list/&n=1")
    assert catalog.json() == {"repositories": [name]}


def test_end_9_deleting_tags_and_manifests(client: Client) -> None:
    name = "delete/manifests"
    digest = client.push_artifact(name, "one")
    assert client.push_artifact(name, "two") == digest
    assert client.call("DELETE", f"/v2/{name}/manifests/one").status == 202
    assert client.call("GET", f"/v2/{name}/tags/list").json()["tags"] == ["two"]
    assert client.call("DELETE", f"/v2/{name}/manifests/one").code == "MANIFEST_UNKNOWN"
    assert client.call("DELETE", f"/v2/{name}/manifests/{digest}").status == 202
    assert client.call("GET", f"/v2/{name}/manifests/two").status == 404
    assert client.call("GET", f"/v2/{name}/tags/list").json()["tags"] == []
    assert client.call("DELETE", f"/v2/{name}/manifests/{digest}").status == 404


def test_end_10_deleting_blobs(client: Client) -> None:
    digest = client.push_blob("delete/blobs", b"gone soon")
    assert client.push_blob("delete/kept", b"gone soon") == digest
    assert client.call("DELETE", f"/v2/delete/blobs/blobs/{digest}").status == 202
    assert client.call("GET", f"/v2/delete/blobs/blobs/{digest}").status == 404
    assert client.call("DELETE", f"/v2/delete/blobs/blobs/{digest}").code == "BLOB_UNKNOWN"
    assert client.call("GET", f"/v2/delete/kept/blobs/{digest}").body == b"gone soon"


def test_end_11_mounting(client: Client) -> None:
    digest = client.push_blob("mount/from", b"shared")
    answer = client.call("POST", f"/v2/mount/to/blobs/uploads/?mount={digest}&from=mount/from")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/mount/to/blobs/{digest}")
    assert client.call("GET", f"/v2/mount/to/blobs/{digest}").body == b"shared"
    assert client.call("POST", f"/v2/mount/any/blobs/uploads/?mount={digest}").status == 201
    # What nobody has must be uploaded.
    answer = client.call("POST", f"/v2/mount/to/blobs/uploads/?mount={NOWHERE}&from=mount/from")
    assert answer.status == 202
    assert "/blobs/uploads/" in answer.headers["Location"]


def test_end_12_referrers(client: Client) -> None:
    name = "referrers/of"
    empty = client.call("GET", f"/v2/{name}/referrers/{NOWHERE}")
    assert (empty.status, empty.headers["Content-Type"]) == (200, OCI_INDEX)
    assert empty.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    # The subject may come last.
    client.push_blob(name, b"{}")
    subject = digest_of(json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, **artifact()}).encode())
    about = {"subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 100}}
    answer = client.push_manifest(
        name, "note", artifact(artifactType="text/note", annotations={"a": "b"}, **about)
    )
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject)
    note = answer.headers["Docker-Content-Digest"]
    plain = client.push_artifact(name, "plain", **about)
    index = {"manifests": [], "artifactType": "text/list", **about}
    listed = client.push_manifest(name, "list", index, OCI_INDEX).headers["Docker-Content-Digest"]
    assert client.push_artifact(name, "subject") == subject
    found = client.call("GET", f"/v2/{name}/referrers/{subject}").json()["manifests"]
    assert [(item["digest"], item["artifactType"]) for item in found] == [
        (note, "text/note"),
        (plain, "application/vnd.oci.empty.v1+json"),
        (listed, "text/list"),
    ]
    assert found[0]["annotations"] == {"a": "b"}
    size = len(client.call("GET", f"/v2/{name}/manifests/{note}").body)
    assert (found[0]["mediaType"], found[0]["size"]) == (OCI_MANIFEST, size)
    filtered = client.call("GET", f"/v2/{name}/referrers/{subject}?artifactType=text/note")
    assert [item["digest"] for item in filtered.json()["manifests"]] == [note]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    client.call("DELETE", f"/v2/{name}/manifests/{note}")
    assert len(client.call("GET", f"/v2/{name}/referrers/{subject}").json()["manifests"]) == 2
    assert client.call("GET", f"/v2/{name}/referrers/none").code == "DIGEST_INVALID"


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/v2/Upper/tags/list", 400, "NAME_INVALID"),
        ("GET", f"/v2/a/{'x' * 256}/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/../b/tags/list", 400, "NAME_INVALID"),
        ("POST", "/v2/a%2f..%2fb/blobs/uploads/", 400, "NAME_INVALID"),
        ("GET", "/v2/a/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/sha256:..%2f..%2fregistry.sqlite", 404, "UNSUPPORTED"),
        ("GET", f"/v2/a/blobs/md5:{'0' * 32}", 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/blobs/uploads/?digest=sha256:12", 400, "DIGEST_INVALID"),
        ("PUT", "/v2/a/manifests/.bad", 400, "MANIFEST_INVALID"),
        ("PATCH", "/v2/", 405, "UNSUPPORTED"),
        ("GET", "/v1/_ping", 404, "UNSUPPORTED"),
    ],
)
def test_refusals(client: Client, method: str, url: str, status: int, code: str) -> None:
    answer = client.call(method, url)
    assert (answer.status, answer.code) == (status, code)
