"""Turns the text of a catalog, YAML or JSON, into plain data with the place of everything in it.

Numbers stay the text they were written as: nothing here makes a float, and `1.10` stays `1.10`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

Path = tuple[str | int, ...]

TEXT_MAX = 1024 * 1024
"""Characters in one catalog."""
NODES_MAX = 100_000
"""Names and values in one catalog, repeated ones (aliases) counted each time."""
DEPTH_MAX = 32
"""How deep maps and lists may nest."""

BRACKETS_MAX = 2 * DEPTH_MAX
"""Open brackets at which a text is given up before it is parsed; the parser takes quadratic time over them."""

_YAML = "tag:yaml.org,2002:"
_SCALARS = frozenset(_YAML + name for name in ("str", "int", "float", "timestamp", "bool", "null"))
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_DIGIT_GROUP = re.compile(r"[0-9]{3}(\.[0-9]+)?")
_SPLITTABLE = re.compile(r"[0-9]{1,3}(,[0-9]{3})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A stretch of one line; line and column count from 1, in characters."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProblem:
    """Something wrong with the text itself."""

    spot: Spot
    path: Path = ()
    code: str
    message: str
    suggestion: str | None = None


@dataclass(slots=True, kw_only=True)
class Source:
    """The data of a text and where each part of it stands."""

    data: Any = None
    names: dict[Path, Spot] = field(default_factory=dict)
    """Where the name at the end of a path stands."""
    values: dict[Path, Spot] = field(default_factory=dict)
    """Where scalars, and the beginnings of maps and lists in lists, stand."""
    problems: list[SourceProblem] = field(default_factory=list)

    def spot(self, path: Path, *, at_name: bool) -> Spot:
        """The place of a path, or of the nearest thing around it that was written."""
        places = (self.names, self.values) if at_name else (self.values, self.names)
        while path:
            for spots in places:
                if path in spots:
                    return spots[path]
            path, places = path[:-1], (self.names, self.values)
        return Spot(line=1, column=1)


class Unreadable(Exception):
    """The text cannot be taken apart."""

    def __init__(self, problem: SourceProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_source(text: str, *, is_json: bool) -> Source:
    """Take a text apart; `is_json` says that it must be JSON. Raises Unreadable."""
    if len(text) > TEXT_MAX:
        raise _unreadable(1, 1, "too_large", f"has more than {TEXT_MAX:,} characters")
    _check_brackets(text)
    try:
        if is_json or text.lstrip()[:1] == "{":
            try:
                json.loads(text, parse_float=str, parse_int=str, parse_constant=_not_json)
            except ValueError as error:
                if is_json:
                    raise _json_error(error) from None
            else:
                return _Json(text).source
        return _Yaml(text).source
    except RecursionError:
        raise _unreadable(1, 1, "too_deep", "nests too deep") from None


def _check_brackets(text: str) -> None:
    open_now = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        open_now = max(0, open_now + (1 if bracket.group() in "[{" else -1))
        if open_now > BRACKETS_MAX:
            line = text.count("\n", 0, bracket.start()) + 1
            column = bracket.start() - text.rfind("\n", 0, bracket.start())
            raise _unreadable(line, column, "too_deep", "nests too deep")


def _unreadable(line: int, column: int, code: str, message: str) -> Unreadable:
    spot = Spot(line=line, column=column)
    return Unreadable(SourceProblem(spot=spot, code=code, message=f"{message}."))


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _json_error(error: ValueError) -> Unreadable:
    if isinstance(error, json.JSONDecodeError):
        return _unreadable(error.lineno, error.colno, "bad_json", f"is not JSON: {error.msg}")
    return _unreadable(1, 1, "bad_json", f"is not JSON: {error}")


class _Yaml:
    """One YAML text being read."""

    def __init__(self, text: str) -> None:
        self.source = Source()
        self._nodes = 0
        root = self._compose(text)
        if root is not None:
            self.source.data = self._value(root, ())

    def _compose(self, text: str) -> Node | None:
        try:
            root: Node | None = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            raise _yaml_error(error) from None
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            column = error.position - text.rfind("\n", 0, error.position)
            message = f"the character {error.character!r} cannot stand here"
            raise _unreadable(line, column, "bad_yaml", message) from None
        except (YAMLError, ValueError) as error:
            raise _unreadable(1, 1, "bad_yaml", f"is not YAML: {error}") from None
        return root

    def _value(self, node: Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            mark = node.start_mark
            message = f"has more than {NODES_MAX:,} values, or nests deeper than {DEPTH_MAX}"
            raise _unreadable(mark.line + 1, mark.column + 1, "too_large", message)
        self._check_tag(node, path)
        if isinstance(node, MappingNode):
            return self._map(node, path)
        if isinstance(node, SequenceNode):
            for place, item in enumerate(node.value):
                self.source.values[(*path, place)] = _spot_of(item)
            return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode), "a node is a map, a list or a scalar"
        if node.value != "" or node.style is not None:
            self.source.values[path] = _spot_of(node)
        return _scalar(node)

    def _check_tag(self, node: Node, path: Path) -> None:
        known = _SCALARS if isinstance(node, ScalarNode) else {_YAML + "map", _YAML + "seq"}
        if str(node.tag) not in known:
            tag = str(node.tag).removeprefix(_YAML)
            self._problem(node, path, "bad_tag", f"the tag {tag!r} means nothing in a catalog.")

    def _map(self, node: MappingNode, path: Path) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for key, value in self._joined(node, path):
            name = key.value if isinstance(key, ScalarNode) else None
            if name is None:
                self._problem(key, path, "bad_name", "a name is plain text.")
            elif str(key.tag) == _YAML + "merge":
                self._problem(key, path, "bad_name", "'<<' is not part of a catalog; a plan takes"
                              " over another one with extends.")  # fmt: skip
            elif name in known:
                line = self.source.names[(*path, name)].line
                message = f"{name!r} stands here already, in line {line}."
                self._problem(key, (*path, name), "duplicate_name", message)
            else:
                self.source.names[(*path, name)] = _spot_of(key)
                known[name] = self._value(value, (*path, name))
        return known

    def _joined(self, node: MappingNode, path: Path) -> Iterator[tuple[Node, Node]]:
        """The pairs of a map, without the pieces into which YAML cuts `{included: 20,000}`."""
        kept: list[tuple[Node, Node]] = []
        cut: dict[int, str] = {}
        for key, value in node.value:
            before = kept[-1][1] if kept else None
            if node.flow_style and _is_piece(key, value) and isinstance(before, ScalarNode):
                so_far = cut.get(len(kept), before.value)
                if _SPLITTABLE.fullmatch(so_far):
                    cut[len(kept)] = f"{so_far},{key.value}"
                    continue
            kept.append((key, value))
        for count, text in cut.items():
            key, value = kept[count - 1]
            self._problem(value, (*path, str(key.value)), "not_a_number", f"{text} is cut in two"
                          " by its comma.", text.replace(",", ""))  # fmt: skip
        return iter(kept)

    def _problem(
        self, node: Node, path: Path, code: str, message: str, suggestion: str | None = None
    ) -> None:
        self.source.problems.append(
            SourceProblem(
                spot=_spot_of(node), path=path, code=code, message=message, suggestion=suggestion
            )
        )


def _is_piece(key: Node, value: Node) -> bool:
    """Whether a pair is what is left of a number behind its comma: `000` without a value."""
    return (
        isinstance(key, ScalarNode)
        and _DIGIT_GROUP.fullmatch(key.value) is not None
        and isinstance(value, ScalarNode)
        and value.value == ""
        and value.style is None
    )


def _scalar(node: ScalarNode) -> str | bool | None:
    if str(node.tag) == _YAML + "null":
        return None
    if str(node.tag) == _YAML + "bool":
        return str(node.value).lower() == "true"
    return str(node.value)


def _spot_of(node: Node) -> Spot:
    start, end = node.start_mark, node.end_mark
    one_line = isinstance(node, ScalarNode) and end.line == start.line
    width = max(1, end.column - start.column) if one_line else 1
    return Spot(line=start.line + 1, column=start.column + 1, width=width)


def _yaml_error(error: MarkedYAMLError) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    message = str(error.problem or error.context or "cannot be read")
    if "'\\t'" in message:
        message = "a tab cannot indent YAML; use spaces"
    elif "another document" in message:
        message = "a catalog is one document; '---' begins another one"
    elif error.context and error.problem:
        message = f"{message}, {error.context}"
    return _unreadable(line, column, "bad_yaml", message)


class _Json:
    """One JSON text being read; it is known to be well-formed."""

    def __init__(self, text: str) -> None:
        self.source = Source()
        self._tokens = _JSON_TOKEN.finditer(text)
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._line = 0
        self._nodes = 0
        self._next()
        self.source.data = self._value(())

    def _next(self) -> None:
        found = next(self._tokens, None)
        self._token = "" if found is None else found.group()
        self._at = 0 if found is None else found.start()

    def _spot(self) -> Spot:
        while self._line + 1 < len(self._starts) and self._starts[self._line + 1] <= self._at:
            self._line += 1
        column = self._at - self._starts[self._line] + 1
        return Spot(line=self._line + 1, column=column, width=len(self._token))

    def _value(self, path: Path) -> Any:
        spot, token = self._spot(), self._token
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            message = f"has more than {NODES_MAX:,} values, or nests deeper than {DEPTH_MAX}"
            raise _unreadable(spot.line, spot.column, "too_large", message)
        self._next()
        if token == "{":
            return self._map(path)
        if token == "[":
            return self._list(path)
        self.source.values[path] = spot
        if token[0] == '"':
            return json.loads(token)
        return {"true": True, "false": False, "null": None}.get(token, token)

    def _map(self, path: Path) -> dict[str, Any]:
        known: dict[str, Any] = {}
        while self._token != "}":
            spot, name = self._spot(), str(json.loads(self._token))
            self._next()
            self._next()
            if name in known:
                line = self.source.names[(*path, name)].line
                message = f"{name!r} stands here already, in line {line}."
                problem = SourceProblem(
                    spot=spot, path=(*path, name), code="duplicate_name", message=message
                )
                self.source.problems.append(problem)
            self.source.names.setdefault((*path, name), spot)
            known[name] = self._value((*path, name))
            if self._token == ",":
                self._next()
        self._next()
        return known

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while self._token != "]":
            here = (*path, len(items))
            self.source.values[here] = self._spot()
            items.append(self._value(here))
            if self._token == ",":
                self._next()
        self._next()
        return items
