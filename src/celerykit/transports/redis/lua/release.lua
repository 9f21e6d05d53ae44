-- Puts jobs that wait for their time back into their queues, due or not: for workers that know nothing of them.
--
-- KEYS  waiting
-- Returns how many it has put back; the rest is for the next time, until there are none.
local list = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not list then return 0 end
local messages = take_due(KEYS[1], list, '+inf')
for _, message in ipairs(messages) do redis.call('LPUSH', list, message) end
set_next_look(KEYS[1], list)
return #messages
