"""A store that runs as our child: when it is ready, where its socket is, how it stops."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.children import Child

START_TIMEOUT_S = 60
"""How long a store may take to answer; recovery after a crash included."""

POLL_S = 0.02
SOCKET_PATH_MAX = 100
"""Characters of a Unix socket's path; macOS takes 104 and Linux 108, with the closing zero."""


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


def wait_until_ready(child: Child, ready: Callable[[], bool]) -> None:
    """Ask until it answers. Raises StoreUnavailable with the end of its log."""
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


def socket_directory(directory: Path, name: str) -> Path:
    """`directory`, or one with a shorter path where the socket's would be too long."""
    directory = directory.resolve()
    if len(str(directory / name)) <= SOCKET_PATH_MAX:
        return directory
    short = Path("/tmp") / f"tg-{os.getuid()}-{sha256(str(directory).encode()).hexdigest()[:12]}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.is_symlink() or short.stat().st_uid not in (os.getuid(), directory.stat().st_uid):
        raise StoreUnavailable(f"{short} belongs to somebody else; choose a shorter --data DIR")
    return short
