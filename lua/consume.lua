-- consume: decide and count one request over one or more features, all of them or none.
-- Called by gateway/counters.py for POST /v1/consume and /authz.
--
-- KEYS[1] meta             hash     run_id, replid, epoch, seq, clock_ms, offset_ms of the bucket
-- KEYS[2] log              stream   one entry per decision that changed something, id <epoch>-<seq>
-- KEYS[3] entitlement      hash     version and doc; only the version is read
-- KEYS[4] idempotency      hash     records of the current slab
-- KEYS[5] idempotency_past hash     records of the slab before it
-- KEYS[6..] usage          hash     windows and segment of each item's feature, in the order of the items
--
-- ARGV[1] run_id           string   of the server the caller is connected to, or "script" to read it here
-- ARGV[2] replid           string   likewise, master_replid
-- ARGV[3] version          integer  of the entitlement the items were compiled from
-- ARGV[4] moment           integers caller_ms,acked_epoch,acked_seq,valid_from_ms,valid_until_ms: the caller's clock, the
--                                   highest position of this bucket it was told of, and when the items hold
-- ARGV[5] field            string   of the idempotency record, "" for none
-- ARGV[6] fingerprint      string   16 bytes that identify the payload
-- ARGV[7] forget_ms        integer  when a new slab expires, real time
-- ARGV[8] customer         string   for the log
-- ARGV[9] stamp            string   msgpack for the log: entitlement, plan, catalog, key, request
-- ARGV[10..] items         string   six for each item: gateway/entitlements.py lays them out, lib/item.lua reads them
--
-- Returns {code, now_ms, epoch, seq, …}: after 1 (done) and 0 (denied) the numbers of lib/waterfall.lua; after 2 (replayed) the record.
-- Writes  usage, log, meta and the idempotency record together; nothing on a denial or a refusal.
-- Cost    O(items × windows), at most 6 commands and 3 per item.

--- @include "count"

return count(KEYS, ARGV, "consume", false)
