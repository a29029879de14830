-- Waterfall: limits, then the included allowance, then overage. The reference is gateway/pricing/decision.py `decide`.

--- @include "number"
--- @include "price"

-- Is one of the enforced limits in the way?
local function limited(item)
    for _, limit in ipairs(item.limits) do
        if limit.enforce and item.windows[limit.window].used + item.quantity > limit.max then return true end
    end
    return false
end

-- Splits the quantity over its sources; sets item.denied, or item.too_large. Changes nothing else.
local function decide(item, force)
    local quantity, segment = item.quantity, item.segment
    local left = item.included - item.windows[item.included_window].used
    if left < 0 then left = 0 end
    local included = (item.unlimited or quantity <= left) and quantity or left
    local rest = quantity - included
    local covered = item.overage ~= "block" or rest == 0
    item.denied = item.enforce and not force and (not covered or limited(item))
    item.from = {included = included, overage = covered and rest or 0, beyond = covered and 0 or rest}
    for _, window in ipairs(item.windows) do
        if window.used + quantity > NUMBER_MAX then item.too_large = true end
    end
    item.cost = 0
    if item.overage == "charge" and item.from.overage > 0 then
        local after = amount(item.price, segment.overage + item.from.overage)
        item.cost = after - amount(item.price, segment.overage)
        if after > AMOUNT_MAX then item.too_large = true end
    end
end

-- Decides every item: all of them, or none.
local function decide_all(items, force)
    local verdict = 1
    for _, item in ipairs(items) do
        decide(item, force)
        if item.too_large then return -7 end
        if item.denied then verdict = 0 end
    end
    return verdict
end

-- Counts what was decided into the item's windows and segment, in memory.
local function apply(item)
    for _, window in ipairs(item.windows) do window.used = window.used + item.quantity end
    local segment, from = item.segment, item.from
    segment.quantity = segment.quantity + item.quantity
    segment.included = segment.included + from.included
    segment.overage = segment.overage + from.overage
    segment.beyond = segment.beyond + from.beyond
    segment.cost = segment.cost + item.cost
end

-- The numbers an answer is made from, items one after another; gateway/pricing/decision.py reads them back.
local function numbers_of(verdict, at, items)
    local n = {verdict, at.now_ms, at.epoch, at.seq, #items}
    for _, item in ipairs(items) do
        local from, segment = item.from, item.segment
        n[#n + 1] = item.denied and 1 or 0
        n[#n + 1] = item.quantity
        n[#n + 1] = from.included
        n[#n + 1] = from.overage
        n[#n + 1] = from.beyond
        n[#n + 1] = item.cost
        n[#n + 1] = segment.overage
        n[#n + 1] = segment.cost
        n[#n + 1] = #item.windows
        for _, window in ipairs(item.windows) do
            n[#n + 1] = window.used
            n[#n + 1] = window.end_ms
        end
    end
    return n
end
