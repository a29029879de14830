"""Named SQL: every statement lives in `queries/*.sql` and is asked for by its name.

A statement begins with a line `-- name --`; the comment lines after it say what it does:

    -- positions --
    -- How far every bucket has been copied.
    SELECT bucket, epoch, seq, gen, chain FROM tg.positions ORDER BY bucket;
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).parent / "migrations"
QUERIES: Final = Path(__file__).parent / "queries"

_NAME = re.compile(r"^-- ([a-z0-9_]+) --$", re.MULTILINE)


def read_queries(folder: Path) -> dict[str, str]:
    """All statements of a folder by name.

    Raises ValueError when a name stands twice or a file begins without one.
    """
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.sql")):
        preamble, *parts = _NAME.split(file.read_text(encoding="utf-8"))
        if preamble.strip():
            raise ValueError(f"{file.name} must begin with a line '-- name --'")
        for name, statement in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"{file.name}: a query named {name} exists already")
            found[name] = statement.strip()
    return found


queries: Final[Mapping[str, str]] = read_queries(QUERIES)
