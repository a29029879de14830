"""Ends the process groups it was told of when the process that told it is gone, however that one died.

Reads `+GROUP SIGNAL` and `-GROUP` lines; the end of its input is the death (or the end) of the writer.
On Linux every child also asks the kernel for a signal; this covers their own children, and other systems.
"""

import os
import signal
import sys
import time

GRACE_S = 10
POLL_S = 0.05


def main() -> None:
    """Listen, and then leave nothing behind."""
    groups: dict[int, int] = {}
    for line in sys.stdin:
        if line.startswith("+"):
            group, number = line[1:].split()
            groups[int(group)] = int(number)
        elif line.startswith("-"):
            groups.pop(int(line[1:]), None)
    for group, number in groups.items():
        send(group, number)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(send(group, 0) for group in groups):
        time.sleep(POLL_S)
    for group in groups:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> bool:
    """Whether the group is still there."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main()
