-- Waterfall: limits, then the included allowance, then overage. The reference is gateway/pricing/decision.py `decide`.

--- @include "number"
--- @include "price"

-- Is one of the enforced limits in the way?
local function limited(item)
    for _, limit in ipairs(item.limits) do
        if limit.enforce and limit.window.used + item.quantity > limit.max then return true end
    end
    return false
end

-- What the overage of this item adds to the segment's amount.
local function charge(item)
    local price, before = read_price(item.price), item.segment.overage
    local after = amount(price, before + item.from_overage)
    if after > AMOUNT_MAX then item.too_large = true end
    return after - amount(price, before)
end

-- Splits the quantity over its sources; sets item.denied, or item.too_large. Changes nothing else.
local function decide(item, force)
    local quantity = item.quantity
    local left = math.max(0, item.included - item.included_window.used)
    local included = (item.unlimited or quantity <= left) and quantity or left
    local rest = quantity - included
    local covered = item.overage ~= "block" or rest == 0
    item.denied = item.enforce and not force and (not covered or limited(item))
    item.from_included = included
    if covered then item.from_overage = rest else item.beyond = rest end
    for _, window in ipairs(item.windows) do
        if window.used + quantity > NUMBER_MAX then item.too_large = true end
    end
    if item.overage == "charge" and item.from_overage > 0 then item.cost = charge(item) end
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
    local segment = item.segment
    segment.overage = segment.overage + item.from_overage
    segment.beyond = segment.beyond + item.beyond
    segment.cost = segment.cost + item.cost
end

-- The numbers an answer is made from, items one after another; gateway/outcome.py reads them back.
local function numbers_of(verdict, at, items)
    local n = {verdict, at.now_ms, at.epoch, at.seq, #items}
    local i = 5
    for _, item in ipairs(items) do
        local windows, segment = item.windows, item.segment
        n[i + 1], n[i + 2], n[i + 3] = item.denied and 1 or 0, item.quantity, item.from_included
        n[i + 4], n[i + 5], n[i + 6] = item.from_overage, item.beyond, item.cost
        n[i + 7], n[i + 8], n[i + 9] = segment.overage, segment.cost, #windows
        i = i + 9
        for w = 1, #windows do n[i + 1], n[i + 2], i = windows[w].used, windows[w].end_ms, i + 2 end
    end
    return n
end
