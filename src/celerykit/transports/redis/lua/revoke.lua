-- Keeps revocations, the newest of them, for a while.
--
-- KEYS  revoked
-- ARGV  seconds for which each is kept, how many are kept, revocations ...
local revoked = KEYS[1]
local keep, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

for place = 3, #ARGV do
  -- A full server lets a script go on that has begun to write; a removal is a write that it allows.
  redis.call('ZREM', revoked, ARGV[place])
  redis.call('ZADD', revoked, string.format('%.6f', now), ARGV[place])
end
local old = string.format('%.6f', now - keep)
for _, said in ipairs(redis.call('ZRANGEBYSCORE', revoked, '-inf', old, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', revoked, said)
end
local over = redis.call('ZCARD', revoked) - most
if over > 0 then
  redis.call('ZPOPMIN', revoked, over)
end
redis.call('EXPIRE', revoked, math.ceil(keep))
