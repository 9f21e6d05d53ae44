-- Drops jobs that wait for their time.
--
-- KEYS  waiting, the list that they wait for
-- Returns how many it has dropped; the rest is for the next time, until there are none.
local messages = take_due(KEYS[1], KEYS[2], '+inf')
set_next_look(KEYS[1], KEYS[2])
return #messages
