-- Sends the requests of a file in turn, each with a fresh event_id and a new visitor per round.
-- A line holds, separated by tabs: user agent, language, address before, address after, body before, body after.
local requests = {}
local at, round, sent = 0, 0, 0
local run = "0000"

function init(args)
  run = args[2]
  for line in io.lines(args[1]) do
    local part = {}
    for text in (line .. "\t"):gmatch("([^\t]*)\t") do part[#part + 1] = text end
    local body = #part[5] + 36 + #part[6]
    requests[#requests + 1] = {
      "POST /track HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain;charset=UTF-8\r\nAccept: */*\r\n"
        .. "Accept-Encoding: gzip, deflate, br\r\nOrigin: https://www.bench.example\r\n"
        .. "Referer: https://www.bench.example/\r\nUser-Agent: " .. part[1]
        .. "\r\nAccept-Language: " .. part[2] .. "\r\nContent-Length: " .. body .. "\r\nX-Forwarded-For: " .. part[3],
      part[4] .. "\r\n\r\n" .. part[5],
      part[6],
    }
  end
  -- Each run begins elsewhere, so that runs don't repeat one another's visitors.
  round = (tonumber(run, 16) * 37) % 256
end

function request()
  at = at + 1
  if at > #requests then
    at = 1
    round = (round + 1) % 256
  end
  sent = sent + 1
  local part = requests[at]
  return part[1] .. round .. part[2] .. string.format("%s0000-0000-4000-8000-%012x", run, sent) .. part[3]
end

function done(summary, latency, requests)
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"status_errors":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
