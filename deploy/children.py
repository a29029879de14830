"""Start child processes that never outlive us, and stop them, their own children included."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_TIMEOUT_S = 20
"""How long a child may take to stop when asked, before it is killed."""

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user and group a child runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process, leader of its own session and process group."""

    name: str
    process: "subprocess.Popen[bytes]"
    stop_signal: signal.Signals
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        """Whether the process is still there."""
        return self.process.poll() is None

    def stop(self, timeout_s: int = STOP_TIMEOUT_S) -> int:
        """Ask the process to end, kill what is left of its group, and return its exit code."""
        if self.running():
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._sweep()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """Kill the process and its group at once."""
        self._sweep()
        self.process.wait(STOP_TIMEOUT_S)

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, for a message about why it did not start."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _sweep(self) -> None:
        # The leader may be gone while its workers are not: the group keeps its number as long as one of them lives.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def start_child(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    identity: Identity | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Child:
    """Start a command that gets `stop_signal` when this process dies, however it dies (on Linux).

    Call it from the main thread: the kernel sends the signal when the *thread* that forked ends.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=True,
            user=None if identity is None else identity.uid,
            group=None if identity is None else identity.gid,
            extra_groups=None if identity is None else [],
            preexec_fn=_die_with_parent(stop_signal),
        )
    return Child(name=name, process=process, stop_signal=stop_signal, log=log)


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def arm() -> None:
        # A change of user clears the setting, so this runs after it; the parent may have died before it.
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            os._exit(1)

    return arm
