"""References: the documented grammar, Docker's defaults, Docker's words for what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.reference import Reference, is_digest, is_identifier, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest", "busybox:latest"),
        ("me/web", "docker.io/me/web", "me/web"),
        ("library/me/web", "docker.io/library/me/web", "library/me/web"),
        ("localhost/web", "localhost/web", "localhost/web"),
        ("localhost:5000/me/web:v1", "localhost:5000/me/web:v1", "localhost:5000/me/web:v1"),
        ("127.0.0.1:5000/web", "127.0.0.1:5000/web", "127.0.0.1:5000/web"),
        ("[2001:db8::1]:5000/web", "[2001:db8::1]:5000/web", "[2001:db8::1]:5000/web"),
        ("registry.example/a/b/c/d", "registry.example/a/b/c/d", "registry.example/a/b/c/d"),
        ("MyHost/web", "MyHost/web", "MyHost/web"),
        ("xn--n3h.com/web", "xn--n3h.com/web", "xn--n3h.com/web"),
        ("a__b/c--d_e.f", "docker.io/a__b/c--d_e.f", "a__b/c--d_e.f"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"me/web:v1@{DIGEST}", f"docker.io/me/web:v1@{DIGEST}", f"me/web:v1@{DIGEST}"),
        ("web:" + "t" * 128, "docker.io/library/web:" + "t" * 128, "web:" + "t" * 128),
        ("0/1:2", "docker.io/0/1:2", "0/1:2"),
    ],
)
def test_normalises_as_docker(text: str, canonical: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert reference.canonical == canonical
    assert reference.familiar == familiar
    assert parse_reference(canonical) == parse_reference(familiar) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        (":justtag", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("web:", "invalid reference format"),
        ("web:v1:v2", "invalid reference format"),
        ("web:.dot", "invalid reference format"),
        ("web:" + "t" * 129, "invalid reference format"),
        ("we b", "invalid reference format"),
        ("web\n", "invalid reference format"),
        ("-web", "invalid reference format"),
        ("web-", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("web@sha256:abc", "invalid reference format"),
        ("ünïcode", "invalid reference format"),
        ("localhost:port/web", "invalid reference format"),
        ("Web", "invalid reference format: repository name (library/Web) must be lowercase"),
        ("me/Web:v1", "invalid reference format: repository name (me/Web) must be lowercase"),
        (f"web@md5:{'a' * 32}", "unsupported digest algorithm: md5"),
        (f"web@sha256:{'a' * 40}", "invalid checksum digest length"),
        (
            "a" * 64,
            f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
        (
            "a/" * 130 + "b",
            "invalid reference format: repository name must not be more than 255 characters",
        ),
    ],
)
def test_says_why_as_docker(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_reference(text)
    assert raised.value.message == message


def test_default_tag_is_for_names_only() -> None:
    assert parse_reference("web").with_default_tag().familiar == "web:latest"
    assert parse_reference("web:v1").with_default_tag().familiar == "web:v1"
    assert parse_reference(f"web@{DIGEST}").with_default_tag().familiar == f"web@{DIGEST}"


def test_another_tag_or_digest_of_the_same_repository() -> None:
    reference = parse_reference("me/web:v1")
    assert reference.with_tag("v2").familiar == "me/web:v2"
    assert reference.with_digest(DIGEST).familiar == f"me/web@{DIGEST}"
    with pytest.raises(InvalidParameter, match="invalid tag format"):
        reference.with_tag("not a tag")


def test_ids_are_told_from_names() -> None:
    assert is_digest(DIGEST)
    assert is_identifier(DIGEST.removeprefix("sha256:"))
    assert not is_digest(DIGEST[:-1])
    assert not is_identifier("g" * 64)


component = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True)


@given(
    domain=st.sampled_from(["docker.io", "localhost:5000", "registry.example"]),
    path=st.lists(component, min_size=2, max_size=3).map("/".join),
    tag=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
)
def test_what_is_written_is_read_again(domain: str, path: str, tag: str | None) -> None:
    reference = Reference(domain, path, tag)
    if len(path) < 64:
        assert parse_reference(reference.canonical) == reference
        assert parse_reference(reference.familiar) == reference


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_invalid(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidParameter:
        return
    assert parse_reference(reference.canonical) == reference
