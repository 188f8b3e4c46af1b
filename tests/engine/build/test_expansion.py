from __future__ import annotations

import contextlib
import re
import subprocess

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from labkernel.engine.build.expansion import ExpansionError, expand, expand_words
from labkernel.engine.build.words import split_words
from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon

VARIABLES = {"a": "hello", "empty": "", "p": "/usr/local/bin/x.tar.gz", "two": "one two", "1": "first"}
VARIABLES |= {"lines": "one\nline", "\u00e9": "accent", "quotes": "'\"", "dollar": "$a", "slash": "x\\y"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$a", "hello"),
        ("${a}x", "hellox"),
        ("$ab", ""),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$1x", "firstx"),
        ("'$a'", "$a"),
        ('"$a b"', "hello b"),
        (r"\$a", "$a"),
        (r"a\b", "ab"),
        ('"a\\"b\\c"', 'a"b\\c'),
        ("tail\\", "tail"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${unset-d}", "d"),
        ("${unset:-${a}}", "hello"),
        ("${unset:-'q r'}", "q r"),
        ("${a:+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${a:?no}", "hello"),
        ("${p##*/}", "x.tar.gz"),
        ("${p#*/}", "usr/local/bin/x.tar.gz"),
        ("${p%.*}", "/usr/local/bin/x.tar"),
        ("${p%%.*}", "/usr/local/bin/x"),
        ("${p%nothing}", "/usr/local/bin/x.tar.gz"),
        (r"${p#\/usr}", "/local/bin/x.tar.gz"),
        ("${a#h?l}", "lo"),
        ("${a/l/L}", "heLlo"),
        ("${a//l/L}", "heLLo"),
        (r"${p//\//_}", "_usr_local_bin_x.tar.gz"),
        ("${a//*/x}", "x"),
        ("${a/l*/}", "he"),
        ("${unset/x/y}", ""),
        # As Go's regular expressions have it, where shells differ among themselves.
        ("${a//*l/x}", "xo"),
        ("${a///-}", "-h-e-l-l-o-"),
        ("${a///}", "hello"),
        ("${a/x*/y}", "hello"),
        ("${empty//*/x}", "x"),
        ("${lines//*/x}", "x\nx"),
        ("${lines##*e}", "\nline"),
        ("${lines%%o*}", "one\nline"),
        ("${lines#???}", "\nline"),
        ("${lines#????}", "one\nline"),
        # Braces in braces, quotes in them, and what looks like them.
        ("${unset:-${unset:-${a:+x}}}", "x"),
        ('${unset:-"a}b"}', "a}b"),
        (r"${unset:-a\}b}", "a}b"),
        ("${unset:-}", ""),
        ("${a:-$}", "hello"),
        ("${unset:-$}", "$"),
        ("${a}}", "hello}"),
        ("{$a}", "{hello}"),
        ("$$a", "a"),
        ("$@$*$#$?$-$!$0", ""),
        ("${p#/usr/${unset:-local}/}", "bin/x.tar.gz"),
        ('"${two}"', "one two"),
        ("${1}0 $10", "first0 "),
        ("$a-$a.$a/$a:$a", "hello-hello.hello/hello:hello"),
        ("$\u00e9", "accent"),
    ],
)
def test_expand(word: str, expected: str) -> None:
    assert expand(word, VARIABLES) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("80 81", ["80", "81"]),
        ("$two", ["one", "two"]),
        ('"$two" x', ["one two", "x"]),
        ("a'b c'd", ["ab cd"]),
        (r"a\ b", ["a b"]),
        ("$empty", []),
        ("  a\t b ", ["a", "b"]),
    ],
)
def test_expand_to_words(word: str, expected: list[str]) -> None:
    assert expand_words(word, VARIABLES) == expected


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("'open", "unexpected end of statement while looking for matching single-quote"),
        ('"open', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${a", "syntax error: missing '}'"),
        ("${a:-x", "syntax error: missing '}'"),
        ("${a/x", "syntax error: missing '/' in ${}"),
        ("${}", "syntax error: bad substitution"),
        ("${{a}}", "syntax error: bad substitution"),
        ("${a!b}", "unsupported modifier (!) in substitution"),
        ("${a:=b}", "unsupported modifier (:=) in substitution"),
        ("${unset?why}", "unset: why"),
        ("${unset:?}", "unset: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        (r"${a#\x}", r"invalid pattern (\x) in substitution: invalid escape '\x'"),
    ],
)
def test_errors(word: str, reason: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(word, VARIABLES)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("failed to process ")


def test_the_escape_character_can_be_another() -> None:
    assert expand("`$a\\b", VARIABLES, escape="`") == "$a\\b"


def test_quotes_in_heredocs_mean_nothing() -> None:
    assert expand('it\'s "$a" \\$a\n', VARIABLES, quotes_are_text=True) == 'it\'s "hello" $a\n'


def test_keeping_what_is_unset_and_quoted() -> None:
    kept = expand_words("$no ${no:-x} 'q' \\e", {}, keep_unset=True, keep_quotes=True, keep_escapes=True)
    assert kept == ["$no", "${no:-x}", "'q'", "\\e"]


@settings(max_examples=25, deadline=None)
@given(
    value=st.text("ab/.", max_size=12),
    pattern=st.text("ab/.*?", max_size=6),
    operator=st.sampled_from(["#", "##", "%", "%%", "/", "//"]),
)
def test_patterns_as_bash_has_them(value: str, pattern: str, operator: str) -> None:
    if operator.startswith("/"):
        # An empty pattern, or one that matches nothing at all, is bash's own affair.
        pattern = "a" + pattern.replace("/", "").lstrip("#%")
        word = "${v" + operator + pattern + "/X}"
    else:
        word = "${v" + operator + pattern + "}"
    script = f"v={value!r}; printf %s {word!r}".replace("'" + word + "'", f'"{word}"')
    expected = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert expand(word, {"v": value}) == expected


@given(st.text(max_size=40))
def test_any_text_is_expanded_or_refused(word: str) -> None:
    with contextlib.suppress(ExpansionError):
        assert isinstance(expand(word, VARIABLES), str)


def test_hostile_nesting_is_refused() -> None:
    with pytest.raises(ExpansionError, match="more than 50 substitutions in one another"):
        expand("${a:-" * 10_000, {})


def test_a_hostile_pattern_takes_no_longer() -> None:
    """Backtracking would need years."""
    assert expand("${v##" + "*a" * 40 + "b}", {"v": "a" * 5000}) == "a" * 5000


# What dockerd 20.10 knows: `:-`, `:+`, `:?` and no others.
PIECES = [
    *("$", "{", "}", ":", "-", "a", "empty", "two", "unset", "quotes", "x", "0", "=", "\u00e9", " "),
    *("${a}", "$a", "${two}", "$two", "$dollar", "${slash}", "$1", "$$", "@", "*", "#", "!"),
    *("${unset:-", "${empty:-", "${a:+", "${empty:+", "\\$", '\\"', "\\'", "\\x", "''", '""', "'", '"'),
]


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), min_size=150, max_size=200))
def test_dockerd_expands_alike(dockerd: Daemon, words: list[str]) -> None:
    """All of them as labels of one instruction."""
    expected: dict[str, str] = {}
    line = ""
    for number, word in enumerate(words):
        split = split_words(word, "\\")
        try:
            value = expand(word, _ONE_LINE)
        except ExpansionError:
            continue
        if len(split) <= 1 and word.strip() == word and not word.endswith("\\"):
            expected[f"k{number}"] = value
            line += f" k{number}={word}"
    assert _labels(dockerd, line) == expected


@pytest.mark.parametrize("word", ["'open", '"open', "x${", "${}", "${{a}}", "${unset:?no}", "${a:-x"])
def test_dockerd_refuses_the_same(dockerd: Daemon, word: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(word, _ONE_LINE)
    assert _labels(dockerd, f" a={word}") == str(caught.value)


_ONE_LINE = {name: value for name, value in VARIABLES.items() if "\n" not in value}


def _labels(dockerd: Daemon, line: str) -> dict[str, str] | str:
    """The labels of an image that has just this LABEL, with our variables around it; or what is wrong."""
    variables = "".join(
        f" {name}=" + re.sub(r"(\W)", r"\\\1", value, flags=re.ASCII) for name, value in _ONE_LINE.items()
    )
    text = f"FROM scratch\nENV{variables}\nLABEL{line}\n"
    answer = dockerd.http.call("POST", "/build?rm=1", context_tar({"Dockerfile": text}))
    messages = answer.json_lines()
    if "error" in messages[-1]:
        return str(messages[-1]["error"])
    image_id = [message["aux"]["ID"] for message in messages if "aux" in message][-1]
    labels: dict[str, str] = dockerd.http.call("GET", f"/images/{image_id}/json").json()["Config"]["Labels"]
    return labels
