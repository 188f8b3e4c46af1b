"""Images, networks, volumes, events, pruning, logins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkernel.commands import CommandError, Listing
from labkernel.commands.images import names
from labkernel.commands.pull import familiar, registry_of, split_reference
from labkernel.commands.registry import _store
from labkernel.commands.stats import block_io, cpu_percent, memory
from tests.commands.conftest import Commands


def test_tag_and_rmi(run: Commands) -> None:
    assert run("tag", "busybox", "me/b:1").printed == ""
    assert run("image", "rm", "me/b:1").printed == "Untagged: me/b:1\n"
    with pytest.raises(CommandError) as raised:
        run("rmi", "bsybox")
    assert raised.value.hint == "did you mean `busybox`?"


def test_an_image_in_use_says_by_what(run: Commands) -> None:
    run("run", "-d", "--name", "user", "busybox", "sleep", "1000")
    with pytest.raises(CommandError) as raised:
        run("rmi", "busybox")
    assert "docker ps -a shows the containers that use it" in (raised.value.hint or "")


def test_volumes(run: Commands) -> None:
    assert run("volume", "create", "--label", "a=b", "vol").printed == "vol\n"
    run("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", "echo kept > /v/file")
    assert run("run", "--rm", "-v", "vol:/v", "busybox", "cat", "/v/file").stdout == b"kept\n"
    listing = run("volume", "ls").result
    assert isinstance(listing, Listing)
    assert listing[0]["Name"] == "vol"
    assert listing.data[0]["Labels"] == {"a": "b"}
    assert run("volume", "rm", "vol").printed == "vol\n"
    assert run("volume", "ls", "-q").printed == ""


def test_networks_are_listed(run: Commands) -> None:
    assert (
        run("network", "ls", "--format", "{{.Name}} {{.Driver}}").printed
        == "bridge bridge\nhost host\nnone null\n"
    )


def test_pruning_asks_first(run: Commands) -> None:
    run("run", "--name", "ended", "busybox", "true")
    with pytest.raises(CommandError) as raised:
        run("container", "prune")
    assert raised.value.hint == "nothing was removed; add -f to do it"
    assert run("container", "prune", stdin=b"n\n").stdout.startswith(b"WARNING! This will remove all stopped")
    assert run("ps", "-aq").printed
    text = run("container", "prune", stdin=b"y\n").result.text
    assert text.startswith("Deleted Containers:\n")
    assert "Total reclaimed space: " in text
    assert run("ps", "-aq").printed == ""
    assert "Total reclaimed space: 0B" in run("image", "prune", "-f").printed


def test_events_of_a_time_that_is_over(run: Commands) -> None:
    run("run", "--rm", "--name", "short", "busybox", "true")
    flags = ["--since", "5m", "--until", "0s", "-f", "container=short"]
    lines = run("events", *flags).printed.splitlines()
    assert [line.split()[1:3] for line in lines if " start " in line] == [["container", "start"]]
    assert "name=short)" in lines[0]
    actions = run("events", *flags, "--format", "{{.Action}}").printed.split()
    assert actions[0] == "create"
    assert (
        json.loads(run("events", *flags, "--format", "json").printed.splitlines()[0])["Type"] == "container"
    )


def test_stats_of_what_runs(run: Commands) -> None:
    run("run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    listing = run("stats", "--no-stream").result
    assert isinstance(listing, Listing)
    row = listing[0]
    assert row["Name"] == "busy"
    assert row["MemUsage"].endswith(" / 64MiB")
    assert float(row["CPUPerc"].rstrip("%")) > 1


@pytest.mark.parametrize(
    ("name", "split", "registry", "full"),
    [
        ("busybox", ("busybox", ""), "docker.io", "docker.io/library/busybox:latest"),
        ("me/x:1", ("me/x", "1"), "docker.io", "docker.io/me/x:1"),
        ("localhost:5000/x", ("localhost:5000/x", ""), "localhost:5000", "localhost:5000/x:latest"),
        ("r.example/a/b:v", ("r.example/a/b", "v"), "r.example", "r.example/a/b:v"),
        ("x@sha256:00", ("x", "sha256:00"), "docker.io", "docker.io/library/x@sha256:00"),
    ],
)
def test_names_of_images(name: str, split: tuple[str, str], registry: str, full: str) -> None:
    assert (split_reference(name), registry_of(name), familiar(name)) == (split, registry, full)


def test_rows_of_an_image() -> None:
    image = {"RepoTags": ["a:1", "a:2"], "RepoDigests": ["a@sha256:0", "b@sha256:1"]}
    assert names(image, digests=False) == [
        ("a", "1", "<none>"),
        ("a", "2", "<none>"),
        ("b", "<none>", "<none>"),
    ]
    assert names(image, digests=True) == [
        ("a", "1", "sha256:0"),
        ("a", "2", "sha256:0"),
        ("b", "<none>", "sha256:1"),
    ]
    assert names({"RepoTags": ["<none>:<none>"]}, digests=True) == [("<none>", "<none>", "<none>")]


def test_a_login_is_kept_where_docker_clients_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text('{"detachKeys": "ctrl-x"}')
    _store("r.example", "me", "secret", "")
    kept = json.loads((tmp_path / "config/config.json").read_text())
    assert kept == {"detachKeys": "ctrl-x", "auths": {"r.example": {"auth": "bWU6c2VjcmV0"}}}
    assert (tmp_path / "config/config.json").stat().st_mode & 0o777 == 0o600


def test_figures_of_stats() -> None:
    sample = {
        "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
    }
    assert cpu_percent(sample) == 40.0
    assert cpu_percent({}) == 0.0
    assert memory({"usage": 100, "limit": 200, "stats": {"inactive_file": 30}}) == (70, 200)
    assert memory(
        {"usage": 100, "limit": 200, "stats": {"total_inactive_file": 40, "inactive_file": 30}}
    ) == (60, 200)
    entries = [{"op": "Read", "value": 1}, {"op": "write", "value": 2}, {"op": "read", "value": 4}]
    assert block_io({"io_service_bytes_recursive": entries}) == (5, 2)


def test_pruning_what_builds_cached(run: Commands) -> None:
    assert run("builder", "prune", "-f").printed.startswith("Total reclaimed space: ")
    with pytest.raises(CommandError):
        run("builder", "prune")
