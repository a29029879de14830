-- Numbers: integers below 2^53, checked on the way in, formatted without loss on the way out.

local NUMBER_MAX = 9007199254740991

local function integer(n)
    return string.format("%.0f", n)
end

-- Digits that a pattern has matched (nil when it has not), as a number below 2^53; else an error: a caller's bug,
-- met before anything is written.
local function natural(digits)
    local n = digits and tonumber(digits)
    if not n or n > NUMBER_MAX then error("an operand is not as it should be") end
    return n
end

-- What a hash field holds, 0 when it is not there.
local function stored(value)
    return value and tonumber(value) or 0
end
