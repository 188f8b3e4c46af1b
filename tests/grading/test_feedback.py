"""The learner's page: what is on it, and that nothing of a submission becomes a part of it."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

import pytest

from labkernel.course import Checked, Report
from labkernel.grading.feedback import LONGEST, page
from labkernel.grading.result import Graded, RanCell, State

REPORT = Report(
    "01-x",
    [
        Checked("image", "There is an image.\n\nAnd more of that.", "pass", 2),
        Checked("port", "It listens.", "fail", 1.5, "expected 8080, found nothing", ("EXPOSE", "plainer")),
        Checked("web", "It answers.", "skipped", 1, "comes after: It listens."),
    ],
)
HOSTILE = (
    "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"
    '"\' onload="x" &lt; ]]> --> \x00\x1b[31m\u202e\ud800'
)


class Parsed(HTMLParser):
    """The elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_what_is_on_it() -> None:
    cells = (RanCell("build", "FROM x", "built"), RanCell("run", "loop", "", "ended the run: too long"))
    shown = Parsed(page("Zoë", Graded(REPORT, "ended", "too long", cells))).text
    for words in (
        *("01-x", "Zoë", "2 of 4.5 points", "The run was ended early: too long."),
        *("There is an image.", "2 of 2", "It listens.", "0 of 1.5", "expected 8080, found nothing"),
        *("Hint: EXPOSE", "comes after: It listens.", "FROM x", "built", "run, ended the run: too long"),
    ):
        assert words in shown
    assert "plainer" not in shown  # hints come one at a time


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("unreadable", "This submission cannot be read: REASON."),
        ("error", "Grading met an error that is not yours: REASON. It will be graded again."),
    ],
)
def test_states(state: State, words: str) -> None:
    assert words in Parsed(page("x", Graded(REPORT, state, "REASON"))).text


def test_points_that_are_not_known_are_no_points() -> None:
    report = Report("01-x", [REPORT.checks[0], Checked("web", "It answers.", "error", 1, "ours")])
    shown = Parsed(page("x", Graded(report, "error", "ours"))).text
    assert "not graded yet" in shown
    assert "of 3" not in shown


def test_nothing_of_a_submission_becomes_part_of_the_page() -> None:
    harmless = Parsed(page("x", Graded(REPORT, "ended", "x", (RanCell("a", "b", "c", "d"),))))
    hostile_report = Report(
        HOSTILE, [Checked(HOSTILE, HOSTILE, check.outcome, 1, HOSTILE, (HOSTILE,)) for check in REPORT.checks]
    )
    cells = (RanCell(HOSTILE, HOSTILE, HOSTILE, HOSTILE),)
    text = page(HOSTILE, Graded(hostile_report, "ended", HOSTILE, cells))
    hostile = Parsed(text)
    assert {name for name, _ in hostile.elements} <= {name for name, _ in harmless.elements}
    assert {name for _, attributes in hostile.elements for name in attributes} == {
        *("lang", "charset", "http-equiv", "content", "name", "class", "role", "aria-label"),
    }
    assert text.encode()  # no half of a surrogate pair
    assert not set(text) & {"\x00", "\x1b"}
    assert "<script>alert(1)</script>" in hostile.text


def test_nothing_is_loaded_and_nothing_runs() -> None:
    """The policy allows the page's own style, by its digest, and nothing else."""
    text = page("x", Graded(REPORT, "graded"))
    [policy] = [
        attributes["content"]
        for name, attributes in Parsed(text).elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    assert "http://" not in text
    assert "url(" not in text


def test_much_is_cut() -> None:
    cells = (RanCell("a", "s" * 10_000_000, "o" * 10_000_000),)
    text = page("x", Graded(REPORT, "graded", "", cells))
    assert len(text) < 3 * LONGEST
    assert f"... and {10_000_000 - LONGEST} characters more" in text
