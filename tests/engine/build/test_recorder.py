"""One project, changed in twenty ways: build, change, build, and the cause is the change."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from labkernel.engine.build import recorder, records
from labkernel.engine.build.interface import RunFailed
from labkernel.engine.build.recorder import EXPLANATION
from labkernel.engine.build.wasted import WASTE
from tests.engine.build.conftest import Result, Workshop, member

DOCKERFILE = """\
FROM busybox
WORKDIR /app
COPY requirements.txt .
RUN cp requirements.txt installed
ARG VERSION=1
RUN echo $VERSION > version
COPY src src
ENV NAME=app
RUN cat > made <<EOF
one
EOF
CMD ["cat", "made"]
"""


@dataclass(frozen=True)
class Project:
    dockerfile: str = DOCKERFILE
    files: Mapping[str, Any] = field(
        default_factory=lambda: {"requirements.txt": "flask\n", "src/app.py": "1\n", "src/lib.py": "2\n"}
    )
    options: Mapping[str, Any] = field(default_factory=lambda: {"tags": ["app"]})

    def edited(self, old: str, new: str) -> Project:
        assert self.dockerfile.count(old) == 1
        return replace(self, dockerfile=self.dockerfile.replace(old, new))

    def with_files(self, files: Mapping[str, Any]) -> Project:
        """With these files as well; None takes one away."""
        return replace(self, files={k: v for k, v in {**self.files, **files}.items() if v is not None})

    def given(self, **options: Any) -> Project:
        return replace(self, options={**self.options, **options})

    def build(self, workshop: Workshop) -> Result:
        return workshop.build(self.dockerfile, self.files, explain=True, **self.options)


def causes(messages: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Step number -> cause, of the steps that were run again."""
    said = [message["aux"][EXPLANATION] for message in messages if EXPLANATION in message.get("aux", {})]
    return {step["step"]: step["cause"] for step in said if "cause" in step}


def first_file(kind: str, path: str) -> Callable[[dict[str, Any]], bool]:
    return lambda cause: cause[kind][0]["path"] == path and cause["count"][kind] == 1


def _anything(cause: dict[str, Any]) -> bool:
    return True


P = Project()
EMPTY = P.with_files({"src/app.py": member(b"0", mode=0o644)})
WITH_TOKEN = P.edited("ARG VERSION", "ARG TOKEN\nARG VERSION")

#: What was done -> before, after, the first step run again, its kind of cause, and more of it.
CHANGES: dict[str, tuple[Project, Project, int, str, Callable[[dict[str, Any]], bool]]] = {
    "a file changed": (
        *(P, P.with_files({"src/app.py": "123\n"}), 7, "files"),
        lambda cause: (cause["changed"][0]["old_size"], cause["changed"][0]["new_size"]) == (2, 4),
    ),
    "a file was added": (
        *(P, P.with_files({"src/new.py": "3\n"}), 7, "files"),
        first_file("added", "src/new.py"),
    ),
    "a file was removed": (
        *(P, P.with_files({"src/lib.py": None}), 7, "files"),
        first_file("removed", "src/lib.py"),
    ),
    "an early file changed": (
        *(P, P.with_files({"requirements.txt": "django\n"}), 3, "files"),
        first_file("changed", "requirements.txt"),
    ),
    "a mode changed": (
        *(EMPTY, P.with_files({"src/app.py": member(b"0", mode=0o755)}), 7, "files"),
        lambda cause: cause["attributes"] == [{"path": "src/app.py", "old_mode": "0644", "new_mode": "0755"}],
    ),
    "an owner changed": (
        *(EMPTY, P.with_files({"src/app.py": member(b"0", mode=0o644, uid=5)}), 7, "files"),
        lambda cause: cause["attributes"] == [{"path": "src/app.py", "old_owner": "0:0", "new_owner": "5:0"}],
    ),
    "a file is ignored": (
        *(P, P.with_files({".dockerignore": "src/lib.py\n"}), 7, "files"),
        lambda cause: cause["removed"][0]["ignored"] is True,
    ),
    "a RUN was edited": (
        *(P, P.edited("cp requirements", "cp -p requirements"), 4, "text"),
        lambda cause: (
            (cause["old"], cause["new"])
            == ("RUN cp requirements.txt installed", "RUN cp -p requirements.txt installed")
        ),
    ),
    "an ENV was edited": (
        *(P, P.edited("NAME=app", "NAME=other"), 8, "text"),
        lambda cause: cause["new"] == "ENV NAME=other",
    ),
    "a here-document was edited": (
        *(P, P.edited("one\n", "two\n"), 9, "text"),
        lambda cause: (cause["old"], cause["new"], cause["heredoc"]) == ("one", "two", True),
    ),
    "an ARG's default was edited": (P, P.edited("VERSION=1", "VERSION=2"), 5, "text", _anything),
    "a build argument was given": (
        *(P, P.given(build_args={"VERSION": "2"}), 6, "argument"),
        lambda cause: cause["arguments"] == [{"name": "VERSION", "old": "1", "new": "2"}],
    ),
    "a secret argument changed": (
        WITH_TOKEN.given(build_args={"TOKEN": "abc"}),
        WITH_TOKEN.given(build_args={"TOKEN": "xyz"}),
        *(7, "argument", lambda cause: cause["arguments"] == [{"name": "TOKEN", "secret": True}]),
    ),
    "a line was inserted": (P, P.edited("COPY req", "RUN true\nCOPY req"), 3, "added", _anything),
    "a line was removed": (
        *(P, P.edited("RUN cp requirements.txt installed\n", ""), 4, "step-removed"),
        lambda cause: cause["instructions"] == ["RUN cp requirements.txt installed"],
    ),
    "lines changed places": (
        P,
        P.edited("COPY src src\n", "").edited("COPY req", "COPY src src\nCOPY req"),
        *(3, "moved", _anything),
    ),
    "another base image": (
        *(P, P.edited("FROM busybox", "FROM other"), 2, "base"),
        lambda cause: cause["because"]["new"] == "FROM other",
    ),
    "no cache": (P, P.given(no_cache=True), 2, "no-cache", _anything),
    "cache from elsewhere": (P, P.given(cache_from=["other"]), 2, "cache-from", _anything),
    "a source was renamed": (
        P,
        P.edited("COPY src src", "COPY source src").with_files({"source/app.py": "1\n"}),
        *(7, "text", lambda cause: cause["new"] == "COPY source src"),
    ),
    "another tag, and a file changed": (
        *(P, P.with_files({"src/app.py": "9\n"}).given(tags=["app:2"]), 7, "files"),
        first_file("changed", "src/app.py"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_cause_of_a_step_run_again_is_what_was_changed(workshop: Workshop, change: str) -> None:
    before, after, step, kind, is_right = CHANGES[change]
    workshop.build("FROM busybox\nLABEL other=1\n", tags=["other"])
    before.build(workshop)
    assert causes(before.build(workshop).messages) == {}
    found = {number: c for number, c in causes(after.build(workshop).messages).items() if number > 1}
    assert min(found) == step, found
    assert found[step]["kind"] == kind, found[step]
    assert is_right(found[step]), found[step]
    later = {number: cause for number, cause in found.items() if number > step}
    if kind == "no-cache":
        assert {cause["kind"] for cause in later.values()} == {"no-cache"}
    else:
        for number, cause in later.items():
            assert cause == {"kind": "parent", "step": number - 1, "root": step}


def test_a_removed_image_is_named(workshop: Workshop) -> None:
    P.build(workshop)
    workshop.images.delete("app", lambda _: [])
    found = causes(P.build(workshop).messages)
    assert found[2]["kind"] == "image-removed"
    assert found[3] == {"kind": "parent", "step": 2, "root": 2}


def test_the_first_build_has_no_before(workshop: Workshop) -> None:
    assert causes(P.build(workshop).messages)[2] == {"kind": "first"}


def test_a_build_that_failed_is_gone_on_with(workshop: Workshop) -> None:
    failing = "FROM busybox\nRUN true\nRUN test -e /a\nENV A=b\n"
    with pytest.raises(RunFailed):
        workshop.build(failing, explain=True)
    assert causes(workshop.messages)[2] == {"kind": "first"}
    with pytest.raises(RunFailed):
        workshop.build(failing, explain=True)
    assert causes(workshop.messages) == {3: {"kind": "unfinished"}}
    fixed = workshop.build(failing.replace("/a", "/"), explain=True)
    assert causes(fixed.messages)[3]["kind"] == "text"


STAGES = """\
FROM busybox AS build
COPY main.c .
RUN cp main.c /program
FROM busybox
ENV A=b
COPY --from=build /program /
"""


def test_a_copy_from_a_stage_names_the_step_there(workshop: Workshop) -> None:
    workshop.build(STAGES, {"main.c": "1"}, explain=True)
    found = causes(workshop.build(STAGES, {"main.c": "22"}, explain=True).messages)
    assert found[2]["kind"] == "files"
    assert found[3] == {"kind": "parent", "step": 2, "root": 2}
    assert 5 not in found
    assert (found[6]["kind"], found[6]["source"], found[6]["root"]) == ("files", "stage", 2)
    assert found[6]["changed"][0]["path"] == "program"


def test_a_stage_on_a_stage_names_the_step_there(workshop: Workshop) -> None:
    text = "FROM busybox AS one\nCOPY a /\nFROM one\nRUN true\n"
    workshop.build(text, {"a": "1"}, explain=True)
    found = causes(workshop.build(text, {"a": "2"}, explain=True).messages)
    assert found[4] == {"kind": "parent", "step": 2, "root": 2}


def test_nothing_is_said_unasked(workshop: Workshop) -> None:
    messages = workshop.build(DOCKERFILE, P.files).messages
    assert [list(message["aux"]) for message in messages if "aux" in message] == [["ID"]]


def test_records_are_bounded_and_pruned(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "KEPT_BUILDS", 2)
    for name in ("a", "b", "c"):
        workshop.build(f"FROM busybox\nENV {name}=1\nCOPY a /\n", {"a": name}, tags=[name])
    count = "SELECT count(*) FROM "
    database = workshop.store.database
    assert database.rows(count + "build_records")[0][0] == 2
    assert database.rows(count + "build_record_files")[0][0] == 2
    workshop.images.delete("c", lambda _: [])
    workshop.builder.records.prune(workshop.images.has)
    assert [row[0] for row in database.rows("SELECT name FROM build_records")] == [
        "docker.io/library/b:latest "
    ]
    assert database.rows(count + "build_record_files")[0][0] == 1
    monkeypatch.setattr(records, "KEPT_BYTES", 1)
    workshop.build("FROM busybox\nCOPY a /d\n", {"a": "d"}, tags=["d"])
    assert database.rows(count + "build_record_files")[0][0] == 0
    assert database.rows(count + "build_records")[0][0] == 2


def test_wasted_bytes_are_told_by_step(workshop: Workshop) -> None:
    built = workshop.build(
        "FROM busybox\n"
        "RUN head -c 5000 /dev/zero > /big; cd /var; mkdir -p lib/apt/lists; echo list > lib/apt/lists/x\n"
        "RUN rm /big\n"
        "COPY f /f\n"
        "RUN echo other > /f\n",
        {"f": "0123456789"},
        explain=True,
    )
    waste = [message["aux"][WASTE] for message in built.messages if WASTE in message.get("aux", {})]
    told = [(w["step"], w["kind"], w["size"], w["paths"], w.get("by")) for w in waste[0]]
    assert told == [
        (2, "deleted", 5000, ["/big"], 3),
        (4, "overwritten", 10, ["/f"], 5),
        (2, "apt-lists", 5, ["/var/lib/apt/lists/x"], None),
    ]


class _Answer(http.server.BaseHTTPRequestHandler):
    content = b"one"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(_Answer.content)))
        self.end_headers()
        self.wfile.write(_Answer.content)

    def log_message(self, *_: object) -> None:
        pass


def test_a_url_that_gives_something_else(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        text = f"FROM busybox\nADD http://127.0.0.1:{server.server_address[1]}/f /f\n"
        workshop.build(text)
        assert causes(workshop.build(text, explain=True).messages) == {}
        monkeypatch.setattr(_Answer, "content", b"two")
        changed = workshop.build(text, explain=True)
        server.shutdown()
        thread.join()
    assert causes(changed.messages) == {2: {"kind": "content", "source": "url"}}


def test_of_too_many_files_none_is_named(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT_FILES", 1)
    P.build(workshop)
    found = causes(P.with_files({"src/app.py": "changed"}).build(workshop).messages)
    assert found[7] == {"kind": "content", "source": "context"}
