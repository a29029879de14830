-- control_account --
-- What of a customer bears on entitlements and invoices.
SELECT id, currency, time_zone, suspended, doc FROM tg.customers WHERE id = %(customer)s;

-- control_account_locked --
-- Likewise, and changes to the customer wait until this transaction ends.
SELECT id, currency, time_zone, suspended, doc FROM tg.customers WHERE id = %(customer)s FOR UPDATE;

-- control_customer --
-- A customer as it is shown.
SELECT id, doc, currency, time_zone, suspended, created_at, updated_at
FROM tg.customers WHERE id = %(customer)s;

-- control_customers --
-- The next customers by id.
SELECT id, doc, currency, time_zone, suspended, created_at, updated_at
FROM tg.customers
WHERE id > %(after)s
ORDER BY id LIMIT %(limit)s;

-- control_save_customer --
-- Create a customer, or replace everything that is said of one.
INSERT INTO tg.customers (id, doc, currency, time_zone, suspended, created_at, updated_at)
VALUES (%(customer)s, %(doc)s, %(currency)s, %(time_zone)s, %(suspended)s, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET
    doc = excluded.doc, currency = excluded.currency, time_zone = excluded.time_zone,
    suspended = excluded.suspended, updated_at = excluded.updated_at;

-- control_delete_customer --
-- Delete a customer with its subscription and keys.
DELETE FROM tg.customers WHERE id = %(customer)s;

-- control_invoices_of_customer --
-- How many invoices name a customer.
SELECT count(*) FROM tg.invoices WHERE customer = %(customer)s;

-- control_key_digests_of_customer --
-- The keys that go with a customer.
SELECT sha256 FROM tg.api_keys WHERE customer = %(customer)s;

-- control_phases --
-- The phases of a subscription, oldest first.
SELECT customer, starts_at, ends_at, anchor_at, plan, catalog, quantity, overrides, billed_to, due_at
FROM tg.subscriptions WHERE customer = %(customer)s ORDER BY starts_at;

-- control_save_phase --
-- Insert a phase or replace what is said of it.
INSERT INTO tg.subscriptions
    (customer, starts_at, ends_at, anchor_at, plan, catalog, quantity, overrides, billed_to, due_at, created_at)
VALUES
    (%(customer)s, %(starts_at)s, %(ends_at)s, %(anchor_at)s, %(plan)s, %(catalog)s, %(quantity)s,
     %(overrides)s, %(billed_to)s, %(due_at)s, %(now)s)
ON CONFLICT (customer, starts_at) DO UPDATE SET
    ends_at = excluded.ends_at, anchor_at = excluded.anchor_at, plan = excluded.plan,
    catalog = excluded.catalog, quantity = excluded.quantity, overrides = excluded.overrides,
    billed_to = excluded.billed_to, due_at = excluded.due_at;

-- control_drop_phase --
-- Remove a phase.
DELETE FROM tg.subscriptions WHERE customer = %(customer)s AND starts_at = %(starts_at)s;
