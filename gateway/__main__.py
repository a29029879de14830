"""`python -m gateway`: the data plane as a process, with one worker or several."""

import argparse
import ctypes
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import MutableMapping, Sequence
from tempfile import mkdtemp

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.app import Gateway
from gateway.app import create as create_app
from gateway.corked import CorkedProtocol
from gateway.settings import VARIABLES, Settings, SettingsInvalid

KEEP_ALIVE_SECONDS = 75
"""Longer than any proxy's idle time, so that none sends into a connection that we are closing."""
DRAIN_SECONDS = 5
BACKLOG_MAX = 2_048
EXIT_USAGE = 2

_PR_SET_PDEATHSIG = 1

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    log_to_stderr()
    flags = _parse(arguments)
    for name, value in flags.items():
        if value is not None:
            os.environ[VARIABLES[name][0]] = value
    try:
        settings = Settings.read(os.environ)
        listening = _listen(settings)
    except (SettingsInvalid, OSError) as error:
        sys.stderr.write(f"tallygate gateway: {error}\n")
        return EXIT_USAGE
    directory = _share_metrics(settings, os.environ)
    try:
        return _serve(settings, listening)
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)


def worker() -> Gateway:
    """The application of one worker of several: ends with its parent, however that ends."""
    log_to_stderr()
    if sys.platform == "linux" and multiprocessing.parent_process() is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return create_app()


def log_to_stderr() -> None:
    """Talk goes to stderr: lines for people on a terminal, JSON for machines otherwise."""
    for_people = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(),
        ],
        # One write for a whole line, or the lines of several workers run into each other.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _parse(arguments: Sequence[str] | None) -> dict[str, str | None]:
    parser = argparse.ArgumentParser(prog="tallygate gateway", description="Run the data plane.")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (default 8080; 0 picks one)")
    parser.add_argument("--workers", help="processes that answer (default 1)")
    return vars(parser.parse_args(arguments))


def _listen(settings: Settings) -> socket.socket:
    """The listening socket. Raises OSError that says which flag to change."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        where = f"{settings.host} port {settings.port}"
        raise OSError(f"cannot listen on {where} ({error.strerror}); see --port") from error
    listening.set_inheritable(True)
    return listening


def _share_metrics(settings: Settings, environ: MutableMapping[str, str]) -> str | None:
    """A directory of this run's own, in which several workers leave their counts."""
    if settings.workers == 1 or settings.metrics_directory:
        return None
    directory = mkdtemp(prefix="tallygate-metrics-")
    environ[VARIABLES["metrics_directory"][0]] = directory
    return directory


def _serve(settings: Settings, listening: socket.socket) -> int:
    config = uvicorn.Config(
        "gateway.__main__:worker",
        factory=True,
        interface="asgi3",
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=CorkedProtocol,
        ws="none",
        lifespan="on",
        workers=settings.workers,
        backlog=BACKLOG_MAX,
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    host, port = listening.getsockname()[:2]
    log.info("listening", url=f"http://{host}:{port}", workers=settings.workers)
    if settings.workers > 1:
        Multiprocess(config, sockets=[listening]).run()
        return 0
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
