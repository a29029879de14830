"""What every verb shares: the installation it speaks to, how it asks, and how it answers."""

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import urllib3

from deploy.installation import DATA_DEFAULT, Installation

OK, DIFFERENT, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit codes: denied, a difference and drift are all 1."""

TIMEOUT_S = 60


class Unreachable(Exception):
    """Nothing answers where the installation should be."""


class Refused(Exception):
    """The installation understood and said no; `problem` is its problem document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(problem.get("detail") or problem.get("title") or f"HTTP {status}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One call of one verb."""

    installation: Installation
    as_json: bool
    pool: urllib3.PoolManager

    def control(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The control plane's answer. Raises Refused and Unreachable."""
        return self._ask(self.installation.control_url, method, path, body, query)

    def gateway(self, method: str, path: str, body: Any = None) -> Any:
        """The data plane's answer. Raises Refused and Unreachable."""
        return self._ask(self.installation.gateway_url, method, path, body, {})

    def show(self, document: Any, text: str | None = None) -> None:
        """The answer: as one line of JSON, or as text (the JSON indented, where there is none)."""
        if self.as_json:
            click.echo(json.dumps(document, ensure_ascii=False))
        else:
            click.echo(text if text is not None else as_text(document))

    def show_rows(self, rows: list[dict[str, Any]], columns: list[str]) -> None:
        """A table, or a line of JSON for each row."""
        if self.as_json:
            for row in rows:
                click.echo(json.dumps(row, ensure_ascii=False))
            return
        click.echo(as_table(rows, columns))

    def note(self, text: str) -> None:
        """Talk, for people; silent where the answer is for a program."""
        if not self.as_json:
            click.echo(text, err=True)

    def _ask(self, url: str, method: str, path: str, body: Any, query: Mapping[str, Any]) -> Any:
        if not url:
            raise Unreachable(
                "no running Tallygate is known here: start `tallygate up`, name its folder with --data, or set "
                "TALLYGATE_GATEWAY_URL, TALLYGATE_CONTROL_URL and TALLYGATE_ADMIN_KEY"
            )
        headers = {"Authorization": f"Bearer {self.installation.admin_key}"}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/yaml"
        elif body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        known = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        target = f"{url}{path}?{urlencode(known)}" if known else f"{url}{path}"
        try:
            answer = self.pool.request(method, target, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{url} does not answer: {error}") from None
        return _read(answer)


def _read(answer: urllib3.BaseHTTPResponse) -> Any:
    if not answer.data:
        document: Any = {}
    elif "json" in answer.headers.get("Content-Type", ""):
        document = json.loads(answer.data)
    else:
        document = {"detail": answer.data.decode(errors="replace")}
    if answer.status >= 400:
        raise Refused(answer.status, document)
    return document


def path_of(*parts: str) -> str:
    """`/v1/…` with each part percent-encoded."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def verb(function: Callable[..., int | None]) -> Callable[..., None]:
    """Gives a verb `--data` and `--json`, a Session, and the exit codes."""

    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=DATA_DEFAULT,
        show_default=True,
        help="The folder of the `tallygate up` to speak to.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer as JSON, an object per line.")
    @functools.wraps(function)
    def run(*args: Any, data: Path, as_json: bool, **kwargs: Any) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)
        try:
            installation = Installation.find(os.environ, data)
            session = Session(installation=installation, as_json=as_json, pool=pool)
            sys.exit(function(session, *args, **kwargs) or OK)
        except Unreachable as error:
            click.echo(f"unreachable: {error}", err=True)
            sys.exit(UNREACHABLE)
        except Refused as error:
            click.echo(refusal(error), err=True)
            sys.exit(UNREACHABLE if error.status >= 500 else USAGE)
        except ValueError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(USAGE)

    return run


def refusal(error: Refused) -> str:
    """A problem document as text: what was wrong, and each place it was found in."""
    lines = [f"refused ({error.status}): {error}"]
    for each in error.problem.get("errors", []):
        lines.append(f"  {each.get('pointer', '')} {each.get('detail', '')}".rstrip())
    return "\n".join(lines)


def as_text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Columns wide enough for what they hold, under their names."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [columns, *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
