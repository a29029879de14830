-- The ledger: what the decision log said, once each, and everything that is billed from it.
-- Tables live in schema tg; schema tallygate holds the views that outside programs may read.

CREATE SCHEMA tallygate;

-- One pricing document a version; never edited afterwards.
CREATE TABLE tg.catalogs (
    version      integer PRIMARY KEY CHECK (version > 0),
    sha256       text NOT NULL UNIQUE CHECK (length(sha256) = 64),
    doc          jsonb NOT NULL,                -- the normalised catalog, numbers as strings
    source       text NOT NULL,                 -- the file as it was pushed
    published_at timestamptz NOT NULL
);

CREATE TABLE tg.customers (
    id         text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
    doc        jsonb NOT NULL,                  -- name, email, address, taxId, metadata: as the API took them
    currency   text,                            -- null: the plan's
    time_zone  text NOT NULL DEFAULT 'UTC',
    suspended  boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- A subscription is a row of phases that never overlap; the anchor is carried from phase to phase.
CREATE TABLE tg.subscriptions (
    customer   text NOT NULL REFERENCES tg.customers ON DELETE CASCADE,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz CHECK (ends_at > starts_at),
    anchor_at  timestamptz NOT NULL,
    plan       text NOT NULL,
    catalog    integer NOT NULL REFERENCES tg.catalogs,
    quantity   integer NOT NULL DEFAULT 1 CHECK (quantity > 0),
    overrides  jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer, starts_at)
);

-- Every entitlement ever compiled. Redis holds the newest; one that is not yet there has pushed_at null.
CREATE SEQUENCE tg.entitlement_version;
CREATE TABLE tg.entitlements (
    customer  text NOT NULL,
    version   bigint NOT NULL,
    doc       bytea,                            -- msgpack of Entitlement.to_plain; null: the customer was deleted
    made_at   timestamptz NOT NULL,
    pushed_at timestamptz,
    PRIMARY KEY (customer, version)
);
CREATE INDEX entitlements_unpushed ON tg.entitlements (version) WHERE pushed_at IS NULL;

CREATE TABLE tg.api_keys (
    sha256     text PRIMARY KEY CHECK (length(sha256) = 64),
    id         text NOT NULL UNIQUE,
    kind       text NOT NULL CHECK (kind IN ('service', 'customer')),
    customer   text REFERENCES tg.customers ON DELETE CASCADE,
    scopes     text[] NOT NULL DEFAULT '{}',
    customers  text[] NOT NULL DEFAULT '{}',    -- a service key bound to these; empty: any
    features   text[] NOT NULL DEFAULT '{}',    -- likewise
    label      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CHECK ((kind = 'customer') = (customer IS NOT NULL))
);

-- How far each bucket's log has been copied. Changed only in the transaction that adds the rows, and only from
-- the values that were read before (compare and swap); gen grows with every adoption and stops a paused reconciler.
CREATE TABLE tg.positions (
    bucket        smallint PRIMARY KEY CHECK (bucket >= 0),
    epoch         bigint NOT NULL DEFAULT 0,
    seq           bigint NOT NULL DEFAULT 0,
    gen           bigint NOT NULL DEFAULT 0,
    chain         bytea NOT NULL DEFAULT '',    -- of the last row copied: what the next one is chained to
    adopted_epoch bigint NOT NULL DEFAULT 0     -- the newest epoch given to the bucket; above 0, its log has existed
);
INSERT INTO tg.positions (bucket) SELECT generate_series(0, 1023);  -- as many as lua/keys.py has; fixed for good

-- Epochs are numbered across all buckets, so that none is ever given twice.
CREATE SEQUENCE tg.epoch_number;

-- Where the log of a bucket stood when it was given a new epoch: the old epoch must have been copied up to there.
CREATE TABLE tg.epochs (
    bucket         smallint NOT NULL,
    epoch          bigint NOT NULL,
    previous_epoch bigint NOT NULL,
    previous_seq   bigint NOT NULL,
    run_id         text NOT NULL,               -- of the server that was adopted
    adopted_at     timestamptz NOT NULL,
    PRIMARY KEY (bucket, epoch)
);

-- One row for each feature of each decision. Append only.
CREATE TABLE tg.decisions (
    bucket        smallint NOT NULL,
    epoch         bigint NOT NULL,
    seq           bigint NOT NULL,
    item          smallint NOT NULL,            -- 0-based place in a decision over several features
    at            timestamptz NOT NULL,         -- when it was decided, by Redis time
    verb          text NOT NULL CHECK (verb IN ('consume', 'track', 'capture', 'reverse', 'adjust')),
    customer      text NOT NULL,
    feature       text NOT NULL,
    quantity      bigint NOT NULL,              -- base units, as all quantities here
    included      bigint NOT NULL,
    rollover      bigint NOT NULL,
    credits       bigint NOT NULL,
    overage       bigint NOT NULL,
    beyond        bigint NOT NULL,              -- tracked usage that no source covers
    cost          numeric NOT NULL CHECK (cost = round(cost, 9)),  -- money
    period_start  timestamptz NOT NULL,         -- the billing period
    period_end    timestamptz NOT NULL,
    segment       integer NOT NULL CHECK (segment > 0),
    used_after    bigint NOT NULL,              -- the feature's quantity in the billing period, this decision counted
    overage_after bigint NOT NULL,              -- the segment's overage, this decision counted
    entitlement   bigint NOT NULL,              -- version
    plan          text NOT NULL,
    catalog       integer NOT NULL,             -- version; no reference, so that nothing can stop the copying
    source        text NOT NULL,                -- id of the key that asked
    stamp         jsonb NOT NULL,               -- request id, idempotency key, metadata, route
    chain         bytea NOT NULL CHECK (length(chain) = 16),  -- hash of the bucket's row before and of this one
    CHECK (quantity = included + rollover + credits + overage + beyond),
    PRIMARY KEY (bucket, epoch, seq, item, at)
) PARTITION BY RANGE (at);
CREATE TABLE tg.decisions_default PARTITION OF tg.decisions DEFAULT;
CREATE INDEX decisions_by_customer ON tg.decisions (customer, feature, at);

-- Sums of decisions, kept in the same transaction: what invoices and charts read.
CREATE TABLE tg.usage (
    customer     text NOT NULL,
    feature      text NOT NULL,
    period_start timestamptz NOT NULL,
    segment      integer NOT NULL,
    source       text NOT NULL,
    quarter      timestamptz NOT NULL,          -- start of the quarter of an hour
    period_end   timestamptz NOT NULL,
    quantity     bigint NOT NULL,
    included     bigint NOT NULL,
    rollover     bigint NOT NULL,
    credits      bigint NOT NULL,
    overage      bigint NOT NULL,
    beyond       bigint NOT NULL,
    cost         numeric NOT NULL,
    decisions    bigint NOT NULL,
    PRIMARY KEY (customer, feature, period_start, segment, source, quarter)
);

-- The price under which a segment was counted: that of the entitlement that opened it, as it stood at that instant.
CREATE TABLE tg.segments (
    customer     text NOT NULL,
    feature      text NOT NULL,
    period_start timestamptz NOT NULL,
    segment      integer NOT NULL,
    entitlement  bigint NOT NULL,               -- version
    opened_at    timestamptz NOT NULL,          -- picks the phase of the entitlement
    PRIMARY KEY (customer, feature, period_start, segment)
);

-- Denials, kept 30 days for support; never part of a balance.
CREATE TABLE tg.denials (
    id       text PRIMARY KEY,
    at       timestamptz NOT NULL,
    customer text NOT NULL,
    feature  text NOT NULL,
    quantity bigint NOT NULL,
    reason   text NOT NULL,
    doc      jsonb NOT NULL                     -- the decision as it was answered
);
CREATE INDEX denials_by_customer ON tg.denials (customer, at);

-- What could not be copied because it was gone from the log, with its exact extent where that is known.
CREATE TABLE tg.losses (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    found_at   timestamptz NOT NULL,
    bucket     smallint NOT NULL,
    epoch      bigint NOT NULL,
    from_seq   bigint NOT NULL,
    to_seq     bigint,                          -- null: nobody can tell
    note       text NOT NULL
);

CREATE TABLE tg.invoices (
    id           text PRIMARY KEY,
    number       text UNIQUE,                   -- gapless, given at finalization
    customer     text NOT NULL REFERENCES tg.customers,
    status       text NOT NULL CHECK (status IN ('draft', 'finalized', 'void')),
    currency     text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL CHECK (period_end >= period_start),
    total        numeric NOT NULL,
    doc          jsonb NOT NULL,                -- the invoice as it is answered, the canonical document
    created_at   timestamptz NOT NULL,
    finalized_at timestamptz,
    CHECK ((status = 'draft') = (number IS NULL)),
    CHECK ((status = 'draft') = (finalized_at IS NULL))
);
CREATE UNIQUE INDEX one_invoice_a_period ON tg.invoices (customer, period_start, period_end) WHERE status <> 'void';
CREATE TABLE tg.invoice_numbers (
    series text PRIMARY KEY,
    next   bigint NOT NULL DEFAULT 1
);

-- One row: how far the test clock is ahead of the real one. No row where it is not enabled.
CREATE TABLE tg.test_clock (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    offset_ms bigint NOT NULL DEFAULT 0 CHECK (offset_ms >= 0)
);

CREATE FUNCTION tg.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON tg.decisions
    FOR EACH ROW EXECUTE FUNCTION tg.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON tg.catalogs
    FOR EACH ROW EXECUTE FUNCTION tg.refuse_change();

CREATE FUNCTION tg.refuse_finalized_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.status = 'finalized' AND NEW.status = 'void'
        AND to_jsonb(NEW) - 'status' = to_jsonb(OLD) - 'status' THEN
        RETURN NEW;
    END IF;
    IF OLD.status <> 'draft' THEN
        RAISE EXCEPTION 'invoice % is %', OLD.id, OLD.status USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER finalized_stays BEFORE UPDATE OR DELETE ON tg.invoices
    FOR EACH ROW EXECUTE FUNCTION tg.refuse_finalized_change();

CREATE VIEW tallygate.decisions AS SELECT * FROM tg.decisions;
CREATE VIEW tallygate.usage AS SELECT * FROM tg.usage;
CREATE VIEW tallygate.invoices AS SELECT * FROM tg.invoices;
