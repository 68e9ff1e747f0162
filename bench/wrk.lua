-- Targets from a file, one a line, round and round; the result as one line of JSON.
local requests, count, at = {}, 0, 0

function init(args)
  for target in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format(args[2] or "GET", target)
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests": %d, "failed": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, failed, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
