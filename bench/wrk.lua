-- wrk.lua - requests of returning visitors: one kept cookie each, in turn.
-- Arguments after "--": PATH COOKIEFILE (a cookie value per line).

local requests = {}
local n = 0

function init(args)
    for line in io.lines(args[2]) do
        requests[#requests + 1] = wrk.format("GET", args[1], {
            ["Host"] = "shop.example",
            ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) " ..
                "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0",
            ["Accept-Language"] = "en-GB,en;q=0.9",
            ["Referer"] = "https://shop.example/c/trousers.html",
            ["Cookie"] = "crm=" .. line,
        })
    end
end

function request()
    n = n % #requests + 1
    return requests[n]
end

function done(summary, latency, all)
    io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests,
        summary.duration, latency:percentile(50), latency:percentile(99),
        summary.errors.status + summary.errors.connect + summary.errors.read
        + summary.errors.write + summary.errors.timeout))
end
