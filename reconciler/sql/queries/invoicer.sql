-- invoicer_usage --
-- What the ledger has of a billing period: sums by feature and segment, with the entitlement that opened each.
SELECT u.feature, u.segment, s.entitlement, s.opened_at,
       sum(u.quantity), sum(u.included), sum(u.overage), sum(u.cost)
FROM tg.usage u JOIN tg.segments s USING (customer, feature, period_start, segment)
WHERE u.customer = %(customer)s AND u.period_start = %(period_start)s
GROUP BY u.feature, u.segment, s.entitlement, s.opened_at
ORDER BY u.feature, u.segment;

-- invoicer_entitlements --
-- Entitlements by version.
SELECT version, doc FROM tg.entitlements
WHERE customer = %(customer)s AND version = ANY (%(versions)s::bigint[]);

-- invoicer_entitlements_around --
-- Entitlements made up to an instant, the newest first, then those made later, the oldest first.
SELECT doc FROM tg.entitlements
WHERE customer = %(customer)s AND doc IS NOT NULL
ORDER BY made_at <= %(at)s DESC, CASE WHEN made_at <= %(at)s THEN version END DESC, version
LIMIT 100;

-- invoicer_costs --
-- What usage has cost a customer, by feature.
SELECT feature, sum(cost) FROM tg.usage WHERE customer = %(customer)s GROUP BY feature ORDER BY feature;

-- invoicer_features_used --
-- Features that a customer has ever used.
SELECT DISTINCT feature FROM tg.segments WHERE customer = %(customer)s;

-- invoicer_due --
-- Phases with an invoice to make: the first at once, later ones when the period's grace is over.
SELECT customer, starts_at, ends_at, anchor_at, plan, catalog, quantity, overrides, billed_to, due_at
FROM tg.subscriptions
WHERE due_at <= CASE WHEN billed_to IS NULL THEN %(now)s ELSE %(graced)s END::timestamptz
  AND due_at <= %(now)s
  AND (%(customer)s::text IS NULL OR customer = %(customer)s)
  AND NOT (customer = ANY (%(without)s::text[]))
ORDER BY due_at, customer LIMIT %(limit)s;

-- invoicer_positions --
-- How far some buckets have been copied.
SELECT bucket, epoch, seq FROM tg.positions WHERE bucket = ANY (%(buckets)s::smallint[]);

-- invoicer_number --
-- The next number of a series; the row is held until the transaction ends, so that none is ever skipped.
INSERT INTO tg.invoice_numbers AS n (series, next) VALUES (%(series)s, 2)
ON CONFLICT (series) DO UPDATE SET next = n.next + 1
RETURNING next - 1;

-- invoicer_add --
-- Add an invoice.
INSERT INTO tg.invoices
    (id, number, customer, status, currency, period_start, period_end, total, doc, created_at, finalized_at)
VALUES
    (%(id)s, %(number)s, %(customer)s, %(status)s, %(currency)s, %(period_start)s, %(period_end)s,
     %(total)s, %(doc)s, %(now)s, %(finalized_at)s);

-- invoicer_advance --
-- Invoices now cover the phase up to an instant.
UPDATE tg.subscriptions SET billed_to = %(billed_to)s, due_at = %(due_at)s
WHERE customer = %(customer)s AND starts_at = %(starts_at)s;

-- invoicer_invoice_locked --
-- An invoice that is about to change.
SELECT id, number, status, doc FROM tg.invoices WHERE id = %(id)s FOR UPDATE;

-- invoicer_finalize --
-- A draft becomes final.
UPDATE tg.invoices SET status = 'finalized', number = %(number)s, finalized_at = %(now)s, doc = %(doc)s
WHERE id = %(id)s;

-- invoicer_void --
-- A final invoice is void from here on; nothing else of it changes.
UPDATE tg.invoices SET status = 'void' WHERE id = %(id)s;
