-- Replay: the answer given earlier to the same idempotency key.

--- @include "number"

-- Returns nil when the key is new (or absent), else {code, …} to answer with.
local function replay(keys, argv, at)
    if argv[5] == "" then return nil end
    local record = redis.call("HGET", keys[4], argv[5]) or redis.call("HGET", keys[5], argv[5])
    if not record then return nil end
    if string.sub(record, 1, #argv[6]) ~= argv[6] then
        return {-6, at.now_ms, at.epoch, at.seq}
    end
    return {2, at.now_ms, at.epoch, at.seq, string.sub(record, #argv[6] + 1)}
end

-- Keeps the numbers of an answer, behind the fingerprint, with the version of the entitlement to read them by.
local function remember(keys, argv, numbers)
    if argv[5] == "" then return end
    local texts = string.format("%.0f" .. string.rep(",%.0f", #numbers - 1), unpack(numbers))
    local is_new = redis.call("HLEN", keys[4]) == 0
    redis.call("HSET", keys[4], argv[5], argv[6] .. texts .. "|" .. argv[3])
    if is_new then redis.call("PEXPIREAT", keys[4], argv[7]) end
end
