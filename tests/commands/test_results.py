from __future__ import annotations

import pytest

from labkernel.commands import CommandError, Finished, Listing, Text
from labkernel.commands.results import align

HEADINGS = {"Name": "NAME", "State": "STATE", "Labels": "LABELS"}
ROWS = [
    {"Name": "web", "State": "<up>", "Labels": "a=1"},
    {"Name": "database", "State": "down", "Labels": ""},
]
DATA = [{"Labels": {"a": "1"}}, {"Labels": None}]


def listing(template: str | None = None, quiet: str | None = None) -> Listing:
    return Listing(ROWS, DATA, HEADINGS, ("Name", "State"), template, quiet)


@pytest.mark.parametrize(
    ("template", "quiet", "text"),
    [
        (None, None, "NAME       STATE\nweb        <up>\ndatabase   down"),
        ("table", None, "NAME       STATE\nweb        <up>\ndatabase   down"),
        (None, "Name", "web\ndatabase"),
        ("{{.Name}}: {{.State}}", None, "web: <up>\ndatabase: down"),
        ('{{.Name}}\\t{{.Label "a"}}', None, "web\t1\ndatabase\t"),
        ('table {{.State}}\\t{{.Label "x.a"}}', None, "STATE     a\n<up>      \ndown      "),
        (
            "json",
            None,
            '{"Labels":"a=1","Name":"web","State":"<up>"}\n{"Labels":"","Name":"database","State":"down"}',
        ),
    ],
)
def test_a_listing_as_text(template: str | None, quiet: str | None, text: str) -> None:
    assert str(listing(template, quiet)) == text


@pytest.mark.parametrize(
    ("template", "hint"), [("{{.Nmae}}", "did you mean Name?"), ("{{.Name", "the fields are ")]
)
def test_a_wrong_format_is_an_error_when_the_command_runs(template: str, hint: str) -> None:
    with pytest.raises(CommandError) as raised:
        listing(template)
    assert (raised.value.hint or "").startswith(hint)
    assert raised.value.exit_code == 64


def test_a_listing_as_data_and_as_html() -> None:
    table = listing()
    assert (len(table), table[0]["Name"], [row["Name"] for row in table]) == (2, "web", ["web", "database"])
    bundle = table._repr_mimebundle_()
    assert bundle["text/plain"] == str(table)
    assert "<th>NAME</th>" in bundle["text/html"]
    assert "<td>&lt;up&gt;</td>" in bundle["text/html"]


def test_texts_are_escaped_in_html() -> None:
    assert Text("<b>")._repr_mimebundle_() == {"text/plain": "<b>", "text/html": "<pre>&lt;b&gt;</pre>"}
    assert Text()._repr_mimebundle_() == {"text/plain": ""}


def test_an_exit_code_other_than_zero_is_visible() -> None:
    assert "exit code 3" in Finished("web", 3)._repr_html_()
    assert Finished("web", 0)._repr_html_() == ""


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (0, ""),
        (3, "exit code 3"),
        (128, "exit code 128"),
        (137, "exit code 137: ended by signal 9, SIGKILL (docker kill ends it so, and a memory limit (-m))"),
        (143, "exit code 143: ended by signal 15, SIGTERM (docker stop asks so)"),
        (129, "exit code 129: ended by signal 1, SIGHUP"),
        (255, "exit code 255"),
    ],
)
def test_a_signal_is_named(code: int, ending: str) -> None:
    assert Finished("web", code).ending == ending


def test_columns_are_three_spaces_apart_and_ten_wide_at_least() -> None:
    assert (
        align([["A", "B"], ["long words", "x"], ["ü", ""]]) == "A            B\nlong words   x\nü            "
    )
    assert align([["A", "B"]]) == "A         B"
