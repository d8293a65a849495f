-- The request is made once, before the load: wrk then sends fixed bytes and runs no Lua for each.
-- Arguments: method, bytes of body, requests in one write.

init = function(args)
   local depth = tonumber(args[3])
   wrk.method = args[1]
   if tonumber(args[2]) > 0 then
      wrk.body = string.rep("x", tonumber(args[2]))
      wrk.headers["Content-Type"] = "application/octet-stream"
   end
   if depth > 1 then
      local many = string.rep(wrk.format(), depth)
      wrk.format = function() return many end
   end
end

done = function(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'summary {"requests": %d, "us": %d, "p50_us": %.1f, "p99_us": %.1f, "connect": %d, ' ..
      '"read": %d, "write": %d, "status": %d, "timeout": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
