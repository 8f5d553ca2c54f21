"""test_delivery.py - what is not changed leaves as if we were not there.

Every page is asked for twice: where slots are filled, and at a twin location
with "crm_slot off".  Unless a slot is filled both answers are the same, to the
byte and to the header, however the page comes and whatever is asked of it.
"""

import collections
import concurrent.futures
import gzip
import math
import os
import random
import re
import socket
import subprocess
import threading

import pytest

from conftest import HTTP, SERVER, Visitor, poll
from stack import free_port
from test_slots import CLOSE, OPEN, Origin, raw, rss_kb, unchunk, workers

FILLED = '<p>content</p>'
FOOT = '<i>foot</i>'
DATE = 'Mon, 01 Jan 2024 00:00:00 GMT'
TAG = '"v1"'
VALIDATORS = (f'ETag: {TAG}\r\nLast-Modified: {DATE}\r\n'
              'Accept-Ranges: bytes\r\n')
TEXT = '<p>' + 'lorem ipsum! ' * 300 + '</p>\n'
BODIES = {
    'empty': '',
    'none': '<h1>no slot</h1>\n' + TEXT,
    'other': f'<h1>a</h1><!--crm:slot other-->keep{CLOSE}\n' + TEXT,
    'long': TEXT * 20,                       # longer than nginx's buffers
    'slot': f'<h1>a</h1>{OPEN}old{CLOSE}\n' + TEXT,
    'late': TEXT * 20 + f'{OPEN}old{CLOSE}\n',
    'huge': TEXT * 100,                      # longer than is looked at
    'canary': '<!--crm:slot canary-->nobody<!--/crm:slot-->\n' + TEXT,
}
UNCHANGED = ['empty', 'none', 'other', 'long']
CHANGED = ['slot', 'late']
PLACES = '''
            crm_slot a replace '<div id="teaser"></div>';
            crm_slot b before "</body>";
            crm_slot c after "<body>";
'''


def oracle(text, places=()):
    """What a naive search and replace of the whole page makes of it."""
    text = re.sub(f'{OPEN}(.{{0,16384}}?){CLOSE}', lambda _: FILLED, text,
                  flags=re.S)
    for where, literal, content in places:
        made = {'before': content + literal, 'after': literal + content,
                'replace': content}[where]
        text = text.replace(literal, made, 1)
    return text


class Shop(Origin):
    """Pages /…/body?…: how it is sent is said by the query."""

    def page_body(self, connection, args):
        body = BODIES[args['name']].encode()
        coding = args.get('coding', '')
        head = f'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{VALIDATORS}'
        if args.get('public'):
            head += 'Cache-Control: public, max-age=3600\r\n'
        if coding == 'gzip':
            body = gzip.compress(body, mtime=0)
        if coding:
            head += f'Content-Encoding: {coding}\r\n'
        if args.get('chunked'):
            head += 'Transfer-Encoding: chunked\r\n'
            parts = [body[i:i + 1000] for i in range(0, len(body), 1000)]
            body = b''.join(b'%x\r\n%b\r\n' % (len(p), p) for p in parts) \
                + b'0\r\n\r\n'
        else:
            head += f'Content-Length: {len(body)}\r\n'
        head += 'Connection: close\r\n\r\n'
        if args.get('head'):
            body = b''
        connection.sendall(head.encode())
        step = int(args.get('step', len(body) or 1))
        for i in range(0, len(body), step):
            connection.sendall(body[i:i + step])
            if 'step' in args and 'rush' not in args:
                self.taken(connection)

    def page_literals(self, connection, args):
        body, at = LITERALS.encode(), int(args['at'])
        connection.sendall(f'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n'
                           f'{VALIDATORS}Content-Length: {len(body)}\r\n'
                           'Connection: close\r\n\r\n'.encode() + body[:at])
        self.taken(connection)
        connection.sendall(body[at:])

    def page_dies(self, connection, args):
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n'
                           b'Content-Length: 9000\r\n\r\n'
                           + b'x' * int(args['at']))

    def page_stream(self, connection, _):
        """The rest is sent when the visitor has what was flushed."""
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n'
                           b'Connection: close\r\n\r\n<h1>first</h1>')
        self.go_on.wait(10)
        connection.sendall(f'{OPEN}x{CLOSE}'.encode())

    go_on = threading.Event()


CANARY = '<i>canary {{visitor.id}}</i>'
LITERALS = ('<html><bod<body>y<div id="teaser"><div id="teaser"></div>'
            '</bod</body></body><div id="teaser"></div></html>')
LITERAL_PLACES = [('replace', '<div id="teaser"></div>', '<b>a</b>'),
                  ('before', '</body>', '<b>b</b>'),
                  ('after', '<body>', '<b>c</b>')]


def locations(port):
    """Each way a page can come, with slots (/on) and without (/off)."""
    ways = {
        'static': 'alias @RUN@/pages/;',
        'proxy': f'proxy_pass http://127.0.0.1:{port}/;',
        'bare': f'proxy_pass http://127.0.0.1:{port}/; proxy_buffering off;',
        'cached': f'proxy_pass http://127.0.0.1:{port}/; proxy_cache pages;'
                  ' proxy_cache_valid any 1h; proxy_cache_lock on;'
                  ' proxy_cache_key $uri$is_args$args;'
                  ' add_header X-Cache $upstream_cache_status;',
        'gunzip': f'proxy_pass http://127.0.0.1:{port}/; gunzip on;',
    }
    text = ''
    for name, how in ways.items():
        text += f'''
        location /on/{name}/ {{ proxy_http_version 1.1; {how} }}
        location /off/{name}/ {{ crm_slot off; proxy_http_version 1.1; {how} }}
'''
    return text


@pytest.fixture(scope='module', autouse=True)
def origin(request):
    one = Shop()
    two, narrow = free_port(), free_port()
    locations_of = locations(one.port)
    request.module.CONF = {
        'http': HTTP + f'''
    proxy_cache_path @RUN@/nginx/cache keys_zone=pages:1m;
    proxy_cache_path @RUN@/nginx/front keys_zone=front:1m;
    server {{
        listen 127.0.0.1:{two} http2;
        listen 127.0.0.1:{narrow} sndbuf=8k;
        crm_site shop;
        root @RUN@/pages;
        crm on;
        crm_slot markers;
        {locations_of}
        # a cache in front of the shop, which knows nothing of us
        location /front/ {{
            crm off;
            proxy_cache front;
            proxy_cache_key $uri$is_args$args;
            proxy_pass http://127.0.0.1:@PORT@/;
            add_header X-Front $upstream_cache_status;
        }}
    }}
''',
        'server': SERVER + locations_of + f'''
        location /places/ {{
            {PLACES}
            proxy_pass http://127.0.0.1:{one.port}/;
            proxy_buffering off;
        }}
        location /placed/ {{
            {PLACES}
            alias @RUN@/pages/;
        }}
        error_page 404 /lost.html;
        location = /lost.html {{ internal; }}
'''}
    one.two, one.narrow = two, narrow
    yield one
    one.close()


@pytest.fixture(scope='module')
def live(shop):
    for name, text in BODIES.items():
        shop.page(name + '.html', text)
    shop.page('literals.html', LITERALS)
    shop.campaign('far', slot='far', content='y' * 60000)
    shop.campaign('canary', slot='canary', content=CANARY)
    shop.page('lost.html', '<h1>lost</h1>\n')
    shop.campaign('content', content=FILLED)
    for slot in 'abc':
        shop.campaign('at-' + slot, slot=slot, content=f'<b>{slot}</b>')
    for worker in workers(shop):
        v = shop.visitor_of(worker)
        poll(lambda: FILLED in v.text('/slot.html')
             and '<b>b</b>' in v.text('/placed/literals.html'),
             'the campaigns to be live')
        shop.cookie = v.cookie
        v.close()
    return shop


Answer = collections.namedtuple('Answer', 'status headers body')


def ask(shop, path, method='GET', version='1.1', **headers):
    """The answer as it came, but for the date and what our cache did."""
    lines = [f'{method} {path} HTTP/{version}', 'Host: x',
             'Connection: close', f'Cookie: crm={shop.cookie}']
    lines += [f'{k.replace("_", "-")}: {v}' for k, v in headers.items()]
    head, _, body = raw(shop, '\r\n'.join(lines + ['', '']).encode()) \
        .partition(b'\r\n\r\n')
    status, *fields = head.decode().split('\r\n')
    fields = [tuple(f.split(': ', 1)) for f in fields
              if not f.startswith(('Date:', 'X-Cache:'))]
    if ('Transfer-Encoding', 'chunked') in fields:
        body = unchunk(body)
    return Answer(int(status.split()[1]), fields, body)


def where(way, name, more=''):
    return f'{way}/{name}.html' if way == 'static' \
        else f'{way}/body?name={name}{more}'


WAYS = ['static', 'proxy', 'bare', 'cached']


# ---- pages without a filled slot --------------------------------------------

@pytest.mark.parametrize('way', WAYS)
def test_unchanged_pages_are_the_same_in_every_byte(live, way):
    for name in UNCHANGED:
        for version in ('1.1', '1.0'):
            for n in range(2):              # the second may be cached
                path = where(way, name)
                mine = ask(live, '/on/' + path, version=version)
                assert mine == ask(live, '/off/' + path, version=version)
                assert mine.status == 200
                assert mine.body.decode() == BODIES[name]
                assert dict(mine.headers)['ETag'], n


@pytest.mark.parametrize('way', ['proxy', 'cached'])
def test_chunked_pages_are_the_same(live, way):
    for name in UNCHANGED:
        path = where(way, name, '&chunked=1&public=1')
        mine = ask(live, '/on/' + path)
        assert mine == ask(live, '/off/' + path)
        assert mine.body.decode() == BODIES[name]
        assert dict(mine.headers)['Cache-Control'] == 'public, max-age=3600'


def test_a_page_that_comes_in_small_parts_is_the_same(live):
    before = live.counter('pages_held')
    path = where('bare', 'none', '&step=700')
    mine = ask(live, '/on/' + path)
    assert mine == ask(live, '/off/' + path)
    assert dict(mine.headers)['ETag'] == TAG
    assert live.counter('pages_held') == before + 1


@pytest.mark.parametrize('way', WAYS)
def test_conditions_and_ranges_of_unchanged_pages(live, way):
    etag = dict(ask(live, '/off/' + where(way, 'none')).headers)['ETag']
    date = dict(ask(live, '/off/' + where(way, 'none')).headers)[
        'Last-Modified']
    body = BODIES['none'].encode()
    asked = [
        ({'If_None_Match': etag}, 304, b''),
        ({'If_None_Match': '*'}, 304, b''),
        ({'If_None_Match': '"other"'}, 200, body),
        ({'If_Modified_Since': date}, 304, b''),
        ({'If_Match': '"other"'}, 412, None),
        ({'Range': 'bytes=3-9'}, 206, body[3:10]),
        ({'Range': 'bytes=-7'}, 206, body[-7:]),
        ({'Range': 'bytes=0-0', 'If_Range': etag}, 206, body[:1]),
        ({'Range': 'bytes=0-0', 'If_Range': '"other"'}, 200, body),
        ({'Range': f'bytes={len(body)}-'}, 416, None),
    ]
    for headers, status, want in asked:
        mine = ask(live, '/on/' + where(way, 'none'), **headers)
        assert mine.status == status, headers
        if want is not None:
            assert mine.body == want, headers
        if way in ('static', 'cached'):     # else the shop, here ours, judges
            assert mine == ask(live, '/off/' + where(way, 'none'), **headers)
    # several parts of one page; from a shop that sends parts, the whole
    mine = ask(live, '/on/' + where(way, 'none'), Range='bytes=0-1,5-6')
    if way in ('static', 'cached'):
        assert mine.status == 206
        assert 'multipart/byteranges' in dict(mine.headers)['Content-Type']
    else:
        assert (mine.status, mine.body) == (200, body)


def test_head_of_an_unchanged_page(live):
    for way in ('static', 'cached'):
        path = where(way, 'none')
        ask(live, '/on/' + path)
        head = ask(live, '/on/' + path, method='HEAD')
        assert head == ask(live, '/off/' + path, method='HEAD')
        assert head.headers == ask(live, '/on/' + path).headers
        assert head.body == b'' and dict(head.headers)['ETag']
    # nobody knows what the shop would put into the page: nothing is promised
    head = dict(ask(live, '/on/' + where('proxy', 'none', '&head=1'),
                    method='HEAD').headers)
    assert head['Cache-Control'] == 'private' and 'ETag' not in head


def test_an_unchanged_error_page(live):
    mine = ask(live, '/nothing.html')
    assert (mine.status, mine.body) == (404, b'<h1>lost</h1>\n')
    assert dict(mine.headers)['Content-Length'] == '14'
    assert 'Cache-Control' not in dict(mine.headers)


# ---- pages with one ---------------------------------------------------------

@pytest.mark.parametrize('way', WAYS)
def test_changed_pages_have_no_validators(live, way):
    for name in CHANGED:
        for headers in ({}, {'If_None_Match': '*'}, {'Range': 'bytes=0-9'},
                        {'If_Match': '"other"'}, {'If_Modified_Since': DATE}):
            mine = ask(live, '/on/' + where(way, name, '&public=1'),
                       **headers)
            assert (mine.status, mine.body.decode()) \
                == (200, oracle(BODIES[name])), headers
            assert [v for k, v in mine.headers if k == 'Cache-Control'] \
                == ['private']
            for field in ('ETag', 'Last-Modified', 'Content-Length',
                          'Accept-Ranges', 'Content-Range'):
                assert field not in dict(mine.headers), field


@pytest.mark.parametrize('way', ['proxy', 'cached'])
def test_a_page_longer_than_is_looked_at_passes_as_changed(live, way):
    mine = ask(live, '/on/' + where(way, 'huge'))
    assert mine.body.decode() == BODIES['huge']
    assert ('Cache-Control', 'private') in mine.headers or way == 'cached'


@pytest.mark.parametrize('way', ['bare', 'proxy'])
def test_a_page_that_streams_is_not_kept_back(live, origin, way):
    """Flushed at once; and what nginx buffers, after a moment."""
    origin.go_on.clear()
    with socket.create_connection(('127.0.0.1', live.port('nginx')),
                                  timeout=10) as s:
        s.sendall(f'GET /on/{way}/stream HTTP/1.0\r\n\r\n'.encode())
        got = b''
        while b'<h1>first</h1>' not in got:
            data = s.recv(65536)
            assert data, got
            got += data
        origin.go_on.set()
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
    assert got.endswith(FILLED.encode())


def test_a_page_that_dies_while_it_is_kept_back_does_not_look_whole(live):
    for at in (0, 100, 8000):
        head, _, body = raw(live, (
            f'GET /on/bare/dies?at={at} HTTP/1.1\r\nHost: x\r\n'
            'Connection: close\r\n\r\n').encode()).partition(b'\r\n\r\n')
        assert b' 200 ' in head and not body.endswith(b'0\r\n\r\n'), at


def test_pages_kept_back_and_left_do_not_make_the_worker_grow(live):
    before = {pid: rss_kb(pid) for pid in workers(live)}
    for n in range(40):
        with socket.create_connection(('127.0.0.1', live.port('nginx')),
                                      timeout=10) as s:
            s.sendall(b'GET /on/bare/body?name=huge&step=9000&rush=1 HTTP/1.1\r\n'
                      b'Host: x\r\n\r\n')
            if n % 2:
                s.recv(1)
    assert ask(live, '/on/' + where('bare', 'none')).status == 200
    assert max(rss_kb(pid) - kb for pid, kb in before.items()) < 8 * 1024


# ---- compressed by the shop -------------------------------------------------

@pytest.mark.parametrize('way', ['proxy', 'cached'])
def test_the_shop_is_asked_for_plain_text(live, origin, way):
    path = where(way, 'slot', '&from=asked')
    mine = ask(live, '/on/' + path, Accept_Encoding='gzip, br')
    assert mine.body.decode() == oracle(BODIES['slot'])
    asked = [text for url, text in origin.asked if 'from=asked' in url]
    assert asked and 'Accept-Encoding' not in asked[-1]
    ask(live, '/on/' + path.replace(way, 'gunzip'), Accept_Encoding='gzip')
    assert 'Accept-Encoding: gzip' in origin.asked[-1][1]


def test_what_is_compressed_all_the_same_passes_untouched(live):
    for coding in ('br', 'gzip'):
        path = where('proxy', 'slot', f'&coding={coding}')
        mine = ask(live, '/on/' + path, Accept_Encoding=coding)
        assert mine == ask(live, '/off/' + path, Accept_Encoding=coding)
        assert dict(mine.headers)['Content-Encoding'] == coding
    for name in ('slot', 'none'):
        path = '/on/' + where('gunzip', name, '&coding=gzip')
        mine = ask(live, path, Accept_Encoding='gzip')
        assert mine.body.decode() == oracle(BODIES[name])
        assert ('Cache-Control', 'private') in mine.headers


# ---- HTTP/2 -----------------------------------------------------------------

def h2(shop, origin, path, *more):
    out = subprocess.run(
        ['curl', '-s', '-i', '--http2-prior-knowledge', '-m', '10',
         '-b', f'crm={shop.cookie}', *more,
         f'http://127.0.0.1:{origin.two}{path}'],
        capture_output=True, check=True).stdout
    head, _, body = out.partition(b'\r\n\r\n')
    assert head.startswith(b'HTTP/2 ')
    return int(head.split()[1]), head.decode().lower(), body.decode()


def test_http_2(live, origin):
    for way in ('static', 'proxy'):
        for name in UNCHANGED + CHANGED:
            status, head, body = h2(live, origin, '/on/' + where(way, name))
            assert (status, body) == (200, oracle(BODIES[name]))
            assert ('etag' in head) == (name in UNCHANGED), name
            assert ('cache-control: private' in head) == (name in CHANGED)
    status, _, body = h2(live, origin, '/on/static/none.html',
                         '-H', 'If-None-Match: *')
    assert (status, body) == (304, '')
    status, _, body = h2(live, origin, '/on/' + where('proxy', 'none'),
                         '-H', 'Range: bytes=3-9')
    assert (status, body) == (206, BODIES['none'][3:10])
    status, head, body = h2(live, origin, '/on/static/slot.html', '-I')
    assert (status, body) == (200, '') and 'etag' not in head


# ---- texts of an unchanged shop ---------------------------------------------

def test_texts_cut_at_every_byte(live, visitor):
    want = oracle(LITERALS, LITERAL_PLACES)
    assert want.count('<b>') == 3
    v = visitor()
    assert v.text('/placed/literals.html') == want
    for at in range(1, len(LITERALS), 3):
        answer, body, rid = v.get(f'/places/literals?at={at}')
        assert body == want, at
        assert answer.headers['Cache-Control'] == 'private'
    assert {d['slot'] for d in live.events(rid)[0]['dec']} == set('abc')


def test_a_page_without_the_texts_is_unchanged(live):
    path = 'none.html'
    mine = ask(live, '/placed/' + path)
    assert mine.body.decode() == BODIES['none']
    assert mine.headers == ask(live, '/off/static/' + path).headers


# ---- contents ---------------------------------------------------------------

def test_a_content_of_sections_lists_and_a_greeting(live, visitor):
    """The profile is what mining publishes; the reader's words are escaped."""
    live.sql("insert into crm.customer (site, customer_id) values "
             "('shop', 'T-1') on conflict do nothing")
    live.sql("insert into crm.profile (site, customer_id, attributes, runs) "
             "values ('shop', 'T-1', '{\"title\": \"ms\", \"family_name\": "
             "\"王\", \"recs\": [{\"id\": \"A<1\", \"note_html\": \"<b>new</b>\"}"
             ", {\"id\": \"B2\"}]}', '{}')")
    live.campaign('talk', slot='talk', content=(
        '{{! to whom }}<h2>{{#customer.greeting}}{{.}}{{/customer.greeting}}'
        '{{^customer.greeting}}Hello{{/customer.greeting}}</h2>\n'
        '{{#customer.recs}}\n<li>{{id}}{{{note_html}}}</li>\n'
        '{{/customer.recs}}\n{{{page.query.q_html}}}'))
    live.page('talk.html', f'<!--crm:slot talk-->x{CLOSE}')
    path = '/talk.html?q_html=<i>'
    v = visitor()
    poll(lambda: v.text(path) == '<h2>Hello</h2>\n&lt;i&gt;', 'the campaign')
    v.get('/login?user=T-1')
    want = ('<h2>Dear Ms 王</h2>\n<li>A&lt;1<b>new</b></li>\n<li>B2</li>\n'
            '&lt;i&gt;')
    poll(lambda: v.text(path) == want, 'the profile')
    v.headers['Accept-Language'] = 'zh-CN'
    assert '<h2>尊敬的王女士</h2>' in v.text(path)


# ---- what was shown ---------------------------------------------------------

def test_what_did_not_leave_is_told_as_aborted(live, origin):
    """The first slot left; the second is in what nobody reads any more."""
    live.page('far.html', f'{OPEN}x{CLOSE}' + 'x' * 30000
              + f'<!--crm:slot far-->y{CLOSE}' + 'x' * 100000
              + f'<!--crm:slot b-->z{CLOSE}')
    before = live.counter('slots_aborted')
    with socket.create_connection(('127.0.0.1', origin.narrow),
                                  timeout=10) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.sendall(b'GET /far.html HTTP/1.1\r\nHost: x\r\n'
                  b'X-Request-Id: far1\r\n\r\n')
        s.recv(100)
    assert live.events('far1')[0]['dec'] == [
        {'slot': 'hero', 'campaign': 'content', 'variant': 'a'},
        {'slot': 'far', 'campaign': 'far', 'variant': 'a', 'aborted': True}]
    assert live.counter('slots_aborted') == before + 1


# ---- caches: nobody meets anybody else --------------------------------------

PAGES = [f'body?name=canary&public=1&page={n}' for n in range(5)] \
    + [f'body?name=none&public=1&page={n}' for n in range(5)]


def tokens(text):
    return re.findall(r'canary ([0-9a-f-]{36})', text)


def browse(shop, port, seed, visits):
    """Some visitors, each through our cache and through the one in front.

    Returns (own tokens, hits of ours by side, hits in front by side, errors).
    """
    rng = random.Random(seed)
    own, ours, front, wrong = [], [], [], []
    for _ in range(visits):
        v = Visitor(shop)
        body = v.text('/on/cached/' + PAGES[rng.randrange(5)])
        if len(tokens(body)) != 1:
            wrong.append(body[:200])
            continue
        me = tokens(body)[0]
        own.append(me)
        page = rng.choice(PAGES)
        for side in ('on', 'off'):
            answer, body, _ = v.get(f'/{side}/cached/{page}&side={side}')
            ours.append((side, answer.headers['X-Cache']))
            if set(tokens(body)) - {me} or (
                    ('canary' in page and side == 'on') != bool(tokens(body))):
                wrong.append((me, body[:200]))
        v.close()
        headers, body = get_at(port, f'/front/on/cached/{page}')
        front.append(('canary' in page, headers['X-Front']))
        if 'canary' in page and (len(tokens(body)) != 1
                                 or tokens(body)[0] in own):
            wrong.append((me, 'in front', body[:200]))
    return own, ours, front, wrong


def get_at(port, path):
    """A visitor without a cookie, at another port; (headers, body)."""
    with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
        s.sendall(f'GET {path} HTTP/1.0\r\n\r\n'.encode())
        got = b''
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
    head, _, body = got.partition(b'\r\n\r\n')
    return dict(line.split(': ', 1) for line in
                head.decode().split('\r\n')[1:]), body.decode()


def cache_safety(shop, origin, visitors):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(
            lambda seed: browse(shop, origin.narrow, seed, visitors // 4),
            range(4)))
    own = [t for part in parts for t in part[0]]
    wrong = [w for part in parts for w in part[3]]
    assert not wrong, wrong[:3]
    assert len(own) == len(set(own)) == visitors // 4 * 4
    # our cache works as if we were not there: one miss per page and side
    ours = collections.Counter(x for part in parts for x in part[1])
    assert ours[('on', 'HIT')] == ours[('off', 'HIT')] > 0
    assert ours[('on', 'MISS')] == ours[('off', 'MISS')] == len(PAGES)
    # in front what is personal is kept from nobody's cache, the rest is kept
    front = collections.Counter(x for part in parts for x in part[2])
    assert front[(True, 'HIT')] == 0 and front[(True, 'MISS')] > 0
    assert 5 <= front[(False, 'MISS')] <= 20 and front[(False, 'HIT')] > 0
    kept = 0
    for cache in ('cache', 'front'):
        for folder, _, names in os.walk(shop.path('nginx', cache)):
            for name in names:
                with open(os.path.join(folder, name), 'rb') as f:
                    text = f.read()
                kept += 1
                assert not tokens(text.decode('utf-8', 'replace')), name
                assert b'Set-Cookie' not in text and b'crm=' not in text
    assert kept >= 3 * len(PAGES)
    print(f'{len(own)} visitors, 0 foreign tokens in {4 * len(own)} answers '
          f'and {kept} cache files; hits {dict(ours)}, in front {dict(front)}')


def test_no_visitor_gets_what_is_anothers(live, origin):
    cache_safety(live, origin, 120)


@pytest.mark.proof
def test_ten_thousand_visitors_and_no_foreign_token(live, origin):
    for n, page in enumerate(PAGES):            # other pages than the test's
        PAGES[n] = page + '&proof=1'
    cache_safety(live, origin, 10000)


# ---- an experiment of two equal variants, and visitors who leave ------------

def mismatch(a, b):
    """p that halves of a + b are so unequal by chance (chi-square)."""
    return math.erfc(math.sqrt((a - b) ** 2 / (a + b) / 2))


def shoppers(port, seed, visits):
    """Reads pages, and leaves early more often when it is shown b.

    Returns how often a script at the page's end would have reported a and b.
    """
    rng = random.Random(seed)
    told = collections.Counter()
    for _ in range(visits):
        with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
            s.sendall(b'GET /aa.html HTTP/1.0\r\n\r\n')
            got = b''
            while b'<i>variant ' not in got or got.endswith(b'<i>variant '):
                data = s.recv(2048)
                if not data:
                    break
                got += data
            variant = got.split(b'<i>variant ')[1][:1].decode()
            if rng.random() < (0.1 if variant == 'a' else 0.15):
                continue                        # left: nothing is told
            while True:
                data = s.recv(65536)
                if not data:
                    break
            told[variant] += 1
    return told


@pytest.mark.proof
def test_an_experiment_is_not_bent_by_those_who_leave(live, origin):
    visits = 200000
    variants = [{'key': k, 'weight': 1,
                 'content': f'<i>variant {k}</i>' + 'z' * 40000} for k in 'ab']
    live.page('aa.html', f'<!--crm:slot aa-->x{CLOSE}')
    live.campaign('aa', slot='aa', variants=variants)
    poll(lambda: '<i>variant' in get_at(origin.narrow, '/aa.html')[1], 'it')
    live.settled()
    query = ("select d->>'variant', count(*), count(*) filter "
             "(where (d->>'aborted')::boolean) from crm.event, "
             "jsonb_array_elements(dec) d where d->>'campaign' = 'aa' "
             "group by 1")
    before = {v: n for v, n, _ in live.sql(query)}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(
            lambda seed: shoppers(origin.narrow, seed, visits // 4), range(4)))
    told = sum(parts, collections.Counter())
    live.settled(600)
    rows = live.sql(query)
    shown = {v: n - before.get(v, 0) for v, n, _ in rows}
    aborted = {v: n for v, _, n in rows}
    ours, twin = (mismatch(c['a'], c['b']) for c in (shown, told))
    print(f'{visits} visits: exposures {shown}, aborted {aborted}, p {ours:.4f};'
          f' told by the page {dict(told)}, p {twin:.2e}')
    assert sum(shown.values()) == visits
    assert aborted['a'] > 0 and aborted['b'] > 0
    assert ours > 0.001 > twin
