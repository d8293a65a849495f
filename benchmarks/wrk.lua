-- The request is made once, before the load: wrk then sends fixed bytes and runs no Lua for each.
-- Arguments: method, bytes of body, requests in one write, how many different requests to take turns:
-- from 2 on they are a browser's, and no two of them have the same header fields.

init = function(args)
   local depth = tonumber(args[3])
   wrk.method = args[1]
   if tonumber(args[2]) > 0 then
      wrk.body = string.rep("x", tonumber(args[2]))
      wrk.headers["Content-Type"] = "application/octet-stream"
   end
   local different = tonumber(args[4])
   if different > 1 then
      local requests, at = {}, 0
      wrk.headers["User-Agent"] =
         "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
      wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
      wrk.headers["Accept-Language"] = "en-US,en;q=0.5"
      wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
      wrk.headers["Connection"] = "keep-alive"
      wrk.headers["Upgrade-Insecure-Requests"] = "1"
      for number = 1, different do
         wrk.headers["Cookie"] = string.format("session=%032x; theme=dark", number * 7919)
         requests[number] = wrk.format()
      end
      request = function()
         at = at % different + 1
         return requests[at]
      end
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
