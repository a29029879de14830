-- Price: A(q), the money owed for the first q base units of a segment, at scale 9, from tiers compiled in Python.
-- The reference is gateway/pricing/compiled.py `amount_nano`, which also says why nothing here passes 2^53.

--- @include "number"

local AMOUNT_MAX = 9000000000000000

-- base + floor((carry + quantity × unit) / denominator), without forming quantity × unit.
-- The remainder is taken first: it is exact in doubles, floor(quantity / denominator) is not.
local function scaled(tier, quantity, denominator)
    local part = math.fmod(quantity, denominator)
    local whole = (quantity - part) / denominator
    local rest = tier.carry + part * tier.unit
    return tier.base + whole * tier.unit + (rest - math.fmod(rest, denominator)) / denominator
end

local function package_amount(tier, quantity)
    local part = math.fmod(quantity, tier.start)
    local packages = (quantity - part) / tier.start
    if part > 0 then packages = packages + tier.base end
    return packages * tier.unit
end

local function amount(price, quantity)
    if price.kind == "" or quantity == 0 then return 0 end
    local tiers = price.tiers
    if price.kind == "p" then return package_amount(tiers[1], quantity) end
    local i = #tiers
    while i > 1 and tiers[i].start >= quantity do i = i - 1 end
    local distance = price.kind == "g" and quantity - tiers[i].start or quantity
    return scaled(tiers[i], distance, price.denominator)
end
