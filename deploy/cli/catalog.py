"""`tallygate catalog`: check a price list, compare it with what is live, publish it."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from deploy.cli.api import DIFFERENT, OK, Refused, Session, as_text, refusal, verb

FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group()
def catalog() -> None:
    """Check, compare, publish and show price lists."""


@catalog.command()
@FILE
@verb
def check(session: Session, file: Path) -> int:
    """Validate FILE as a whole: every error at once, with its line and a suggestion. Needs no running installation.

    FILE is YAML or JSON; a .py file is run, with metered, boolean, plan and catalog at hand.

    Example: tallygate catalog check catalog.yaml
    """
    found = read(session, file)
    if found is None:
        return DIFFERENT
    summary = {"features": len(found.features), "plans": len(found.plans), "sha256": found.sha256}
    text = f"{file} is valid: {summary['features']} features, {summary['plans']} plans"
    session.show({"valid": True, **summary}, text)
    return OK


@catalog.command()
@FILE
@verb
def diff(session: Session, file: Path) -> int:
    """What FILE would change, and how many subscriptions each choice of --existing would move.

    Exit code 1 when it differs from what is live.
    """
    from gateway.pricing.catalog import Catalog
    from gateway.pricing.catalog_diff import diff_catalogs

    found = read(session, file)
    if found is None:
        return DIFFERENT
    live = session.control("GET", "/v1/catalog")
    changes = [str(each) for each in diff_catalogs(Catalog.from_plain(live["catalog"]), found)]
    tried = session.control("PUT", "/v1/catalog", document(file, found), dryRun="true")
    lines = changes or [f"{file} means the same as what is live (version {live['version']})"]
    if changes:
        touches = ", ".join(f"{choice} {count}" for choice, count in tried["touches"].items())
        lines = [*lines, f"subscriptions that would move, by --existing: {touches}"]
    answer = {"version": live["version"], "changes": changes, "touches": tried["touches"]}
    session.show(answer, "\n".join(lines))
    return DIFFERENT if changes else OK


@catalog.command()
@FILE
@click.option(
    "--existing",
    type=click.Choice(["renewal", "now", "keep"]),
    default="renewal",
    show_default=True,
    help="When running subscriptions get it: at their next period, at once, or never.",
)
@verb
def push(session: Session, file: Path, existing: str) -> int:
    """Publish FILE as a new version.

    Example: tallygate catalog push catalog.yaml --existing now
    """
    found = read(session, file)
    if found is None:
        return DIFFERENT
    try:
        sent = document(file, found)
        answer = session.control("PUT", "/v1/catalog", sent, existing=existing)
    except Refused as error:
        if error.status != 422:
            raise
        click.echo(refusal(error), err=True)
        return DIFFERENT
    session.show(answer, f"version {answer['version']} is live")
    return OK


@catalog.command()
@click.argument("version", required=False, type=click.IntRange(min=1))
@verb
def show(session: Session, version: int | None) -> None:
    """The catalog that is live, or the one of VERSION."""
    session.show(session.control("GET", f"/v1/catalog/{version}" if version else "/v1/catalog"))


@catalog.command()
def schema() -> None:
    """The JSON Schema of a catalog file, for editors."""
    from gateway.pricing.catalog_schema import catalog_schema

    click.echo(as_text(catalog_schema()))


def read(session: Session, file: Path) -> Any:
    """The catalog in a file; None, with every problem shown, when it is not one."""
    from reconciler.catalog_file import CatalogFileInvalid, read_catalog

    if file.suffix == ".py":
        return _run(session, file)
    try:
        return read_catalog(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: {error}") from None
    except CatalogFileInvalid as invalid:
        if session.as_json:
            session.show({"valid": False, "errors": [_plain(each) for each in invalid.problems]})
        else:
            sys.stdout.flush()
            click.echo("\n\n".join(each.render() for each in invalid.problems), err=True)
            count = len(invalid.problems)
            click.echo(f"\n{count} {'problem' if count == 1 else 'problems'} in {file}", err=True)
        return None


def document(file: Path, found: Any) -> bytes:
    """What is sent to the control plane: the file as it stands, of a Python file the catalog it makes."""
    return json.dumps(found.to_plain()).encode() if file.suffix == ".py" else file.read_bytes()


def _run(session: Session, file: Path) -> Any:
    from deploy.python_catalog import run_catalog
    from gateway.pricing.catalog_problem import CatalogInvalid

    try:
        return run_catalog(file)
    except CatalogInvalid as invalid:
        if session.as_json:
            errors = [
                {"path": list(each.path), "code": each.code, "message": each.message}
                for each in invalid.problems
            ]
            session.show({"valid": False, "errors": errors})
        else:
            for each in invalid.problems:
                click.echo(f"{file}: {each}", err=True)
        return None


def _plain(problem: Any) -> dict[str, Any]:
    plain: dict[str, Any] = problem.to_plain()
    return plain
