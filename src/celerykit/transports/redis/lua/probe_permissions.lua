-- Runs each command that the other scripts use, to no effect, and returns those that this user may not run.
--
-- KEYS  a key that nobody uses
local key = KEYS[1]
local tried = {
  {'del', key}, {'exists', key}, {'expire', key, 1}, {'get', key}, {'hget', key, ''}, {'hdel', key, ''}, {'hexists', key, ''},
  {'hkeys', key}, {'hlen', key}, {'hset', key, '', ''}, {'del', key}, {'lpush', key, ''}, {'rpop', key},
  {'rpush', key, ''}, {'del', key}, {'set', key, '', 'EX', 1}, {'del', key}, {'publish', key, ''}, {'time'},
  {'zadd', key, 0, ''}, {'zcard', key}, {'zpopmin', key}, {'zrange', key, 0, 0}, {'zrangebyscore', key, 0, 0},
  {'zrem', key, ''}, {'zscore', key, ''},
}
local refused, seen = {}, {}
for _, command in ipairs(tried) do
  local answer = redis.pcall(unpack(command))
  local wrong = type(answer) == 'table' and answer.err
  -- The latter is how Redis 6.2 says it.
  if wrong and (string.find(wrong, 'permission') or string.find(wrong, "can't run")) and not seen[command[1]] then
    seen[command[1]] = true
    refused[#refused + 1] = command[1]
  end
end
return refused
