-- Numbers: integers below 2^53, checked on the way in, formatted without loss on the way out.

local NUMBER_MAX = 9007199254740991

local function integer(n)
    return string.format("%.0f", n)
end

-- A non-negative integer of at most 16 digits, or an error: a caller's bug, met before anything is written.
local function natural(text, label)
    if text and #text <= 16 and string.find(text, "^%d+$") then
        local n = tonumber(text)
        if n <= NUMBER_MAX then return n end
    end
    error("not a natural number: " .. label)
end

-- What a hash field holds, 0 when it is not there.
local function stored(value)
    return value and tonumber(value) or 0
end
