"""`tallygate rate`: what a quantity costs, one JSON object per line in, one per line out."""

import json
import sys
from typing import IO

import click

from deploy.cli.api import DIFFERENT, OK


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--json", is_flag=True, hidden=True, help="It always answers in JSON.")
def rate(file: IO[str], json: bool) -> None:
    """Price each line of FILE (or of the input): an object with price, quantity, already, included, currency.

    An object it cannot price gets {"error": …} on its line, and the exit code is 1.

    Example: echo '{"price": {"model": "per_unit", "unit": "0.5"}, "quantity": "3"}' | tallygate rate
    """
    sys.exit(_rate(file))


def _rate(file: IO[str]) -> int:
    from gateway.pricing.rating import rate_case

    code = OK
    for line in file:
        if not line.strip():
            continue
        try:
            # Numbers as text: a float would lose what the line says.
            case = json.loads(line, parse_float=str)
            answer = rate_case(case) if isinstance(case, dict) else {"error": "not an object"}
        except ValueError as error:
            answer = {"error": f"not JSON: {error}"}
        code = DIFFERENT if "error" in answer else code
        click.echo(json.dumps(answer, ensure_ascii=False))
    return code
