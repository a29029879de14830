"""The command line: one noun per file, each read only when it is used."""

import difflib
import importlib
import sys

import click

from deploy import __version__

VERBS = {
    "up": ("up", "Run everything on this machine."),
    "gateway": ("processes", "Run the data plane."),
    "reconciler": ("processes", "Run the ledger loop and the control plane."),
    "migrate": ("processes", "Bring the Postgres schema to this release."),
    "catalog": ("catalog", "Check, compare, publish and show price lists."),
    "check": ("decisions", "Ask whether a customer may, without counting."),
    "consume": ("decisions", "Decide and count."),
    "track": ("decisions", "Record usage that has already happened."),
    "balances": ("decisions", "What a customer has left, as it is enforced."),
    "explain": ("explain", "Why a customer or a decision is as it is."),
    "customers": ("customers", "Add, show, change and list customers."),
    "keys": ("keys", "Create, import, list and revoke API keys."),
    "invoice": ("invoice", "Preview, issue and show invoices."),
    "rate": ("rate", "What a quantity costs, one JSON object per line."),
    "windows": ("windows", "The next reset times."),
    "replay": ("replay", "Recorded traffic through the gateway."),
    "verify": ("verify", "Prove counter == log == ledger == invoice."),
    "clock": ("clock", "The test clock: show, advance, set."),
    "doctor": ("doctor", "Stores, settings and versions, and how to mend each."),
}
"""Verb → the module of this package that has it under its own name, and what it does."""


class Verbs(click.Group):
    """Knows every verb by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"deploy.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="tallygate %(version)s")
def tallygate() -> None:
    """Decide, count and bill: one atomic step for every request.

    Commands find the running installation by the settings (REDIS_URL, DATABASE_URL, TALLYGATE_GATEWAY_URL,
    TALLYGATE_CONTROL_URL, TALLYGATE_ADMIN_KEY) or by the --data folder of `tallygate up`. Data goes to stdout, talk to
    stderr. Exit codes: 0 ok; 1 denied, different or drifted; 2 usage; 3 unreachable.
    """


def main() -> None:
    """The console script."""
    # An interrupted pipe (`tallygate … | head`) is not an error worth a traceback.
    try:
        tallygate(prog_name="tallygate")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
