-- control_key_by_sha256 --
-- Who holds a key that is not revoked.
SELECT id, kind, scopes, customers FROM tg.api_keys
WHERE sha256 = %(sha256)s AND revoked_at IS NULL;

-- control_key_row_by_sha256 --
-- A key as it is shown, by its hash.
SELECT id, kind, customer, scopes, customers, features, label, created_at, revoked_at
FROM tg.api_keys WHERE sha256 = %(sha256)s;

-- control_key --
-- A key as it is shown, by its id.
SELECT id, kind, customer, scopes, customers, features, label, created_at, revoked_at
FROM tg.api_keys WHERE id = %(id)s;

-- control_keys --
-- The next keys, the newest first.
SELECT id, kind, customer, scopes, customers, features, label, created_at, revoked_at
FROM tg.api_keys
WHERE (%(customer)s::text IS NULL OR customer = %(customer)s)
  AND (%(revoked)s OR revoked_at IS NULL)
  AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::text))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- control_add_key --
-- Add a key; one with the same hash is left as it is.
INSERT INTO tg.api_keys (sha256, id, kind, customer, scopes, customers, features, label, created_at)
VALUES (%(sha256)s, %(id)s, %(kind)s, %(customer)s, %(scopes)s, %(customers)s, %(features)s, %(label)s, %(now)s)
ON CONFLICT (sha256) DO NOTHING;

-- control_revoke_key --
-- Revoke a key, once; Redis has not heard of it yet.
UPDATE tg.api_keys SET revoked_at = coalesce(revoked_at, %(now)s), pushed_at = NULL
WHERE id = %(id)s RETURNING id, sha256;
