-- adopt: make this server the one that a bucket's decisions are taken on, in a new epoch.
-- Called by reconciler/adoption.py, after Postgres has raised the bucket's generation.
--
-- KEYS[1] meta             hash     run_id, replid, epoch, seq, clock_ms, offset_ms, buckets, format
-- KEYS[2] log              stream   read for the id of its last entry
--
-- ARGV[1] run_id           string   of this server
-- ARGV[2] replid           string   master_replid of this server
-- ARGV[3] epoch            integer  the new epoch, larger than any before it
-- ARGV[4] buckets          integer  how many the installation has
-- ARGV[5] ledger_epoch     integer  the position Postgres has
-- ARGV[6] ledger_seq       integer  likewise
-- ARGV[7] offset_ms        integer  how far the test clock is ahead; 0 where there is none
--
-- Returns {code, epoch, seq} with the bucket's last position before the call: 1 adopted, 2 adopted by this server
--         before, -1 Redis is behind the ledger, -2 another number of buckets, -3 the epoch is not larger.
-- Writes  meta, or nothing.
-- Cost    at most 4 commands.

--- @include "number"

local meta = redis.call("HMGET", KEYS[1], "run_id", "replid", "epoch", "seq", "buckets")
local epoch, seq = stored(meta[3]), stored(meta[4])
local ledger_epoch, ledger_seq = natural(ARGV[5]), natural(ARGV[6])
local new_epoch = natural(ARGV[3])
natural(ARGV[7])

-- meta and log are written in one step, so a log that ends elsewhere than meta says has lost its tail.
local last = redis.call("XREVRANGE", KEYS[2], "+", "-", "COUNT", 1)[1]
if last then
    local last_epoch, last_seq = string.match(last[1], "^(%d+)-(%d+)$")
    last_epoch, last_seq = tonumber(last_epoch), tonumber(last_seq)
    if last_epoch > epoch or (last_epoch == epoch and last_seq > seq) then epoch, seq = last_epoch, last_seq end
end

if meta[5] and meta[5] ~= ARGV[4] then return {-2, epoch, seq} end
if epoch < ledger_epoch or (epoch == ledger_epoch and seq < ledger_seq) then return {-1, epoch, seq} end
if meta[1] == ARGV[1] and meta[2] == ARGV[2] then return {2, epoch, seq} end
if new_epoch <= epoch then return {-3, epoch, seq} end

redis.call(
    "HSET", KEYS[1], "run_id", ARGV[1], "replid", ARGV[2], "epoch", ARGV[3], "seq", "0",
    "buckets", ARGV[4], "format", "1"
)
if ARGV[7] ~= "0" then redis.call("HSET", KEYS[1], "offset_ms", ARGV[7]) end
return {1, epoch, seq}
