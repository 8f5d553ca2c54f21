#!/usr/bin/python3
"""import.py - rows/s of "crm-mine import" against raw COPY into the same table.

Events are made by real requests, kept as stream entries, and put back into
Redis before each round.  Raw COPY sends the very rows that the import wrote,
already formatted, in one transaction per 20,000 rows as the importer does.
Rounds alternate; medians and the ratio round by round are printed.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, 'demo'))

from stack import Stack, wait_until  # noqa: E402

BATCH = 20000
CONF = os.path.join(ROOT, 'tests/system/nginx.conf')
HTTP = '''
    crm_journal @RUN@/journal size=512m;
    crm_zone name=crm size=32m;
    crm_redis @REDIS@;
'''
SERVER = '''
    crm on;
    location /p/ {
        crm_event "Product Viewed" product_id=$arg_id category=$arg_cat;
    }
    location = /crm/status { crm off; crm_status; }
'''


class Bench(Stack):
    """The stack without slots; its own text is filled in like the template."""

    def values(self):
        values = super().values()
        for name in ('HTTP', 'SERVER'):
            for word, value in list(values.items()):
                values[name] = values[name].replace(f'@{word}@', str(value))
        return values


def browse(stack, n):
    """n page views of some thousand visitors, by wrk."""
    os.makedirs(stack.path('pages/p'), exist_ok=True)
    with open(stack.path('pages/p/a.html'), 'w', encoding='ascii') as f:
        f.write('<p>' + 'x' * 1000 + '</p>\n')
    script = stack.path('browse.lua')
    with open(script, 'w', encoding='ascii') as f:
        f.write('''
local cookies, i = {}, 0
function request()
    i = i + 1
    local h = { ["Cookie"] = cookies[i % 2000],
                ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) Chrome/142",
                ["Accept-Language"] = "en-GB,en;q=0.9",
                ["Referer"] = "https://shop.example/c/trousers.html" }
    return wrk.format("GET", "/p/a.html?id=A" .. i % 217 .. "&cat=c" .. i % 4,
                      h)
end
function response(status, headers, body)
    local c = headers["Set-Cookie"]
    if c and #cookies < 2000 then
        cookies[#cookies + 1] = string.match(c, "^[^;]+")
    end
end
''')
    while sum(j['written'] for j in status(stack)['journals']) < n:
        subprocess.run(['wrk', '-t1', '-c16', '-d2s', '-s', script,
                        stack.url], capture_output=True, check=True)


def status(stack):
    return json.loads(stack.get('/crm/status')[2])


def cli(stack, *words):
    return subprocess.run(['redis-cli', '-p', str(stack.port('redis')),
                           *words], capture_output=True, check=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--events', type=int, default=200000)
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='crm-bench-')
    os.chmod(folder, 0o755)
    stack = Bench(folder, template=CONF, workers=1,
                  extra={'MAIN': '', 'HTTP': HTTP, 'SERVER': SERVER})
    try:
        stack.start_postgres()
        stack.start_redis()
        stack.migrate()
        stack.sql("insert into crm.site (key, name) values ('shop', 'Shop')")
        stack.start_nginx()
        browse(stack, args.events)
        wait_until(lambda: all(j['sent'] == j['written']
                               for j in status(stack)['journals']),
                   'journals to drain')
        stack.nginx.stop()
        keys = cli(stack, '--raw', 'keys', 'crm:ev:*').decode().split()
        for key in keys:                # kept aside under another name
            cli(stack, 'copy', key, 'kept:' + key)
        run(stack, keys, args.rounds)
    finally:
        stack.stop()
        shutil.rmtree(folder)


def run(stack, keys, rounds):
    rates = []
    for n in range(rounds):
        order = (imported, copied) if n % 2 == 0 or not rates else \
            (copied, imported)
        if n == 0:
            imported(stack, keys)       # warms up, and makes the rows
            rows = exported(stack)
        rates.append({f.__name__: f(stack, keys if f is imported else rows)
                      for f in order})
        print('round {}: import {imported:,.0f} rows/s, raw COPY '
              '{copied:,.0f} rows/s'.format(n + 1, **rates[-1]), flush=True)
    med = statistics.median
    print('\n| | rows/s (median) |\n|---|---|')
    print(f"| crm-mine import | {med(r['imported'] for r in rates):,.0f} |")
    print(f"| raw COPY, same rows, same table | "
          f"{med(r['copied'] for r in rates):,.0f} |")
    ratio = med(r['imported'] / r['copied'] for r in rates)
    print(f'\nimport / raw COPY: {ratio:.2f}')


def empty(stack):
    stack.sql('truncate crm.event')
    stack.sql('truncate crm.producer')
    stack.sql('truncate crm.visitor cascade')
    connection = psycopg2.connect(stack.pg())
    connection.autocommit = True
    connection.cursor().execute('checkpoint')
    connection.close()


def imported(stack, keys):
    empty(stack)
    for key in keys:
        cli(stack, 'copy', 'kept:' + key, key, 'replace')
    cli(stack, 'del', 'crm:durable')
    start = time.monotonic()
    stack.mine('import', '--once')
    seconds = time.monotonic() - start
    return stack.sql('select count(*) from crm.event')[0][0] / seconds


def exported(stack):
    """The rows as COPY text, in chunks of BATCH lines."""
    connection = psycopg2.connect(stack.pg())
    out = io.BytesIO()
    connection.cursor().copy_expert(
        'copy (select * from crm.event) to stdout', out)
    connection.close()
    lines = out.getvalue().splitlines(keepends=True)
    return [b''.join(lines[i:i + BATCH]) for i in range(0, len(lines), BATCH)]


def copied(stack, chunks):
    empty(stack)
    connection = psycopg2.connect(stack.pg())
    cursor = connection.cursor()
    start = time.monotonic()
    for chunk in chunks:
        cursor.copy_expert('copy crm.event from stdin', io.BytesIO(chunk),
                           size=1 << 16)
        connection.commit()
    seconds = time.monotonic() - start
    connection.close()
    return sum(c.count(b'\n') for c in chunks) / seconds


if __name__ == '__main__':
    main()
