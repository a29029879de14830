-- Log: writes what was decided: the entry that bills it and the counters, in one step.
-- Numbers are handed to redis.call as they are, which is exact; only where texts are joined are they formatted.

--- @include "number"

local FORMAT = "1"
local SLACK_MS = 604800000
local ITEM = "%s,%.0f,%.0f,0,0,%.0f,%.0f,%.0f,%s,%.0f,%.0f,%.0f,%.0f"
local SEGMENT = {"price", "entitlement", "since_ms", "first", "overage", "beyond", "cost"}

-- One item of an entry; reconciler/entry.py reads it back.
local function item_text(item)
    return string.format(
        ITEM, item.feature, item.quantity, item.from_included, item.from_overage, item.beyond, item.cost,
        item.period_start_ms, item.ends[1], item.segment.number, item.used[1], item.segment.overage
    )
end

-- Adds the fields of a segment that opens. The one another price has closed stays beside it until the period ends.
local function open_segment(item, fields, at, version)
    local key, segment = item.key, item.segment
    if segment.closed then
        local values = redis.call("HMGET", key, unpack(SEGMENT))
        for i = 1, #SEGMENT do
            redis.call("HSET", key, string.format("segment.%.0f.%s", segment.closed, SEGMENT[i]), values[i] or "0")
        end
    else
        for k = 1, segment.ended - 1 do
            for i = 1, #SEGMENT do redis.call("HDEL", key, string.format("segment.%.0f.%s", k, SEGMENT[i])) end
        end
    end
    local opening = {
        "segment", segment.number, "price", item.price_id, "entitlement", version, "since_ms", at.now_ms,
        "first", item.first, "period:start", item.period_start_ms,
    }
    for i = 1, #opening do fields[#fields + 1] = opening[i] end
end

-- Adds the fields of windows that opened or moved. The TTL moves only with the latest-ending of them: it is real time,
-- and nothing depends on it.
local function open_windows(item, fields, at)
    local names, ends, latest, expires = item.names, item.ends, 1, false
    for w = 1, item.count do
        if item.moved[w] then
            fields[#fields + 1], fields[#fields + 2] = names[w] .. ":end", ends[w]
            if item.opened and item.opened[w] then
                fields[#fields + 1], fields[#fields + 2] = names[w] .. ":from", at.now_ms
            end
        end
        if ends[w] > ends[latest] then latest = w end
    end
    if item.moved[latest] then expires = ends[latest] end
    return expires
end

local function write_item(item, at, version)
    local names, used, segment, fields, expires = item.names, item.used, item.segment, {}, false
    for w = 1, item.count do
        fields[2 * w - 1], fields[2 * w] = names[w] .. ":used", used[w]
    end
    if item.moved then expires = open_windows(item, fields, at) end
    if segment.opened then open_segment(item, fields, at, version) end
    if segment.opened or segment.changed then
        local sums = {"overage", segment.overage, "beyond", segment.beyond, "cost", segment.cost}
        for i = 1, #sums do fields[#fields + 1] = sums[i] end
    end
    redis.call("HSET", item.key, unpack(fields))
    if expires and expires >= NUMBER_MAX then
        redis.call("PERSIST", item.key)
    elseif expires then
        redis.call("PEXPIREAT", item.key, expires + SLACK_MS - at.offset_ms)
    end
end

-- One entry. It is written before the counters: an id that is not larger is the only thing that could be refused.
local function append(log_key, verb, at, seq, customer, stamp, text)
    redis.call(
        "XADD", log_key, string.format("%.0f-%.0f", at.epoch, seq),
        "f", FORMAT, "v", verb, "t", at.now_ms, "c", customer, "s", stamp, "i", text
    )
end

local function write_position(meta_key, at)
    redis.call("HSET", meta_key, "seq", at.seq, "clock_ms", at.now_ms)
end

-- Everything that one decision over all its items writes.
local function write(keys, argv, verb, at, items)
    at.seq = at.seq + 1
    local texts = {}
    for i = 1, #items do
        apply(items[i])
        texts[i] = item_text(items[i])
    end
    append(keys[2], verb, at, at.seq, argv[8], argv[9], table.concat(texts, ";"))
    for i = 1, #items do write_item(items[i], at, argv[3]) end
    write_position(keys[1], at)
end
