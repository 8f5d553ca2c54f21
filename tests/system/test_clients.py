"""test_clients.py - the published libraries, unmodified, tell a story.

Three libraries for servers and three for browsers: a visit with a burst,
letters of the world, an event of 30 KB, and nginx away for three seconds.
What a library believes delivered is in the warehouse, once, in order, and
reads the same whichever library sent it.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time

import pytest

from conftest import HTTP, ROOT, SERVER, poll
from stack import wait_until

HERE = os.path.join(ROOT, 'tests/clients')
BUILT = os.path.join(ROOT, 'build/clients')
NODE = ('segment-node', 'rudderstack-node', 'snowplow-node')
BROWSER = ('segment', 'rudderstack', 'snowplow')
SECONDS = 40

CONF = {'http': HTTP, 'server': SERVER + '''
        crm_write_key browser-key;
        crm_write_key server-key trusted;
        location /v1/ { crm_collect segment; }
        location /far/ {
            crm_collect segment;
            crm_collect_origin http://127.0.0.1:@PORT@;
        }
        location /com.snowplowanalytics.snowplow/ {
            crm_collect snowplow;
            crm_collect_origin http://127.0.0.1:@PORT@;
        }
'''}


def installed():
    """The packages of package.json, fetched once."""
    wanted = os.path.join(HERE, 'package.json')
    have = os.path.join(BUILT, 'package.json')
    done = os.path.join(BUILT, 'node_modules', '.done')
    with open(wanted, encoding='utf-8') as f:
        words = f.read()
    same = os.path.exists(have) and open(have, encoding='utf-8').read() == words
    if not (same and os.path.exists(done)):
        os.makedirs(BUILT, exist_ok=True)
        shutil.copy(wanted, have)
        subprocess.run(['npm', 'install', '--silent', '--no-audit',
                        '--no-fund', '--ignore-scripts'],
                       cwd=BUILT, check=True, timeout=300)
        open(done, 'w', encoding='utf-8').close()


def pages(shop):
    """Bundles each browser library from its npm package, as a shop would."""
    esbuild = os.path.join(BUILT, 'node_modules/@esbuild',
                           os.listdir(os.path.join(
                               BUILT, 'node_modules/@esbuild'))[0],
                           'bin/esbuild')
    subprocess.run(
        [esbuild, *(os.path.join(HERE, name + '.js') for name in BROWSER),
         '--bundle', '--format=iife', '--log-level=warning',
         '--define:process.env.NODE_ENV="production"',
         '--outdir=' + shop.path('pages')], check=True, env=environment())
    for name in BROWSER:
        shop.page(name + '.html', '<!doctype html><meta charset=utf-8>'
                  f'<title>Home</title><script src=/{name}.js></script>')


def environment():
    return {**os.environ, 'NODE_PATH': os.path.join(BUILT, 'node_modules')}


class Teller:
    """A process that tells a story, chapter by chapter."""

    def __init__(self, folder, script, *words):
        self.log = os.path.join(folder, f'{script}-{len(words) > 1 and words[0]}')
        self.err = self.log + '.err'
        with open(self.log, 'wb') as out, open(self.err, 'wb') as err:
            self.process = subprocess.Popen(
                ['node', os.path.join(HERE, script), *words],
                stdin=subprocess.PIPE, stdout=out, stderr=err,
                env=environment())

    def tell(self, chapter):
        self.process.stdin.write(f'{chapter}\n'.encode())
        self.process.stdin.flush()

    def told(self, chapter):
        def look():
            with open(self.log, encoding='utf-8') as f:
                if f'done {chapter}\n' in f.read():
                    return True
            assert self.process.poll() in (None, 0), \
                open(self.err, encoding='utf-8').read()
            return False
        wait_until(look, f'{self.log}: chapter {chapter}', SECONDS)

    def delivered(self):
        """{library: ids}, and the process has ended."""
        self.process.wait(SECONDS)
        with open(self.log, encoding='utf-8') as f:
            return json.loads(f.read().strip().split('\n')[-1])


@pytest.fixture(scope='module')
def delivered(shop, tmp_path_factory):
    """Tells all stories at once; what each library believes delivered."""
    installed()
    pages(shop)
    folder = str(tmp_path_factory.mktemp('clients'))
    url = f'http://127.0.0.1:{shop.port("nginx")}'
    with contextlib.ExitStack() as stack:
        browser = Teller(folder, 'browser.cjs', url)
        tellers = [browser] + [Teller(folder, 'node.cjs', name, url)
                               for name in NODE]
        for teller in tellers:
            stack.callback(teller.process.kill)
        for teller in tellers[1:]:
            teller.tell(1)
        browser.told(0)
        browser.tell(1)
        for teller in tellers:
            teller.told(1)
        shop.nginx.stop()
        back = time.monotonic() + 3
        for teller in tellers:
            teller.tell(2)
        poll(lambda: time.monotonic() > back, 'three seconds to pass')
        shop.start_nginx()
        for teller in tellers:
            teller.tell(3)
        for teller in tellers:
            teller.told(3)
        found = {}
        for teller in tellers:
            found.update(teller.delivered())
    shop.settled()
    return found


def events(shop, library):
    return [r[0] for r in shop.sql(
        "select to_jsonb(e) from crm.event e where src = 'client' and uid = %s"
        ' order by coalesce(ts, rts), rts', f'user-{library}')]


@pytest.mark.parametrize('library', NODE + BROWSER)
def test_delivered_is_there_once(shop, delivered, library):
    mids = [r[0] for r in shop.sql('select mid from crm.event '
                                   'where mid = any(%s)', delivered[library])]
    assert sorted(mids) == sorted(set(delivered[library]))
    assert len(mids) >= 34, 'the story was not told'


@pytest.mark.parametrize('library', NODE + BROWSER)
def test_in_order(shop, delivered, library):
    """By the client's time, to the ms in which a burst is one moment."""
    found = events(shop, library)
    burst = [e for e in found if e['name'] == 'Burst']
    burst.sort(key=lambda e: e['props']['value'])
    assert [e['props']['value'] for e in burst] == list(range(30))
    times = [e['ts'] or e['rts'] for e in burst]
    assert times == sorted(times)
    assert len({e['vid'] for e in found}) == 1


@pytest.mark.parametrize('library', NODE + BROWSER)
def test_reads_the_same(shop, delivered, library):
    named = {e['name']: e for e in events(shop, library)
             if e['type'] == 'track'}
    viewed = {'product_id': 'p1', 'name': 'Käse 🧀', 'category': 'cheese',
              'price': 9.9, 'currency': 'EUR'}
    assert named['Product Viewed']['props'] == viewed
    assert {**named['Product Added']['props'], **viewed, 'quantity': 2,
            'cart_value': 0} == {**viewed, 'quantity': 2, 'cart_value': 0}
    assert named['Large']['props']['label'] == 'ä' * 15000
    done = named['Order Completed']['props']
    assert (done['order_id'], done['total'], done['currency']) == (
        f'order-{library}', 19.8, 'EUR')
    assert (done['products'][0]['product_id'], done['products'][0]['price'],
            done['products'][0]['quantity']) == ('p1', 9.9, 2)
    page = [e for e in events(shop, library) if e['type'] == 'page']
    assert len(page) == 1 and page[0]['name'] is None
    assert page[0]['props']['title'] == 'Home'
    assert shop.sql('select product_id, quantity, price::float from '
                    'crm.order_line where order_id = %s',
                    f'order-{library}') == [('p1', 2, 9.9)]


def test_browsers_keep_their_visitor(shop, delivered):
    """The page and the library on it are one visitor, and one only."""
    for library in BROWSER:
        known = {r[0] for r in shop.sql(
            "select distinct vid::text from crm.event where src = 'origin' "
            "and req->>'path' = %s", f'/{library}.html')}
        own = {e['vid'] for e in events(shop, library)}
        assert known == own or library != 'segment'
