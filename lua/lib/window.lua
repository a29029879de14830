-- Window: the counters of one customer and feature, rolled to now. Window 1 is always the billing period.

--- @include "number"

-- A window that has ended starts again from zero; one whose end moved keeps what it counted.
local function roll(window, used, end_ms, now_ms, exact)
    local stored_end_ms = stored(end_ms)
    if stored_end_ms <= now_ms or (exact and stored_end_ms ~= window.end_ms) then
        window.opened, window.moved = true, true
        if window.length_ms > 0 then window.end_ms = now_ms + window.length_ms end
        return
    end
    window.used = stored(used)
    if window.length_ms > 0 then window.end_ms = stored_end_ms end
    window.moved = stored_end_ms ~= window.end_ms
end

-- The stretch of the billing period under one price; a new price begins a new one with its tiers at zero.
local function roll_segment(item, number, price_id, overage, beyond, cost)
    local opened, count = item.windows[1].opened, stored(number)
    if opened or count == 0 then
        return {number = 1, opened = true, ended = count, overage = 0, beyond = 0, cost = 0}
    end
    if price_id ~= item.price_id then
        return {number = count + 1, opened = true, closed = count, overage = 0, beyond = 0, cost = 0}
    end
    return {number = count, opened = false, overage = stored(overage), beyond = stored(beyond), cost = stored(cost)}
end

-- Reads the state an item is decided against, in one HMGET.
local function read_state(item, now_ms)
    local windows, fields = item.windows, {"segment", "price", "overage", "beyond", "cost"}
    for w = 1, #windows do
        fields[2 * w + 4] = windows[w].name .. ":used"
        fields[2 * w + 5] = windows[w].name .. ":end"
    end
    local values = redis.call("HMGET", item.key, unpack(fields))
    for w = 1, #windows do roll(windows[w], values[2 * w + 4], values[2 * w + 5], now_ms, w == 1) end
    item.segment = roll_segment(item, values[1], values[2], values[3], values[4], values[5])
end
