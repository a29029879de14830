-- control_invoices_by_id --
-- Invoices as they are shown.
SELECT id, number, status, doc, created_at, finalized_at
FROM tg.invoices WHERE id = ANY (%(ids)s::text[]) ORDER BY created_at, number, id;

-- control_invoices --
-- The next invoices, the newest first.
SELECT id, number, status, doc, created_at, finalized_at
FROM tg.invoices
WHERE (%(customer)s::text IS NULL OR customer = %(customer)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::text))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- control_losses --
-- What could not be copied, the newest first.
SELECT found_at, bucket, epoch, from_seq, to_seq, note FROM tg.losses ORDER BY id DESC LIMIT %(limit)s;

-- control_unpushed_counts --
-- How many entitlements and keys Redis may not have yet.
SELECT (SELECT count(*) FROM tg.entitlements WHERE pushed_at IS NULL),
       (SELECT count(*) FROM tg.api_keys WHERE pushed_at IS NULL);
