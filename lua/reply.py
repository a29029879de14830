"""What the scripts answer: the codes, listed once."""

from enum import IntEnum


class Code(IntEnum):
    """The first element of every reply of consume, check, track and balances."""

    REPLAYED = 2
    DONE = 1
    DENIED = 0
    FENCED = -1
    """The bucket belongs to another server, to none, or is behind what the caller was told."""
    STALE_ENTITLEMENT = -2
    """The caller compiled its windows from an entitlement that is no longer the current one."""
    STALE_WINDOWS = -3
    """The windows do not cover the script's time, which is the second element."""
    CLOCK_DIFFERS = -4
    """The caller's clock and the server's are further apart than five seconds."""
    CUSTOMER_UNKNOWN = -5
    KEY_CONFLICT = -6
    """The idempotency key was used for another payload."""
    TOO_LARGE = -7
    """A quantity or an amount would pass 2^53 − 1."""
    CLOCK_STEPPED_BACK = -8
    """The server's clock is more than a minute behind the bucket's high-water clock."""


class Adoption(IntEnum):
    """The first element of the reply of adopt."""

    ADOPTED = 1
    ALREADY_ADOPTED = 2
    BEHIND_LEDGER = -1
    """The log ends before what Postgres has: Redis lost entries."""
    OTHER_BUCKETS = -2
    """The installation was made with another number of buckets."""
    EPOCH_NOT_LARGER = -3


class Entitled(IntEnum):
    """The reply of entitle."""

    WRITTEN = 1
    NOT_NEWER = 0
