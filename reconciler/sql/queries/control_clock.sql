-- control_clock_offset --
-- How far the test clock is ahead.
SELECT offset_ms FROM tg.test_clock;

-- control_clock_lock --
-- One at a time moves the test clock. Ends with the transaction.
SELECT pg_advisory_xact_lock(8390046003218);

-- control_clock_set --
-- The test clock, which never goes back.
INSERT INTO tg.test_clock (offset_ms) VALUES (%(offset_ms)s)
ON CONFLICT (only_row) DO UPDATE SET offset_ms = greatest(tg.test_clock.offset_ms, excluded.offset_ms);
