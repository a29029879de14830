-- consume_many: decide and count several requests over one feature of one customer, one after another.
-- Called by gateway/gathering.py for the requests without an idempotency key that arrive in one tick of its loop.
--
-- KEYS[1] meta             hash     run_id, replid, epoch, seq, clock_ms, offset_ms of the bucket
-- KEYS[2] log              stream   one entry per decision that changed something, id <epoch>-<seq>
-- KEYS[3] entitlement      hash     version and doc; only the version is read
-- KEYS[4] usage            hash     windows and segment of the feature
--
-- ARGV[1] run_id           string   as consume
-- ARGV[2] replid           string   as consume
-- ARGV[3] version          integer  as consume
-- ARGV[4] moment           integers as consume
-- ARGV[5] customer         string   for the log
-- ARGV[6] feature          string   this and the next four are what all requests share of an item: see lib/item.lua
-- ARGV[7] terms            string   overage, enforce, included, price id, period start, included window
-- ARGV[8] windows          string   name, end and length of each
-- ARGV[9] limits           string   window, max and enforce of each
-- ARGV[10] price           string   kind, denominator and tiers; "" where overage is not charged
-- ARGV[11..] requests      string   quantity and stamp of each, at most 64
--
-- Returns {code, now_ms, epoch, seq} when it refuses, else a list with what consume would have returned for each.
-- Writes  an entry for each that is allowed and the counters once; nothing when none is.
-- Cost    7 commands and 1 for each that is allowed: a fifth of as many consumes.

--- @include "fence"
--- @include "item"
--- @include "window"
--- @include "waterfall"
--- @include "log"

local REQUESTS_MAX = 64

local at = fence_decision(KEYS, ARGV)
if at.code then return {at.code, at.now_ms, at.epoch, at.seq} end
if #ARGV % 2 ~= 0 or #ARGV > 10 + 2 * REQUESTS_MAX then error("requests are pairs, at most 64") end

local item = read_item(KEYS[4], ARGV, 6)
local items, answers, entries = {item}, {}, {}
read_state(item, at.now_ms)

for i = 11, #ARGV, 2 do
    item.quantity = natural(string.match(ARGV[i], QUANTITY))
    local verdict = decide_all(items, false)
    if verdict == 1 then
        apply(item)
        at.seq = at.seq + 1
        entries[#entries + 1] = {seq = at.seq, stamp = ARGV[i + 1], text = item_text(item)}
    end
    answers[#answers + 1] = numbers_of(verdict, at, items)
end

for _, entry in ipairs(entries) do append(KEYS[2], "consume", at, entry.seq, ARGV[5], entry.stamp, entry.text) end
if #entries > 0 then
    write_item(item, at, ARGV[3])
    write_position(KEYS[1], at)
end
return answers
