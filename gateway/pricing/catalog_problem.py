"""What can be wrong with a catalog, as data: where, what, and what was probably meant."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]
"""Where in the catalog: names and positions from the top, as `("plans", "pro", "price")`."""

PROBLEMS_MAX = 1000
"""Problems told at once; whoever has more mends these first."""
NAMES_SHOWN_MAX = 12
"""How many known names a message lists when none is close to the unknown one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogProblem:
    """One thing wrong with a catalog."""

    path: Path
    code: str
    message: str
    suggestion: str | None = None
    """What to write in its place, as it would stand in the file."""
    at_name: bool = False
    """The name at the end of `path` is at fault, not the value under it."""

    def __str__(self) -> str:
        hint = f" Did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{dotted(self.path)}: {self.message}{hint}"


class CatalogInvalid(ValueError):
    """The catalog cannot be used."""

    def __init__(self, problems: Sequence[CatalogProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """The problems found so far, up to PROBLEMS_MAX; the same one is kept once."""

    def __init__(self) -> None:
        self.found: list[CatalogProblem] = []

    @property
    def full(self) -> bool:
        """Whether no more are kept."""
        return len(self.found) >= PROBLEMS_MAX

    def add(
        self,
        path: Path,
        code: str,
        message: str,
        suggestion: str | None = None,
        *,
        at_name: bool = False,
    ) -> None:
        """Report one problem."""
        problem = CatalogProblem(
            path=path, code=code, message=message, suggestion=suggestion, at_name=at_name
        )
        if not self.full and problem not in self.found:
            self.found.append(problem)

    def at(self, path: Path) -> bool:
        """Whether something at this path, or below it, is already known to be wrong."""
        return any(problem.path[: len(path)] == path for problem in self.found)

    def misspelt(self, path: Path, name: str) -> bool:
        """Whether the map at this path has an unknown name that was probably meant to be this one."""
        return any(
            problem.code == "unknown_field"
            and problem.path[:-1] == path
            and problem.suggestion == name
            for problem in self.found
        )

    def unknown(self, path: Path, code: str, what: str, word: str, known: Iterable[str]) -> None:
        """Report a name that is not among the known ones."""
        if self.full:
            return
        names = list(known)
        close = closest(word, names)
        shown = ", ".join(names[:NAMES_SHOWN_MAX]) + (", …" if len(names) > NAMES_SHOWN_MAX else "")
        there_is = f"; there is {shown}" if names and close is None else ""
        self.add(path, code, f"{what} {word!r} is not known{there_is}.", close)

    def raise_if_any(self) -> None:
        """Raises CatalogInvalid with everything found."""
        if self.found:
            raise CatalogInvalid(self.found)


def closest(word: str, known: Iterable[str], also: Mapping[str, str] | None = None) -> str | None:
    """The known name that was probably meant; `also` maps words used elsewhere to ours."""
    names = list(known)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.strip()).lower()
    plain = re.sub(r"[\s-]+", "_", plain)
    if also and also.get(plain) in names:
        return also[plain]
    folded = {name.lower().replace("-", "_"): name for name in names}
    if plain in folded:
        return folded[plain]
    matches = get_close_matches(plain, folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def dotted(path: Path) -> str:
    """A path as people write it: `plans.pro.features.api_calls.limits[0].max`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + part
    return text or "catalog"


def kind_of(value: Any) -> str:
    """The word for what a value is, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a map of names"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{value!r}" if isinstance(value, str) else str(value)
