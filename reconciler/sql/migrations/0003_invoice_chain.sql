-- Invoices are chained in the order of their numbers, as decisions are: one that was altered or removed shows.

ALTER TABLE tg.invoices ADD COLUMN chain bytea;                       -- null: a draft
ALTER TABLE tg.invoice_numbers ADD COLUMN chain bytea NOT NULL DEFAULT '';  -- of the last invoice numbered

-- The chain value of an invoice that follows one with chain value `previous`. Voiding changes nothing of it.
CREATE FUNCTION tg.invoice_link(previous bytea, i tg.invoices) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(previous || convert_to(jsonb_build_array(
        i.id, i.number, i.customer, i.currency, extract(epoch FROM i.period_start), extract(epoch FROM i.period_end),
        i.total, i.doc, extract(epoch FROM i.created_at), extract(epoch FROM i.finalized_at)
    )::text, 'UTF8'))
$$;

-- The row of the series is locked by whoever took the number, so the chain grows in the order of the numbers.
CREATE FUNCTION tg.chain_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tg.invoice_numbers SET chain = tg.invoice_link(chain, NEW)
    WHERE series = split_part(NEW.number, '-', 1) RETURNING chain INTO STRICT NEW.chain;
    RETURN NEW;
END $$;

ALTER TABLE tg.invoices DISABLE TRIGGER finalized_stays;
DO $$
DECLARE
    i tg.invoices;
    last bytea := '';
BEGIN
    FOR i IN SELECT * FROM tg.invoices WHERE number IS NOT NULL ORDER BY length(number), number LOOP
        last := tg.invoice_link(last, i);
        UPDATE tg.invoices SET chain = last WHERE id = i.id;
    END LOOP;
    UPDATE tg.invoice_numbers SET chain = last;
END $$;
ALTER TABLE tg.invoices ENABLE TRIGGER finalized_stays;

CREATE TRIGGER chained_insert BEFORE INSERT ON tg.invoices
    FOR EACH ROW WHEN (NEW.number IS NOT NULL) EXECUTE FUNCTION tg.chain_invoice();
CREATE TRIGGER chained_update BEFORE UPDATE ON tg.invoices
    FOR EACH ROW WHEN (OLD.number IS NULL AND NEW.number IS NOT NULL) EXECUTE FUNCTION tg.chain_invoice();
ALTER TABLE tg.invoices ADD CONSTRAINT chained CHECK ((chain IS NULL) = (number IS NULL));
