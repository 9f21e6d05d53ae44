-- Renews a worker's lease and says whose lease is over.
--
-- KEYS  owners, owned:<me>, clock, unacked_index, patience
-- ARGV  me, seconds of the lease, seconds without any beat that count as an outage, 1 to renew the jobs' own time,
--       seconds that this worker may be silent for while it is connected, prefix of the channels of presence,
--       prefix of the keys of heirs, seconds for which one of them is alone
-- Returns 1 if this worker's own lease had been over, how many connections it is present by, how many of the others
--       are gone (their connection is closed), and the owners whose lease is over: those that are gone, then those
--       that have been silent for longer than they may. Not those whose jobs another worker is about to put back.
--
-- The clock is the server's. While nobody can beat (the server is away, a new one takes over, its clock is set) no
-- lease runs: the first beat afterwards gives everybody a full one.
local owners, owned, clock, index, patience = unpack(KEYS)
local me, ttl, outage, present = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

-- Not by publishing: what is on the way to a machine that is cut off keeps the server from asking whether it is there.
local function connections(owner) return redis.call('PUBSUB', 'NUMSUB', present .. owner)[2] end

local function is_mine(owner)
  local heir = redis.call('GET', ARGV[7] .. owner)
  if heir and heir ~= me then return false end
  redis.call('SET', ARGV[7] .. owner, me, 'EX', ARGV[8])
  return true
end

local last = tonumber(redis.call('GET', clock) or 0)
local until_when = tonumber(redis.call('ZSCORE', owners, me) or 0)
-- A full server lets a script go on that has begun to write; a removal is a write that it allows.
redis.call('ZREM', owners, me)
redis.call('SET', clock, string.format('%.6f', now), 'EX', 60)
if now < last or now - last > outage then
  for _, owner in ipairs(redis.call('ZRANGE', owners, 0, -1)) do
    redis.call('ZADD', owners, now + ttl, owner)
    if last > 0 then redis.call('ZADD', patience, 'XX', 'INCR', now - last, owner) end
  end
  until_when = now
end
redis.call('ZADD', owners, now + ttl, me)
redis.call('ZADD', patience, now + tonumber(ARGV[5]), me)
if ARGV[4] == '1' then
  for _, id in ipairs(redis.call('HKEYS', owned)) do
    redis.call('ZADD', index, 'XX', now, id)
  end
end
local gone, silent = {}, {}
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', owners, '-inf', '(' .. string.format('%.6f', now))) do
  local limit = tonumber(redis.call('ZSCORE', patience, owner) or 0)
  if connections(owner) == 0 then
    if is_mine(owner) then gone[#gone + 1] = owner end
  elseif limit <= now then
    if is_mine(owner) then silent[#silent + 1] = owner end
  else
    redis.call('ZADD', owners, math.min(now + ttl, limit), owner)
  end
end
local over = {until_when < now and 1 or 0, connections(me), #gone}
for _, owner in ipairs(gone) do over[#over + 1] = owner end
for _, owner in ipairs(silent) do over[#over + 1] = owner end
return over
