"""`tallygate gateway`, `reconciler` and `migrate`: the processes of an installation, one by one."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from deploy.cli.api import Session, verb
from deploy.installation import DATA_DEFAULT, Installation

DATA = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DEFAULT,
    show_default=True,
    help="A `tallygate up` folder whose stores to use where no setting names them.",
)


@click.command()
@click.option("--host", help="The address to listen on [127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port; 0 picks one [8080].")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that share the port [1].")
@DATA
def gateway(host: str | None, port: int | None, workers: int | None, data: Path) -> None:
    """Run the data plane: decides and counts, over HTTP.

    Example: REDIS_URL=redis://127.0.0.1:6379 tallygate gateway --workers 4
    """
    _become("gateway", {"--host": host, "--port": port, "--workers": workers}, data)


@click.command()
@click.option("--host", help="The address of the control plane [127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65_535), help="Its port; 0 picks one [8081].")
@click.option("--once", is_flag=True, help="Copy what the log has now, and end.")
@click.option("--no-http", is_flag=True, help="Without the control plane.")
@DATA
def reconciler(host: str | None, port: int | None, once: bool, no_http: bool, data: Path) -> None:
    """Run the ledger loop, and the control plane beside it.

    Example: DATABASE_URL=postgresql://… REDIS_URL=redis://… tallygate reconciler
    """
    flags = {"--once": once or None, "--no-http": no_http or None}
    _become("reconciler", {"--host": host, "--port": port, **flags}, data)


@click.command()
@verb
def migrate(session: Session) -> None:
    """Bring the Postgres schema to this release; forward only, all of it or nothing.

    Example: DATABASE_URL=postgresql://… tallygate migrate
    """
    from reconciler.migrate import migrate as apply

    if not session.installation.database_url:
        raise ValueError("DATABASE_URL is not set")
    applied = apply(session.installation.database_url)
    numbers = ", ".join(map(str, applied)) or "nothing to do"
    session.show({"applied": applied}, f"migrations applied: {numbers}")


def _become(module: str, flags: dict[str, str | int | bool | None], data: Path) -> NoReturn:
    found = Installation.find(os.environ, data)
    settings = {
        "REDIS_URL": found.redis_url,
        "DATABASE_URL": found.database_url,
        "TALLYGATE_ADMIN_KEY": found.admin_key,
    }
    os.environ.update({name: value for name, value in settings.items() if value})
    words = [sys.executable, "-m", module]
    for flag, value in flags.items():
        if value is not None:
            words += [flag] if value is True else [flag, str(value)]
    sys.stdout.flush()
    os.execv(words[0], words)
