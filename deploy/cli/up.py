"""`tallygate up`: everything on one machine, and what to try first."""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click
import urllib3

from deploy import demo
from deploy.cli.api import DIFFERENT, USAGE, Refused, Session, refusal
from deploy.installation import DATA_DEFAULT, Installation
from deploy.stores import StoreUnavailable
from deploy.supervisor import CannotStart, Options, Supervisor


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DEFAULT,
    show_default=True,
    help="Where everything is kept between runs.",
)
@click.option("--fresh", is_flag=True, help="Forget what earlier runs kept there.")
@click.option("--gateway-port", type=click.IntRange(0, 65_535), default=8080, show_default=True)
@click.option("--control-port", type=click.IntRange(0, 65_535), default=8081, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--test-clock", is_flag=True, help="Let `tallygate clock` move the time forward.")
@click.option(
    "--catalog",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="TALLYGATE_CATALOG",
    help="Publish this catalog instead of the demo's.",
)
@click.option("--no-demo", is_flag=True, help="No demo catalog, customers or traffic.")
@click.option("--json", "as_json", is_flag=True, help="Say where it is as one JSON object.")
def up(
    data: Path,
    fresh: bool,
    gateway_port: int,
    control_port: int,
    workers: int,
    test_clock: bool,
    catalog: Path | None,
    no_demo: bool,
    as_json: bool,
) -> None:
    """Run everything on this machine: stores, reconciler, gateway and demo traffic. Ctrl-C stops all of it.

    REDIS_URL and DATABASE_URL choose other stores than the embedded ones.
    Example: tallygate up --test-clock
    """
    began = time.monotonic()
    options = Options(
        data=data.resolve(),
        fresh=fresh,
        gateway_port=gateway_port,
        control_port=control_port,
        workers=workers,
        test_clock=test_clock,
    )
    supervisor = Supervisor(options=options, environ=os.environ, say=_say)
    try:
        with supervisor.running() as installation:
            session = Session(
                installation=installation,
                as_json=as_json,
                pool=urllib3.PoolManager(retries=False, timeout=60),
            )
            wanted = not no_demo and catalog is None
            if catalog is not None:
                _publish(session, catalog)
            seeded = demo.seed(session, options.data) if wanted else None
            if seeded is not None:
                command = [sys.executable, "-m", "deploy.demo", str(options.data)]
                supervisor.add("demo", command, supervisor.environment(installation))
            elif wanted:
                _say("no demo: this installation has a catalog that is not the demo's")
            _say(f"ready in {time.monotonic() - began:.1f} s")
            _welcome(session, options, seeded)
            supervisor.watch()
    except KeyboardInterrupt:
        _say("stopped")
    except Refused as error:
        click.echo(refusal(error), err=True)
        sys.exit(DIFFERENT)
    except (CannotStart, StoreUnavailable, ValueError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)


def _say(text: str) -> None:
    click.echo(f"tallygate: {text}", err=True)


def _publish(session: Session, catalog: Path) -> None:
    answer = session.control("PUT", "/v1/catalog", catalog.read_bytes())
    _say(f"catalog {catalog} is version {answer['version']}")


def _welcome(session: Session, options: Options, seeded: demo.Seeded | None) -> None:
    found = session.installation
    if session.as_json:
        click.echo(json.dumps(_places(found, options, seeded)))
        return
    program = _program(options.data)
    lines = [
        "",
        f"  gateway        {found.gateway_url}      data plane; API reference at /docs",
        f"  control plane  {found.control_url}      admin API; described at /openapi.json",
        f"  admin key      in {options.data / 'installation.json'}",
    ]
    if seeded is not None:
        lines += [
            "",
            f"  Try it: {demo.TRIES} requests of {demo.NEWCOMER} go through this hour, then one is denied and says why:",
            "",
            f"    curl -i -H 'X-API-Key: {seeded.customer_key}' {found.gateway_url}/authz/plain/hello",
        ]
    who = demo.NEWCOMER if seeded is not None else "CUSTOMER"
    paying = demo.PAYING if seeded is not None else "CUSTOMER"
    lines += [
        "",
        "  Then, in another terminal:",
        "",
        f"    {program('explain', who)}",
        f"    {program('balances', paying)}",
        f"    {program('invoice', 'preview', paying)}",
    ]
    if options.test_clock:
        lines.append(f"    {program('clock', 'advance', repr('1 hour'))}")
    lines += [f"    {program('verify')}", "", "  Ctrl-C stops everything.", ""]
    click.echo("\n".join(lines))


def _places(found: Installation, options: Options, seeded: demo.Seeded | None) -> dict[str, Any]:
    places: dict[str, Any] = {
        "gateway": found.gateway_url,
        "control": found.control_url,
        "data": str(options.data),
        "pid": os.getpid(),
    }
    if seeded is not None:
        places |= {"customer": demo.NEWCOMER, "customerKey": seeded.customer_key}
    return places


class _program:
    """Spells a command as it can be typed in this folder."""

    def __init__(self, data: Path) -> None:
        beside = Path(sys.executable).parent / "tallygate"
        name = "tallygate"
        if shutil.which(name) is None and beside.exists():
            inside = beside.is_relative_to(Path.cwd())
            name = str(beside.relative_to(Path.cwd()) if inside else beside)
        self._name = name
        default = data == Path(DATA_DEFAULT).resolve()
        self._rest = [] if default else ["--data", str(data)]

    def __call__(self, *words: str) -> str:
        return " ".join([self._name, *words, *self._rest])
