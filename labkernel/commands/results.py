"""What commands return: text as the docker client prints it, HTML for a notebook, data for programs."""

from __future__ import annotations

import html
import json
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkernel.commands.build_explanation import Explanation
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.template import Struct, Template, TemplateError

if TYPE_CHECKING:
    from labkernel.commands.build_notes import BuildNotes


class Result:
    """The outcome of a command. `text` has no final newline; "" prints nothing."""

    exit_code: int = 0
    is_shown: bool = False
    """The cell shows it already, in an output of its own."""

    @property
    def text(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>" if self.text else ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        shown = self._repr_html_()
        return {"text/plain": self.text, **({"text/html": shown} if shown else {})}


class Text(Result):
    """Plain text: an id, names, a version report. `data` is what it was made from, where there is more."""

    def __init__(self, text: str = "", *, data: Any = None, exit_code: int = 0) -> None:
        self._text = text
        self.data = data
        self.exit_code = exit_code

    @property
    def text(self) -> str:
        return self._text


class Document(Result):
    """JSON from the API, with every object a `docker inspect` found in `data`."""

    def __init__(self, data: Sequence[Mapping[str, Any]], *, exit_code: int = 0) -> None:
        self.data = list(data)
        self.exit_code = exit_code

    @property
    def text(self) -> str:
        return json.dumps(self.data, indent=4, ensure_ascii=False)


@dataclass(repr=False)
class Listing(Result):
    """A table. `rows` map a field's name, as in --format, to its text; `data` are the API's own objects, row
    by row.

    `columns` are the fields shown, `headings` what stands above them. `template` is the user's --format, if
    any.
    """

    rows: list[dict[str, str]]
    data: list[Any]
    headings: Mapping[str, str]
    columns: Sequence[str]
    template: str | None = None
    quiet: str | None = None
    exit_code: int = field(default=0)

    def __post_init__(self) -> None:
        self._formatted = self._by_template() if self.template not in {None, "", "table"} else None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> dict[str, str]:
        return self.rows[index]

    @property
    def text(self) -> str:
        if self._formatted is not None:
            return self._formatted
        if self.quiet:
            return "\n".join(row[self.quiet] for row in self.rows)
        return align([list(self._titles()), *([row[c] for c in self.columns] for row in self.rows)])

    def _by_template(self) -> str:
        """The rows by --format. Raises CommandError for a template that cannot be read or asks for unknown
        fields.
        """
        template = str(self.template)
        if template == "json":
            template = "{{json .}}"
        with_headings = template.startswith("table")
        try:
            parsed = Template(
                _unescape(template.removeprefix("table").strip() if with_headings else template)
            )
            lines = [
                parsed.render(self._fields(row, entry))
                for row, entry in zip(self.rows, self.data, strict=True)
            ]
            if not with_headings:
                return "\n".join(lines)
            titles = parsed.render(self._headings())
            return align([line.split("\t") for line in (titles, *lines)])
        except TemplateError as error:
            missing = re.search(r'no entry for key "(\w+)"', str(error))
            near = nearest(missing[1], self.headings) if missing else None
            raise CommandError(
                f"failed to {'execute' if 'executing' in str(error) else 'parse'} template: {error}",
                hint=f"did you mean {near}?"
                if near
                else f"the fields are {', '.join(sorted(self.headings))}",
                exit_code=64,
            ) from None

    def _headings(self) -> Struct:
        titles = Struct(self.headings)
        titles.methods["Label"] = lambda name: name.rpartition(".")[2]
        return titles

    @staticmethod
    def _fields(row: Mapping[str, str], entry: Any) -> Struct:
        labels = entry.get("Labels") if isinstance(entry, Mapping) else None
        fields = Struct(sorted(row.items()))
        if isinstance(labels, Mapping) or "Labels" in row:
            fields.methods["Label"] = (labels or {}).get
        return fields

    def _titles(self) -> Iterator[str]:
        return (self.headings[column] for column in self.columns)

    def _repr_html_(self) -> str:
        if self.quiet or self.template not in {None, "", "table"}:
            return super()._repr_html_()
        head = "".join(f"<th>{html.escape(title)}</th>" for title in self._titles())
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row[column])}</td>" for column in self.columns) + "</tr>"
            for row in self.rows
        )
        return f'<table class="labkernel"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _unescape(template: str) -> str:
    """The client lets \\t and \\n be typed in --format."""
    return template.replace("\\t", "\t").replace("\\n", "\n")


def align(rows: Sequence[Sequence[str]], *, least: int = 10) -> str:
    """Columns as the client's tab writer sets them: three spaces apart, `least` wide, the last as it is."""
    widths: dict[int, int] = {}
    for row in rows:
        for index, cell in enumerate(row[:-1]):
            widths[index] = max(widths.get(index, least - 3), len(cell))
    return "\n".join(
        "".join(cell.ljust(widths[index] + 3) for index, cell in enumerate(row[:-1])) + row[-1]
        for row in rows
    )


@dataclass(repr=False)
class Finished(Result):
    """A container's process (or an exec's) that ran in the foreground; its output was written to the console.

    `stdout` and `stderr` hold what it wrote, up to `KEPT` bytes each; with a terminal both are in `stdout`.
    """

    container: str
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    detached: bool = False
    KEPT = 16 * 1024 * 1024

    @property
    def text(self) -> str:
        return ""

    @property
    def ending(self) -> str:
        """A line about an exit code other than 0; above 128 it may stand for a signal."""
        if self.exit_code == 0:
            return ""
        try:
            name = signal.Signals(self.exit_code - 128).name
        except ValueError:
            return f"exit code {self.exit_code}"
        why = {
            "SIGKILL": "docker kill ends it so, and a memory limit (-m)",
            "SIGTERM": "docker stop asks so",
            "SIGINT": "an interrupt asks so",
            "SIGSEGV": "the program is faulty, or for another machine",
        }.get(name)
        return f"exit code {self.exit_code}: ended by signal {self.exit_code - 128}, {name}" + (
            f" ({why})" if why else ""
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.ending)}</pre>" if self.ending else ""


@dataclass(repr=False)
class Built(Result):
    """A finished build. `steps` are the lines "Step 1/3 : ..." with whether the cache answered."""

    image: str
    tags: list[str]
    steps: list[BuildStep]
    quiet: bool = False
    explanation: Explanation = field(default_factory=Explanation)
    """Empty unless it was asked for, of an engine that has it."""
    notes: BuildNotes | None = None

    @property
    def text(self) -> str:
        if self.quiet:
            return self.image
        warnings = self.notes.warnings if self.notes else []
        return "\n".join([*filter(None, [self.explanation.text]), *warnings])


@dataclass
class BuildStep:
    """One instruction of a build: its text, its image id ("" for none), whether it came from the cache."""

    instruction: str
    image: str = ""
    cached: bool = False
    output: str = ""
