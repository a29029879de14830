-- A customer's history over all features, the newest first.

CREATE INDEX decisions_of_customer ON tg.decisions (customer, at);

-- Why a decision in the ledger was allowed: the last source it used. Only what is not enforced lets a request go beyond
-- all of them; usage that had happened already is recorded whatever covers it.
CREATE FUNCTION tg.reason(verb text, beyond bigint, overage bigint, credits bigint, rollover bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN beyond > 0 AND verb = 'consume' THEN 'observed' WHEN beyond > 0 THEN 'recorded'
        WHEN overage > 0 THEN 'overage' WHEN credits > 0 THEN 'credits' WHEN rollover > 0 THEN 'rollover'
        ELSE 'included' END
$$;
