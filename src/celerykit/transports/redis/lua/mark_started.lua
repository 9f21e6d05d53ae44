-- Notes that a job which has been with a dead worker before is now begun: if this one dies, too, it may be the job.
--
-- KEYS  owned:<me>
-- ARGV  the job
-- Returns 1, or 0 if the job is somebody else's by now.
local origin = redis.call('HGET', KEYS[1], ARGV[1])
if not origin then return 0 end
if string.sub(origin, 1, 1) ~= '!' then redis.call('HSET', KEYS[1], ARGV[1], '!' .. origin) end
return 1
