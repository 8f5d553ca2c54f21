#!/usr/bin/python3
"""collect.py - events/s and CPU of taking client libraries' batches.

crm_collect beside the same work in nginx with Lua (lua-nginx-redis, Debian's lua-resty-redis) and in
Node (Fastify, ioredis): key checked, each event checked and stamped, written
to a Redis stream, 200 answered.  One worker or process on core 0; wrk, Redis
and a consumer of each stream on core 1: it reads and trims as the importer
does, since a Redis that only grows spends its time in the kernel's page
faults.  All are up at once and the rounds run A B C C B A; CPU is the
scheduler's run time of collector and Redis, per event, reading and trimming
included, and medians are printed.
"""

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

from load import Consumer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MODULE = os.path.join(ROOT, 'build/ngx_http_crm_module.so')
BUILT = os.path.join(ROOT, 'build/bench')
PACKAGES = {'private': True,
            'dependencies': {'fastify': '5.3.3', 'ioredis': '5.6.1'}}

COMMON = '''
user root;
worker_processes 1;
worker_cpu_affinity 01;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000;
    client_body_buffer_size 256k;
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        {server}
    }}
}}
'''
CRM = ('load_module {module};',
       'crm_journal {dir}/journal size=1g; crm_redis 127.0.0.1:{redis};',
       'crm on; crm_site shop; crm_write_key bench; '
       'location /v1/ {{ crm_collect segment; }}')
LUA = ('load_module /usr/lib/nginx/modules/ndk_http_module.so; '
       'load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;',
       'lua_package_path "/usr/share/lua/5.1/?.lua;;";',
       '''location /v1/ {{ content_by_lua_block {{
    local cjson = require "cjson.safe"
    local redis = require "nginx.redis"
    local types = {{ track = true, page = true, identify = true,
                     screen = true, group = true, alias = true }}
    local key = ngx.decode_base64(ngx.var.http_authorization:sub(7))
    if key ~= "bench:" then return ngx.exit(401) end
    ngx.req.read_body()
    local body = cjson.decode(ngx.req.get_body_data())
    if not body then return ngx.exit(400) end
    local rts = ngx.now() * 1e6
    local red = redis:new()
    red:set_timeout(1000)
    if not red:connect("127.0.0.1", {redis}) then return ngx.exit(503) end
    red:init_pipeline()
    for i, e in ipairs(body.batch) do
        if types[e.type] and (e.type ~= "track" or e.event) then
            red:xadd("ev", "*", "e", cjson.encode({{
                id = ngx.md5(rts .. i .. e.messageId), mid = e.messageId,
                site = "shop", type = e.type, name = e.event,
                ts = e.timestamp, rts = rts, uid = e.userId, src = "client",
                ctx = {{ ip = ngx.var.remote_addr, ua = e.context.userAgent,
                         anon = e.anonymousId, lib = e.context.library }},
                props = e.properties }}))
        end
    end
    if not red:commit_pipeline() then return ngx.exit(503) end
    red:set_keepalive(10000, 100)
    ngx.header.content_type = "application/json"
    ngx.say('{{"success":true}}')
}} }}''')
WRK = '''
local bodies = {{}}
for i = 1, {variants} do
    local f = io.open("{dir}/body" .. i, "rb")
    bodies[i] = f:read("*a")
    f:close()
end
local n = 0
request = function()
    n = n % {variants} + 1
    return wrk.format("POST", "/v1/batch",
        {{ Authorization = "Basic {auth}",
           ["Content-Type"] = "application/json" }}, bodies[n])
end
'''
NAMES = ('crm_collect', 'nginx + Lua', 'Node, Fastify')
VARIANTS = 64        # bodies, so that no cache flatters anybody


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def event(n):
    return {'timestamp': '2026-11-22T03:58:13.428Z', 'integrations': {},
            'type': 'track', 'event': 'Product Viewed',
            'properties': {'product_id': f'p{n}', 'name': 'Käse, würzig',
                           'category': 'cheese', 'price': 9.9, 'quantity': 1,
                           'currency': 'EUR',
                           'url': f'https://shop.example/p/p{n}.html'},
            'context': {'userAgent': 'Mozilla/5.0 (X11; Linux x86_64) Chrome/1',
                        'locale': 'de-DE',
                        'library': {'name': 'analytics.js', 'version': '1.84'}},
            'anonymousId': str(uuid.uuid4()), 'userId': f'u{n % 97}',
            'messageId': f'ajs-next-{n}-{uuid.uuid4()}'}


def run_ns(pid):
    """The scheduler's run time of all threads of a process."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/schedstat',
                  encoding='utf-8') as f:
            total += int(f.read().split()[0])
    return total


def answers(port):
    try:
        socket.create_connection(('127.0.0.1', port), timeout=1).close()
        return True
    except OSError:
        return False


def warm(port):
    """The worker answers: until its journal is made it does not."""
    try:
        urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=60).close()
    except urllib.error.HTTPError:
        pass


class OneStream(Consumer):
    """Of the stream of Lua and Node, an entry for each event."""

    def keys(self):
        return [b'ev']

    def consume(self):
        read = 0
        with self.busy:
            for stream in self.call('XREAD', 'COUNT', 1000, 'STREAMS', 'ev',
                                    '0-0') or []:
                read = len(stream[1])
                time_ms, n = stream[1][-1][0].split(b'-')
                self.call('XTRIM', 'ev', 'MINID',
                          time_ms + b'-%d' % (int(n) + 1))
        return read

    def run(self):
        while not self.stopping.wait(0.02):
            while self.consume() == 1000:
                pass


class Bench:
    """The three collectors, one Redis each, and the means to load them."""

    def __init__(self, folder, connections, names):
        self.folder = folder
        self.names = names
        self.connections = connections
        self.started = []
        self.worker = {}
        self.redis = {}
        self.port = {}
        self.consumer = {}

    def start(self, argv, core, **more):
        process = subprocess.Popen(
            ['taskset', '-c', str(core), *argv], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, **more)
        self.started.append(process)
        return process

    def wait(self, port):
        deadline = time.monotonic() + 20
        while not answers(port):
            if time.monotonic() > deadline:
                raise SystemExit(f'nothing listens at port {port}')
            time.sleep(0.05)

    def child(self, pid):
        """The worker of a master that may not have forked yet."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with open(f'/proc/{pid}/task/{pid}/children',
                      encoding='utf-8') as f:
                found = f.read().split()
            if found:
                return int(found[0])
            time.sleep(0.05)
        raise SystemExit(f'nginx {pid} has no worker')

    def setup(self):
        for name in self.names:
            redis, port = free_port(), free_port()
            self.redis[name] = self.start(
                ['redis-server', '--port', str(redis), '--save', '',
                 '--bind', '127.0.0.1', '--dir', self.folder], 1).pid
            self.wait(redis)
            kind = Consumer if name == 'crm_collect' else OneStream
            self.consumer[name] = kind(redis, reading=True)
            self.port[name] = (port, redis)
            folder = os.path.join(self.folder, name.split()[0].strip(','))
            os.makedirs(folder)
            if name == 'Node, Fastify':
                pid = self.start(
                    ['node', os.path.join(HERE, 'collector.js'), str(port),
                     str(redis)], 0, env={**os.environ, 'NODE_PATH':
                                          BUILT + '/node_modules'}).pid
            else:
                words = {'dir': folder, 'port': port, 'redis': redis,
                         'module': MODULE}
                load, http, server = (
                    w.format(**words)
                    for w in (CRM if name == 'crm_collect' else LUA))
                path = os.path.join(folder, 'nginx.conf')
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(load + COMMON.format(http=http, server=server,
                                                 **words))
                pid = self.start(['nginx', '-c', path, '-p', folder, '-e',
                                  folder + '/error.log'], 0).pid
            self.wait(port)
            warm(port)
            self.worker[name] = pid if name == 'Node, Fastify' \
                else self.child(pid)

    def bodies(self, batch):
        for i in range(1, VARIANTS + 1):
            text = json.dumps({'batch': [event(i * 1000 + n)
                                         for n in range(batch)],
                               'sentAt': '2026-11-22T03:58:13.439Z',
                               'writeKey': 'bench'}, ensure_ascii=False)
            with open(os.path.join(self.folder, f'body{i}'), 'wb') as f:
                f.write(text.encode())
        path = os.path.join(self.folder, 'wrk.lua')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(WRK.format(variants=VARIANTS, dir=self.folder,
                               auth=base64.b64encode(b'bench:').decode()))
        return path

    def round(self, name, batch, script, seconds):
        """(events/s, worker µs/event, all µs/event)."""
        port, _ = self.port[name]
        worker = run_ns(self.worker[name])
        store = run_ns(self.redis[name])
        out = subprocess.run(
            ['taskset', '-c', '1', 'wrk', '-t1', f'-c{self.connections}',
             f'-d{seconds}', '-s', script, f'http://127.0.0.1:{port}'],
            capture_output=True, text=True, check=True).stdout
        if 'Non-2xx' in out or 'Socket errors' in out:
            raise SystemExit(f'{name}: {out}')
        requests = int(out.split(' requests in ')[0].split()[-1])
        self.drain(name)
        worker = run_ns(self.worker[name]) - worker
        store = run_ns(self.redis[name]) - store
        events = requests * batch
        rate = float(out.split('Requests/sec:')[1].split()[0]) * batch
        return rate, worker / events / 1000, (worker + store) / events / 1000

    def drain(self, name):
        """Until the collector has nothing more to send, and all is read."""
        _, redis = self.port[name]

        def count():
            return subprocess.run(
                ['redis-cli', '-p', str(redis), 'info', 'commandstats'],
                capture_output=True, text=True, check=True).stdout.split(
                    'cmdstat_xadd:calls=')[-1].split(',')[0]
        last = None
        while count() != last:
            last = count()
            time.sleep(0.2)
        while self.consumer[name].consume():
            pass

    def stop(self):
        for consumer in self.consumer.values():
            consumer.stop()
        for process in reversed(self.started):
            process.terminate()
            process.wait()


def fetch():
    """The Node packages, once."""
    os.makedirs(BUILT, exist_ok=True)
    path = os.path.join(BUILT, 'package.json')
    if not os.path.exists(os.path.join(BUILT, 'node_modules/fastify')):
        with open(path, 'w', encoding='utf-8') as f:
            json.dump(PACKAGES, f)
        subprocess.run(['npm', 'install', '--silent', '--no-audit',
                        '--no-fund', '--ignore-scripts'], cwd=BUILT,
                       check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=6)
    parser.add_argument('--seconds', type=int, default=3)
    parser.add_argument('--connections', type=int, default=16)
    parser.add_argument('--batch', type=int, nargs='*', default=[1, 20, 100])
    parser.add_argument('--only', nargs='*', default=list(NAMES))
    options = parser.parse_args()
    fetch()
    folder = tempfile.mkdtemp(prefix='crm-bench-')
    bench = Bench(folder, options.connections, options.only)
    try:
        bench.setup()
        print('| events a request | collector | events/s | worker µs/event '
              '| with Redis µs/event | worker, of ours | all, of ours |')
        print('|---|---|---|---|---|---|---|')
        names = list(bench.worker)
        for batch in options.batch:
            script = bench.bodies(batch)
            found = {name: [] for name in names}
            for i in range(options.rounds):
                for name in names if i % 2 == 0 else reversed(names):
                    found[name].append(bench.round(name, batch, script,
                                                   options.seconds))
            ours = found['crm_collect']
            for name in names:
                rate, worker, both = (statistics.median(v)
                                      for v in zip(*found[name]))
                ratio = [statistics.median(
                    a[k] / b[k] for a, b in zip(found[name], ours))
                    for k in (1, 2)]
                print(f'| {batch} | {name} | {rate:,.0f} | {worker:.2f} | '
                      f'{both:.2f} | {ratio[0]:.1f} | {ratio[1]:.1f} |',
                      flush=True)
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)


main()
