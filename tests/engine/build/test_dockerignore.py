"""The stock client is the oracle: what it sends, dockerd copies."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from labkernel.engine.build.dockerignore import Dockerignore
from labkernel.engine.errors import InvalidParameter
from tests.engine.build.conftest import Workshop, context_tar
from tests.support.daemons import Daemon

PATHS = [
    "a.txt",
    "b.go",
    "README.md",
    "node_modules/x/y.js",
    "src/main.go",
    "src/main_test.go",
    "src/deep/er/x_test.go",
    "src/deep/keep.md",
    "dir/a.txt",
    "dir/sub/b.txt",
    "dir/sub/c.log",
    ".git/config",
    ".hidden",
    "x/y/z/file",
    "docs/README.md",
    "foo.temp",
    "tempdir/f",
    "a[1]",
]

# Exceptions that begin with a wildcard are not among them: the client does not enter an excluded folder for
# those.
IGNORES = [
    "a.txt\n*.md\n!README.md\n",
    "**/*_test.go\nnode_modules\n",
    "*\n!src\nsrc/deep\n!src/deep/keep.md\n",
    "dir\n!dir/sub/b.txt\n",
    "dir/*\n!dir/sub\n",
    "# comment\n #notcomment\n\n  .git/  \n/x/y\n./docs\n",
    "*/*\n!src/*.go\n",
    "**\n!docs/README.md\n",
    "**.go\n",
    "**/sub/**\n",
    "src/**/x_test.go\n*/temp*\n?.txt\n",
    "[a-b].*\n",
    "!a.txt\n*.txt\n",
    "dir/../a.txt\nx//y\n",
    "x/y/z/file\n!x\n",
    "a\\[1]\n",
    ".*\n!.hidden\n",
    "*.go\n!*/main.go\n",
    "src\n!src/deep\nsrc/deep/er\n",
    "**/deep\n!src/deep/keep.md\n",
    "**foo*\n**README*\n",
]


def test_the_stock_client_leaves_out_the_same(workshop: Workshop, dockerd: Daemon, tmp_path: Path) -> None:
    """One build for all the ignore files: each stands in a context of its own."""
    differing = []
    for number, ignore in enumerate(IGNORES):
        directory = tmp_path / f"context{number}"
        for path in PATHS:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(path)
        (directory / ".dockerignore").write_text(ignore)
        (directory / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        built = dockerd.docker(
            "build", "-q", str(directory), env={**dockerd.environment(), "DOCKER_BUILDKIT": "0"}
        )
        assert built.returncode == 0, built.stderr
        theirs = _files_of(dockerd, built.stdout.strip())
        files = {path: path for path in PATHS}
        image = workshop.build("FROM scratch\nCOPY . /\n", {**files, ".dockerignore": ignore}).image
        out = io.BytesIO()
        workshop.store.layers.pack(workshop.images.layers(image)[0], out)
        # Whether the two files that steer the build arrive themselves is compared too.
        ours = _names(out.getvalue())
        if ours != theirs:
            differing.append((ignore, sorted(ours - theirs), sorted(theirs - ours)))
    assert not differing, "\n".join(map(repr, differing))


def _files_of(dockerd: Daemon, image_id: str) -> set[str]:
    answer = dockerd.http.call("GET", f"/images/{image_id}/get")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        layer = next(name for name in tar.getnames() if name.endswith("layer.tar"))
        stream = tar.extractfile(layer)
        assert stream
        return _names(stream.read())


def _names(layer: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {member.name for member in tar if member.isfile()}


def test_exceptions_with_wildcards() -> None:
    ignore = Dockerignore("*/*\n**/deep\n!**/*.go\n")
    assert [ignore.excludes(path) for path in ("a/b", "a/b.go", "a/deep/c", "a/deep/c.go", "b.go")] == [
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("text", "line"), [("a\n!\n", 2), ("[\n", 1), ("ok\n\nx[\n", 3), ("a\\\n", 1)])
def test_bad_patterns_name_their_line(text: str, line: int) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Dockerignore(text)
    assert f".dockerignore line {line}:" in (caught.value.hint or "")


def test_a_byte_order_mark_is_no_pattern() -> None:
    assert Dockerignore("\ufeffa.txt").excludes("a.txt")


def test_an_empty_file_excludes_nothing() -> None:
    assert not Dockerignore("\n# x\n")
    assert not Dockerignore("").excludes("a")


def test_what_was_excluded_is_named_in_the_error(workshop: Workshop) -> None:
    with pytest.raises(InvalidParameter) as caught:
        workshop.build("FROM scratch\nCOPY a.log /\n", {"a.log": "x", ".dockerignore": "*.log"})
    assert caught.value.message.startswith(
        "COPY failed: file not found in build context or excluded by .dockerignore"
    )
    assert caught.value.hint == "a.log is excluded by .dockerignore, line 1: *.log"


def test_the_dockerfile_may_be_excluded_and_still_be_used(workshop: Workshop) -> None:
    built = workshop.build("FROM scratch\nCOPY . /\n", {".dockerignore": "*\n!b\n", "a": "", "b": ""})
    assert _names(context_tar({"b": ""})) == _names(_packed(workshop, built.image.chain_id))


def _packed(workshop: Workshop, chain_id: str | None) -> bytes:
    assert chain_id
    out = io.BytesIO()
    workshop.store.layers.pack(workshop.store.layers.get(chain_id), out)
    return out.getvalue()
