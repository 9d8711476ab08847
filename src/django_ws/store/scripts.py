"""What the server does: one script for each operation, so that it happens as a whole.

Times are microseconds since the epoch, as text; an empty one stands for the server's own clock.

A group that nobody has heard of begins at the time: so it goes on beyond every offset that it may
have had before it was forgotten, and nothing has to be remembered for that.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

__all__ = ["ENTER", "HISTORY", "LEASE", "LEAVE", "POSITION", "PUBLISH", "REAP", "RENEW", "Script"]


class Script(NamedTuple):
    """Lua code.

    Attributes:
        text: the code.
        digest: SHA-1 of it, by which ``EVALSHA`` knows it.
    """

    text: bytes
    digest: bytes


def _script(*parts: str) -> Script:
    text = "\n".join(part.strip() for part in parts).encode()
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())


_NOW = """
local now = ARGV[1]
if now == '' then
  local t = redis.call('TIME')
  now = string.format('%d%06d', t[1], t[2])
end
"""

# KEYS: meta, history, epoch; ARGV: now, an epoch for a new memory, milliseconds to keep an offset,
# seconds to keep an epoch.
_EPOCH = """
local epoch = redis.call('GET', KEYS[3])
if not epoch then
  epoch = ARGV[2]
  redis.call('SET', KEYS[3], epoch, 'EX', ARGV[4])
end
local function begin()
  redis.call('HSET', KEYS[1], 'o', now, 's', now)
  redis.call('DEL', KEYS[2])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
end
"""

_GROUP = """
local offset = redis.call('HGET', KEYS[1], 'o')
if not offset then
  offset = now
  begin()
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""

# Further KEYS: channel; ARGV: history_size, history_ttl (ms), head, body.
PUBLISH = _script(
    _NOW,
    _EPOCH,
    """
local offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
if offset == 1 then
  begin()
  offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
end
local entry = string.format('%.0f', offset) .. ' ' .. now .. ' ' .. epoch .. ARGV[7] .. ARGV[8]
if redis.call('RPUSH', KEYS[2], entry) > tonumber(ARGV[5]) then
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[5]), -1)
end
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local heard = redis.call('SPUBLISH', KEYS[4], entry)
return {offset, epoch, heard}
""",
)

POSITION = _script(
    _NOW,
    _EPOCH,
    _GROUP,
    "return {tonumber(offset), epoch}",
)

# Further ARGV: history_ttl (ms), offset and epoch of the position (empty without), limit, bytes.
HISTORY = _script(
    _NOW,
    _EPOCH,
    _GROUP,
    """
local start = tonumber(redis.call('HGET', KEYS[1], 's'))
local last, count = tonumber(offset), redis.call('LLEN', KEYS[2])
local oldest = tonumber(now) - tonumber(ARGV[5]) * 1000
while count > 0 do
  local entry = redis.call('LINDEX', KEYS[2], 0)
  if tonumber(string.match(entry, '^%S+ (%S+)')) > oldest then break end
  redis.call('LPOP', KEYS[2])
  count = count - 1
end
local first = last - count  -- the offset before those that are kept
local limit, room = tonumber(ARGV[8]), tonumber(ARGV[9])
local since = tonumber(ARGV[6])
local known = since and ARGV[7] == epoch and since >= 0 and since <= last
local found, complete = {}, 0
local from, to, step = count - 1, math.max(0, count - limit), -1
if known then
  if since >= first and since >= start then complete = 1 end
  from = math.max(0, since - first)
  to, step = math.min(count, from + limit) - 1, 1
end
for index = from, to, step do
  local entry = redis.call('LINDEX', KEYS[2], index)
  room = room - #entry
  if room < 0 and #found > 0 then break end
  table.insert(found, step > 0 and #found + 1 or 1, entry)
end
return {last, epoch, complete, found}
""",
)

# KEYS: meta, history, epoch; ARGV: the epoch as somebody knows it, one for a new memory, seconds to
# keep it, offset and time (0 for unknown) of a publication that was heard. If that is not there,
# though it should be, the server has lost what it had last, as replicas do that take over: its
# memory is another.
RENEW = _script(
    """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local heard = tonumber(ARGV[4])
local offset = tonumber(redis.call('HGET', KEYS[1], 'o') or heard)
local lost = offset < heard
local first = redis.call('LINDEX', KEYS[2], 0)
if first and not lost then
  local index = heard - tonumber(string.match(first, '^(%S+)'))
  local entry = index >= 0 and redis.call('LINDEX', KEYS[2], index)
  if entry then
    local at, time = string.match(entry, '^(%S+) (%S+)')
    lost = at ~= ARGV[4] or (ARGV[5] ~= '0' and time ~= ARGV[5])
  end
end
if not lost then return 0 end
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[3])
return 1
"""
)

# KEYS: present, users, channel; ARGV: now, and what follows. Values are "since seq n\\n", n bytes
# of the user and JSON. What is told of who comes and goes has no offset.
_PRESENCE = """
local function user_of(value)
  local size, from = string.match(value, '^%S+ %S+ (%d+)\\n()')
  return string.sub(value, from, from + size - 1), string.sub(value, from + size)
end
local function tell(event, id, user, info)
  local data = '{"id":' .. cjson.encode(id) .. ',"user":' .. cjson.encode(user)
    .. ',"info":' .. (info == '' and 'null' or info) .. '}'
  redis.call('SPUBLISH', KEYS[3], '0 ' .. now .. ' - 1 1 ' .. #event .. ' ' .. #id .. '\\n'
    .. event .. id .. data)
end
local function count(user, change)
  if user == '' then return change > 0 and 1 or 0 end
  local number = redis.call('HINCRBY', KEYS[2], user, change)
  if number <= 0 then redis.call('HDEL', KEYS[2], user) end
  return number
end
local function forget(id, mode)
  local value = redis.call('HGET', KEYS[1], id)
  if not value then return 0 end
  redis.call('HDEL', KEYS[1], id)
  if redis.call('HLEN', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
  local user, info = user_of(value)
  local last = mode ~= 'user' or count(user, -1) <= 0
  if mode ~= '' and last then tell('leave', id, user, info) end
  return 1
end
"""

# ARGV: mode, milliseconds to keep it, id, since, user, info.
ENTER = _script(
    _NOW,
    _PRESENCE,
    """
local id, user, info = ARGV[4], ARGV[6], ARGV[7]
local value = redis.call('HGET', KEYS[1], id)
local new = not value
if new then
  local seq = redis.call('HINCRBY', KEYS[1], '', 1)
  value = ARGV[5] .. ' ' .. string.format('%.0f', seq) .. ' ' .. #user .. '\\n' .. user .. info
else
  local size, from = string.match(value, '^%S+ %S+ (%d+)\\n()')
  value = string.sub(value, 1, from + size - 1) .. info
end
redis.call('HSET', KEYS[1], id, value)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if new and ARGV[2] == 'user' then
  new = count(user, 1) == 1
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
if new and ARGV[2] ~= '' then tell('join', id, user, info) end
return 1
""",
)

# ARGV: mode, id.
LEAVE = _script(_NOW, _PRESENCE, "return forget(ARGV[3], ARGV[2])")

# ARGV: mode, incarnation of a gateway that is no more.
REAP = _script(
    _NOW,
    _PRESENCE,
    """
local gone = 0
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.match(id, '^(.*)%-[^-]*$') == ARGV[3] then gone = gone + forget(id, ARGV[2]) end
end
return gone
""",
)

# KEYS: live; ARGV: now, incarnation (empty to look only), microseconds of a lease, ms to keep all.
LEASE = _script(
    _NOW,
    """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = 0
if ARGV[2] ~= '' then
  if redis.call('ZSCORE', KEYS[1], ARGV[2]) then known = 1 end
  redis.call('ZADD', KEYS[1], string.format('%.0f', tonumber(now) + tonumber(ARGV[3])), ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {known, redis.call('ZRANGE', KEYS[1], 0, -1)}
""",
)
