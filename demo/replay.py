#!/usr/bin/python3
"""replay.py - sends the visits of a data folder through nginx, as HTTP.

Visits begin in their real order and at their real pace, speeded up; within a
visit each page is asked for after the one before it has come, as a browser
does.  A visitor has a cookie jar, a browser and a language of its own, and
each request its X-Request-Id, so that at the end what PostgreSQL holds is
compared with what was sent, request by request.  Exit code 1: some is missing.

The client speaks HTTP/1.1 by itself: on the two cores that nginx, Redis and
PostgreSQL share, a client library would be the slowest of them.  Connections
are lent to visits and kept alive; at most --connections visits run at a time,
so a machine too slow for the pace replays more slowly and says so.
"""

import argparse
import asyncio
import collections
import json
import os
import secrets
import sys
import time

PACE_S = 15             # what a replay takes when --speed is not given
ARRIVE_S = 60           # how long events may take into PostgreSQL
ANSWER_S = 20           # how long nginx may take for one answer
BODY_MAX = 1 << 20      # bytes of one answer

AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, "
    "like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) "
    "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 "
    "Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
]
REFERRERS = ["", "https://www.google.com/", "https://www.bing.com/",
             "https://www.facebook.com/", "https://blog.example.org/autumn"]
LANGUAGES = {
    "Poland": "pl-PL,pl;q=0.9,en;q=0.7", "Czech Republic": "cs-CZ,cs;q=0.9",
    "Lithuania": "lt-LT,lt;q=0.9", "Slovakia": "sk-SK,sk;q=0.9",
    "Germany": "de-DE,de;q=0.9,en;q=0.7", "Austria": "de-AT,de;q=0.9",
    "Switzerland": "de-CH,de;q=0.9,fr;q=0.7", "France": "fr-FR,fr;q=0.9",
    "Belgium": "nl-BE,nl;q=0.9,fr;q=0.8", "Netherlands": "nl-NL,nl;q=0.9",
    "Spain": "es-ES,es;q=0.9", "Italy": "it-IT,it;q=0.9",
    "Portugal": "pt-PT,pt;q=0.9", "Norway": "nb-NO,nb;q=0.9",
    "Sweden": "sv-SE,sv;q=0.9", "Denmark": "da-DK,da;q=0.9",
    "Finland": "fi-FI,fi;q=0.9", "Hungary": "hu-HU,hu;q=0.9",
    "Russia": "ru-RU,ru;q=0.9", "Ukraine": "uk-UA,uk;q=0.9",
    "USA": "en-US,en;q=0.9", "Ireland": "en-IE,en;q=0.9",
}

# What a path is recorded as; anything else that is HTML is a plain page.
NAMES = (("/c/", "Product List Viewed"), ("/p/", "Product Viewed"),
         ("/login?", "Signed In"), ("/cart/add?", "Product Added"),
         ("/cart.html", "Cart Viewed"), ("/checkout.html", "Checkout Started"),
         ("/order/done?", "Order Completed"))
PLAIN = "(page)"


def event_name(path):
    for start, name in NAMES:
        if path.startswith(start):
            return name
    return PLAIN


class Lost(Exception):
    """The server closed a connection or answered what is no HTTP."""


class Connection:
    """One keep-alive connection; one request at a time."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, host, port):
        return cls(*await asyncio.open_connection(host, port,
                                                  limit=BODY_MAX))

    def close(self):
        self.writer.close()

    async def get(self, request):
        """Sends the bytes; (status, head, must the connection close)."""
        self.writer.write(request)
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            low = head.lower()
            if b"\r\ntransfer-encoding: chunked" in low:
                await self.skip_chunks()
            elif status not in (204, 304):
                at = low.find(b"\r\ncontent-length:")
                if at < 0:
                    raise Lost("an answer without a length")
                end = low.index(b"\r\n", at + 2)
                await self.reader.readexactly(int(low[at + 17:end]))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError,
                OSError, ValueError) as error:
            raise Lost(str(error)) from error
        return status, head, b"\r\nconnection: close" in low

    async def skip_chunks(self):
        while True:
            line = await self.reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            await self.reader.readexactly(size + 2)
            if size == 0:
                return


class Replay:
    def __init__(self, visits, host, port, speed, connections, run):
        self.visits = visits
        self.host = host
        self.port = port
        self.speed = speed
        self.run = run
        self.slots = asyncio.Semaphore(connections)
        self.idle = []
        self.requests = 0
        self.finished = 0
        self.failed = collections.Counter()
        self.expected = {}          # request id -> event name
        self.late_s = 0.0           # how far behind the wanted pace

    def request(self, visitor, path):
        self.requests += 1
        rid = f"{self.run}-{self.requests}"
        lines = [f"GET {path} HTTP/1.1", f"Host: {self.host}:{self.port}",
                 f"X-Request-Id: {rid}", *visitor["headers"]]
        if visitor["referrer"]:
            lines.append("Referer: " + visitor["referrer"])
        if visitor["cookies"]:
            lines.append("Cookie: " + "; ".join(
                f"{name}={value}" for name, value
                in visitor["cookies"].items()))
        return rid, ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def fetch(self, connection, visitor, path):
        """One page and the redirects it leads to; the connection to go on."""
        for _ in range(5):
            rid, request = self.request(visitor, path)
            try:
                status, head, closes = await asyncio.wait_for(
                    connection.get(request), ANSWER_S)
            except (Lost, asyncio.TimeoutError) as error:
                self.failed[str(error) or "no answer in time"] += 1
                connection.close()
                return await Connection.open(self.host, self.port)
            self.took(visitor, rid, path, status)
            location = self.remember(visitor, head)
            if closes:
                connection.close()
                connection = await Connection.open(self.host, self.port)
            if status not in (301, 302, 303, 307, 308) or not location:
                visitor["referrer"] = \
                    f"http://{self.host}:{self.port}{path}"
                return connection
            path = location
        return connection

    def took(self, visitor, rid, path, status):
        name = event_name(path)
        if status >= 400:
            self.failed[f"status {status}"] += 1
        if status < 300 or name != PLAIN:
            self.expected[rid] = name

    @staticmethod
    def remember(visitor, head):
        """Keeps cookies; returns where a redirect leads."""
        location = None
        for line in head.split(b"\r\n")[1:]:
            low = line[:12].lower()
            if low.startswith(b"set-cookie:"):
                name, _, value = line[11:].decode("latin-1").strip() \
                    .partition("=")
                visitor["cookies"][name] = value.split(";")[0]
            elif low.startswith(b"location:"):
                location = line[9:].decode("latin-1").strip()
        return location

    async def visit(self, number, visit, start):
        try:
            visitor = {
                "cookies": {}, "referrer": REFERRERS[number % len(REFERRERS)],
                "headers": [
                    "User-Agent: " + AGENTS[number % len(AGENTS)],
                    "Accept-Language: " + LANGUAGES.get(
                        visit["country"], "en-GB,en;q=0.9"),
                    "Accept: text/html,application/xhtml+xml;q=0.9"]}
            connection = self.idle.pop() if self.idle else \
                await Connection.open(self.host, self.port)
            for second, path in visit["steps"]:
                pause = start + second / self.speed - time.monotonic()
                if pause > 0.002:
                    await asyncio.sleep(pause)
                connection = await self.fetch(connection, visitor, path)
            self.idle.append(connection)
        except OSError as error:
            self.failed[str(error)] += 1
        finally:
            self.finished += 1
            self.slots.release()

    async def progress(self, total):
        start = time.monotonic()
        tty = sys.stdout.isatty()
        while True:
            await asyncio.sleep(0.2 if tty else 5)
            seconds = time.monotonic() - start
            text = (f"  {self.finished:,} of {total:,} visits, "
                    f"{self.requests:,} requests, "
                    f"{self.requests / seconds:,.0f}/s")
            if tty:
                print("\r" + text + "  ", end="", flush=True)
            else:
                print(text, flush=True)

    async def all(self):
        start = time.monotonic()
        reporter = asyncio.create_task(self.progress(len(self.visits)))
        running = []
        for number, visit in enumerate(self.visits):
            due = start + (visit["at"] - self.visits[0]["at"]) / self.speed
            pause = due - time.monotonic()
            if pause > 0.002:
                await asyncio.sleep(pause)
            await self.slots.acquire()
            self.late_s = max(self.late_s, time.monotonic() - due)
            running.append(asyncio.create_task(
                self.visit(number, visit, time.monotonic())))
        await asyncio.gather(*running)
        reporter.cancel()
        for connection in self.idle:
            connection.close()
        if sys.stdout.isatty():
            print("\r" + " " * 70 + "\r", end="")
        return time.monotonic() - start


def arrived(connection, run, since):
    """Events of this replay in PostgreSQL: {request id: name}, how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select req->>'rid', name from crm.event "
            "where rts >= to_timestamp(%s) and req->>'rid' like %s",
            (since, run + "-%"))
        rows = cursor.fetchall()
    return {rid: name or PLAIN for rid, name in rows}, len(rows)


def wait_arrival(pg, expected, run, since):
    """Polls until all is there or ARRIVE_S passed; (found, rows, seconds)."""
    import psycopg2
    connection = psycopg2.connect(pg, connect_timeout=5)
    connection.autocommit = True
    start = time.monotonic()
    query = ("select count(*) from crm.event where rts >= to_timestamp(%s) "
             "and req->>'rid' like %s")
    try:
        while time.monotonic() - start < ARRIVE_S:
            with connection.cursor() as cursor:
                cursor.execute(query, (since, run + "-%"))
                if cursor.fetchone()[0] >= len(expected):
                    break
            time.sleep(0.1)
        return (*arrived(connection, run, since), time.monotonic() - start)
    finally:
        connection.close()


def report(expected, found, rows):
    """Prints the table; True when nothing is missing and nothing is twice."""
    sent = collections.Counter(expected.values())
    came = collections.Counter(found.values())
    print(f"  {'event':<20}{'sent':>9}{'arrived':>9}{'difference':>12}")
    for name in sorted(sent | came):
        difference = came[name] - sent[name]
        print(f"  {name:<20}{sent[name]:>9,}{came[name]:>9,}"
              f"{f'{difference:+,}' if difference else '0':>12}")
    missing = len(expected.keys() - found.keys())
    twice = rows - len(found)
    print(f"  {'all':<20}{len(expected):>9,}{rows:>9,}"
          f"   {missing} missing, {twice} twice")
    return missing == 0 and twice == 0 and sent == came


def read_visits(path, most):
    with open(path, encoding="utf-8") as f:
        visits = [json.loads(line) for line in f]
    return visits[:most] if most else visits


def parse(argv):
    parser = argparse.ArgumentParser(
        description="Replays visits through nginx and counts what arrives.")
    parser.add_argument("data", help="folder with visits.jsonl")
    parser.add_argument("--url", default=os.environ.get("CRM_URL"))
    parser.add_argument("--pg", default=os.environ.get("CRM_PG"))
    parser.add_argument("--visits", type=int, default=0, metavar="N",
                        help="only the first N visits")
    parser.add_argument("--speed", type=float, default=0, metavar="X",
                        help=f"times real pace (default: {PACE_S} s in all)")
    parser.add_argument("--connections", type=int, default=64, metavar="N",
                        help="visits at a time (default 64)")
    args = parser.parse_args(argv)
    if not args.url or not args.pg:
        parser.error("set CRM_URL and CRM_PG (. run/env) or give --url, --pg")
    return args


def main(argv):
    args = parse(argv)
    host, _, port = args.url.removeprefix("http://").rstrip("/") \
        .partition(":")
    visits = read_visits(os.path.join(args.data, "visits.jsonl"), args.visits)
    if not visits:
        print("replay: no visits", file=sys.stderr)
        return 1
    span = visits[-1]["at"] - visits[0]["at"]
    speed = args.speed or max(1.0, span / PACE_S)
    run = "r" + secrets.token_hex(4)
    since = time.time() - 60
    print(f"  {len(visits):,} visits of {span / 86400:.1f} days at "
          f"{speed:,.0f} times their pace")
    replay = Replay(visits, host, int(port or 80), speed, args.connections,
                    run)
    seconds = asyncio.run(replay.all())
    events = len(replay.expected)
    print(f"  {len(visits):,} visits, {replay.requests:,} requests, "
          f"{events:,} events in {seconds:.1f} s: {events / seconds:,.0f} "
          f"events/s" + (f"; up to {replay.late_s:.0f} s behind the pace"
                         if replay.late_s > 2 else ""))
    for what, count in replay.failed.items():
        print(f"  {count} requests failed: {what}")
    found, rows, waited = wait_arrival(args.pg, replay.expected, run, since)
    print(f"  in PostgreSQL {waited:.1f} s after the last answer:")
    whole = report(replay.expected, found, rows)
    return 0 if whole and not replay.failed else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, ValueError) as error:
        print(f"replay: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
