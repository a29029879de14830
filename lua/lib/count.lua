-- Count: one request over its items, from the fence to the log entry. `force` records in full, whatever the limits say.

--- @include "fence"
--- @include "replay"
--- @include "item"
--- @include "window"
--- @include "waterfall"
--- @include "log"

local function count(keys, argv, verb, force)
    local at = fence_decision(keys, argv)
    if at.code then return {at.code, at.now_ms, at.epoch, at.seq} end

    local earlier = replay(keys, argv, at)
    if earlier then return earlier end

    local items = read_items(keys, argv, 6, 10)
    for i = 1, #items do read_state(items[i], at.now_ms) end

    local verdict = decide_all(items, force)
    if verdict ~= 1 then return numbers_of(verdict, at, items) end

    write(keys, argv, verb, at, items)
    local numbers = numbers_of(1, at, items)
    remember(keys, argv, numbers)
    return numbers
end
