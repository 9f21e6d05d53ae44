-- Puts reserved jobs back into the queues they came from, each at most once.
--
-- KEYS  unacked, unacked_index, owned:<owner>, owners, patience, heir:<owner>
-- ARGV  owner, why ('mine': by the owner, 'end': by the owner, whose lease ends with this, 'over': its lease is over,
--       'gone': it is not connected), channel of the owner's presence, RPUSH (to be the next) or LPUSH (to be the
--       last), for each job: its id, the list that it goes to, how many bytes of its message stay, the rest of it ...
-- Returns how many were put back, or -1 if the owner lives.
local unacked, index, owned, owners, patience = unpack(KEYS)
local owner, why, present, push = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if why == 'over' then
  local time = redis.call('TIME')
  local lease = redis.call('ZSCORE', owners, owner)
  if lease and tonumber(lease) >= time[1] + time[2] / 1000000 then return -1 end
elseif why == 'gone' and redis.call('PUBSUB', 'NUMSUB', present)[2] > 0 then
  return -1
end
local back = 0
for i = 5, #ARGV, 4 do
  local id, kept, message = ARGV[i], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local row = kept > 0 and redis.call('HGET', unacked, id)
  if redis.call('HDEL', unacked, id) == 1 then
    if row then message = string.sub(row, 2, kept + 1) .. message end
    redis.call(push, ARGV[i + 1], message)
    back = back + 1
  end
  redis.call('ZREM', index, id)
  redis.call('HDEL', owned, id)
end
if why ~= 'mine' and redis.call('HLEN', owned) == 0 then
  redis.call('ZREM', owners, owner)
  redis.call('ZREM', patience, owner)
  redis.call('DEL', KEYS[6])
end
return back
