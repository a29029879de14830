-- entitle: put a customer's entitlement in force, unless Redis has a newer one.
-- Called by reconciler/publisher.py after Postgres has committed it.
--
-- KEYS[1] entitlement      hash     version and doc
--
-- ARGV[1] version          integer  grows with every change to the customer
-- ARGV[2] doc              string   msgpack of Entitlement.to_plain; "" when the customer is gone
--
-- Returns 1 written, 0 an equal or newer version is there.
-- Writes  both fields or none.
-- Cost    2 commands.

--- @include "number"

if natural(ARGV[1], "version") <= stored(redis.call("HGET", KEYS[1], "version")) then return 0 end
redis.call("HSET", KEYS[1], "version", ARGV[1], "doc", ARGV[2])
return 1
