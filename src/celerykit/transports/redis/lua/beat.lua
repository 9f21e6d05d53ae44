-- Renews a worker's lease and says whose lease is over.
--
-- KEYS  owners, owned:<me>, clock, unacked_index
-- ARGV  me, seconds of the lease, seconds without any beat that count as an outage, 1 to renew the jobs' own time
-- Returns 1 if this worker's own lease had been over, and the owners whose lease is over ...
--
-- The clock is the server's. While nobody can beat (the server is away, a new one takes over, its clock is set) no
-- lease runs: the first beat afterwards gives everybody a full one.
local owners, owned, clock, index = unpack(KEYS)
local me, ttl, outage = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local last = tonumber(redis.call('GET', clock) or 0)
local until_when = tonumber(redis.call('ZSCORE', owners, me) or 0)
-- A full server lets a script go on that has begun to write; a removal is a write that it allows.
redis.call('ZREM', owners, me)
redis.call('SET', clock, string.format('%.6f', now), 'EX', 60)
if now < last or now - last > outage then
  for _, owner in ipairs(redis.call('ZRANGE', owners, 0, -1)) do
    redis.call('ZADD', owners, now + ttl, owner)
  end
  until_when = now
end
redis.call('ZADD', owners, now + ttl, me)
if ARGV[4] == '1' then
  for _, id in ipairs(redis.call('HKEYS', owned)) do
    redis.call('ZADD', index, 'XX', now, id)
  end
end
local over = redis.call('ZRANGEBYSCORE', owners, '-inf', '(' .. string.format('%.6f', now))
return {until_when < now and 1 or 0, unpack(over)}
