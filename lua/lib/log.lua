-- Log: writes what was decided: the counters and the entry that bills them, in one step.

--- @include "number"

local FORMAT = "1"
local SLACK_MS = 604800000

-- One item of an entry; reconciler/batch.py reads it back.
local function item_text(item)
    local from, segment = item.from, item.segment
    return table.concat({
        item.feature, integer(item.quantity), integer(from.included), "0", "0", integer(from.overage),
        integer(from.beyond), integer(item.cost), item.period_start_ms, integer(item.windows[1].end_ms),
        integer(segment.segment), integer(item.windows[1].used), integer(segment.overage),
    }, ",")
end

local function append(log_key, verb, at, customer, stamp, items)
    local texts = {}
    for i, item in ipairs(items) do texts[i] = item_text(item) end
    redis.call(
        "XADD", log_key, integer(at.epoch) .. "-" .. integer(at.seq),
        "f", FORMAT, "v", verb, "t", integer(at.now_ms), "c", customer, "s", stamp, "i", table.concat(texts, ";")
    )
end

-- Keeps the closed segment's sums beside the open one until the billing period ends.
local function close_segment(key, closed)
    local prefix = "segment." .. closed.segment .. "."
    for i = 2, #SEGMENT do
        redis.call("HSET", key, prefix .. SEGMENT[i], closed[SEGMENT[i]])
    end
end

local function drop_segments(key, count)
    for k = 1, count - 1 do
        for i = 2, #SEGMENT do redis.call("HDEL", key, "segment." .. integer(k) .. "." .. SEGMENT[i]) end
    end
end

-- The TTL moves only when the latest-ending window opens (or its end moves); it is real time, correctness never needs it.
local function expire(item, at)
    local latest
    for _, window in ipairs(item.windows) do
        if not latest or window.end_ms > latest.end_ms then latest = window end
    end
    if not latest.moved then return end
    if latest.end_ms >= NUMBER_MAX then
        redis.call("PERSIST", item.key)
    else
        redis.call("PEXPIREAT", item.key, integer(latest.end_ms + SLACK_MS - at.offset_ms))
    end
end

local function write_item(item, at)
    local fields = {}
    for _, window in ipairs(item.windows) do
        fields[#fields + 1] = window.name .. ":used"
        fields[#fields + 1] = integer(window.used)
        if window.moved then
            fields[#fields + 1] = window.name .. ":from"
            fields[#fields + 1] = integer(window.from_ms)
            fields[#fields + 1] = window.name .. ":end"
            fields[#fields + 1] = integer(window.end_ms)
        end
    end
    local segment = item.segment
    for i = 5, #SEGMENT do
        fields[#fields + 1] = SEGMENT[i]
        fields[#fields + 1] = integer(segment[SEGMENT[i]])
    end
    if segment.opened then
        for _, pair in ipairs({
            {"segment", integer(segment.segment)}, {"price", item.price_id},
            {"entitlement", segment.entitlement}, {"since_ms", segment.since_ms},
            {"period:start", item.period_start_ms},
        }) do
            fields[#fields + 1] = pair[1]
            fields[#fields + 1] = pair[2]
        end
    end
    if item.closed_segment then close_segment(item.key, item.closed_segment) end
    if item.stale_segments and item.stale_segments > 1 then drop_segments(item.key, item.stale_segments) end
    redis.call("HSET", item.key, unpack(fields))
    expire(item, at)
end

-- Everything a decision writes. The entry first: an id that is not larger is the only thing that could be refused.
local function write(keys, argv, verb, at, items)
    at.seq = at.seq + 1
    for _, item in ipairs(items) do apply(item) end
    append(keys[2], verb, at, argv[13], argv[14], items)
    for _, item in ipairs(items) do write_item(item, at) end
    redis.call("HSET", keys[1], "seq", integer(at.seq), "clock_ms", integer(at.now_ms))
end
