"""Brings a database to the schema of this release: forward only, all of it or nothing."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from psycopg import Connection, connect

from reconciler.sql import MIGRATIONS, queries

LOCK_KEY = 0x7461_6C6C_7901
"""The advisory lock that keeps two migrators apart."""


class MigrationRefused(Exception):
    """The database cannot be brought to the schema of this release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file `NNNN_noun.sql`; never edited once released."""

    number: int
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return sha256(self.statements.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations in order. Raises MigrationRefused when the numbers are not 1, 2, 3 …"""
    migrations = [
        Migration(
            number=int(file.name[:4]), name=file.stem, statements=file.read_text(encoding="utf-8")
        )
        for file in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]
    if [each.number for each in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationRefused(f"the migrations in {folder} are not numbered 1, 2, 3 …")
    return migrations


def migrate(
    database: str | Connection[Any], migrations: list[Migration] | None = None
) -> list[int]:
    """Apply what is missing, in one transaction, and return its numbers.

    Takes a URL or an open connection. Raises MigrationRefused when an applied migration is not
    the one of this release, or is unknown to it.
    """
    if isinstance(database, str):
        with connect(database) as connection:
            return migrate(connection, migrations)
    known = read_migrations() if migrations is None else migrations
    with database.transaction(), database.cursor() as cursor:
        cursor.execute(queries["lock_migrations"], {"key": LOCK_KEY})
        cursor.execute(queries["prepare_migrations"])
        cursor.execute(queries["applied_migrations"])
        applied = {row[0]: row[1] for row in cursor.fetchall()}
        _refuse_strangers(known, applied)
        pending = [each for each in known if each.number not in applied]
        for each in pending:
            cursor.execute(each.statements)
            cursor.execute(
                queries["add_migration"], {"number": each.number, "checksum": each.checksum}
            )
    return [each.number for each in pending]


def _refuse_strangers(known: list[Migration], applied: dict[int, str]) -> None:
    by_number = {each.number: each for each in known}
    for number, checksum in applied.items():
        if number not in by_number:
            raise MigrationRefused(
                f"the database has migration {number}, which this release does not know: "
                "it was written by a newer one; start that release or restore a backup"
            )
        if by_number[number].checksum != checksum:
            raise MigrationRefused(
                f"migration {by_number[number].name} was applied with another text than "
                "this release has; use the release that wrote it, or a fresh database"
            )
