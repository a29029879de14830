-- Price: A(q), the money owed for the first q base units of a segment, at scale 9, from tiers compiled in Python.
-- The same formulas as gateway/pricing/compiled.py `amount_nano`; no intermediate passes 2^53 (checked there).

--- @include "number"

-- base + floor((carry + quantity × unit) / denominator), without forming quantity × unit.
local function scaled(base, carry, quantity, unit, denominator)
    local whole = math.floor(quantity / denominator)
    local part = quantity - whole * denominator
    return base + whole * unit + math.floor((carry + part * unit) / denominator)
end

local function package_amount(tier, quantity)
    local packages = math.floor(quantity / tier.start)
    if tier.base == 1 and packages * tier.start < quantity then packages = packages + 1 end
    return packages * tier.unit
end

local function amount(price, quantity)
    if price.kind == "" or quantity == 0 then return 0 end
    local tiers = price.tiers
    if price.kind == "p" then return package_amount(tiers[1], quantity) end
    local i = #tiers
    while i > 1 and tiers[i].start >= quantity do i = i - 1 end
    local tier = tiers[i]
    if price.kind == "v" then return scaled(tier.base, 0, quantity, tier.unit, price.denominator) end
    return scaled(tier.base, tier.carry, quantity - tier.start, tier.unit, price.denominator)
end
