-- Jobs that wait for their time. Every script that knows of them begins with this.
--
-- waiting         sorted set: each list that jobs wait for, with the time to look at them next
-- waiting:<list>  sorted set: the jobs that wait for a list, each with its time
-- waiting.jobs    hash: each of these jobs, with its list and its message
-- waiting.due:<list>  hash: marks of the jobs that were put at the list's head last
--
-- Removals come first: a server that is full lets a script go on that has begun to write.
local AT_ONCE, MOST_BYTES, LISTS, PAUSE = 250, 1048576, 16, 0.1

local function written(time) return string.format('%.6f', time) end

local function look_at(waiting, list, due)
  local known = redis.call('ZSCORE', waiting, list)
  if not known or due < tonumber(known) then redis.call('ZADD', waiting, written(due), list) end
end

local function wait(waiting, name, list, message, due)
  redis.call('HSET', waiting .. '.jobs', name, #list .. ':' .. list .. message)
  redis.call('ZADD', waiting .. ':' .. list, written(due), name)
  look_at(waiting, list, due)
end

local function list_and_message(row)
  local colon = string.find(row, ':', 1, true)
  local first = colon + 1 + tonumber(string.sub(row, 1, colon - 1))
  return string.sub(row, colon + 1, first - 1), string.sub(row, first)
end

-- Removes the first jobs of a list that are due by a time, and returns their messages.
local function take_due(waiting, list, by)
  local names, messages, bytes = {}, {}, 0
  local key = waiting .. ':' .. list
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', by, 'LIMIT', 0, AT_ONCE)) do
    local row = redis.call('HGET', waiting .. '.jobs', name)
    names[#names + 1] = name
    if row then
      local _, message = list_and_message(row)
      messages[#messages + 1] = message
      bytes = bytes + #message
    end
    if bytes >= MOST_BYTES then break end
  end
  if #names > 0 then
    redis.call('ZREM', key, unpack(names))
    redis.call('HDEL', waiting .. '.jobs', unpack(names))
  end
  return messages
end

-- Says when to look at a list next.
local function set_next_look(waiting, list)
  local first = redis.call('ZRANGE', waiting .. ':' .. list, 0, 0, 'WITHSCORES')[2]
  redis.call('ZREM', waiting, list)
  if first then redis.call('ZADD', waiting, first, list) end
end

-- Moves the jobs of a list that are due to its head, the earliest to be the next, and returns how many.
--
-- Not while some that were moved before are there: later ones would overtake them. One of many such lists stands back.
local function move_due(waiting, list, now, is_one_of_many)
  local marks = waiting .. '.due:' .. list
  local head = redis.call('LRANGE', list, -1, -1)[1]
  if head and redis.call('HEXISTS', marks, redis.sha1hex(head)) == 1 then
    redis.call('EXPIRE', marks, 60)
    if is_one_of_many then redis.call('ZADD', waiting, written(now + PAUSE), list) end
    return 0
  end
  local messages, known = take_due(waiting, list, written(now)), {}
  redis.call('DEL', marks)
  for i = #messages, 1, -1 do
    redis.call('RPUSH', list, messages[i])
    known[#known + 1] = redis.sha1hex(messages[i])
    known[#known + 1] = ''
  end
  if #known > 0 then
    redis.call('HSET', marks, unpack(known))
    redis.call('EXPIRE', marks, 60)
  end
  set_next_look(waiting, list)
  return #messages
end

-- Does that for the lists that are to be looked at now.
local function move_all_due(waiting, now)
  local lists, moved = redis.call('ZRANGEBYSCORE', waiting, '-inf', written(now), 'LIMIT', 0, LISTS), 0
  for _, list in ipairs(lists) do
    moved = moved + move_due(waiting, list, now, #lists == LISTS)
  end
  return moved
end
