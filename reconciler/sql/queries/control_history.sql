-- control_usage --
-- Sums by feature and hour or day of a zone, with the denials of the same stretch; oldest first.
WITH counted AS (
    SELECT date_trunc(%(by)s, quarter, %(zone)s) AS start, feature,
           sum(quantity) AS used, sum(included) AS included, sum(rollover) AS rollover,
           sum(credits) AS credits, sum(overage) AS overage, sum(cost) AS cost
    FROM tg.usage
    WHERE customer = %(customer)s AND quarter >= %(from)s AND quarter < %(to)s
      AND (%(feature)s::text IS NULL OR feature = %(feature)s)
    GROUP BY 1, 2
), refused AS (
    SELECT date_trunc(%(by)s, at, %(zone)s) AS start, feature, count(*) AS denied
    FROM tg.denials
    WHERE customer = %(customer)s AND at >= %(from)s AND at < %(to)s
      AND (%(feature)s::text IS NULL OR feature = %(feature)s)
    GROUP BY 1, 2
)
SELECT start, feature, coalesce(used, 0), coalesce(included, 0), coalesce(rollover, 0), coalesce(credits, 0),
       coalesce(overage, 0), coalesce(denied, 0), coalesce(cost, 0)
FROM counted FULL JOIN refused USING (start, feature)
WHERE (start, feature) > (%(after)s::timestamptz, %(after_feature)s::text)
ORDER BY start, feature LIMIT %(limit)s;

-- control_decisions --
-- Decisions and denials of a customer, the newest first. The reason of what was allowed is its last source.
-- Each of the two kinds is cut at the limit by its index before the two are put together.
SELECT * FROM (
    (SELECT lpad(bucket::text, 4, '0') || '-' || epoch || '-' || seq AS decision,
            lpad(bucket::text, 4, '0') || '-' || lpad(epoch::text, 16, '0') || '-' || lpad(seq::text, 16, '0')
                || '-' || lpad(item::text, 4, '0') AS rank,
            r.reason, at, verb, customer, feature, quantity, included, rollover, credits, overage, beyond, cost,
            period_start, period_end, segment, used_after, entitlement, plan, catalog, source, stamp,
            NULL::jsonb AS doc
     FROM tg.decisions
     CROSS JOIN LATERAL tg.reason(verb, beyond, overage, credits, rollover) AS r (reason)
     WHERE customer = %(customer)s AND at >= %(from)s AND at < %(to)s
       AND at <= coalesce(%(before)s::timestamptz, 'infinity')
       AND (%(feature)s::text IS NULL OR feature = %(feature)s)
       AND %(allowed)s::boolean IS NOT FALSE
       AND (%(reason)s::text IS NULL OR r.reason = %(reason)s)
       AND (%(before)s::timestamptz IS NULL OR at < %(before)s
            OR lpad(bucket::text, 4, '0') || '-' || lpad(epoch::text, 16, '0') || '-' || lpad(seq::text, 16, '0')
                || '-' || lpad(item::text, 4, '0') < %(before_id)s::text)
     ORDER BY at DESC, rank DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT id, id, reason, at, NULL, customer, feature, quantity, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, doc
     FROM tg.denials
     WHERE customer = %(customer)s AND at >= %(from)s AND at < %(to)s
       AND at <= coalesce(%(before)s::timestamptz, 'infinity')
       AND (%(feature)s::text IS NULL OR feature = %(feature)s)
       AND %(allowed)s::boolean IS NOT TRUE
       AND (%(reason)s::text IS NULL OR reason = %(reason)s)
       AND (%(before)s::timestamptz IS NULL OR at < %(before)s OR id < %(before_id)s::text)
     ORDER BY at DESC, id DESC LIMIT %(limit)s)
) AS history
ORDER BY at DESC, rank DESC LIMIT %(limit)s;

-- control_decision --
-- The rows of one decision.
SELECT lpad(bucket::text, 4, '0') || '-' || epoch || '-' || seq AS decision,
       tg.reason(verb, beyond, overage, credits, rollover) AS reason,
       at, verb, customer, feature, quantity, included, rollover, credits, overage, beyond, cost, period_start,
       period_end, segment, used_after, entitlement, plan, catalog, source, stamp, NULL::jsonb AS doc
FROM tg.decisions
WHERE bucket = %(bucket)s AND epoch = %(epoch)s AND seq = %(seq)s
ORDER BY item;

-- control_denial --
-- One denial.
SELECT id AS decision, reason, at, customer, feature, NULL::bigint AS entitlement, doc
FROM tg.denials WHERE id = %(id)s;

-- control_entitlements_by_version --
-- Entitlements by version, which no two customers share.
SELECT customer, version, doc FROM tg.entitlements WHERE version = ANY (%(versions)s::bigint[]);
