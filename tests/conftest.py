"""The servers every room tests against: real ones, started once, cheap to reset."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest
import redis

from deploy.stores import Server, start_postgres, start_valkey
from reconciler.migrate import migrate

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
TEMPLATE = "tallygate_template"
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 2 * 2**30


@pytest.fixture(scope="session")
def store_directory() -> Iterator[Path]:
    """A short path for sockets, which `nobody` may traverse when the tests run as root."""
    directory = Path(mkdtemp(prefix="tg-", dir=fast_place()))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey_server(store_directory: Path) -> Iterator[Server]:
    with start_valkey(store_directory / "valkey", appendonly=False) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_url(valkey_server: Server) -> str:
    """The URL of an embedded Valkey without persistence."""
    return valkey_server.url


@pytest.fixture
def redis_client(valkey_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Valkey; replies are bytes and nothing is retried."""
    client = redis.Redis.from_url(valkey_url, retry=None)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="session")
def postgres_server(store_directory: Path) -> Iterator[Server]:
    with start_postgres(store_directory / "postgres", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Server) -> str:
    """The name of a database that has every migration, to be cloned."""
    url = database_of(postgres_server, TEMPLATE)
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(url)
    return TEMPLATE


@pytest.fixture
def database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        yield database_of(postgres_server, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def needs() -> Callable[[str], str]:
    """`needs("nginx")` is the path of a program: absent, the test is skipped here and fails in CI."""

    def find(program: str) -> str:
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if path is None:
            missing(f"{program} is not installed")
        assert path is not None
        return path

    return find


def fast_place() -> str | None:
    """Memory, where there is enough: a database made of 300 files takes 10 ms there and 300 ms on some disks."""
    try:
        space = os.statvfs(MEMORY)
    except OSError:
        return None
    enough = space.f_bavail * space.f_frsize >= MEMORY_BYTES_MIN
    return str(MEMORY) if enough and os.access(MEMORY, os.W_OK | os.X_OK) else None


def missing(reason: str) -> None:
    """Skip the running test, or fail it in CI, where everything must be there."""
    if IN_CI:
        pytest.fail(f"{reason}, and CI must not skip")
    pytest.skip(reason)


def database_of(server: Server, name: str) -> str:
    """The URL of another database of the same server."""
    return server.url.replace("@/tallygate?", f"@/{name}?")


_numbers = itertools.count(1)
