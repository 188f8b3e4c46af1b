from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.catalog.names import DESCRIPTIONS, Entry, resolve
from labkernel.engine.errors import NotFound


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("busybox", Entry("busybox", "latest")),
        ("busybox:latest", Entry("busybox", "latest")),
        ("docker.io/library/busybox:latest", Entry("busybox", "latest")),
        ("library/busybox", Entry("busybox", "latest")),
        ("debian", Entry("debian", "latest")),
        ("debian:bookworm", Entry("debian", "bookworm", release="bookworm")),
        ("debian:12", Entry("debian", "12", release="bookworm")),
        ("debian:stable", Entry("debian", "stable", release="stable")),
        ("debian:trixie-slim", Entry("debian", "trixie-slim", release="trixie", slim=True)),
        ("debian:13-slim", Entry("debian", "13-slim", release="trixie", slim=True)),
        ("golang", Entry("golang", "latest")),
        ("golang:1.27", Entry("golang", "1.27", version="1.27")),
        ("golang:1.27.3-bookworm", Entry("golang", "1.27.3-bookworm", version="1.27.3", release="bookworm")),
        ("golang:trixie", Entry("golang", "trixie", release="trixie")),
    ],
)
def test_names_of_the_catalog(name: str, entry: Entry) -> None:
    assert resolve(name) == entry


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nginx",
        "me/busybox",
        "localhost:5000/busybox",
        "example.org/library/debian",
        "debianx",
        "debian@sha256:" + "0" * 64,
        "debian:bookworm@sha256:" + "0" * 64,
    ],
)
def test_other_names_are_not_the_catalogs(name: str) -> None:
    assert resolve(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "busybox:1.36",
        "debian:99",
        "debian:12.5",
        "debian:bookworm-backports",
        "debian:Bookworm",
        "debian:latest-slim",
        "debian:../x",
        "golang:1.27-alpine",
        "golang:alpine",
        "golang:1.27bookworm",
        "golang:-bookworm",
        "golang:1.27-",
        "golang:1..2",
    ],
)
def test_a_tag_that_cannot_be_is_not_found_and_the_hint_says_what_can(name: str) -> None:
    with pytest.raises(NotFound) as error:
        resolve(name)
    assert error.value.message == f"manifest for {name} not found: manifest unknown"
    assert error.value.hint is not None
    assert error.value.hint.startswith("the catalog makes ")


@given(st.sampled_from(sorted(DESCRIPTIONS)), st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,20}\Z"))
def test_what_is_resolved_is_safe_to_put_into_an_address_and_a_dockerfile(repository: str, tag: str) -> None:
    try:
        entry = resolve(f"{repository}:{tag}")
    except NotFound:
        return
    assert entry is not None
    assert entry.reference == f"{repository}:{tag}"
    assert entry.release == "" or entry.release.isalpha()
    assert entry.version.replace(".", "").isdigit() or not entry.version
