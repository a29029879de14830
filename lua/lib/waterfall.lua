-- Waterfall: limits, then the included allowance, then overage. The reference is gateway/pricing/decision.py `decide`.

--- @include "number"
--- @include "price"

local LIMIT = "(%d+),(%d+),([01]);"

-- Is one of the enforced limits in the way?
local function limited(item)
    for window, max, enforce in string.gmatch(item.limits, LIMIT) do
        if item.used[natural(window)] + item.quantity > natural(max) and enforce == "1" then return true end
    end
    return false
end

-- Splits the quantity over its sources; sets item.denied, or item.too_large. Changes nothing else.
local function decide(item, force)
    local quantity, used, segment = item.quantity, item.used, item.segment
    local left = math.max(0, item.included - used[item.included_window])
    local included = (item.unlimited or quantity <= left) and quantity or left
    local rest = quantity - included
    local covered = item.overage ~= "block" or rest == 0
    local over = limited(item)
    item.denied = item.enforce and not force and (over or not covered)
    item.from_included, item.from_overage, item.beyond = included, covered and rest or 0, covered and 0 or rest
    item.cost, item.too_large = 0, false
    for w = 1, item.count do
        if used[w] + quantity > NUMBER_MAX then item.too_large = true end
    end
    if rest > 0 and item.overage == "charge" then
        local before, after = amounts(item.price, segment.overage, segment.overage + rest)
        item.cost = after - before
        if after > AMOUNT_MAX then item.too_large = true end
    end
end

-- Decides every item: all of them, or none.
local function decide_all(items, force)
    local verdict = 1
    for i = 1, #items do
        decide(items[i], force)
        if items[i].too_large then return -7 end
        if items[i].denied then verdict = 0 end
    end
    return verdict
end

-- Counts what was decided into the item's windows and segment, in memory.
local function apply(item)
    local used, quantity, segment = item.used, item.quantity, item.segment
    segment.changed = segment.changed or item.from_overage > 0 or item.beyond > 0
    for w = 1, item.count do used[w] = used[w] + quantity end
    segment.overage = segment.overage + item.from_overage
    segment.beyond = segment.beyond + item.beyond
    segment.cost = segment.cost + item.cost
end

-- The numbers an answer is made from, items one after another; gateway/outcome.py reads them back.
local function numbers_of(verdict, at, items)
    local n, i = {verdict, at.now_ms, at.epoch, at.seq, #items}, 5
    for k = 1, #items do
        local item = items[k]
        local used, ends, segment = item.used, item.ends, item.segment
        n[i + 1], n[i + 2], n[i + 3] = item.denied and 1 or 0, item.quantity, item.from_included
        n[i + 4], n[i + 5], n[i + 6] = item.from_overage, item.beyond, item.cost
        n[i + 7], n[i + 8], n[i + 9] = segment.overage, segment.cost, item.count
        i = i + 9
        for w = 1, item.count do n[i + 1], n[i + 2], i = used[w], ends[w], i + 2 end
    end
    return n
end
