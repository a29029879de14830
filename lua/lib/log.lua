-- Log: writes what was decided: the entry that bills it and the counters, in one step.

--- @include "number"

local FORMAT = "1"
local SLACK_MS = 604800000
local ITEM = "%s,%.0f,%.0f,0,0,%.0f,%.0f,%.0f,%s,%.0f,%.0f,%.0f,%.0f"
local SEGMENT = {"price", "entitlement", "since_ms", "first", "overage", "beyond", "cost"}

-- One item of an entry; reconciler/entry.py reads it back.
local function item_text(item)
    local segment, period = item.segment, item.windows[1]
    return string.format(
        ITEM, item.feature, item.quantity, item.from_included, item.from_overage, item.beyond, item.cost,
        item.period_start_ms, period.end_ms, segment.number, period.used, segment.overage
    )
end

local function append(log_key, verb, at, customer, stamp, items)
    local texts = {}
    for i = 1, #items do texts[i] = item_text(items[i]) end
    redis.call(
        "XADD", log_key, string.format("%.0f-%.0f", at.epoch, at.seq),
        "f", FORMAT, "v", verb, "t", integer(at.now_ms), "c", customer, "s", stamp, "i", table.concat(texts, ";")
    )
end

-- A segment that another price has ended stays beside the open one until the billing period ends.
local function keep_closed(key, number)
    local values = redis.call("HMGET", key, unpack(SEGMENT))
    for i = 1, #SEGMENT do
        redis.call("HSET", key, "segment." .. integer(number) .. "." .. SEGMENT[i], values[i] or "0")
    end
end

local function drop_closed(key, count)
    for k = 1, count - 1 do
        for i = 1, #SEGMENT do redis.call("HDEL", key, "segment." .. integer(k) .. "." .. SEGMENT[i]) end
    end
end

local function add(fields, name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
end

local function open_segment(item, fields, at, version)
    local segment = item.segment
    if segment.closed then keep_closed(item.key, segment.closed) else drop_closed(item.key, segment.ended) end
    add(fields, "segment", integer(segment.number))
    add(fields, "price", item.price_id)
    add(fields, "entitlement", version)
    add(fields, "since_ms", integer(at.now_ms))
    add(fields, "first", integer(item.windows[1].used - item.quantity))
    add(fields, "period:start", item.period_start_ms)
end

-- The TTL moves only when the latest-ending window opens or moves; it is real time, and nothing depends on it.
local function expire(item, at)
    local latest = item.windows[1]
    for _, window in ipairs(item.windows) do
        if window.end_ms > latest.end_ms then latest = window end
    end
    if not latest.moved then return end
    if latest.end_ms >= NUMBER_MAX then
        redis.call("PERSIST", item.key)
    else
        redis.call("PEXPIREAT", item.key, integer(latest.end_ms + SLACK_MS - at.offset_ms))
    end
end

local function write_item(item, at, version)
    local fields, segment, moved = {}, item.segment, false
    for _, window in ipairs(item.windows) do
        add(fields, window.name .. ":used", integer(window.used))
        if window.moved then add(fields, window.name .. ":end", integer(window.end_ms)) end
        if window.opened then add(fields, window.name .. ":from", integer(at.now_ms)) end
        moved = moved or window.moved
    end
    if segment.opened then open_segment(item, fields, at, version) end
    if segment.opened or item.from_overage > 0 then
        add(fields, "overage", integer(segment.overage))
        add(fields, "cost", integer(segment.cost))
    end
    if segment.opened or item.beyond > 0 then add(fields, "beyond", integer(segment.beyond)) end
    redis.call("HSET", item.key, unpack(fields))
    if moved then expire(item, at) end
end

-- Everything a decision writes. The entry first: an id that is not larger is the only thing that could be refused.
local function write(keys, argv, verb, at, items)
    at.seq = at.seq + 1
    for _, item in ipairs(items) do apply(item) end
    append(keys[2], verb, at, argv[8], argv[9], items)
    for _, item in ipairs(items) do write_item(item, at, argv[3]) end
    redis.call("HSET", keys[1], "seq", integer(at.seq), "clock_ms", integer(at.now_ms))
end
