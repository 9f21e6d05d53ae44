-- Moves jobs whose time has come into their queues.
--
-- KEYS  waiting
-- Returns how many it has moved, and the milliseconds until the next look is due, -1 if no job waits.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local moved = move_all_due(KEYS[1], now)
local following = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {moved, following and math.max(0, math.ceil((tonumber(following) - now) * 1000)) or -1}
