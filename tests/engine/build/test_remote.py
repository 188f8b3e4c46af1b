"""Builds from an address, by us and by dockerd; and what the stock client makes of one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.daemons import Daemon
from tests.support.site import COMMIT_TIME, DOCKERFILE, Site

CONTEXT = {"/copied/Dockerfile", "/copied/file", "/copied/other"}
SUB = {"/copied/Dockerfile", "/copied/away"}
PROJECT = {*CONTEXT, "/copied/link", "/copied/sub/Dockerfile", "/copied/sub/away", "/copied/up"}

UNKNOWN = "error detecting content type for remote <url>:"
# What is asked for; the files that the steps make, or the message of the error, which is a pattern.
CASES: dict[str, tuple[str, dict[str, str], set[str] | str]] = {
    "a Dockerfile": ("/Dockerfile", {}, {"/made"}),
    "a Dockerfile that copies": ("/copies", {}, "COPY failed: missing build context"),
    "a tar": ("/plain.tar", {}, CONTEXT),
    "gzip": ("/packed.tar.gz", {}, CONTEXT),
    "xz, another Dockerfile": ("/packed.tar.xz", {"dockerfile": "other"}, {"/only"}),
    "an empty file": ("/empty", {}, f"{UNKNOWN} empty response"),
    "a web page": ("/page.html", {}, f'{UNKNOWN} unsupported Content-Type "text/html"'),
    "nothing": (
        "/none",
        {},
        "error downloading remote context <url>: failed to GET <url> with status 404 .*",
    ),
    "a repository": ("/project.git", {}, PROJECT),
    "a branch": ("/project.git#trunk", {"dockerfile": "other"}, {"/only"}),
    "a folder": ("/project.git#master:sub", {}, SUB),
    "no ref": ("/project.git#none", {}, "error fetching: .*find remote ref none\n: exit status 128"),
    "no repository": ("/none.git", {}, "error fetching: fatal: repository .* not found\n: exit status 128"),
    "an option": ("/project.git#-x", {}, "invalid refspec: -x"),
    "a way out": ("/project.git#:../..", {}, 'error setting git context, "../.." not within git root.*'),
    "a file": ("/project.git#:file", {}, "error setting git context, not a directory: .*file"),
    "no folder": ("/project.git#:none", {}, "l?stat .*none: no such file or directory"),
    "no address": ("x://y", {}, r"remoteURL \(x://y\) could not be recognized as URL"),
}


@pytest.fixture(params=["engine", "dockerd"])
def builder(request: pytest.FixtureRequest) -> Daemon:
    """What these builds leave behind is small, and tidied up with the daemon."""
    daemon: Daemon = request.getfixturevalue(request.param)
    return daemon


def made(daemon: Daemon, image: str) -> set[str]:
    """The files that the steps of these Dockerfiles make; dockerd has .git among them."""
    find = ["sh", "-c", "find /copied /made /only ! -type d 2>/dev/null"]
    shown = daemon.docker("run", "--rm", "--network", "none", image, *find).stdout
    return {line for line in shown.splitlines() if "/.git/" not in line}


@pytest.mark.parametrize("case", CASES)
def test_remote(builder: Daemon, site: Site, case: str) -> None:
    address, options, expected = CASES[case]
    url = site.seen_by(builder) + address if address.startswith("/") else address
    answer = builder.http.call("POST", "/build?" + urlencode({"remote": url, **options}))
    messages = [json.loads(line) for line in answer.body.splitlines() if line]
    if isinstance(expected, str):
        assert answer.status == {"a Dockerfile that copies": 200, "nothing": 404}.get(case, 500)
        said = messages[-1].get("error") or messages[-1]["message"]
        assert re.fullmatch(expected.replace("<url>", re.escape(url)), said, re.DOTALL), said
        return
    assert answer.status == 200, answer.body
    assert made(builder, next(m["aux"]["ID"] for m in messages if "aux" in m)) == expected
    if not address.partition("#")[0].endswith(".git") and address != "/plain.tar":
        assert any(message.get("id") == "Downloading context" for message in messages)


@pytest.mark.parametrize("keeps", [False, True])
def test_git_directory(any_engine: Daemon, site: Site, keeps: bool) -> None:
    """As BuildKit: .git is no part of a context unless it is asked for. The same commit is the same layer."""

    def build() -> str:
        answer = any_engine.http.call("POST", "/build?" + urlencode(query))
        image: str = json.loads(answer.body.splitlines()[-1])["stream"].strip()
        return image

    given = {"SOURCE_DATE_EPOCH": str(COMMIT_TIME + 1), "BUILDKIT_CONTEXT_KEEP_GIT_DIR": str(int(keeps))}
    remote = site.seen_by(any_engine) + "/project.git"
    query = {"remote": remote, "buildargs": json.dumps(given), "nocache": 1, "q": 1}
    image = build()
    shown = any_engine.docker("run", "--rm", "--network", "none", image, "ls", "-A", "/copied").stdout.split()
    assert (".git" in shown) == keeps
    if not keeps:
        assert build() == image


def test_stock_client(builder: Daemon, site: Site, tmp_path: Path) -> None:
    """It fetches addresses itself, and takes a Dockerfile or an archive from standard input."""
    (tmp_path / "file").write_text("text\n")
    context = (site.directory / "packed.tar.gz").read_bytes()

    def build(*arguments: str, stdin: bytes | None = None) -> set[str]:
        done = builder.docker("build", "-q", *arguments, input=stdin, text=False, env=environment)
        assert done.returncode == 0, done.stderr
        return made(builder, done.stdout.decode().strip())

    environment = {**builder.environment(), "DOCKER_BUILDKIT": "0", "no_proxy": "*"}
    assert build("-", stdin=b"FROM busybox\nRUN touch /made\n") == {"/made"}
    assert build("-", stdin=context) == CONTEXT
    assert build("-f", "other", "-", stdin=context) == {"/only"}
    assert build("-f", "-", str(tmp_path), stdin=DOCKERFILE.encode()) == {"/copied/file"}
    base = site.seen_by(builder)
    assert build(f"{base}/Dockerfile") == {"/made"}
    assert build(f"{base}/packed.tar.gz") == CONTEXT
    assert build(f"{base}/project.git#master:sub") == SUB
