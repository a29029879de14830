-- control_next_entitlement_version --
-- Versions grow over all customers.
SELECT nextval('tg.entitlement_version');

-- control_add_entitlement --
-- A compiled entitlement, not yet in Redis.
INSERT INTO tg.entitlements (customer, version, doc, made_at)
VALUES (%(customer)s, %(version)s, %(doc)s, %(made_at)s);

-- control_newest_entitlement --
-- What a customer may use, as compiled last.
SELECT customer, version, doc FROM tg.entitlements
WHERE customer = %(customer)s ORDER BY version DESC LIMIT 1;

-- control_entitlement --
-- One version of what a customer might use.
SELECT doc FROM tg.entitlements WHERE customer = %(customer)s AND version = %(version)s;

-- control_unpushed --
-- Entitlements that Redis may not have yet, oldest first.
SELECT customer, version, doc FROM tg.entitlements
WHERE pushed_at IS NULL ORDER BY version LIMIT %(limit)s FOR UPDATE SKIP LOCKED;

-- control_entitlements_page --
-- The newest entitlement of the next customers.
SELECT DISTINCT ON (customer) customer, version, doc FROM tg.entitlements
WHERE customer > %(after)s ORDER BY customer, version DESC LIMIT %(limit)s;

-- control_mark_pushed --
-- These are in Redis, or a newer one is; so is every older one as good as sent.
UPDATE tg.entitlements e SET pushed_at = now()
FROM unnest(%(customers)s::text[], %(versions)s::bigint[]) AS sent (customer, version)
WHERE e.customer = sent.customer AND e.version <= sent.version AND e.pushed_at IS NULL;

-- control_unpushed_keys --
-- API keys of which Redis may not say the truth yet.
SELECT sha256 FROM tg.api_keys WHERE pushed_at IS NULL ORDER BY sha256 LIMIT %(limit)s;

-- control_keys_page --
-- The next API keys that are not revoked.
SELECT sha256 FROM tg.api_keys
WHERE sha256 > %(after)s AND revoked_at IS NULL ORDER BY sha256 LIMIT %(limit)s;

-- control_keys_locked --
-- API keys as they are, kept so until they have been sent.
SELECT sha256, id, kind, customer, scopes, customers, features, revoked_at IS NOT NULL
FROM tg.api_keys WHERE sha256 = ANY (%(sha256s)s) ORDER BY sha256 FOR UPDATE;

-- control_mark_keys_pushed --
-- Redis says of these what Postgres says.
UPDATE tg.api_keys SET pushed_at = now() WHERE sha256 = ANY (%(sha256s)s);
