-- try_adoption_lock --
-- One adopter at a time; the lock is the session's.
SELECT pg_try_advisory_lock(%(key)s);

-- release_adoption_lock --
-- The inverse.
SELECT pg_advisory_unlock(%(key)s);

-- next_epoch --
-- An epoch that no bucket has had.
SELECT nextval('tg.epoch_number');

-- raise_epochs --
-- Go on above an epoch found in Redis, which a restored Postgres may not know.
SELECT setval('tg.epoch_number', greatest(%(above)s, (SELECT last_value FROM tg.epoch_number)));

-- raise_generations --
-- Stop every reconciler that read these positions before, and say where Postgres stands.
UPDATE tg.positions SET gen = gen + 1 WHERE bucket = ANY (%(buckets)s::smallint[])
RETURNING bucket, epoch, seq, gen, chain, adopted_epoch;

-- note_epochs --
-- Where the logs stood when they were given a new epoch.
INSERT INTO tg.epochs (bucket, epoch, previous_epoch, previous_seq, run_id, adopted_at)
SELECT n.bucket, n.epoch, n.previous_epoch, n.previous_seq, %(run_id)s, %(at)s
FROM unnest(
    %(bucket)s::smallint[], %(epoch)s::bigint[], %(previous_epoch)s::bigint[], %(previous_seq)s::bigint[]
) AS n (bucket, epoch, previous_epoch, previous_seq)
WHERE n.previous_epoch > 0
ON CONFLICT DO NOTHING;

-- note_adopted --
-- The newest epoch of each bucket.
UPDATE tg.positions AS p SET adopted_epoch = greatest(p.adopted_epoch, n.epoch)
FROM unnest(%(bucket)s::smallint[], %(epoch)s::bigint[]) AS n (bucket, epoch)
WHERE p.bucket = n.bucket;

-- decisions_of_buckets --
-- Every row of some buckets, bucket by bucket in the order of its log.
SELECT bucket, epoch, seq, item, at, verb, customer, feature, quantity, included, rollover, credits, overage, beyond,
    cost, period_start, period_end, segment, used_after, overage_after, entitlement, plan, catalog, source, stamp, chain
FROM tg.decisions WHERE bucket = ANY (%(buckets)s::smallint[]) ORDER BY bucket, epoch, seq, item;

-- count_decisions_of_bucket --
-- How many rows a bucket has, counted up to a bound.
SELECT count(*) FROM (
    SELECT 1 FROM tg.decisions WHERE bucket = %(bucket)s LIMIT %(bound)s
) AS found;

-- entitlement_document --
-- One version of what a customer may use.
SELECT doc FROM tg.entitlements WHERE customer = %(customer)s AND version = %(version)s;
