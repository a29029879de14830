from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lua import keys
from reconciler.migrate import MigrationRefused, migrate, read_migrations
from reconciler.sql import queries, read_queries


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


def test_invoices_from_before_the_chain_are_chained(database_url):
    known = read_migrations()
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP SCHEMA tg CASCADE; DROP SCHEMA tallygate CASCADE")
        migrate(connection, known[:2])
        connection.execute(
            "INSERT INTO tg.customers (id, doc, created_at, updated_at)"
            " VALUES ('acme', '{}', now(), now())"
        )
        connection.execute(
            "INSERT INTO tg.invoices (id, number, customer, status, currency, period_start,"
            " period_end, total, doc, created_at, finalized_at)"
            " SELECT 'inv_' || n, 'INV-' || lpad(n::text, 6, '0'), 'acme', 'finalized', 'USD',"
            ' to_timestamp(n), to_timestamp(n), 49, \'{"total": "49"}\', now(), now()'
            " FROM generate_series(1, 3) AS n"
        )
        connection.execute("INSERT INTO tg.invoice_numbers VALUES ('INV', 4)")
        migrate(connection, known)
        assert connection.execute(queries["invoice_chain"], {"limit": 9}).fetchall() == []
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE tg.invoices SET total = 50 WHERE number = 'INV-000002'")
        found = connection.execute(queries["invoice_chain"], {"limit": 9}).fetchall()
        assert [row[2] for row in found] == [2]
