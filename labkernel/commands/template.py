"""Go templates as --format takes them: {{.State.Status}}, {{json .Mounts}}, {{range $k, $v :=
.Ports}}...{{end}}.

This is the part of Go's text/template that is of use on a command line: fields, variables, pipes, if, range,
with, the comparison functions, and docker's own functions (json, join, split, upper, lower, title, pad,
truncate). Templates that define other templates are refused. Values are those of json.loads; a `Struct` is an
object whose fields are fixed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class TemplateError(ValueError):
    """The template cannot be read, or does not fit the data. The message is in Go's words."""


class Struct(dict[str, Any]):
    """An object with fixed fields, as against a map: it prints as {a b}, and a missing field is an error.

    `methods` are called with the operands that follow: {{.Label "name"}}.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.methods: dict[str, Callable[..., Any]] = {}


_MAPS = {
    *(
        "Annotations",
        "Containers",
        "Data",
        "DriverOpts",
        "ExposedPorts",
        "Labels",
        "LogConfig.Config",
        "Networks",
    ),
    *("Options", "PortBindings", "Ports", "StorageOpt", "Sysctls", "Tmpfs", "Volumes"),
}
_POINTERS = {
    "DeviceIDs",
    "Healthcheck",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "IPAMConfig",
}
_OPTIONAL = {
    "Annotations",
    "Health",
    "Healthcheck",
    "MacAddress",
    "OnBuild",
    "Shell",
    "StopSignal",
    "StopTimeout",
}
"""Fields that the API leaves out when they are empty: Go has them as nil."""


class _Nil(list[Any]):
    """A null that Go holds as an empty slice: prints as [], is false, and json gives null."""


def structured(value: Any, name: str = "") -> Any:
    """The API's JSON with each object marked as a map or a Struct, by the name of the field that holds it."""
    if isinstance(value, dict):
        members = {
            key: structured(item, f"{name}.{key}" if f"{name}.{key}" in _MAPS else key)
            for key, item in value.items()
        }
        return members if name in _MAPS else Struct(members)
    if isinstance(value, list):
        return [structured(item, "" if name in _MAPS else name) for item in value]
    if value is None and name not in _POINTERS:
        return {} if name in _MAPS else _Nil()
    return value


# --- reading -------------------------------------------------------------------------------------

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
    | (?P<number>[+-]?\d+(?:\.\d+)?)
    | (?P<field>(?:\.[A-Za-z_]\w*)+)
    | (?P<variable>\$\w*)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<mark>:=|[.()|,=])
    )""",
    re.VERBOSE,
)


@dataclass
class _Action:
    declares: list[str]
    pipeline: list[list[Any]]
    prints: bool = True


@dataclass
class _Block:
    """if, with or range: its pipeline, the part to do and the part after else."""

    keyword: str
    action: _Action
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)


@dataclass
class _Operand:
    kind: str  # string, number, dot, field, variable, word, group
    value: Any
    fields: list[str] = field(default_factory=list)
    text: str = ""


class Template:
    """A template, read once: `Template("{{.Names}}").render({"Names": "web"})`. Raises TemplateError."""

    def __init__(self, source: str) -> None:
        self._nodes, rest = _read(_pieces(source), top=True)
        assert not rest

    def render(self, data: Any) -> str:
        output: list[str] = []
        _Run(data, output).nodes(self._nodes, data)
        return "".join(output)


def _pieces(source: str) -> list[str | list[tuple[str, str]]]:
    """Text pieces as str, actions as lists of (kind, text) tokens."""
    pieces: list[str | list[tuple[str, str]]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(source):
        before = source[position : match.start()]
        before = before.lstrip() if trim else before
        pieces.append(before.rstrip() if match[1] else before)
        body = match[2].strip()
        if not (body.startswith("/*") and body.endswith("*/")):
            pieces.append(_tokens(body))
        position, trim = match.end(), bool(match[3])
    rest = source[position:]
    if "{{" in rest:
        raise TemplateError("template: :1: unclosed action")
    pieces.append(rest.lstrip() if trim else rest)
    return pieces


def _tokens(body: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        if not match or match.lastgroup is None:
            rest = body[position:].strip()
            if not rest:
                break
            kind = "unterminated quoted string" if rest[0] in "\"'`" else f'unexpected "{rest[0]}"'
            raise TemplateError(f"template: :1: {kind} in operand")
        kind, text = match.lastgroup, match[match.lastgroup]
        attached = match.end() - len(text) == position and position > 0
        if (
            kind == "field"
            and attached
            and tokens
            and (tokens[-1][0] == "variable" or tokens[-1] == ("mark", ")"))
        ):
            kind = "chain"  # $x.Name and (pipeline).Name belong together; `x .Name` are two operands
        tokens.append((kind, text))
        position = match.end()
    if not tokens:
        raise TemplateError("template: :1: missing value for command")
    return tokens


_Pieces = list[str | list[tuple[str, str]]]


def _read(pieces: _Pieces, *, top: bool = False) -> tuple[list[Any], _Pieces]:
    """Nodes up to the end of the pieces or, inside a block, up to `else` or `end`, which stay in the rest."""
    nodes: list[Any] = []
    while pieces:
        piece, *pieces = pieces
        if isinstance(piece, str):
            nodes.append(piece)
            continue
        keyword = piece[0][1] if piece[0][0] == "word" else ""
        if keyword in {"end", "else"}:
            if top:
                raise TemplateError(f"template: :1: unexpected {{{{{keyword}}}}}")
            return nodes, [piece, *pieces]
        if keyword in {"if", "with", "range"}:
            block, pieces = _block(piece, pieces)
            nodes.append(block)
        elif keyword in {"define", "template", "block", "break", "continue"}:
            raise TemplateError(f"template: :1: {{{{{keyword}}}}} is not supported here")
        else:
            nodes.append(_action(piece))
    if not top:
        raise TemplateError("template: :1: unexpected EOF")
    return nodes, []


def _block(head: list[tuple[str, str]], pieces: _Pieces) -> tuple[_Block, _Pieces]:
    keyword = head[0][1]
    if len(head) == 1:
        raise TemplateError(f"template: :1: missing value for {keyword}")
    block = _Block(keyword, _action(head[1:]))
    block.body, pieces = _read(pieces)
    closing, *pieces = pieces
    assert not isinstance(closing, str)
    if closing[0][1] == "else":
        if len(closing) > 1 and closing[1][1] in {"if", "with"}:  # {{else if x}} closes with the one {{end}}
            inner, pieces = _block(closing[1:], pieces)
            block.otherwise = [inner]
            return block, pieces
        block.otherwise, pieces = _read(pieces)
        closing, *pieces = pieces
        if closing[0][1] != "end":
            raise TemplateError("template: :1: expected end; found {{else}}")
    return block, pieces


def _action(tokens: list[tuple[str, str]]) -> _Action:
    declares: list[str] = []
    prints = True
    marks = [index for index, token in enumerate(tokens) if token in {("mark", ":="), ("mark", "=")}]
    if marks:
        declares = [text for kind, text in tokens[: marks[0]] if kind == "variable"]
        tokens = tokens[marks[0] + 1 :]
        prints = False
    pipeline, rest = _pipeline(tokens)
    if rest:
        raise TemplateError(f'template: :1: unexpected "{rest[0][1]}" in operand')
    return _Action(declares, pipeline, prints)


def _pipeline(tokens: list[tuple[str, str]]) -> tuple[list[list[Any]], list[tuple[str, str]]]:
    commands: list[list[Any]] = [[]]
    while tokens and tokens[0] != ("mark", ")"):
        (kind, text), *tokens = tokens
        if (kind, text) == ("mark", "|"):
            commands.append([])
        elif (kind, text) == ("mark", "("):
            inner, tokens = _pipeline(tokens)
            if not tokens:
                raise TemplateError("template: :1: unclosed left paren")
            tokens = tokens[1:]
            commands[-1].append(_Operand("group", inner, text="(...)"))
        elif (kind, text) == ("mark", "."):
            commands[-1].append(_Operand("dot", None, text="."))
        elif kind == "field":
            commands[-1].append(_Operand("field", None, text[1:].split("."), text))
        elif kind == "chain":
            commands[-1][-1].fields += text[1:].split(".")
            commands[-1][-1].text += text
        elif kind == "string":
            commands[-1].append(_Operand("string", _unquote(text), text=text))
        elif kind == "number":
            commands[-1].append(_Operand("number", float(text) if "." in text else int(text), text=text))
        elif kind in {"variable", "word"}:
            commands[-1].append(_Operand(kind, text, text=text))
        else:
            raise TemplateError(f'template: :1: unexpected "{text}" in operand')
    if not all(commands):
        raise TemplateError("template: :1: missing value for command")
    return commands, tokens


def _unquote(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    escapes = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
    return re.sub(r"\\(.)", lambda match: escapes.get(match[1], match[0]), text[1:-1])


# --- doing -------------------------------------------------------------------------------------


class _Run:
    def __init__(self, root: Any, output: list[str]) -> None:
        self.output = output
        self.variables: dict[str, Any] = {"$": root}

    def nodes(self, nodes: Sequence[Any], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, str):
                self.output.append(node)
            elif isinstance(node, _Block):
                self.block(node, dot)
            else:
                value = self.pipeline(node.pipeline, dot)
                for name in node.declares:
                    self.variables[name] = value
                if node.prints:
                    self.output.append(go_text(value))

    def block(self, block: _Block, dot: Any) -> None:
        value = self.pipeline(block.action.pipeline, dot)
        if block.keyword == "range":
            entries = _entries(value)
            for key, item in entries:
                names = block.action.declares
                if names:
                    self.variables.update(
                        zip(names, (item,) if len(names) == 1 else (key, item), strict=False)
                    )
                self.nodes(block.body, item)
            if not entries:
                self.nodes(block.otherwise, dot)
            return
        for name in block.action.declares:
            self.variables[name] = value
        if _truth(value):
            self.nodes(block.body, value if block.keyword == "with" else dot)
        else:
            self.nodes(block.otherwise, dot)

    def pipeline(self, commands: list[list[_Operand]], dot: Any) -> Any:
        value: Any = None
        for index, operands in enumerate(commands):
            final = [value] if index else []
            first, *rest = operands
            if first.kind == "word" and first.value not in {"true", "false", "nil"}:
                function = FUNCTIONS.get(first.value)
                if function is None:
                    raise TemplateError(f'template: :1: function "{first.value}" not defined')
                arguments = [self.operand(operand, dot) for operand in rest] + final
                try:
                    value = function(*arguments)
                except TemplateError as error:
                    raise TemplateError(
                        f'template: :1: executing "" at <{first.value}>: error calling {first.value}: {error}'
                    ) from None
                except (TypeError, ValueError, AttributeError):
                    raise TemplateError(
                        f'template: :1: executing "" at <{first.value}>: wrong arguments for {first.value}'
                    ) from None
            elif method := self.method(first, dot):
                value = method(*[self.operand(operand, dot) for operand in rest], *final)
                value = "" if value is None else value
            elif rest or final:
                raise TemplateError(
                    f'template: :1: executing "" at <{first.text}>: can\'t give argument to non-function'
                )
            else:
                value = self.operand(first, dot)
        return value

    @staticmethod
    def method(operand: _Operand, dot: Any) -> Callable[..., Any] | None:
        """The method that a single field names: `Label` in {{.Label "a"}}."""
        if operand.kind != "field" or len(operand.fields) != 1 or not isinstance(dot, Struct):
            return None
        return dot.methods.get(operand.fields[0])

    def operand(self, operand: _Operand, dot: Any) -> Any:
        value: Any
        match operand.kind:
            case "string" | "number":
                return operand.value
            case "word":
                if operand.value in {"true", "false", "nil"}:
                    return {"true": True, "false": False, "nil": None}[operand.value]
                return self.pipeline([[operand]], dot)
            case "variable":
                if operand.value not in self.variables:
                    raise TemplateError(f'template: :1: undefined variable "{operand.value}"')
                value = self.variables[operand.value]
            case "group":
                value = self.pipeline(operand.value, dot)
            case _:
                value = dot
        for name in operand.fields:
            value = _member(value, name, operand.text)
        return value


class _NoValue:
    """What a map gives for a key that it does not have."""


_NO_VALUE = _NoValue()


def _member(value: Any, name: str, text: str) -> Any:
    where = f'template: :1: executing "" at <{text}>'
    if isinstance(value, Struct) and name not in value and name not in _OPTIONAL:
        raise TemplateError(f'{where}: map has no entry for key "{name}"')
    if isinstance(value, Struct):
        return value.get(name)
    if isinstance(value, Mapping):
        return value.get(name, _NO_VALUE)
    if value is None or value is _NO_VALUE:
        raise TemplateError(f'{where}: nil data; no entry for key "{name}"')
    raise TemplateError(f"{where}: can't evaluate field {name} in type {_type(value)}")


def _entries(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping) and not isinstance(value, Struct):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if value is None or value is _NO_VALUE:
        return []
    raise TemplateError(f"template: :1: range can't iterate over {go_text(value)}")


def _truth(value: Any) -> bool:
    return value is not _NO_VALUE and (isinstance(value, Struct) or bool(value))


def _type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
    return names.get(type(value), "[]interface {}" if isinstance(value, list) else "map[string]interface {}")


def go_text(value: Any) -> str:
    """A value as Go prints it with %v."""
    if value is _NO_VALUE:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Struct):
        return "{" + " ".join(go_text(item) for item in value.values()) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{go_text(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    return str(value)


# --- functions -------------------------------------------------------------------------------------


def _json(value: Any) -> str:
    def plain(item: Any) -> Any:
        if item is _NO_VALUE or isinstance(item, _Nil):
            return None
        if isinstance(item, Mapping):
            return {key: plain(member) for key, member in item.items()}
        return [plain(member) for member in item] if isinstance(item, list | tuple) else item

    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, _NO_VALUE)
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise TemplateError(f"cannot index slice/array with type {_type(key)}")
            if not 0 <= key < len(value):
                raise TemplateError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        elif value is None or value is _NO_VALUE:
            raise TemplateError("index of untyped nil")
        else:
            raise TemplateError(f"can't index item of type {_type(value)}")
    return value


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping | list | tuple):
        return len(value)
    raise TemplateError(
        "len of nil pointer" if value is None or value is _NO_VALUE else f"len of type {_type(value)}"
    )


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    end = len(value) if end is None else end
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"index out of range: {end if end > len(value) else start}")
    return value[start:end]


def _printf(template: str, *values: Any) -> str:
    remaining = list(values)

    def one(match: re.Match[str]) -> str:
        if match[2] == "%":
            return "%"
        if not remaining:
            return f"%!{match[2]}(MISSING)"
        value = remaining.pop(0)
        verb = match[2]
        if verb in "vs":
            return f"%{match[1]}s" % go_text(value)
        if verb == "q":
            return f"%{match[1]}s" % json.dumps(go_text(value), ensure_ascii=False)
        if verb == "t":
            return f"%{match[1]}s" % str(bool(value)).lower()
        if verb in "dxXfgec":
            return str(f"%{match[1]}{verb}" % value)
        raise TemplateError(f"unknown verb %{verb}")

    return re.sub(r"%([-+# 0]*\d*(?:\.\d+)?)([a-zA-Z%])", one, template)


def _print(*values: Any) -> str:
    """Go's Sprint: a space only between two operands that are both no strings."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += go_text(value)
    return text


def _and(*values: Any) -> Any:
    return next((value for value in values if not _truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if _truth(value)), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "index": _index,
    "len": _len,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(map(go_text, values)) + "\n",
    "printf": _printf,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": _and,
    "or": _or,
    "not": lambda value: not _truth(value),
    "join": lambda values, separator: separator.join(map(go_text, values)),
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "upper": str.upper,
    "lower": str.lower,
    "title": lambda text: re.sub(r"(^|\s)(\w)", lambda match: match[1] + match[2].upper(), text),
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "truncate": lambda text, length: text[:length],
}
