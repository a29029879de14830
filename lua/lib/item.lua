-- Item: one feature of a request, as gateway/entitlements.py lays it out, and the state it is decided against.

--- @include "number"

local WINDOWS_MAX = 16
local TIERS_MAX = 64

-- Reads one item from argv at i: returns it and the place after it.
local function read_item(argv, i)
    local item = {
        feature = argv[i], quantity = natural(argv[i + 1], "quantity"), overage = argv[i + 2],
        enforce = argv[i + 3] == "1", unlimited = argv[i + 4] == "unlimited", price_id = argv[i + 5],
        period_start_ms = argv[i + 6], included_window = natural(argv[i + 7], "included_window"),
        windows = {}, limits = {}, price = {kind = argv[i + 8], denominator = natural(argv[i + 9], "denominator"), tiers = {}},
    }
    item.included = item.unlimited and 0 or natural(argv[i + 4], "included")
    local windows, limits, tiers = natural(argv[i + 10], "windows"), natural(argv[i + 11], "limits"), natural(argv[i + 12], "tiers")
    if windows > WINDOWS_MAX or limits > WINDOWS_MAX or tiers > TIERS_MAX then error("too many windows, limits or tiers") end
    i = i + 13
    for w = 1, windows do
        item.windows[w] = {name = argv[i], end_ms = natural(argv[i + 1], "end_ms"), length_ms = natural(argv[i + 2], "length_ms")}
        i = i + 3
    end
    for l = 1, limits do
        item.limits[l] = {window = natural(argv[i], "limit window"), max = natural(argv[i + 1], "max"), enforce = argv[i + 2] == "1"}
        i = i + 3
    end
    for t = 1, tiers do
        item.price.tiers[t] = {
            start = natural(argv[i], "start"), unit = natural(argv[i + 1], "unit"),
            base = natural(argv[i + 2], "base"), carry = natural(argv[i + 3], "carry"),
        }
        i = i + 4
    end
    return item, i
end

local function read_items(keys, argv, first_key, first_arg)
    local items, i = {}, first_arg
    for k = first_key, #keys do
        local item
        item, i = read_item(argv, i)
        item.key = keys[k]
        items[#items + 1] = item
    end
    if i ~= #argv + 1 then error("items and keys do not match") end
    return items
end
