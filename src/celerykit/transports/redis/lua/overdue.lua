-- Which jobs have been with their workers for longer than the visibility timeout, and are no worker's of the kit?
-- Those of other workers: nothing but time tells that they are dead.
--
-- KEYS  unacked_index
-- ARGV  the visibility timeout in seconds, prefix of the keys owned:<owner>
local time = redis.call('TIME')
local before = string.format('%.6f', time[1] + time[2] / 1000000 - tonumber(ARGV[1]))
local overdue = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, 1000)) do
  local owner = string.match(id, '^(.*/%x+)%.%d+$')
  if not owner or redis.call('HEXISTS', ARGV[2] .. owner, id) == 0 then overdue[#overdue + 1] = id end
end
return overdue
