-- Window: the counters of one customer and feature, rolled to now. Window 1 is always the billing period.

--- @include "number"

local SEGMENT = {"segment", "price", "entitlement", "since_ms", "quantity", "included", "overage", "beyond", "cost"}

-- A window that has ended starts again from zero; one whose end moved keeps what it counted.
local function roll(window, used, from_ms, end_ms, now_ms, exact)
    window.used, window.from_ms = stored(used), stored(from_ms)
    local stored_end_ms = stored(end_ms)
    window.opened = stored_end_ms <= now_ms or (exact and stored_end_ms ~= window.end_ms)
    if window.opened then
        window.used, window.from_ms = 0, now_ms
        if window.length_ms > 0 then window.end_ms = now_ms + window.length_ms end
    elseif window.length_ms > 0 then
        window.end_ms = stored_end_ms
    end
    window.moved = window.opened or stored_end_ms ~= window.end_ms
end

-- The stretch of the billing period under one price; a new price begins a new one with its tiers at zero.
local function roll_segment(item, values, first, version, now_ms)
    local s = {}
    for i = 1, #SEGMENT do s[SEGMENT[i]] = values[first + i] end
    if item.windows[1].opened or not s.segment then
        item.stale_segments = item.windows[1].opened and stored(s.segment) or 0
        item.segment = {segment = 1, opened = true}
    elseif s.price ~= item.price_id then
        item.closed_segment = s
        item.segment = {segment = stored(s.segment) + 1, opened = true}
    else
        item.segment = {segment = stored(s.segment), entitlement = s.entitlement, since_ms = s.since_ms}
    end
    for i = 5, #SEGMENT do
        item.segment[SEGMENT[i]] = item.segment.opened and 0 or stored(s[SEGMENT[i]])
    end
    if item.segment.opened then item.segment.entitlement, item.segment.since_ms = version, integer(now_ms) end
end

-- Reads the state an item is decided against, one HMGET.
local function read_state(item, version, now_ms)
    local fields = {}
    for _, window in ipairs(item.windows) do
        fields[#fields + 1] = window.name .. ":used"
        fields[#fields + 1] = window.name .. ":from"
        fields[#fields + 1] = window.name .. ":end"
    end
    local first = #fields
    for i = 1, #SEGMENT do fields[first + i] = SEGMENT[i] end
    local values = redis.call("HMGET", item.key, unpack(fields))
    for w, window in ipairs(item.windows) do
        roll(window, values[3 * w - 2], values[3 * w - 1], values[3 * w], now_ms, w == 1)
    end
    roll_segment(item, values, first, version, now_ms)
end
