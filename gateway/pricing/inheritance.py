"""Resolves `extends`: which values a plan takes over, and where each was written."""

from collections.abc import Mapping
from typing import Any

from gateway.pricing.catalog_problem import Path, Problems
from gateway.pricing.merging import merge, without_nothing


class Inheritance:
    """The plans of one catalog and what each of them extends."""

    def __init__(self, said: Mapping[str, Mapping[str, Any]], written: Mapping[str, Any]) -> None:
        """`said` is what the plans say, normalised; `written` the same as it stands in the source."""
        self._said = said
        self._written = written
        self._parents: dict[str, str] = {}

    def check(self, problems: Problems) -> None:
        """Report parents that do not exist and plans that extend themselves."""
        for plan, said in self._said.items():
            parent = said.get("extends")
            if parent is None:
                continue
            where: Path = ("plans", plan, "extends")
            if parent not in self._written:
                others = [other for other in self._written if other != plan]
                problems.unknown(where, "unknown_plan", "plan", parent, others)
            elif cycle := self._cycle(plan):
                problems.add(where, "extends_cycle",
                             f"plans extend each other: {' → '.join(cycle)}.")  # fmt: skip
            elif parent in self._said:
                self._parents[plan] = parent

    def _cycle(self, plan: str) -> list[str]:
        """The way from the plan back to itself, or nothing."""
        way = [plan]
        while (parent := self._said.get(way[-1], {}).get("extends")) is not None:
            way.append(parent)
            if parent == plan:
                return way
            if parent in way[:-1]:
                break
        return []

    def resolved(self, plan: str) -> dict[str, Any]:
        """What a plan says with everything it takes over; `extends` itself is gone."""
        chain = self.chain(plan)
        whole: dict[str, Any] = {}
        for each in reversed(chain):
            whole = merge(whole, self._said[each])
        whole.pop("extends", None)
        cleaned: dict[str, Any] = without_nothing(whole)
        return cleaned

    def chain(self, plan: str) -> list[str]:
        """The plan, the one it extends, and so on."""
        chain = [plan]
        while chain[-1] in self._parents and len(chain) <= len(self._said):
            chain.append(self._parents[chain[-1]])
        return chain

    def place(self, path: Path) -> Path:
        """Where the value at a path of a resolved plan was written."""
        if len(path) < 3 or path[0] != "plans" or path[1] not in self._said:
            return path
        for plan in self.chain(str(path[1])):
            if _holds(self._written.get(plan), path[2:]):
                return ("plans", plan, *path[2:])
        return path


def _holds(value: Any, path: Path) -> bool:
    """Whether plain data has something at a path."""
    for part in path:
        if isinstance(value, list | tuple):
            known = isinstance(part, int) and part < len(value)
        else:
            known = isinstance(value, Mapping) and part in value
        if not known:
            return False
        value = value[part]
    return True
