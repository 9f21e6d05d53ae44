-- Puts jobs that wait for their time back into their queues, due or not: for workers that know nothing of them.
--
-- KEYS  waiting, owners if nothing is to be done while a worker of the kit lives, which would put them off again
-- Returns how many it has put back; the rest is for the next time, until there are none.
if KEYS[2] then
  local time = redis.call('TIME')
  local now = written(time[1] + time[2] / 1000000)
  if redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf', 'LIMIT', 0, 1)[1] then return 0 end
end
local list = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not list then return 0 end
local messages = take_due(KEYS[1], list, '+inf')
for _, message in ipairs(messages) do redis.call('LPUSH', list, message) end
set_next_look(KEYS[1], list)
return #messages
