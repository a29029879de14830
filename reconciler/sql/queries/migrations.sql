-- lock_migrations --
-- One migrator at a time; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(%(key)s);

-- prepare_migrations --
-- Where the list of applied migrations is kept.
CREATE SCHEMA IF NOT EXISTS tg;
CREATE TABLE IF NOT EXISTS tg.schema_migrations (
    number     integer PRIMARY KEY CHECK (number > 0),
    checksum   text NOT NULL CHECK (length(checksum) = 64),
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- applied_migrations --
-- What has been applied, oldest first.
SELECT number, checksum FROM tg.schema_migrations ORDER BY number;

-- add_migration --
-- Note that a migration has been applied.
INSERT INTO tg.schema_migrations (number, checksum) VALUES (%(number)s, %(checksum)s);
