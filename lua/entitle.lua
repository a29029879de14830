-- entitle: put a customer's entitlement in force, unless Redis has a newer one.
-- Called by reconciler/publisher.py after Postgres has committed it.
--
-- KEYS[1] entitlement      hash     version and doc
-- KEYS[2] past             hash     earlier docs by version, to answer a repeated idempotency key as it was answered
--
-- ARGV[1] version          integer  grows with every change to the customer
-- ARGV[2] doc              string   msgpack of Entitlement.to_plain; "" when the customer is gone
-- ARGV[3] keep_ms          integer  how long an earlier doc is kept: the idempotency retention
--
-- Returns 1 written, 0 an equal or newer version is there.
-- Writes  all of it or nothing.
-- Cost    at most 6 commands; the 64 newest of the earlier docs are kept.

--- @include "number"

local PAST_MAX = 64

local new, keep_ms = natural(ARGV[1]), natural(ARGV[3])
local now = redis.call("HMGET", KEYS[1], "version", "doc")
if new <= stored(now[1]) then return 0 end

if now[1] then
    redis.call("HSET", KEYS[2], now[1], now[2])
    redis.call("PEXPIRE", KEYS[2], keep_ms)
    local versions = redis.call("HKEYS", KEYS[2])
    if #versions > PAST_MAX then
        table.sort(versions, function(a, b) return tonumber(a) < tonumber(b) end)
        redis.call("HDEL", KEYS[2], versions[1])
    end
end
redis.call("HSET", KEYS[1], "version", ARGV[1], "doc", ARGV[2])
return 1
