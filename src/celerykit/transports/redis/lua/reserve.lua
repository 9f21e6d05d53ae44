-- Settles jobs that are done, puts off those whose time has not come, and reserves the next ones, in one step.
--
-- KEYS  unacked, unacked_index, owned:<me>, owners, line, doorman, waiting
-- ARGV  me, seconds of the lease, number of the first reservation, jobs wanted, jobs that can start at once,
--       1 to be woken when the queues were short, 1 to take the queues in turn, prefix of the bells, bytes at most,
--       seconds a doorman is believed, acknowledgements, their ids ...,
--       jobs to be put off, for each: its id, for how many seconds, its name,
--       1 to move jobs before whose time has come, jobs at most, the time as their senders write it from which on
--       a job is one to be put off, so that it takes nobody's place; queues, keys a queue,
--       for each queue: its name as JSON, its keys by rising rank ...
-- Returns acknowledgements that came too late, what to wait for (0 nothing, 1 at the door, 2 in line),
--       and for each reserved job: the place of its queue in ARGV's order, its message.
--
-- Removals come first: a server that is full lets a script go on that has begun to write.
local unacked, index, owned, owners, line, doorman, waiting = unpack(KEYS)
local me, ttl, first, want, slots = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local stands, turns, bells, most, belief = ARGV[6] == '1', ARGV[7] == '1', ARGV[8], tonumber(ARGV[9]), ARGV[10]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local at = 12

local late = 0
local settled = tonumber(ARGV[11])
if settled > 0 then
  local ids = {}
  for i = 1, settled do ids[i] = ARGV[at + i - 1] end
  at = at + settled
  late = settled - redis.call('HDEL', unacked, unpack(ids))
  redis.call('HDEL', owned, unpack(ids))
  redis.call('ZREM', index, unpack(ids))
end

-- A job goes back to where it came from when its time comes; somebody else's is left alone.
local function put_off(id, seconds, name)
  local row, list = redis.call('HGET', unacked, id), redis.call('HGET', owned, id)
  local message = row and list and string.match(row, '^%[(.*),"",')
  if not message then return end
  redis.call('HDEL', unacked, id)
  redis.call('HDEL', owned, id)
  redis.call('ZREM', index, id)
  if redis.call('HEXISTS', waiting .. '.jobs', name) == 1 then name = name .. ' ' .. id end
  wait(waiting, name, string.gsub(list, '^!', ''), message, now + seconds)
end

local off = tonumber(ARGV[at])
at = at + 1
for _ = 1, off do
  put_off(ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2])
  at = at + 3
end
if want == 0 then return {late, 0} end

if ARGV[at] == '1' then move_all_due(waiting, now) end
local at_once, ahead = tonumber(ARGV[at + 1]), ARGV[at + 2]
local queues, ranks = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
at = at + 5
local function key_of(q, r) return ARGV[at + (q - 1) * (ranks + 1) + r] end

-- How many lists of these queues have jobs, and which queues are among NEIGHBOURS of which some has: Lua hands over no
-- more than some thousand arguments, and a worker may consume thousands of queues, most of them empty.
local NEIGHBOURS = 25
local function with_jobs(some)
  local lists, near = 0, {}
  for from = 1, #some, NEIGHBOURS do
    local keys, to = {}, math.min(from + NEIGHBOURS - 1, #some)
    for place = from, to do
      for r = 1, ranks do keys[#keys + 1] = key_of(some[place], r) end
    end
    local found = redis.call('EXISTS', unpack(keys))
    lists = lists + found
    for place = from, found > 0 and to or 0 do near[#near + 1] = some[place] end
  end
  return lists, near
end

local all = {}
for q = 1, queues do all[q] = q end

-- Somebody else is idle: waits in line, or is on the way to the door.
local function others_wait()
  local waiting = redis.call('ZCARD', line)
  if waiting > 0 and redis.call('ZSCORE', line, me) then waiting = waiting - 1 end
  local there = redis.call('GET', doorman)
  return waiting > 0 or (there and there ~= me)
end

-- Take the next job: by rank first, then from each queue in turn. Once every list that has jobs is known, no other is
-- tried: most of what wakes a worker is one job in one of many lists.
local unknown, order = with_jobs(all)
local empty, known = {}, {}
local function take()
  for r = 1, ranks do
    for place = 1, #order do
      local q = order[place]
      local key = key_of(q, r)
      if not empty[key] and (unknown > 0 or known[key]) then
        local body = redis.call('RPOP', key)
        if body then
          if not known[key] then
            known[key] = true
            unknown = unknown - 1
          end
          if turns then
            table.remove(order, place)
            order[#order + 1] = q
          end
          return q, key, body
        end
        empty[key] = true
      end
    end
  end
end

-- As far as can be told without reading a message: its worker does, and puts it off or not.
local function is_ahead(body)
  local eta = string.find(body, '"eta": "', 1, true)
  local time, zone = string.match(body, '^(%d[%d%-]*T[%d:%.]+)([^"]*)"', eta and eta + 8 or #body)
  return time and zone == '+00:00' and time > ahead
end

local taken, rows, scores, origins = {}, {}, {}, {}
local count, fit, bytes, short, greedy = 0, 0, 0, unknown == 0, nil
while not short and fit < want and count < at_once and bytes < most do
  if stands and fit == slots then
    greedy = not others_wait()
  end
  if greedy == false then break end
  local q, key, body = take()
  if not q then
    short = true
  else
    count = count + 1
    if ahead == '' or not is_ahead(body) then fit = fit + 1 end
    bytes = bytes + #body
    local id = me .. '.' .. string.format('%.0f', first + count - 1)
    taken[#taken + 1] = q
    taken[#taken + 1] = body
    rows[#rows + 1] = id
    rows[#rows + 1] = '[' .. body .. ',"",' .. ARGV[at + (q - 1) * (ranks + 1)] .. ']'
    scores[#scores + 1] = now
    scores[#scores + 1] = id
    origins[#origins + 1] = id
    origins[#origins + 1] = key
  end
end
if count > 0 then
  redis.call('HSET', unacked, unpack(rows))
  redis.call('ZADD', index, unpack(scores))
  redis.call('HSET', owned, unpack(origins))
  redis.call('ZADD', owners, now + ttl, me)
end
if not stands then return {late, 0, unpack(taken)} end

-- Wake the next in line; one that nobody hears is gone.
local function wake(number)
  local woken = 0
  for _ = 1, 10 do
    if woken == number then break end
    local next = redis.call('ZPOPMIN', line)[1]
    if not next then break end
    if next ~= me and redis.call('PUBLISH', bells .. next, '') > 0 then woken = woken + 1 end
  end
  return woken
end

local there = redis.call('GET', doorman)
local woken = 0
if count > 0 then
  if there == me then
    redis.call('DEL', doorman)
    there = false
  end
  if not short and with_jobs(order) > 0 then
    woken = wake(2)
  elseif not there then
    woken = wake(1)
  end
end
if not short or fit >= slots then return {late, 0, unpack(taken)} end
-- A full server refuses these two; then the next beat looks into the queues.
if woken == 0 and (not there or there == me) then
  redis.pcall('SET', doorman, me, 'EX', belief)
  return {late, 1, unpack(taken)}
end
redis.pcall('ZADD', line, 'NX', now, me)
redis.pcall('EXPIRE', line, 60)
return {late, 2, unpack(taken)}
