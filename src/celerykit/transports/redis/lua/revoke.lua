-- Keeps revocations, the newest of them, for a while. Jobs that wait for their time are due with it: a worker ends them.
--
-- KEYS  revoked, waiting
-- ARGV  seconds for which each is kept, how many are kept, revocations ...
local revoked, waiting = unpack(KEYS)
local keep, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

for place = 3, #ARGV do
  -- A full server lets a script go on that has begun to write; a removal is a write that it allows.
  redis.call('ZREM', revoked, ARGV[place])
  redis.call('ZADD', revoked, written(now), ARGV[place])
  local ok, parts = pcall(cjson.decode, ARGV[place])
  local row = ok and #parts == 1 and type(parts[1]) == 'string' and redis.call('HGET', waiting .. '.jobs', parts[1])
  if row then
    local list = list_and_message(row)
    redis.call('ZADD', waiting .. ':' .. list, 0, parts[1])
    look_at(waiting, list, 0)
  end
end
local old = written(now - keep)
for _, said in ipairs(redis.call('ZRANGEBYSCORE', revoked, '-inf', old, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', revoked, said)
end
local over = redis.call('ZCARD', revoked) - most
if over > 0 then
  redis.call('ZPOPMIN', revoked, over)
end
redis.call('EXPIRE', revoked, math.ceil(keep))
