from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lua import keys
from reconciler.migrate import MigrationRefused, migrate, read_migrations
from reconciler.sql import read_queries


def test_a_migrated_database_needs_nothing_more(database_url: str):
    assert migrate(database_url) == []


def test_there_is_one_position_for_each_bucket(database_url: str):
    with psycopg.connect(database_url) as connection:
        (count,) = connection.execute("SELECT count(*) FROM tg.positions").fetchone()
    assert count == keys.BUCKETS


def test_an_edited_migration_is_refused(database_url: str):
    first, *others = read_migrations()
    edited = replace(first, statements=first.statements + "\n-- one more line")
    with pytest.raises(MigrationRefused, match="another text"):
        with psycopg.connect(database_url) as connection:
            migrate(connection, [edited, *others])


def test_a_database_of_a_newer_release_is_refused(database_url: str):
    with psycopg.connect(database_url) as connection:
        with pytest.raises(MigrationRefused, match="newer"):
            migrate(connection, [])


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str):
    known = read_migrations()
    broken = replace(
        known[0],
        number=len(known) + 1,
        name="0099_broken",
        statements="CREATE TABLE tg.half_done (a int); SELECT 1 / 0;",
    )
    with psycopg.connect(database_url) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection, [*known, broken])
        connection.rollback()
        (table,) = connection.execute("SELECT to_regclass('tg.half_done')").fetchone()
    assert table is None


def test_migrations_are_numbered_without_gaps(tmp_path: Path):
    (tmp_path / "0002_second.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationRefused, match="numbered"):
        read_migrations(tmp_path)


def test_a_query_name_stands_once(tmp_path: Path):
    (tmp_path / "a.sql").write_text("-- twice --\nSELECT 1;\n\n-- twice --\nSELECT 2;\n")
    with pytest.raises(ValueError, match="twice"):
        read_queries(tmp_path)
