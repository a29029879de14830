"""`tallygate rate`: what a quantity costs, one JSON object per line in, one per line out."""

import json
import sys
from typing import IO

import click

from deploy.cli.api import DIFFERENT, OK


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="It always answers in JSON.")
def rate(file: IO[str], as_json: bool) -> None:
    """Price each line of FILE (or of the input): an object with price, quantity, already, included, currency.

    An object it cannot price gets {"error": …} on its line, and the exit code is 1.

    Example: echo '{"price": {"model": "per_unit", "unit": "2"}, "quantity": "3", "currency": "USD"}' | tallygate rate
    """
    sys.exit(_rate(file))


def _rate(file: IO[str]) -> int:
    from gateway.pricing.rating_case import rate_line

    code = OK
    for line in file:
        if line.strip():
            answer = rate_line(line)
            code = DIFFERENT if "error" in json.loads(answer) else code
            click.echo(answer)
    return code
