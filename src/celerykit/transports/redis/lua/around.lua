-- Returns what may change of jobs on their way back: everything but their bodies, which stay where they are.
--
-- KEYS  unacked, owned:<owner>
-- ARGV  bytes of messages at most, beyond which the rest is for the next time; jobs ...
-- Returns for each of the first jobs: the list that it came from, how many bytes of its message are its beginning, up
--       to the end of the body, and the rest of its row; 0 and the whole row if it is none of Kombu's.
local BODY = '[{"body": "'
local most = tonumber(ARGV[1])

-- The bytes before the quote at the end of the body; plain searches alone, which cost next to nothing a megabyte.
local function beginning(row)
  if string.sub(row, 1, #BODY) ~= BODY then return 0 end
  local quote = string.find(row, '"', #BODY + 1, true)
  local escape = string.find(row, '\\', #BODY + 1, true)
  if not quote or (escape and escape < quote) or not string.find(row, '^[,}]', quote + 1) then return 0 end
  return quote - 2
end

local found, bytes = {}, 0
for place = 2, #ARGV do
  if bytes >= most then break end
  local row = redis.call('HGET', KEYS[1], ARGV[place]) or ''
  local kept = beginning(row)
  bytes = bytes + #row
  found[#found + 1] = redis.call('HGET', KEYS[2], ARGV[place]) or ''
  found[#found + 1] = kept
  found[#found + 1] = kept > 0 and string.sub(row, kept + 2) or row
end
return found
