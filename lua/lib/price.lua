-- Price: A(q), the money owed for the first q base units of a segment, at scale 9, from tiers compiled in Python.
-- The reference is gateway/pricing/compiled.py `amount_nano`, which also says why nothing here passes 2^53.

--- @include "number"

local AMOUNT_MAX = 9000000000000000
local TIERS_MAX = 64
local TIER = "(%d+),(%d+),(%d+),(%d+);"

-- The amounts for two quantities under "kind,denominator;" and its tiers; called only when there is overage to charge.
local function amounts(text, before, after)
    local kind, denominator, tiers_at = string.match(text, "^([gvp]),(%d+);()")
    denominator = natural(denominator)
    local tiers = {}
    for start, unit, base, carry in string.gmatch(string.sub(text, tiers_at), TIER) do
        tiers[#tiers + 1] = {
            start = natural(start), unit = natural(unit), base = natural(base), carry = natural(carry),
        }
    end
    if #tiers == 0 or #tiers > TIERS_MAX then error("a price without tiers, or with too many") end

    local function package_amount(tier, quantity)
        local part = math.fmod(quantity, tier.start)
        local packages = (quantity - part) / tier.start
        if part > 0 then packages = packages + tier.base end
        return packages * tier.unit
    end

    -- base + floor((carry + distance × unit) / denominator), without forming distance × unit.
    -- The remainder is taken first: it is exact in doubles, floor(distance / denominator) is not.
    local function amount(quantity)
        if quantity == 0 then return 0 end
        if kind == "p" then return package_amount(tiers[1], quantity) end
        local i = #tiers
        while i > 1 and tiers[i].start >= quantity do i = i - 1 end
        local tier = tiers[i]
        local distance = kind == "g" and quantity - tier.start or quantity
        local part = math.fmod(distance, denominator)
        local rest = tier.carry + part * tier.unit
        return tier.base + (distance - part) / denominator * tier.unit
            + (rest - math.fmod(rest, denominator)) / denominator
    end

    return amount(before), amount(after)
end
