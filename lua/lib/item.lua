-- Item: one feature of a request, five operands that gateway/entitlements.py lays out. Whatever is not as the patterns
-- say becomes an error before anything is written.

--- @include "number"

local OPERANDS = 6
local WINDOWS_MAX = 16
local TERMS = "^(%a+),([01]),(%w+),([%w%-]+),(%d+),(%d+)$"
local WINDOW = "([^,;]+),(%d+),(%d+);"
local LIMIT = "(%d+),(%d+),([01]);"

-- name, end_ms, length_ms of each window; the script fills in the rest from the state.
local function read_windows(text)
    local windows = {}
    for name, end_ms, length_ms in string.gmatch(text, WINDOW) do
        windows[#windows + 1] = {
            name = name, end_ms = natural(end_ms), length_ms = natural(length_ms),
            used = 0, opened = false, moved = false,
        }
    end
    if #windows > WINDOWS_MAX then error("too many windows") end
    return windows
end

local function read_limits(text, windows)
    local limits = {}
    for window, max, enforce in string.gmatch(text, LIMIT) do
        limits[#limits + 1] = {window = windows[natural(window)], max = natural(max), enforce = enforce == "1"}
    end
    return limits
end

local function read_item(key, argv, i)
    local overage, enforce, included, price_id, period_start_ms, window = string.match(argv[i + 2], TERMS)
    local windows = read_windows(argv[i + 3])
    local unlimited = included == "unlimited"
    return {
        key = key, feature = argv[i], quantity = natural(string.match(argv[i + 1], "^%d+$")),
        overage = overage, enforce = enforce == "1", unlimited = unlimited,
        included = unlimited and 0 or natural(included), price_id = price_id, period_start_ms = period_start_ms,
        windows = windows, included_window = windows[natural(window)], price = argv[i + 5],
        limits = read_limits(argv[i + 4], windows),
        denied = false, too_large = false, segment = false, from_included = 0, from_overage = 0, beyond = 0, cost = 0,
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
