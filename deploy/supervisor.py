"""`tallygate up`: starts the stores, the reconciler and the gateway, watches them, and stops them in order."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import urllib3

from deploy import guardian
from deploy.children import Child, start_child
from deploy.installation import FILE_NAME, Installation, new_admin_key
from deploy.stores import Server, forget_postgres, start_postgres, start_valkey

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60
POLL_S = 0.1
RESTARTS_MAX = 5
"""How often a part that ends by itself is started again before everything is stopped."""

LOG_BYTES_MAX = 10_000_000
"""A log larger than this when its part starts is put aside; one older log is kept."""

OWN_NAMES = ("valkey", "logs", "demo.json", FILE_NAME)
"""What `--fresh` may delete in the data folder, besides the Postgres of it."""


class CannotStart(Exception):
    """Something is in the way; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line of `tallygate up` says."""

    data: Path
    fresh: bool = False
    gateway_port: int = 8080
    control_port: int = 8081
    workers: int = 1
    test_clock: bool = False


@dataclass(slots=True, kw_only=True)
class Part:
    """Something that runs, and how to start it again."""

    name: str
    start: Callable[[], Child]
    child: Child
    restarts: int = 0


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Everything on one machine, while `running()` is open."""

    options: Options
    environ: Mapping[str, str]
    say: Callable[[str], None]
    parts: list[Part] = field(default_factory=list)
    _stopping: bool = False
    _guardian: "subprocess.Popen[str] | None" = None

    @contextmanager
    def running(self) -> Iterator[Installation]:
        """The installation, started and answering; stopped on the way out, whatever happens.

        SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt; a second one kills. Raises CannotStart or StoreUnavailable.
        """
        data = self.options.data
        with ExitStack() as stack:
            stack.enter_context(_only_one(data))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                stack.callback(signal.signal, number, signal.signal(number, self._asked_to_stop))
            if self.options.fresh:
                _forget(data)
            (data / "logs").mkdir(exist_ok=True, mode=0o700)
            stack.callback(self._stop)
            self._guardian = _start_guardian()
            yield self._start()

    def add(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Start one more process; it is stopped before those that are there already."""
        log = self.options.data / "logs" / f"{name}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        self._keep(name, lambda: start_child(name, command, log=log, environment=environment))

    def watch(self) -> None:
        """For ever. What ends by itself is started again. Raises CannotStart when that does not help."""
        while True:
            for part in self.parts:
                if not part.child.running():
                    self._restart(part)
            time.sleep(POLL_S)

    def environment(self, installation: Installation) -> dict[str, str]:
        """The settings of every process we start."""
        ports = {
            "TALLYGATE_HOST": HOST,
            "TALLYGATE_PORT": installation.gateway_url.rpartition(":")[2],
            "TALLYGATE_CONTROL_HOST": HOST,
            "TALLYGATE_CONTROL_PORT": installation.control_url.rpartition(":")[2],
        }
        return {
            **self.environ,
            **ports,
            "REDIS_URL": installation.redis_url,
            "DATABASE_URL": installation.database_url,
            "TALLYGATE_ADMIN_KEY": installation.admin_key,
            "TALLYGATE_WORKERS": str(self.options.workers),
            "TALLYGATE_TEST_CLOCK": "1" if self.options.test_clock else "0",
            "PYTHONUNBUFFERED": "1",
        }

    def _start(self) -> Installation:
        data = self.options.data
        gateway_port = _port(self.options.gateway_port, "--gateway-port")
        control_port = _port(self.options.control_port, "--control-port")
        kept = Installation.read(data)
        installation = Installation(
            redis_url=self._redis(),
            database_url=self._database(),
            gateway_url=f"http://{HOST}:{gateway_port}",
            control_url=f"http://{HOST}:{control_port}",
            admin_key=self.environ.get("TALLYGATE_ADMIN_KEY") or kept.admin_key or new_admin_key(),
        )
        installation.write(data)
        environment = self.environment(installation)
        self.add("reconciler", [sys.executable, "-m", "reconciler"], environment)
        self.add("gateway", [sys.executable, "-m", "gateway"], environment)
        # The gateway is ready only once the reconciler has adopted the buckets, so its own start costs no time.
        self._wait("reconciler", installation.control_url)
        self._wait("gateway", installation.gateway_url)
        return installation

    def _redis(self) -> str:
        if url := self.environ.get("REDIS_URL"):
            self.say("redis: the server of REDIS_URL, because it is set")
            return url
        return self._store("redis", lambda: start_valkey(self.options.data / "valkey"))

    def _database(self) -> str:
        if url := self.environ.get("DATABASE_URL"):
            self.say("postgres: the server of DATABASE_URL, because it is set")
            return url
        return self._store("postgres", lambda: start_postgres(self.options.data / "postgres"))

    def _store(self, name: str, start: Callable[[], Server]) -> str:
        server = start()
        self._adopt(Part(name=name, start=lambda: start().child, child=server.child))
        self.say(f"{name}: {server.origin}")
        return server.url

    def _keep(self, name: str, start: Callable[[], Child]) -> None:
        self._adopt(Part(name=name, start=start, child=start()))

    def _adopt(self, part: Part) -> None:
        self.parts.append(part)
        self._tell_guardian(f"+{part.child.pid} {int(part.child.stop_signal)}")

    def _restart(self, part: Part) -> None:
        code = part.child.stop()
        self._tell_guardian(f"-{part.child.pid}")
        if part.restarts >= RESTARTS_MAX:
            raise CannotStart(
                f"{part.name} ended {RESTARTS_MAX + 1} times, last with exit code {code}:\n"
                f"{part.child.last_words()}"
            )
        part.restarts += 1
        self.say(f"{part.name} ended with exit code {code}; starting it again ({part.restarts})")
        part.child = part.start()
        self._tell_guardian(f"+{part.child.pid} {int(part.child.stop_signal)}")

    def _wait(self, name: str, url: str) -> None:
        child = next(part.child for part in self.parts if part.name == name)
        deadline = time.monotonic() + READY_TIMEOUT_S
        answer = "no answer"
        with urllib3.PoolManager(retries=False, timeout=5) as pool:
            while time.monotonic() < deadline:
                if not child.running():
                    raise CannotStart(f"{name} did not start:\n{child.last_words(30)}")
                with suppress(urllib3.exceptions.HTTPError):
                    found = pool.request("GET", f"{url}/readyz")
                    if found.status == 200:
                        return
                    answer = found.data.decode(errors="replace")
                time.sleep(POLL_S)
        raise CannotStart(f"{name} is not ready after {READY_TIMEOUT_S} s: {answer}")

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            for part in self.parts:
                part.child.kill()
            return
        self._stopping = True
        raise KeyboardInterrupt

    def _stop(self) -> None:
        self._stopping = True
        for part in reversed(self.parts):
            part.child.stop()
            self._tell_guardian(f"-{part.child.pid}")
        if self._guardian is not None and self._guardian.stdin is not None:
            with suppress(OSError):
                self._guardian.stdin.close()
            self._guardian.wait(guardian.GRACE_S + 5)

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with suppress(OSError):
                self._guardian.stdin.write(line + "\n")
                self._guardian.stdin.flush()


def _start_guardian() -> "subprocess.Popen[str]":
    # In a session of its own: the Ctrl-C that stops us must not stop it first.
    command = [sys.executable, "-I", guardian.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Holds the data folder, so that two starts do not share it."""
    try:
        # Searchable, not readable: as root, Postgres runs as another user below it.
        data.mkdir(parents=True, exist_ok=True, mode=0o711)
        lock = (data / "lock").open("w")
    except OSError as error:
        raise CannotStart(f"cannot write {data}: {error.strerror}; choose --data DIR") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"a Tallygate is running with its data in {data}; stop it, or choose --data DIR"
            ) from None
        yield


def _forget(data: Path) -> None:
    forget_postgres(data / "postgres")
    for path in (data / name for name in OWN_NAMES):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _port(number: int, flag: str) -> int:
    """The port itself, or a free one for 0. Raises CannotStart when it is busy."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OSError as error:
            raise CannotStart(
                f"port {number} cannot be used ({error.strerror}); choose another with {flag} (0 picks one)"
            ) from None
        return int(probe.getsockname()[1])
