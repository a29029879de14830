"""Reads a catalog file and shows each of its problems where it stands: line, column, caret, suggestion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.pricing.catalog import Catalog, load_catalog
from gateway.pricing.catalog_problem import CatalogInvalid, CatalogProblem, Path, dotted
from gateway.pricing.unsupported import unsupported
from reconciler.catalog_source import Source, SourceProblem, Spot, Unreadable, read_source

LINE_SHOWN_MAX = 160
"""Characters of a source line that are shown around the caret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """One thing wrong with a catalog file. Line and column count from 1."""

    filename: str
    line: int
    column: int
    width: int
    path: Path
    code: str
    message: str
    suggestion: str | None
    source_line: str

    def render(self) -> str:
        """The problem for a terminal: where, what, the line itself and a caret under the place."""
        from_column = max(0, self.column - 1 - LINE_SHOWN_MAX // 2)
        shown = self.source_line[from_column : from_column + LINE_SHOWN_MAX]
        indent = self.column - 1 - from_column
        # A tab stays a tab, so that the caret stands under its place whatever a tab is wide.
        before = "".join("\t" if each == "\t" else " " for each in shown[:indent]).ljust(indent)
        caret = "^" * max(1, min(self.width, len(shown) - indent))
        number = str(self.line)
        return f"{self}\n  {number} | {shown.rstrip()}\n  {' ' * len(number)} | {before}{caret}"

    def __str__(self) -> str:
        subject = f"{dotted(self.path)}: " if self.path else ""
        hint = f" Did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{self.filename}:{self.line}:{self.column}: {subject}{self.message}{hint}"

    def to_plain(self) -> dict[str, Any]:
        """The problem as an entry of `errors` in an HTTP answer."""
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in self.path)
        return {
            "pointer": "".join(f"/{part}" for part in parts),
            "code": self.code,
            "detail": self.message,
            "suggestion": self.suggestion,
            "line": self.line,
            "column": self.column,
        }


class CatalogFileInvalid(ValueError):
    """The file is no catalog that can be used; `problems` are in the order of the file."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda each: (each.line, each.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def render(self) -> str:
        """All problems for a terminal, and their number."""
        count = len(self.problems)
        told = [problem.render() for problem in self.problems]
        return "\n\n".join([*told, f"{count} problem{'s' if count != 1 else ''}."])


def read_catalog(
    text: str | bytes, filename: str = "catalog.yaml", *, allow_unsupported: bool = False
) -> Catalog:
    """Read YAML or, when the name ends in .json or the text is JSON, JSON.

    Raises CatalogFileInvalid with everything that is wrong; parts that are not built yet are wrong unless
    `allow_unsupported`.
    """
    lines: list[str] = []
    try:
        decoded = _decoded(text)
        lines = decoded.split("\n")
        source = read_source(decoded, is_json=filename.endswith(".json"))
    except Unreadable as unreadable:
        raise CatalogFileInvalid([_in_source(unreadable.problem, filename, lines)]) from None
    problems = [_in_source(problem, filename, lines) for problem in source.problems]
    found: Sequence[CatalogProblem] = ()
    try:
        catalog = load_catalog(source.data)
        found = () if allow_unsupported else unsupported(catalog)
    except CatalogInvalid as invalid:
        found = invalid.problems
    told = {problem.path for problem in problems}
    problems += [_in_file(each, source, filename, lines) for each in found if each.path not in told]
    if problems:
        raise CatalogFileInvalid(problems)
    return catalog


def _decoded(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = _utf8(text)
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _utf8(encoded: bytes) -> str:
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        column = error.start - encoded.rfind(b"\n", 0, error.start)
        spot = Spot(line=line, column=column)
        problem = SourceProblem(spot=spot, code="not_utf8", message="is not UTF-8 text.")
        raise Unreadable(problem) from None


def _in_source(problem: SourceProblem, filename: str, lines: Sequence[str]) -> FileProblem:
    spot = problem.spot
    return FileProblem(
        filename=filename,
        line=spot.line,
        column=spot.column,
        width=spot.width,
        path=problem.path,
        code=problem.code,
        message=problem.message,
        suggestion=problem.suggestion,
        source_line=lines[spot.line - 1] if spot.line <= len(lines) else "",
    )


def _in_file(
    problem: CatalogProblem, source: Source, filename: str, lines: Sequence[str]
) -> FileProblem:
    return _in_source(
        SourceProblem(
            spot=source.spot(problem.path, at_name=problem.at_name),
            path=problem.path,
            code=problem.code,
            message=problem.message,
            suggestion=problem.suggestion,
        ),
        filename,
        lines,
    )
