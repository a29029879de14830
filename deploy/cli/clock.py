"""`tallygate clock`: the test clock, only where it was enabled; it only goes forward."""

import click

from deploy.cli.api import Session, verb


@click.group()
def clock() -> None:
    """The test clock: show, advance, set. Needs TALLYGATE_TEST_CLOCK=1 (`tallygate up --test-clock`)."""


@clock.command()
@verb
def show(session: Session) -> None:
    """The time the installation lives in."""
    session.show(session.control("GET", "/v1/clock"))


@clock.command()
@click.argument("span", nargs=-1, required=True)
@verb
def advance(session: Session, span: tuple[str, ...]) -> None:
    """Move the time forward by SPAN.

    Example: tallygate clock advance 31 days
    """
    session.show(session.control("POST", "/v1/clock", {"advance": " ".join(span)}))


@clock.command("set")
@click.argument("instant")
@verb
def set_(session: Session, instant: str) -> None:
    """Move the time forward to INSTANT (RFC 3339).

    Example: tallygate clock set 2027-01-01T00:00:00Z
    """
    session.show(session.control("POST", "/v1/clock", {"set": instant}))
