-- Item: one feature of a request, six operands that gateway/entitlements.py lays out: feature, terms, windows, limits,
-- price, quantity. Whatever is not as the patterns say becomes an error before anything is written.

--- @include "number"

local OPERANDS = 6
local WINDOWS_MAX = 16
local TERMS = "^(%a+),([01]),(%w+),([%w%-]+),(%d+),(%d+)$"
local QUANTITY = "^%d+$"
local WINDOW = "([^,;]+),(%d+),(%d+);"

-- Windows are kept as one list for each of their properties: a table for each window costs twice as much.
local function read_item(key, argv, i)
    local overage, enforce, included, price_id, period_start_ms, window = string.match(argv[i + 1], TERMS)
    local names, ends, lengths, count = {}, {}, false, 0
    for name, end_ms, length_ms in string.gmatch(argv[i + 2], WINDOW) do
        count = count + 1
        names[count], ends[count] = name, natural(end_ms)
        if length_ms ~= "0" then
            lengths = lengths or {}
            lengths[count] = natural(length_ms)
        end
    end
    window = natural(window)
    if count > WINDOWS_MAX or not names[window] then error("too many windows, or too few") end
    local unlimited = included == "unlimited"
    return {
        key = key, feature = argv[i], quantity = natural(string.match(argv[i + 5], QUANTITY)),
        overage = overage, enforce = enforce == "1", unlimited = unlimited,
        included = unlimited and 0 or natural(included), price_id = price_id, period_start_ms = period_start_ms,
        count = count, names = names, ends = ends, lengths = lengths, included_window = window,
        limits = argv[i + 3], price = argv[i + 4], used = false, opened = false, moved = false, segment = false,
        first = 0, denied = false, too_large = false, from_included = 0, from_overage = 0, beyond = 0, cost = 0,
    }
end

local function read_items(keys, argv, first_key, first_arg)
    local items = {}
    for k = first_key, #keys do
        items[#items + 1] = read_item(keys[k], argv, first_arg + OPERANDS * (k - first_key))
    end
    if #argv ~= first_arg - 1 + OPERANDS * #items then error("items and keys do not match") end
    return items
end
