-- read_one_instant --
-- Everything that follows in the transaction is of one instant.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- newest_entitlements --
-- What each customer may use, as it was last compiled.
SELECT DISTINCT ON (customer) customer, doc FROM tg.entitlements ORDER BY customer, version DESC;

-- features_used --
-- Every customer and feature that the ledger has.
SELECT DISTINCT customer, feature FROM tg.segments;

-- losses --
-- Stretches of the logs of some buckets that are known to be lost.
SELECT bucket, epoch, from_seq, to_seq FROM tg.losses
WHERE bucket = ANY (%(buckets)s::smallint[]) AND to_seq IS NOT NULL;

-- rollup_differences --
-- Rollups that are not the sums of their decisions.
WITH counted AS (
    SELECT customer, feature, period_start, segment, source,
        date_bin('15 minutes', at, '1970-01-01 00:00:00+00') AS quarter,
        sum(quantity) AS quantity, sum(included) AS included, sum(rollover) AS rollover, sum(credits) AS credits,
        sum(overage) AS overage, sum(beyond) AS beyond, sum(cost) AS cost, count(*) AS decisions
    FROM tg.decisions GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT customer, feature, period_start, segment, source, quarter,
    coalesce(c.quantity, 0)::bigint, coalesce(u.quantity, 0), coalesce(c.cost, 0), coalesce(u.cost, 0)
FROM counted AS c FULL JOIN tg.usage AS u USING (customer, feature, period_start, segment, source, quarter)
WHERE (c.quantity, c.included, c.rollover, c.credits, c.overage, c.beyond, c.cost, c.decisions)
    IS DISTINCT FROM
    (u.quantity::numeric, u.included::numeric, u.rollover::numeric, u.credits::numeric,
     u.overage::numeric, u.beyond::numeric, u.cost, u.decisions)
ORDER BY 1, 2, 3, 4, 5, 6 LIMIT %(limit)s;

-- finalized_invoices --
-- Every invoice that counts.
SELECT id, number, customer, currency, period_start, period_end, total, doc FROM tg.invoices
WHERE status = 'finalized' ORDER BY number;

-- invoice_chain --
-- Numbered invoices that are not as they were when they got their number, or do not follow the one before: with that
-- one's number, and the number the series gave last.
WITH numbered AS (
    SELECT id, substring(number FROM '[0-9]+$')::bigint AS number, split_part(number, '-', 1) AS series,
        chain = tg.invoice_link(lag(chain, 1, ''::bytea) OVER followed, i) AS good, chain,
        lag(substring(number FROM '[0-9]+$')::bigint, 1, 0::bigint) OVER followed AS before
    FROM tg.invoices AS i WHERE number IS NOT NULL
    WINDOW followed AS (PARTITION BY split_part(number, '-', 1) ORDER BY length(number), number)
)
SELECT series, before, number, id, good FROM numbered WHERE NOT good OR number <> before + 1
UNION ALL
SELECT s.series, coalesce(n.number, 0), s.next, NULL, true
FROM tg.invoice_numbers AS s
LEFT JOIN LATERAL (
    SELECT number FROM numbered WHERE series = s.series ORDER BY number DESC LIMIT 1
) AS n ON true
WHERE s.next <> coalesce(n.number, 0) + 1
ORDER BY 1, 3 LIMIT %(limit)s;

-- usage_of_span --
-- What the ledger has of a customer's billing periods that touch a span.
SELECT feature, segment, period_start, period_end, sum(quantity)::bigint, sum(cost) FROM tg.usage
WHERE customer = %(customer)s AND period_start < %(end)s AND period_end > %(start)s
GROUP BY feature, segment, period_start, period_end ORDER BY feature, segment, period_start;
