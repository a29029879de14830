-- positions --
-- How far some buckets have been copied.
SELECT bucket, epoch, seq, gen, chain FROM tg.positions
WHERE bucket = ANY (%(buckets)s::smallint[]) ORDER BY bucket;

-- lock_positions --
-- The positions of some buckets, held until the transaction ends; one that another reconciler holds is left out.
SELECT bucket, epoch, seq, gen, chain FROM tg.positions
WHERE bucket = ANY (%(buckets)s::smallint[]) ORDER BY bucket FOR UPDATE SKIP LOCKED;

-- move_positions --
-- Carry positions on, each only from the values it was read with.
UPDATE tg.positions AS p SET epoch = n.epoch, seq = n.seq, chain = n.chain
FROM unnest(
    %(bucket)s::smallint[], %(from_epoch)s::bigint[], %(from_seq)s::bigint[], %(gen)s::bigint[],
    %(epoch)s::bigint[], %(seq)s::bigint[], %(chain)s::bytea[]
) AS n (bucket, from_epoch, from_seq, gen, epoch, seq, chain)
WHERE p.bucket = n.bucket AND p.epoch = n.from_epoch AND p.seq = n.from_seq AND p.gen = n.gen;

-- copy_decisions --
-- The rows of a batch.
COPY tg.decisions (
    bucket, epoch, seq, item, at, verb, customer, feature, quantity, included, rollover, credits, overage, beyond,
    cost, period_start, period_end, segment, used_after, overage_after, entitlement, plan, catalog, source, stamp, chain
) FROM STDIN;

-- add_usage --
-- Add a batch's sums to the rollups.
INSERT INTO tg.usage AS u (
    customer, feature, period_start, segment, source, quarter, period_end,
    quantity, included, rollover, credits, overage, beyond, cost, decisions
)
SELECT * FROM unnest(
    %(customer)s::text[], %(feature)s::text[], %(period_start)s::timestamptz[], %(segment)s::integer[],
    %(source)s::text[], %(quarter)s::timestamptz[], %(period_end)s::timestamptz[],
    %(quantity)s::bigint[], %(included)s::bigint[], %(rollover)s::bigint[], %(credits)s::bigint[],
    %(overage)s::bigint[], %(beyond)s::bigint[], %(cost)s::numeric[], %(decisions)s::bigint[]
)
ON CONFLICT (customer, feature, period_start, segment, source, quarter) DO UPDATE SET
    period_end = EXCLUDED.period_end,
    quantity = u.quantity + EXCLUDED.quantity,
    included = u.included + EXCLUDED.included,
    rollover = u.rollover + EXCLUDED.rollover,
    credits = u.credits + EXCLUDED.credits,
    overage = u.overage + EXCLUDED.overage,
    beyond = u.beyond + EXCLUDED.beyond,
    cost = u.cost + EXCLUDED.cost,
    decisions = u.decisions + EXCLUDED.decisions;

-- open_segments --
-- Note which entitlement opened a segment; the first row of it decides.
INSERT INTO tg.segments (customer, feature, period_start, segment, entitlement, opened_at)
SELECT * FROM unnest(
    %(customer)s::text[], %(feature)s::text[], %(period_start)s::timestamptz[], %(segment)s::integer[],
    %(entitlement)s::bigint[], %(opened_at)s::timestamptz[]
)
ON CONFLICT DO NOTHING;

-- add_loss --
-- Record what could not be copied.
INSERT INTO tg.losses (found_at, bucket, epoch, from_seq, to_seq, note)
VALUES (%(found_at)s, %(bucket)s, %(epoch)s, %(from_seq)s, %(to_seq)s, %(note)s);

-- epoch_ends --
-- Where the earlier epochs of some buckets ended, as adoption found them.
SELECT bucket, previous_epoch, max(previous_seq) FROM tg.epochs
WHERE bucket = ANY (%(buckets)s::smallint[]) GROUP BY bucket, previous_epoch;

-- copied_before --
-- The last entry of each bucket that was decided at or before an instant and has been copied.
SELECT p.bucket, d.epoch, d.seq FROM tg.positions AS p
CROSS JOIN LATERAL (
    SELECT epoch, seq FROM tg.decisions WHERE bucket = p.bucket AND at <= %(at)s
    ORDER BY epoch DESC, seq DESC LIMIT 1
) AS d
WHERE p.bucket = ANY (%(buckets)s::smallint[]);

-- add_denials --
-- Keep denials for support; one shipped twice is one.
INSERT INTO tg.denials (id, at, customer, feature, quantity, reason, doc)
SELECT * FROM unnest(
    %(id)s::text[], %(at)s::timestamptz[], %(customer)s::text[], %(feature)s::text[],
    %(quantity)s::bigint[], %(reason)s::text[], %(doc)s::jsonb[]
)
ON CONFLICT DO NOTHING;

-- forget_denials --
-- Denials are kept for a while only.
DELETE FROM tg.denials WHERE at < %(before)s;

-- virtual_offset --
-- How far the test clock is ahead of the real one.
SELECT offset_ms FROM tg.test_clock;
