-- Window: the counters of one customer and feature, rolled to now. Window 1 is always the billing period.

--- @include "number"

-- The stretch of the billing period under one price; a new price begins a new one with its tiers at zero.
local function roll_segment(item, number, price_id, overage, beyond, cost)
    local count = stored(number)
    if (item.opened and item.opened[1]) or count == 0 then
        return {number = 1, opened = true, ended = count, overage = 0, beyond = 0, cost = 0}
    end
    if price_id ~= item.price_id then
        return {number = count + 1, opened = true, closed = count, overage = 0, beyond = 0, cost = 0}
    end
    return {number = count, opened = false, overage = stored(overage), beyond = stored(beyond), cost = stored(cost)}
end

-- Reads the state an item is decided against, in one HMGET. A window that has ended starts again from zero (so does a
-- billing period whose end is another); any other window whose end moved keeps what it counted.
local function read_state(item, now_ms)
    local names, ends, lengths, used = item.names, item.ends, item.lengths, {}
    local fields = {"segment", "price", "overage", "beyond", "cost"}
    for w = 1, item.count do
        fields[2 * w + 4], fields[2 * w + 5] = names[w] .. ":used", names[w] .. ":end"
    end
    local values = redis.call("HMGET", item.key, unpack(fields))
    for w = 1, item.count do
        local stored_end_ms, length_ms = stored(values[2 * w + 5]), lengths and lengths[w]
        if stored_end_ms <= now_ms or (w == 1 and stored_end_ms ~= ends[1]) then
            used[w] = 0
            item.opened, item.moved = item.opened or {}, item.moved or {}
            item.opened[w], item.moved[w] = true, true
            if length_ms then ends[w] = now_ms + length_ms end
        else
            used[w] = stored(values[2 * w + 4])
            if length_ms then
                ends[w] = stored_end_ms
            elseif stored_end_ms ~= ends[w] then
                item.moved = item.moved or {}
                item.moved[w] = true
            end
        end
    end
    item.used, item.first = used, used[1]
    item.segment = roll_segment(item, values[1], values[2], values[3], values[4], values[5])
end
