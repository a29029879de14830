-- barrier: after this, no decision of the bucket can carry a time before the given one.
-- Called by reconciler/invoicer.py before a billing period is closed.
--
-- KEYS[1] meta             hash     epoch, seq, clock_ms, offset_ms of the bucket
--
-- ARGV[1] at_ms            integer  the end of the period
--
-- Returns {now_ms, epoch, seq}: everything before at_ms is in the log at or before seq; too early when now_ms < at_ms.
-- Writes  clock_ms, never downwards; nothing when it is too early or the bucket was never adopted.
-- Cost    at most 3 commands.

--- @include "number"

local at_ms = natural(ARGV[1])
local meta = redis.call("HMGET", KEYS[1], "epoch", "seq", "clock_ms", "offset_ms")
local time = redis.call("TIME")
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + stored(meta[4])
local clock_ms = stored(meta[3])
if now_ms >= at_ms and clock_ms < at_ms and meta[1] then
    redis.call("HSET", KEYS[1], "clock_ms", integer(at_ms))
end
return {math.max(now_ms, clock_ms), stored(meta[1]), stored(meta[2])}
