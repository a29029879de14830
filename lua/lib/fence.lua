-- Fence: is this the server, the clock and the entitlement that the caller believes it is talking to?

--- @include "number"

local CLOCK_DIFFERENCE_MAX_MS = 5000
local STEP_BACK_MAX_MS = 60000

-- The identity of the server as it states it itself, for connections that may outlive a failover.
local function identity()
    local run_id = string.match(redis.call("INFO", "server"), "run_id:(%w+)")
    local replid = string.match(redis.call("INFO", "replication"), "master_replid:(%w+)")
    return run_id, replid
end

-- Returns the bucket's position and time, or {code = …} when the caller must not go on.
local function fence(meta_key, run_id, replid, caller_ms, acked_epoch, acked_seq)
    local meta = redis.call("HMGET", meta_key, "run_id", "replid", "epoch", "seq", "clock_ms", "offset_ms")
    local time = redis.call("TIME")
    local real_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    local at = {
        epoch = stored(meta[3]), seq = stored(meta[4]), offset_ms = stored(meta[6]),
        now_ms = real_ms + stored(meta[6]),
    }
    if run_id == "script" then run_id, replid = identity() end
    if not meta[1] or meta[1] ~= run_id or meta[2] ~= replid then
        at.code = -1
    elseif at.epoch < acked_epoch or (at.epoch == acked_epoch and at.seq < acked_seq) then
        at.code = -1
    elseif math.abs(real_ms - caller_ms) > CLOCK_DIFFERENCE_MAX_MS then
        at.code = -4
    end
    local clock_ms = stored(meta[5])
    if clock_ms > at.now_ms then
        if not at.code and clock_ms - at.now_ms > STEP_BACK_MAX_MS then at.code = -8 end
        at.now_ms = clock_ms
    end
    return at
end

-- The fence of a decision: the entitlement must be the current one and its windows must cover now.
local function fence_decision(keys, argv)
    local at = fence(
        keys[1], argv[1], argv[2], natural(argv[3], "caller_ms"),
        natural(argv[4], "acked_epoch"), natural(argv[5], "acked_seq")
    )
    if at.code then return at end
    local version = redis.call("HGET", keys[3], "version")
    if not version then
        at.code = -5
    elseif version ~= argv[6] then
        at.code = -2
    elseif at.now_ms < natural(argv[7], "valid_from_ms") or at.now_ms >= natural(argv[8], "valid_until_ms") then
        at.code = -3
    end
    return at
end
