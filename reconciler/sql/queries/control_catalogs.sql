-- control_catalog_lock --
-- One push at a time; subscriptions that ask which version is live hold it shared. Ends with the transaction.
SELECT pg_advisory_xact_lock(8390046003217);

-- control_catalog_lock_shared --
-- While this is held, no other version becomes live.
SELECT pg_advisory_xact_lock_shared(8390046003217);

-- control_catalog_by_sha256 --
-- The version of a document that was pushed before.
SELECT version FROM tg.catalogs WHERE sha256 = %(sha256)s;

-- control_catalog_sha256 --
-- The hash of a version.
SELECT sha256 FROM tg.catalogs WHERE version = %(version)s;

-- control_catalog_doc --
-- The normalised document of a version.
SELECT doc FROM tg.catalogs WHERE version = %(version)s;

-- control_catalog --
-- A version as it is shown.
SELECT version, sha256, doc, source, published_at FROM tg.catalogs WHERE version = %(version)s;

-- control_add_catalog --
-- Store a document under the next version.
INSERT INTO tg.catalogs (version, sha256, doc, source, published_at)
SELECT coalesce(max(version), 0) + 1, %(sha256)s, %(doc)s, %(source)s, %(now)s FROM tg.catalogs
RETURNING version;

-- control_live_version --
-- The version that was pushed last.
SELECT version FROM tg.catalog_pushes ORDER BY number DESC LIMIT 1;

-- control_live_catalog --
-- The catalog that was pushed last.
SELECT c.version, c.sha256, c.doc
FROM tg.catalog_pushes p JOIN tg.catalogs c USING (version)
ORDER BY p.number DESC LIMIT 1;

-- control_last_push --
-- The newest push and how far its move has come.
SELECT number, version, existing, moved, skipped, done_at IS NOT NULL
FROM tg.catalog_pushes ORDER BY number DESC LIMIT 1;

-- control_supersede_pushes --
-- A newer push takes over from all before it.
UPDATE tg.catalog_pushes SET done_at = %(now)s WHERE done_at IS NULL;

-- control_add_push --
-- The newest push; one that keeps everybody has nothing to do.
INSERT INTO tg.catalog_pushes (version, existing, pushed_at, done_at)
VALUES (%(version)s, %(existing)s, %(now)s, CASE WHEN %(existing)s = 'keep' THEN %(now)s::timestamptz END);

-- control_unfinished_push --
-- The push whose move goes on; another process that moves it already has the row.
SELECT number, version, existing, moved_to
FROM tg.catalog_pushes WHERE done_at IS NULL
ORDER BY number DESC LIMIT 1 FOR UPDATE SKIP LOCKED;

-- control_customers_to_move --
-- The next customers that have a phase, running or to come, under another catalog.
SELECT DISTINCT customer
FROM tg.subscriptions
WHERE customer > %(after)s AND catalog <> %(version)s AND (ends_at IS NULL OR ends_at > %(now)s)
ORDER BY customer LIMIT %(limit)s;

-- control_push_progress --
-- How far the move has come; the customers named as skipped are bounded.
UPDATE tg.catalog_pushes
SET moved_to = %(moved_to)s, moved = moved + %(moved)s, done_at = %(done_at)s,
    skipped = CASE
        WHEN jsonb_array_length(skipped) < %(skipped_max)s THEN skipped || %(skipped)s ELSE skipped
    END
WHERE number = %(number)s;

-- control_feature_scales --
-- Every feature of any catalog with the scale it was first given.
SELECT DISTINCT ON (f.key) f.key, f.value ->> 'scale'
FROM tg.catalogs c, jsonb_each(c.doc -> 'features') f
ORDER BY f.key, c.version;

-- control_plans_in_use --
-- The plans of running subscriptions, each with its catalog and how many they are.
SELECT plan, catalog, count(*)
FROM tg.subscriptions
WHERE ends_at IS NULL OR ends_at > %(now)s
GROUP BY plan, catalog ORDER BY plan, catalog;

-- control_count_touched --
-- Running subscriptions that are not under a document yet, or will not be.
SELECT
    count(DISTINCT s.customer) FILTER (WHERE s.ends_at IS NULL),
    count(DISTINCT s.customer)
FROM tg.subscriptions s JOIN tg.catalogs c ON c.version = s.catalog
WHERE c.sha256 <> %(sha256)s AND (s.ends_at IS NULL OR s.ends_at > %(now)s);
