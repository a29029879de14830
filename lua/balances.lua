-- balances: the enforcing numbers of one customer, all of one instant.
-- Called by the gateway for GET …/balances and by the reconciler for the upcoming invoice and verify.
--
-- KEYS[1] meta             hash     run_id, replid, epoch, seq, clock_ms, offset_ms of the bucket
-- KEYS[2] entitlement      hash     version and doc
-- KEYS[3..] usage          hash     windows and segments of a feature each
--
-- Returns {now_ms, epoch, seq, version or "", {field, value, …}, …}: one flat hash per usage key, in order.
-- Writes  nothing.
-- Cost    O(fields), 3 commands and 1 per key.
-- Called without a fence: what it returns is shown, never counted.

--- @include "number"

local meta = redis.call("HMGET", KEYS[1], "epoch", "seq", "clock_ms", "offset_ms")
local time = redis.call("TIME")
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + stored(meta[4])
local reply = {
    math.max(now_ms, stored(meta[3])), stored(meta[1]), stored(meta[2]),
    redis.call("HGET", KEYS[2], "version") or "",
}
for i = 3, #KEYS do reply[#reply + 1] = redis.call("HGETALL", KEYS[i]) end
return reply
