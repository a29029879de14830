-- Price: A(q), the money owed for the first q base units of a segment, at scale 9, from tiers compiled in Python.
-- The reference is gateway/pricing/compiled.py `amount_nano`, which also says why nothing here passes 2^53.

--- @include "number"

local AMOUNT_MAX = 9000000000000000
local TIERS_MAX = 64
local TIER = "(%d+),(%d+),(%d+),(%d+);"

-- "kind,denominator;" and its tiers; read only when there is overage to charge.
local function read_price(text)
    local kind, denominator, tiers_at = string.match(text, "^([gvp]),(%d+);()")
    local price = {kind = kind, denominator = natural(denominator), tiers = {}}
    for start, unit, base, carry in string.gmatch(string.sub(text, tiers_at), TIER) do
        price.tiers[#price.tiers + 1] = {
            start = natural(start), unit = natural(unit), base = natural(base), carry = natural(carry),
        }
    end
    if #price.tiers == 0 or #price.tiers > TIERS_MAX then error("a price without tiers, or with too many") end
    return price
end

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
    if quantity == 0 then return 0 end
    local tiers = price.tiers
    if price.kind == "p" then return package_amount(tiers[1], quantity) end
    local i = #tiers
    while i > 1 and tiers[i].start >= quantity do i = i - 1 end
    local distance = price.kind == "g" and quantity - tiers[i].start or quantity
    return scaled(tiers[i], distance, price.denominator)
end
