"""`python -m reconciler`: the ledger loop and the control plane."""

import argparse
import logging
import os
import sys

import psycopg
import structlog
from redis import RedisError

from reconciler.migrate import MigrationRefused
from reconciler.run import run
from reconciler.settings import Settings, SettingsInvalid

USAGE, UNREACHABLE = 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Read flags and environment, run, return the exit code."""
    parser = argparse.ArgumentParser(prog="reconciler", description=__doc__)
    parser.add_argument("--host", help="where the control plane listens (TALLYGATE_CONTROL_HOST)")
    parser.add_argument("--port", type=int, help="its port, 0 picks one (TALLYGATE_CONTROL_PORT)")
    parser.add_argument("--once", action="store_true", help="copy what there is, then end")
    parser.add_argument("--no-http", action="store_true", help="the loop alone")
    flags = parser.parse_args(arguments)
    _log_to_stderr()
    try:
        settings = Settings.read(os.environ).override(host=flags.host, port=flags.port)
        return run(settings, once=flags.once, http=not flags.no_http)
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            sys.stderr.write(f"reconciler: {problem}\n")
        return USAGE
    except MigrationRefused as refused:
        sys.stderr.write(f"reconciler: {refused}\n")
        return USAGE
    except (psycopg.OperationalError, RedisError) as error:
        sys.stderr.write(f"reconciler: {error}\n")
        return UNREACHABLE


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    raise SystemExit(main())
