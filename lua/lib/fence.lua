-- Fence: is this the server, the clock and the entitlement that the caller believes it is talking to?

--- @include "number"

local CLOCK_DIFFERENCE_MAX_MS = 5000
local STEP_BACK_MAX_MS = 60000
local MOMENT = "^(%d+),(%d+),(%d+),(%d+),(%d+)$"

-- Returns the bucket's position and time, with the code to answer when the caller must not go on.
local function fence(meta_key, run_id, replid, caller_ms, acked_epoch, acked_seq)
    local meta = redis.call("HMGET", meta_key, "run_id", "replid", "epoch", "seq", "clock_ms", "offset_ms")
    local time = redis.call("TIME")
    local real_ms = time[1] * 1000 + math.floor(time[2] / 1000)
    local epoch, seq, clock_ms, offset_ms = stored(meta[3]), stored(meta[4]), stored(meta[5]), stored(meta[6])
    local now_ms, code = real_ms + offset_ms, nil
    if run_id == "script" then
        -- A connection may outlive a failover, the server's own word does not.
        run_id = string.match(redis.call("INFO", "server"), "run_id:(%w+)")
        replid = string.match(redis.call("INFO", "replication"), "master_replid:(%w+)")
    end
    if not meta[1] or meta[1] ~= run_id or meta[2] ~= replid then
        code = -1
    elseif epoch < acked_epoch or (epoch == acked_epoch and seq < acked_seq) then
        code = -1
    elseif math.abs(real_ms - caller_ms) > CLOCK_DIFFERENCE_MAX_MS then
        code = -4
    elseif clock_ms > now_ms then
        if clock_ms - now_ms > STEP_BACK_MAX_MS then code = -8 end
        now_ms = clock_ms
    end
    return {code = code, now_ms = now_ms, epoch = epoch, seq = seq, offset_ms = offset_ms}
end

-- The fence of a decision: the entitlement must be the current one and its windows must cover now.
local function fence_decision(keys, argv)
    local caller_ms, acked_epoch, acked_seq, from_ms, until_ms = string.match(argv[4], MOMENT)
    from_ms, until_ms = natural(from_ms), natural(until_ms)
    local at = fence(keys[1], argv[1], argv[2], natural(caller_ms), natural(acked_epoch), natural(acked_seq))
    if at.code then return at end
    local version = redis.call("HGET", keys[3], "version")
    if not version then
        at.code = -5
    elseif version ~= argv[3] then
        at.code = -2
    elseif at.now_ms < from_ms or at.now_ms >= until_ms then
        at.code = -3
    end
    return at
end
