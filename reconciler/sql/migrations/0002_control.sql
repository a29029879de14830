-- What the control plane must be able to finish after a crash: moving subscriptions to a pushed catalog,
-- telling Redis of API keys, issuing invoices.

-- One row for each push; the newest says which version is live, and how far its move has come.
CREATE TABLE tg.catalog_pushes (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version   integer NOT NULL REFERENCES tg.catalogs,
    existing  text NOT NULL CHECK (existing IN ('renewal', 'now', 'keep')),
    pushed_at timestamptz NOT NULL,
    moved_to  text NOT NULL DEFAULT '',         -- customers up to and with this id have been moved
    moved     integer NOT NULL DEFAULT 0,       -- how many of them
    skipped   jsonb NOT NULL DEFAULT '[]',      -- the first customers that could not be, each with the reason
    done_at   timestamptz                       -- null: the move is not finished
);
CREATE INDEX catalog_pushes_unfinished ON tg.catalog_pushes (number) WHERE done_at IS NULL;

-- Null: Redis may not say yet what this row says.
ALTER TABLE tg.api_keys ADD COLUMN pushed_at timestamptz;
CREATE INDEX api_keys_unpushed ON tg.api_keys (sha256) WHERE pushed_at IS NULL;
CREATE INDEX api_keys_by_customer ON tg.api_keys (customer) WHERE customer IS NOT NULL;

ALTER TABLE tg.subscriptions
    ADD COLUMN billed_to timestamptz,           -- invoices cover the phase up to here; null: none yet
    ADD COLUMN due_at timestamptz;              -- when the next one can be made; null: all of them have been
CREATE INDEX subscriptions_due ON tg.subscriptions (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX invoices_by_customer ON tg.invoices (customer, period_end);
