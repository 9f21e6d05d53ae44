-- Is there work for one who waits to be woken? Also keeps the line and the door as they are.
--
-- KEYS  line, doorman
-- ARGV  me, seconds a doorman is believed, the queues' keys ...
-- Returns 1 if jobs wait, or if nobody stands at the door.
local me, belief = ARGV[1], ARGV[2]
local there = redis.call('GET', KEYS[2])
if there == me then redis.call('EXPIRE', KEYS[2], belief) end
redis.call('EXPIRE', KEYS[1], 60)
if not there then return 1 end
for from = 3, #ARGV, 100 do
  if redis.call('EXISTS', unpack(ARGV, from, math.min(from + 99, #ARGV))) > 0 then return 1 end
end
return 0
