"""`tallygate verify`: counter == log == ledger == invoice, or which row is not."""

from dataclasses import asdict

import click

from deploy.cli.api import DIFFERENT, OK, Session, Unreachable, verb


@click.command()
@verb
def verify(session: Session) -> int:
    """Prove that what was counted, logged, written down and billed is the same. Exit code 1 on drift.

    Example: tallygate verify --json
    """
    import psycopg
    import redis

    from reconciler.verify import verify as find_drift

    found = session.installation
    if not found.redis_url or not found.database_url:
        raise Unreachable("REDIS_URL and DATABASE_URL are not known: set them, or name --data")
    try:
        with (
            psycopg.connect(found.database_url, autocommit=True) as connection,
            redis.Redis.from_url(found.redis_url) as client,
        ):
            drift = find_drift(connection, client)
    except (psycopg.OperationalError, redis.ConnectionError) as error:
        raise Unreachable(str(error)) from None
    rows = [asdict(each) for each in drift]
    if session.as_json:
        session.show({"drift": rows})
    elif rows:
        session.show_rows(rows, list(rows[0]))
    else:
        click.echo("no drift: counter == log == ledger == invoice")
    return DIFFERENT if rows else OK
