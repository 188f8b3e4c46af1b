"""A learner's page: points, each check with its message and hint, then the cells as they ran.

It is one file with nothing to load, and what comes from the submission is text in it and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re

from labkernel.course import Checked
from labkernel.grading.gradebook import number
from labkernel.grading.result import Graded, RanCell

LONGEST = 64 << 10
"""Characters that are shown of a cell's source, of its output, of a message."""

_OUTCOMES = {
    "pass": ("✔", "passed"),
    "fail": ("✘", "not passed"),
    "skipped": ("\u2013", "skipped"),
    "error": ("!", "not graded: an error of ours"),
}
_STATES = {
    "graded": "",
    "ended": "The run was ended early: {}. What was there by then was graded.",
    "unreadable": "This submission cannot be read: {}.",
    "error": "Grading met an error that is not yours: {}. It will be graded again.",
}
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --pass: #1a7f37; --fail: #b3261e; --quiet: #6b6b6b;
  --box: #8881; }
@media (prefers-color-scheme: dark) {
  :root { --pass: #56d364; --fail: #ff8a80; --quiet: #a0a0a0; }
}
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
header p { margin: .25rem 0; }
.total { font-size: 1.25rem; }
.state { border-left: .25rem solid var(--fail); padding-left: .75rem; }
ul { list-style: none; padding: 0; margin: 0; }
li { border-top: 1px solid var(--line); padding: .6rem 0 .6rem 1.75rem; position: relative; }
li .mark { position: absolute; left: .25rem; font-weight: bold; }
li .points { float: right; margin-left: 1rem; color: var(--quiet); }
li p { margin: .25rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.pass .mark { color: var(--pass); }
.fail .mark, .error .mark { color: var(--fail); }
.quiet { color: var(--quiet); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; padding: .6rem .75rem;
  font: .85rem/1.45 ui-monospace, monospace; }
.cell { border: 1px solid var(--line); border-radius: .4rem; margin: .75rem 0; overflow: hidden; }
.cell > p { margin: 0; padding: .2rem .75rem; font-size: .85rem; color: var(--quiet); }
.source { background: var(--box); }
.output { border-top: 1px solid var(--line); max-height: 30rem; overflow: auto; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def page(learner: str, graded: Graded) -> str:
    """The page as HTML. It is the same for the same result."""
    report = graded.report
    known, total = number(report.points), number(report.max_points)
    achieved = f"<b>{known}</b> of {total} points" if known else "not graded yet"
    state = _STATES[graded.state].format(_text(graded.reason))
    cells = "".join(_cell(cell) for cell in graded.cells)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(report.exercise)}: {_text(learner)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{_text(report.exercise)}</h1>
<p>{_text(learner)}</p>
<p class="total">{achieved}</p>
{f'<p class="state">{state}</p>' if state else ""}
</header>
<main>
<h2>Checks</h2>
<ul>
{"".join(_check(checked) for checked in report.checks)}</ul>
{f"<h2>The notebook as it ran</h2>{cells}" if cells else ""}
</main>
</body>
</html>
"""


def _check(checked: Checked) -> str:
    mark, words = _OUTCOMES[checked.outcome]
    points = "" if checked.points is None else f"{number(checked.points)} of {number(checked.max_points)}"
    title = _text(checked.title.splitlines()[0])
    message = f"<p>{_text(checked.message)}</p>" if checked.message else ""
    hint = f'<p class="quiet">Hint: {_text(checked.hints[0])}</p>' if checked.hints else ""
    return (
        f'<li class="{checked.outcome}"><span class="mark" role="img" aria-label="{words}">{mark}</span>'
        f'<span class="points">{points}</span>{title}{message}{hint}</li>\n'
    )


def _cell(cell: RanCell) -> str:
    heading = ", ".join(filter(None, [cell.name, cell.note]))
    shown = f"<p>{_text(heading)}</p>" if heading else ""
    output = f'<pre class="output">{_text(cell.text)}</pre>' if cell.text.strip() else ""
    return f'<div class="cell">{shown}<pre class="source">{_text(cell.source)}</pre>{output}</div>\n'


def _text(text: str) -> str:
    """Text for an element or an attribute: nothing of it is markup, or a character that shows nowhere."""
    more = len(text) - LONGEST
    shown = text[:LONGEST] + (f"\n... and {more} characters more" if more > 0 else "")
    return html.escape(_UNSHOWABLE.sub("\ufffd", shown.replace("\r\n", "\n")))
