#!/usr/bin/python3
"""load.py - requests/s, p99, CPU and nanoseconds in the module, side by side.

One nginx worker on core 0; wrk and Redis on core 1.  Every variant is an nginx
of its own, all are up at once, and the rounds run A B C ... C B A, so that a
machine that drifts drifts for all.  Ratios are taken round by round against
the bare server; medians are printed.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MODULE = os.path.join(ROOT, 'build/ngx_http_crm_module.so')
SIZES = {'1 KB': ('/small.html', 1024), '30 KB': ('/large.html', 30720)}
SLOTS = ('home-hero', 'home-offer', 'home-recs')
CONTENT = '<p>Welcome back, here is what we kept for you.</p>'
VISITORS = 256

VARIANTS = {
    'bare nginx': ('', '', 'plain'),
    'capture on': ('crm', 'crm on;', 'plain'),
    'capture, every enrichment': ('enrich', 'crm on;', 'plain'),
    'JSON access log, buffered': ('log', 'access_log {dir}/access.log shop '
                                  'buffer=64k flush=1s;', 'plain'),
    'three slots': ('crm', 'crm on; crm_slot markers;', 'marked'),
    'slots on, none in the page': (
        'crm', 'crm on; crm_slot markers;', 'plain'),
    'three slots beside texts': ('crm', 'crm on; {texts}', 'placed'),
    'sub_filter, three placeholders': (
        '', 'sub_filter_once off; sub_filter_last_modified on; {places}',
        'placed'),
    'sub_filter, three whole slots': (
        '', 'sub_filter_once off; sub_filter_last_modified on; {slots}',
        'marked'),
}
SUB_FILTERS = [name for name in VARIANTS if name.startswith('sub_filter')]
WORDS = ('trousers shirt blue red cotton linen slim regular new sale price '
         'basket colour garden lamp candle holder heart vintage set of').split()


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def marker(name):
    return f'<!--crm:slot {name}--><p>default</p><!--/crm:slot-->'


def place(name):
    """What a shop with sub_filter puts where something is to come."""
    return f'<!--{name}-->'


def card(n):
    """A product of a list page."""
    name = ' '.join(WORDS[n * k % len(WORDS)] for k in (1, 3, 7, 11, 13))
    return (f'<li class="card"><a href="/p/{n}.html"><img src="/i/{n}.webp" '
            f'alt="{name}" width="200" height="200" loading="lazy"></a>\n'
            f'<h3>{name.title()}</h3>\n<p class="price">&pound;{n % 97}.00</p>'
            '\n<form method="post" action="/cart/add"><button name="id" '
            f'value="{n}">Add to basket</button></form>\n</li>\n')


def page(size, kind):
    """A list page of `size` bytes with nothing, slots or places spread in."""
    head = '<!doctype html><title>Shop</title><ul class="grid">\n'
    tail = '</ul>\n'
    slots = {'plain': [], 'marked': [marker(s) + '\n' for s in SLOTS],
             'placed': [place(s) + '\n' for s in SLOTS]}[kind]
    room = size - len(head) - len(tail) - sum(len(s) for s in slots)
    cards = []
    for n in range(21000, 99000, 17):
        room -= len(card(n))
        if room < 0:
            break
        cards.append(card(n))
    for i, slot in enumerate(slots):
        cards.insert((i + 1) * len(cards) // 4, slot)
    text = head + ''.join(cards) + tail
    return text + ' ' * (size - len(text))


def campaigns():
    return json.dumps({'site': 'default', 'version': 1, 'campaigns': [
        {'key': name, 'slot': name, 'priority': 1, 'start': None, 'end': None,
         'when': {'session.pages': {'$gt': 0}},
         'variants': [{'key': 'a', 'weight': 1, 'content': CONTENT}]}
        for name in SLOTS]})


CONF = '''
load_module {module};
user root;
worker_processes 1;
worker_cpu_affinity 01;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    types {{ text/html html; }}
    default_type text/plain;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    open_file_cache max=100;
    log_format shop escape=json '{{"id":"$request_id","ts":"$msec",'
        '"method":"$request_method","host":"$host","uri":"$request_uri",'
        '"status":$status,"bytes":$bytes_sent,"ip":"$remote_addr",'
        '"ua":"$http_user_agent","lang":"$http_accept_language",'
        '"ref":"$http_referer","cookie":"$cookie_crm"}}';
    {http}
    server {{
        listen 127.0.0.1:{port};
        root {pages};
        {server}
        {status}
    }}
}}
'''

CRM = '''
    crm_journal {dir}/journal size=256m;
    crm_zone name=crm size=16m;
    crm_redis 127.0.0.1:{redis};
    crm_cookie_keys {keys};
    crm_campaigns {campaigns};
'''
NO_BOTS = '''
    crm_bots off;
'''


# Behaviour is off in all: a load test reads faster than people.  With a list,
# ranges and whatever MaxMind DB files CRM_GEOIP names (colon between two).
ENRICH = '''
    crm_bots {root}/tracker/bots.list behaviour=off;
'''
GEO = [os.path.abspath(p) for p in os.environ.get('CRM_GEOIP', '').split(':')
       if p]


class Variant:
    """One nginx of its own."""

    def __init__(self, name, top, redis):
        kind, server, self.pages = VARIANTS[name]
        self.name = name
        self.crm = kind in ('crm', 'enrich')
        self.dir = os.path.join(top, name.replace(',', '').replace(' ', '-'))
        os.makedirs(self.dir)
        self.port = free_port()
        places, slots = (
            ' '.join(f"sub_filter '{text(s)}' '{CONTENT}';" for s in SLOTS)
            for text in (place, marker))
        http = CRM.format(dir=self.dir, redis=redis, keys=f'{top}/keys',
                          campaigns=f'{top}/campaigns.json') if self.crm else ''
        if kind == 'crm':
            http += NO_BOTS
        if kind == 'enrich':
            http += ENRICH.format(root=ROOT)
            http += ''.join(f'crm_geoip {path};\n' for path in GEO)
        conf = CONF.format(
            module=MODULE, dir=self.dir, port=self.port, http=http,
            pages=os.path.join(top, self.pages),
            server=server.format(
                dir=self.dir, places=places, slots=slots, texts=' '.join(
                    f"crm_slot {s} replace '{place(s)}';" for s in SLOTS)),
            status='location = /crm/status { crm off; crm_status; }'
            if self.crm else '')
        with open(f'{self.dir}/nginx.conf', 'w', encoding='utf-8') as f:
            f.write(conf)
        self.proc = subprocess.Popen(
            ['nginx', '-p', self.dir, '-c', f'{self.dir}/nginx.conf',
             '-e', f'{self.dir}/error.log', '-g', 'daemon off;'])
        self.wait()

    def wait(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                return urllib.request.urlopen(
                    f'http://127.0.0.1:{self.port}/small.html', timeout=2)
            except OSError:
                if time.monotonic() > deadline or self.proc.poll() is not None:
                    sys.exit(f'{self.name}: nginx did not start, see '
                             f'{self.dir}/error.log')
                time.sleep(0.05)

    def worker(self):
        out = subprocess.run(['pgrep', '-P', str(self.proc.pid)],
                             capture_output=True, text=True, check=True).stdout
        return int(out.split()[0])

    def cpu_ns(self):
        """Run time of the worker by the scheduler's account."""
        with open(f'/proc/{self.worker()}/schedstat', encoding='ascii') as f:
            return int(f.read().split()[0])

    def status(self):
        with urllib.request.urlopen(
                f'http://127.0.0.1:{self.port}/crm/status', timeout=5) as r:
            return json.load(r)

    def cookies(self, path):
        """As many visitors as the load plays, each with a good cookie."""
        with open(path, 'w', encoding='ascii') as f:
            for _ in range(VISITORS):
                with urllib.request.urlopen(
                        f'http://127.0.0.1:{self.port}/small.html') as r:
                    cookie = r.headers['Set-Cookie']
                    f.write(cookie.split(';')[0].split('=', 1)[1] + '\n')

    def load(self, path, cookies, seconds):
        before, start = self.cpu_ns(), self.status() if self.crm else None
        out = subprocess.run(
            ['taskset', '-c', '1', 'wrk', '-t1', '-c32', f'-d{seconds}s',
             '-s', f'{HERE}/wrk.lua', f'http://127.0.0.1:{self.port}',
             '--', path, cookies],
            capture_output=True, text=True, check=True).stdout
        line = [x for x in out.splitlines() if x.startswith('RESULT')][0]
        n, us, _p50, p99, errors = map(int, line.split()[1:])
        if errors or n == 0:
            sys.exit(f'{self.name}: {errors} errors, {n} requests')
        row = {'rps': n * 1e6 / us, 'p99': p99,
               'cpu': (self.cpu_ns() - before) / n / 1000}
        if self.crm:
            row['ns'] = self.in_module(start)
        return row

    def in_module(self, start):
        now = self.status()['counters']
        was = start['counters']
        return (now['ns'] - was['ns']) / max(
            1, now['ns_samples'] - was['ns_samples'])

    def drained(self):
        """Waits until Redis has all that was captured."""
        deadline = time.monotonic() + 60
        while any(j['sent'] < j['written'] for j in self.status()['journals']):
            if time.monotonic() > deadline:
                sys.exit(f'{self.name}: the journal did not drain')
            time.sleep(0.1)

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(10)


class Redis:
    """A private one without persistence, on core 1."""

    def __init__(self, top):
        self.port = free_port()
        self.proc = subprocess.Popen(
            ['taskset', '-c', '1', 'redis-server', '--port', str(self.port),
             '--bind', '127.0.0.1', '--save', '', '--dir', top,
             '--daemonize', 'no'], stdout=subprocess.DEVNULL)

    def call(self, *args):
        return subprocess.run(['redis-cli', '-p', str(self.port), *args],
                              capture_output=True, text=True,
                              check=True).stdout

    def cpu_ns(self):
        with open(f'/proc/{self.proc.pid}/schedstat', encoding='ascii') as f:
            return int(f.read().split()[0])


class Consumer(threading.Thread):
    """Trims the streams, for Redis would grow else; reads them first if asked.

    Reading as the importer does is for measures of Redis: this program in
    Python takes from wrk's core what nginx should get.
    """

    def __init__(self, port, reading=False):
        super().__init__(daemon=True)
        self.socket = socket.create_connection(('127.0.0.1', port))
        self.file = self.socket.makefile('rb', buffering=1 << 20)
        self.stopping = threading.Event()
        self.busy = threading.Lock()
        self.reading = threading.Event()
        if reading:
            self.reading.set()
        self.events = 0
        self.bytes = 0
        self.entries = 0
        self.start()

    def call(self, *words):
        out = [b'*%d\r\n' % len(words)]
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out.append(b'$%d\r\n%s\r\n' % (len(w), w))
        self.socket.sendall(b''.join(out))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b'+-':
            return line[:-2]
        if kind == b':':
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b'$':
            return self.file.read(int(rest) + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]

    def keys(self):
        return [b'crm:ev:' + p for p in self.call('SMEMBERS', 'crm:producers')]

    def consume(self):
        """All there is; 0 at the end."""
        read = 0
        with self.busy:
            for key in self.keys():
                for stream in self.call('XREAD', 'COUNT', 100, 'STREAMS', key,
                                        '0-0') or []:
                    for entry, fields in stream[1]:
                        read += int(fields[3])
                        self.bytes += len(fields[5])
                        self.entries += 1
                        last = int(entry.split(b'-')[0])
                    self.call('XTRIM', key, 'MINID', last + 1)
            self.events += read
        return read

    def trim(self):
        with self.busy:
            for key in self.keys():
                self.call('XTRIM', key, 'MAXLEN', 0)

    def run(self):
        while not self.stopping.wait(0.05):
            if self.reading.is_set():
                self.consume()
            else:
                self.trim()

    def stop(self):
        self.stopping.set()
        self.join()
        self.socket.close()


def prepare(top):
    for kind in ('plain', 'marked', 'placed'):
        os.makedirs(f'{top}/{kind}')
        for path, size in SIZES.values():
            with open(f'{top}/{kind}{path}', 'w', encoding='ascii') as f:
                f.write(page(size, kind))
    with open(f'{top}/keys', 'w', encoding='ascii') as f:
        f.write(f'1 {os.urandom(32).hex()}\n')
    with open(f'{top}/campaigns.json', 'w', encoding='ascii') as f:
        f.write(campaigns())


def check(variants):
    """The rewriting variants must give what they claim, byte for byte."""
    for v in variants:
        with urllib.request.urlopen(
                f'http://127.0.0.1:{v.port}/large.html') as r:
            body = r.read().decode()
        want = page(30720, v.pages)
        for s in SLOTS:
            want = want.replace(marker(s), CONTENT).replace(place(s), CONTENT)
        if body != want:
            sys.exit(f'{v.name}: the page is not what it should be')


def table(size, rounds, names):
    print(f'\n### {size} page, {len(rounds)} rounds\n')
    print('| variant | requests/s | of bare | p99 µs | CPU µs/request '
          '| ns in the module |')
    print('|---|---|---|---|---|---|')
    med = statistics.median
    for name in names:
        rows = [r[name] for r in rounds]
        ratio = med(r[name]['rps'] / r['bare nginx']['rps'] for r in rounds)
        ns = f"{med(r['ns'] for r in rows):.0f}" if 'ns' in rows[0] else '–'
        print(f"| {name} | {med(r['rps'] for r in rows):,.0f} | {ratio:.2f} | "
              f"{med(r['p99'] for r in rows):,.0f} | "
              f"{med(r['cpu'] for r in rows):.1f} | {ns} |")
    print()
    for name in SUB_FILTERS if 'three slots' in names else ():
        if name not in names:
            continue
        rate = med(r['three slots']['rps'] / r[name]['rps'] for r in rounds)
        extra = med((r[name]['cpu'] - r['bare nginx']['cpu'])
                    / max(0.1, r['three slots']['cpu']
                          - r['bare nginx']['cpu']) for r in rounds)
        print(f'three slots / {name}: {rate:.2f} of its requests/s, '
              f'{extra:.1f} times less CPU on top of bare nginx')


def redis_cost(variant, redis, consumer, cookies, seconds):
    """Redis' own time per event, reading and trimming included."""
    variant.drained()
    while consumer.consume():
        pass
    was, cpu = (consumer.events, consumer.entries, consumer.bytes), \
        redis.cpu_ns()
    variant.load('/small.html', cookies, seconds)
    variant.drained()
    while consumer.consume():
        pass
    events = consumer.events - was[0]
    return {'ns': (redis.cpu_ns() - cpu) / events,
            'bytes': (consumer.bytes - was[2]) / events,
            'per_entry': events / (consumer.entries - was[1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--seconds', type=int, default=3)
    parser.add_argument('--only', metavar='NAMES', default='',
                        help='variants besides bare nginx, with " | " '
                        'between them; the Redis line is of the second')
    args = parser.parse_args()
    for name in [n for n in VARIANTS if n not in args.only.split(' | ')]:
        if args.only and name != 'bare nginx':
            del VARIANTS[name]
    top = tempfile.mkdtemp(prefix='crm-bench-')
    os.chmod(top, 0o755)
    prepare(top)
    redis = Redis(top)
    variants = []
    consumer = None
    try:
        variants = [Variant(name, top, redis.port) for name in VARIANTS]
        check(variants)
        consumer = Consumer(redis.port)
        cookies = f'{top}/cookies'
        [v for v in variants if v.crm][0].cookies(cookies)
        for size, (path, _) in SIZES.items():
            rounds = []
            for i in range(args.rounds):
                order = variants if i % 2 == 0 else variants[::-1]
                rounds.append({v.name: v.load(path, cookies, args.seconds)
                               for v in order})
                for v in variants:
                    if v.crm:
                        v.drained()
            table(size, rounds, VARIANTS)
        consumer.reading.set()
        costs = [redis_cost(variants[1], redis, consumer, cookies,
                            args.seconds) for _ in range(5)]
        med = {k: statistics.median(c[k] for c in costs) for k in costs[0]}
        print(f"\nRedis: {med['ns']:.0f} ns of CPU per event, session keys, "
              f"reading and trimming included; {med['per_entry']:.0f} events "
              f"per stream entry; an event is {med['bytes']:.0f} bytes of "
              f"JSON")
    finally:
        for v in variants:
            v.stop()
        if consumer is not None:
            consumer.stop()
        redis.proc.terminate()
        redis.proc.wait(10)
        shutil.rmtree(top)


if __name__ == '__main__':
    main()
