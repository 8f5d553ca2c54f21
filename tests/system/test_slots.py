"""test_slots.py - slots of a page, filled as it streams through.

What is not filled leaves byte for byte as it came, however the page is cut
into packets, compressed, cached or broken; what is filled is for one visitor
alone and says so to every cache.
"""

import gzip
import json
import os
import re
import select
import socket
import threading
import time
import urllib.parse

import pytest

from conftest import HTTP, SERVER, Peer, Visitor, poll

OPEN, CLOSE = '<!--crm:slot hero-->', '<!--/crm:slot-->'
FILLED = '<p>content</p>'
SHORT = (f'<h1>a</h1>{OPEN}<b>old</b>{CLOSE}<p>-<!--x--!>'
         f'<!--crm:slot other-->keep{CLOSE}<!-')
SHORT_FILLED = SHORT.replace(f'{OPEN}<b>old</b>{CLOSE}', FILLED)
HEAD = (b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n'
        b'Connection: close\r\n')
BLOCK = (b'<p>' + b'lorem ipsum ' * 340 + b'</p>').ljust(4096, b' ')


# ---- the shop behind nginx: a page however a test wants it sent -------------

class Origin(Peer):
    """Answers /…/NAME with pages[NAME], a function of connection and URL."""

    def __init__(self):
        super().__init__(self.answer)
        self.asked = []

    def answer(self, connection):
        request = b''
        while b'\r\n\r\n' not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        target = request.split(b' ')[1].decode()
        url = urllib.parse.urlsplit(target)
        self.asked.append((target, request.decode('latin-1')))
        name = url.path.rsplit('/', 1)[1]
        args = dict(urllib.parse.parse_qsl(url.query))
        getattr(self, 'page_' + name)(connection, args)

    @staticmethod
    def taken(connection):
        """Waits until nginx has read every byte that was sent to it."""
        near = connection.getsockname()[1]
        far = connection.getpeername()[1]
        want = re.compile(rf'^ *\d+: \w+:{far:04X} \w+:{near:04X} \w\w '
                          r'\w+:00000000 ', re.M)

        def empty():
            with open('/proc/net/tcp', encoding='ascii') as f:
                return want.search(f.read())
        poll(empty, 'nginx to read')

    def page_cut(self, connection, args):
        """The short page in two packets, cut at a byte."""
        at = int(args['at'])
        connection.sendall(HEAD + b'\r\n')
        self.taken(connection)
        connection.sendall(SHORT[:at].encode())
        self.taken(connection)
        connection.sendall(SHORT[at:].encode())

    def page_bytes(self, connection, _):
        """The short page, each byte in a packet of its own."""
        connection.sendall(HEAD + b'\r\n')
        for byte in SHORT.encode():
            self.taken(connection)
            connection.sendall(bytes([byte]))

    def page_gz(self, connection, _):
        body = gzip.compress(SHORT.encode())
        connection.sendall(HEAD + b'Content-Encoding: gzip\r\nETag: "up"\r\n'
                           b'Content-Length: %d\r\n\r\n' % len(body) + body)

    def page_plain(self, connection, _):
        body = SHORT.encode()
        connection.sendall(
            HEAD + b'ETag: "up"\r\nCache-Control: public, max-age=60\r\n'
            b'Expires: Thu, 31 Dec 2037 23:55:55 GMT\r\n'
            b'Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n'
            b'Content-Length: %d\r\n\r\n' % len(body) + body)

    def page_mine(self, connection, _):
        body = f'<h1>cached</h1>{OPEN}nobody{CLOSE}\n'.encode()
        connection.sendall(HEAD + b'Content-Length: %d\r\n\r\n' % len(body)
                           + body)

    def page_big(self, connection, args):
        """So many MB of text, with a slot each MB; one may stay open."""
        connection.sendall(HEAD + b'\r\n')
        for mb in range(int(args['mb'])):
            if args.get('open') and mb == 0:
                connection.sendall(OPEN.encode())
            elif mb % 8 == 0:
                connection.sendall(f'{OPEN}old{CLOSE}'.encode())
            for _ in range(16):
                connection.sendall(BLOCK * 16)

    def page_dies(self, connection, args):
        """Cut off by the shop, in the middle of a slot or of a marker."""
        connection.sendall(HEAD + b'Content-Length: 5000\r\n\r\n'
                           + SHORT[:int(args['at'])].encode())


@pytest.fixture(scope='module', autouse=True)
def origin(request):
    one = Origin()
    request.module.CONF = {
        'http': HTTP + '''
    proxy_cache_path @RUN@/nginx/cache keys_zone=pages:1m;
    proxy_cache_valid any 1h;
''',
        'server': SERVER + '''
        location /up/ {
            proxy_pass http://127.0.0.1:@ORIGIN@;
            proxy_http_version 1.1;
            proxy_buffering off;
        }
        location /gunzip/ {
            proxy_pass http://127.0.0.1:@ORIGIN@;
            gunzip on;
        }
        location /gzip/ {
            proxy_pass http://127.0.0.1:@ORIGIN@;
            gunzip on;
            gzip on;
            gzip_min_length 1;
        }
        location /cached/ {
            proxy_pass http://127.0.0.1:@ORIGIN@;
            proxy_cache pages;
            add_header X-Cache $upstream_cache_status;
        }
        location /nothing/ { error_page 404 /notfound.html; return 404; }
        location /ssi/ { ssi on; alias @RUN@/pages/; }
        location /off/ { crm_slot off; alias @RUN@/pages/; }
'''.replace('@ORIGIN@', str(one.port))}
    yield one
    one.close()


@pytest.fixture(scope='module')
def filled(shop):
    """The campaign is in force in both workers."""
    shop.page('short.html', SHORT)
    shop.campaign('content', content=FILLED)
    for worker in workers(shop):
        v = shop.visitor_of(worker)
        poll(lambda: v.text('/short.html') == SHORT_FILLED,
             'the campaign to be live')
        v.close()
    return shop


def workers(shop):
    """Children of the master that serve: not those of the cache."""
    def named():
        found = []
        for pid in shop.nginx.children():
            with open(f'/proc/{pid}/cmdline', encoding='latin-1') as f:
                if 'worker process' in f.read():
                    found.append(pid)
        return found if len(found) == shop.workers else None
    return poll(named, 'each worker to have its name')


def raw(shop, request):
    """The whole answer to bytes sent."""
    with socket.create_connection(('127.0.0.1', shop.port('nginx')),
                                  timeout=10) as s:
        s.sendall(request)
        answer = b''
        while True:
            data = s.recv(65536)
            if not data:
                return answer
            answer += data


# ---- which slots ------------------------------------------------------------

def test_a_slot_is_filled_and_another_untouched(filled, visitor):
    assert visitor().text('/short.html') == SHORT_FILLED
    assert visitor().text('/off/short.html') == SHORT


def test_what_was_shown_is_in_the_event(filled, visitor):
    _, _, rid = visitor().get('/short.html')
    assert filled.events(rid)[0]['dec'] == [
        {'slot': 'hero', 'campaign': 'content', 'variant': 'a'}]
    _, _, rid = visitor().get('/plain.html')
    assert not filled.events(rid)[0]['dec']


@pytest.mark.parametrize('path', ['/up/bytes', '/up/big?mb=9', '/gunzip/gz'])
def test_what_was_shown_outlives_the_page(filled, visitor, path):
    """The name of a slot lay in a buffer that holds other bytes by now."""
    _, _, rid = visitor().get(path)
    dec = filled.events(rid)[0]['dec']
    assert dec and all(d == {'slot': 'hero', 'campaign': 'content',
                             'variant': 'a'} for d in dec), dec


PASSED = [
    '', '<', '<!', 'no slot', '<!--', '<!--crm:slot', '<!--crm:slot -->',
    '<!--crm:slot hero', '<!--crm:slot hero--', '<!--crm:slot hero ->x',
    '<!--crm:slot  hero-->x' + CLOSE, '<!-- crm:slot hero-->x' + CLOSE,
    '<!--CRM:SLOT hero-->x' + CLOSE, '<!--crm:slot .hero-->x' + CLOSE,
    '<!--crm:slot he ro-->x' + CLOSE, '<!--crm:slot hé-->x' + CLOSE,
    '<!--crm:slot ' + 'n' * 65 + '-->x' + CLOSE,
    '<!--crm:slot ' + 'n' * 64 + '-->x' + CLOSE,
    '<!--crm:slot ' + 'n' * 100000 + '-->x' + CLOSE,
    CLOSE, CLOSE * 100, '!' * 5000, '<!-' * 5000, '-->' * 5000,
    '<script>if (!a && !b) { !c }</script>' * 500,
    '<!--crm:slot other-->' * 50 + CLOSE * 50,
    '<!--crm:slot other-->' + 'x' * 100000,
    'é日本語🛒' * 5000, '\x00\x01\xff' * 100,
]


@pytest.mark.parametrize('n', range(len(PASSED)))
def test_what_is_no_slot_of_ours_passes_byte_for_byte(filled, visitor, n):
    page = PASSED[n].encode()
    filled.page('passed.html', page)
    answer, body, _ = visitor().get('/passed.html')
    assert answer.status == 200
    with open(filled.path('pages', 'passed.html'), 'rb') as f:
        assert f.read() == page
    assert body == page.decode('utf-8', 'replace')
    # the same behind a slot that is filled
    filled.page('passed.html', f'{OPEN}x{CLOSE}'.encode() + page)
    assert visitor().text('/passed.html') == FILLED + body


@pytest.mark.parametrize('page,expected,unclosed', [
    # no nesting: the first end closes, what follows is text
    (f'a{OPEN}x{OPEN}y{CLOSE}z{CLOSE}b', f'a{FILLED}z{CLOSE}b', 0),
    (f'a{OPEN}x<!--crm:slot other-->y{CLOSE}z{CLOSE}b',
     f'a{FILLED}z{CLOSE}b', 0),
    (f'a<!--crm:slot other-->x{OPEN}y{CLOSE}z{CLOSE}b',
     f'a<!--crm:slot other-->x{FILLED}z{CLOSE}b', 0),
    (f'a{OPEN}{CLOSE}{OPEN}{CLOSE}b', f'a{FILLED}{FILLED}b', 0),
    # unclosed: the default stays
    (f'a{OPEN}b', f'a{OPEN}b', 1),
    (f'a{OPEN}', f'a{OPEN}', 1),
    (f'a{OPEN}b<!--/crm:slot--', f'a{OPEN}b<!--/crm:slot--', 1),
    (f'a{OPEN}{"d" * 20000}{CLOSE}b', f'a{OPEN}{"d" * 20000}{CLOSE}b', 1),
    (f'{OPEN}{"d" * 16300}{CLOSE}b', f'{FILLED}b', 0),
    (f'{OPEN}{"d" * 20000}{CLOSE}{OPEN}{CLOSE}',
     f'{OPEN}{"d" * 20000}{CLOSE}{FILLED}', 1),
])
def test_nested_unclosed_and_long_defaults(
        filled, visitor, page, expected, unclosed):
    before = filled.counter('slots_unclosed')
    filled.page('odd.html', page)
    assert visitor().text('/odd.html') == expected
    assert filled.counter('slots_unclosed') - before == unclosed


def test_many_slots_are_bounded_and_the_rest_stays(filled, visitor):
    """Sixteen are noted in the event; none beyond may be filled unnoticed."""
    filled.sql("insert into crm.campaign (site, key, slot, state, variants, "
               "first_review_by) select 'shop', 'many-' || n, 'many-' || n, "
               "'live', jsonb_build_array(jsonb_build_object('key', 'a', "
               "'weight', 1, 'content', 'filled ' || n)), 'tester' "
               "from generate_series(10, 39) as n")
    filled.page('many.html', ''.join(
        f'<!--crm:slot many-{n}-->x{CLOSE}\n{OPEN}x{CLOSE}\n'
        for n in range(10, 40)))
    v = visitor()
    poll(lambda: 'filled 10' in v.text('/many.html'), 'the campaigns')
    _, body, rid = v.get('/many.html')
    lines = body.splitlines()
    # hero and the first fifteen others; a slot filled once is filled again
    assert lines[1::2] == [FILLED] * 30
    assert lines[0:30:2] == [f'filled {n}' for n in range(10, 25)]
    assert lines[30::2] == [f'<!--crm:slot many-{n}-->x{CLOSE}'
                            for n in range(25, 40)]
    assert {d['slot'] for d in filled.events(rid)[0]['dec']} \
        == {'hero'} | {f'many-{n}' for n in range(10, 25)}
    filled.sql("update crm.campaign set state = 'ended' "
               "where key like 'many-%%'")


# ---- how the page comes -----------------------------------------------------

@pytest.mark.parametrize('half', [0, 1])
def test_cut_at_every_byte(filled, visitor, half):
    v = visitor()
    for at in range(half, len(SHORT) + 1, 2):
        assert v.text(f'/up/cut?at={at}') == SHORT_FILLED, at


def test_each_byte_in_a_packet_of_its_own(filled, visitor):
    assert visitor().text('/up/bytes') == SHORT_FILLED


@pytest.mark.parametrize('path', ['/gunzip/gz', '/gzip/gz', '/gzip/plain'])
@pytest.mark.parametrize('accepts', ['identity', 'gzip'])
def test_compressed_by_the_shop(filled, visitor, path, accepts):
    v = visitor(**{'Accept-Encoding': accepts})
    v.get('/plain.html')
    answer = raw(filled, (
        f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
        f'Accept-Encoding: {accepts}\r\nCookie: crm={v.cookie}\r\n\r\n'
        ).encode())
    head, _, body = answer.partition(b'\r\n\r\n')
    head = head.decode().lower()
    assert '200 ok' in head
    if 'transfer-encoding: chunked' in head:
        body = unchunk(body)
    if 'content-encoding: gzip' in head:
        assert accepts == 'gzip'
        body = gzip.decompress(body)
    assert body.decode() == SHORT_FILLED
    assert 'cache-control: private' in head
    assert 'etag' not in head and 'last-modified' not in head


def unchunk(body):
    out = b''
    while body:
        size, _, body = body.partition(b'\r\n')
        size = int(size, 16)
        out += body[:size]
        body = body[size + 2:]
        if size == 0:
            return out
    raise AssertionError('the last chunk is missing')


def test_http_1_0_ends_with_the_connection(filled):
    for path in ('/short.html', '/up/plain'):
        head, _, body = raw(filled, b'GET %s HTTP/1.0\r\n\r\n'
                            % path.encode()).partition(b'\r\n\r\n')
        assert b'200 OK' in head and b'chunked' not in head
        assert b'Content-Length' not in head
        assert body.decode() == SHORT_FILLED


def test_an_answer_that_the_shop_cuts_off_does_not_look_whole(filled):
    for at in (5, 20, 35, 60, len(SHORT)):
        head, _, body = raw(filled, (
            f'GET /up/dies?at={at} HTTP/1.1\r\nHost: x\r\n'
            'Connection: close\r\n\r\n').encode()).partition(b'\r\n\r\n')
        assert b'200 OK' in head and b'chunked' in head.lower()
        assert not body.endswith(b'0\r\n\r\n'), at


def test_clients_that_leave_in_the_middle(filled, visitor):
    for n in range(20):
        with socket.create_connection(
                ('127.0.0.1', filled.port('nginx')), timeout=10) as s:
            s.sendall(b'GET /up/big?mb=4 HTTP/1.1\r\nHost: x\r\n\r\n')
            s.recv(100 * n + 1)
    assert visitor().text('/short.html') == SHORT_FILLED


def test_a_page_of_many_buffers(filled, visitor):
    parts = []
    for n in range(300):
        parts.append('x' * (n * 37 % 1009) + f'<!--crm:slot s{n}-->'
                     + 'y' * (n % 7) + CLOSE)
    page = OPEN + CLOSE + ''.join(parts)
    filled.page('parts.html', page)
    assert visitor().text('/parts.html') == FILLED + ''.join(parts)


# ---- HTTP around it ---------------------------------------------------------

def test_a_personalised_page_is_private_and_without_validators(
        filled, visitor):
    for path in ('/short.html', '/up/plain', '/gunzip/plain'):
        answer, body, _ = visitor().get(path)
        assert body == SHORT_FILLED
        assert answer.headers.get_all('Cache-Control') == ['private'], path
        for name in ('ETag', 'Last-Modified', 'Expires', 'Accept-Ranges'):
            assert answer.headers[name] is None, (path, name)


def test_head_says_what_get_says(filled, visitor):
    v = visitor()
    for path in ('/short.html', '/gunzip/plain'):
        answer, body, _ = v.get(path, method='HEAD')
        assert (answer.status, body) == (200, '')
        assert answer.headers['Cache-Control'] == 'private'
        assert answer.headers['ETag'] is None
        assert answer.headers['Content-Length'] is None
    assert v.text('/short.html') == SHORT_FILLED


@pytest.mark.parametrize('path', ['/short.html', '/gunzip/plain',
                                  '/cached/mine'])
def test_conditional_requests_get_the_whole_page(filled, visitor, path):
    """A 304 would show this visitor what another one was shown before."""
    v = visitor()
    expected = v.text(path)
    assert FILLED in expected
    etag = filled.get('/off/short.html')[1]['ETag']
    assert etag
    for headers in ({'If-None-Match': '*'}, {'If-None-Match': etag},
                    {'If-None-Match': '"up"'},
                    {'If-Modified-Since': 'Thu, 31 Dec 2037 23:55:55 GMT'}):
        answer, body, _ = v.get(path, **headers)
        assert answer.status == 200, headers
        assert body == expected
        assert 'private' in answer.headers['Cache-Control']


def test_if_match_of_an_old_page_is_no_error(filled, visitor):
    answer, body, _ = visitor().get('/short.html', **{'If-Match': '"old"'})
    assert (answer.status, body) == (200, SHORT_FILLED)


@pytest.mark.parametrize('path', ['/short.html', '/gunzip/plain',
                                  '/cached/mine'])
def test_ranges_are_not_cut_out_of_a_personalised_page(
        filled, visitor, path):
    v = visitor()
    whole = v.text(path)
    for value in ('bytes=0-10', 'bytes=-5', 'bytes=0-1,5-6'):
        answer, body, _ = v.get(path, Range=value)
        assert (answer.status, body) == (200, whole)


def test_other_types_keep_length_ranges_and_validators(filled, visitor):
    filled.page('slot.css', SHORT)
    answer, body, _ = visitor().get('/slot.css')
    assert body == SHORT
    for name in ('ETag', 'Last-Modified', 'Content-Length', 'Accept-Ranges'):
        assert answer.headers[name] is not None
    answer, body, _ = visitor().get('/slot.css', Range='bytes=0-3')
    assert (answer.status, body) == (206, SHORT[:4])


def test_an_error_page_has_slots_too(filled, visitor):
    filled.page('notfound.html', SHORT)
    answer, body, rid = visitor().get('/nothing/here.html')
    assert (answer.status, body) == (404, SHORT_FILLED)
    assert answer.headers['Cache-Control'] == 'private'
    assert filled.events(rid)[0]['req']['status'] == 404


def test_server_side_includes(filled, visitor):
    filled.page('part.html', SHORT)
    # without its last "<!-", which nginx's own SSI filter drops at an end
    filled.page('part.html', SHORT[:-3])
    filled.page('main.html', 'a<!--# include virtual="/ssi/part.html" -->b'
                f'{OPEN}x{CLOSE}<!--# echo var="request_uri" -->')
    _, body, rid = visitor().get('/ssi/main.html')
    assert body == f'a{SHORT_FILLED[:-3]}b{FILLED}/ssi/main.html'
    events = filled.events(rid)
    assert len(events) == 1 and len(events[0]['dec']) == 1


def test_a_cached_page_is_never_somebody_elses(filled, visitor, origin):
    """One page in nginx's cache; each visitor finds itself in it."""
    filled.campaign('mine', content='<i>visitor {{visitor.id}}</i>',
                    priority=1000, when={'page.path': '/cached/mine'})
    a, b = visitor(), visitor()

    def own(v):
        answer, body, rid = v.get('/cached/mine?page=1')
        assert answer.headers['Cache-Control'] == 'private'
        vid = filled.events(rid)[0]['vid']
        return answer, body, vid
    poll(lambda: '<i>visitor' in a.text('/cached/mine?warm=1'), 'the set')
    poll(lambda: '<i>visitor' in b.text('/cached/mine?warm=1'), 'the set')
    seen = []
    for v in (a, b, a, visitor(), b):
        answer, body, vid = own(v)
        assert body == f'<h1>cached</h1><i>visitor {vid}</i>\n'
        seen.append((vid, answer.headers['X-Cache']))
    assert [s[1] for s in seen[1:]] == ['HIT'] * 4
    assert seen[0][0] == seen[2][0] != seen[1][0] == seen[4][0]
    asked = [x for x in origin.asked if x[0] == '/cached/mine?page=1']
    assert len(asked) == 1, 'the shop was asked more than once'
    files = 0
    for folder, _, names in os.walk(filled.path('nginx', 'cache')):
        for name in names:
            files += 1
            with open(os.path.join(folder, name), 'rb') as f:
                text = f.read()
            assert b'<i>visitor' not in text and b'Set-Cookie' not in text
            assert b'crm=' not in text
            for vid, _ in seen:
                assert vid.encode() not in text
    assert files > 0
    filled.campaign('mine', state='ended')
    poll(lambda: FILLED in a.text('/cached/mine?page=1'), 'it to end')


# ---- memory -----------------------------------------------------------------

def rss_kb(pid, field='VmRSS'):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(re.search(field + r':\s+(\d+)', f.read())[1])


def drink(shop, path):
    """Reads a whole answer, keeping nothing; (bytes, is it chunked whole)."""
    total, tail = 0, b''
    with socket.create_connection(('127.0.0.1', shop.port('nginx')),
                                  timeout=60) as s:
        s.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n'
                  'Connection: close\r\n\r\n'.encode())
        buffer = bytearray(1 << 20)
        while True:
            n = s.recv_into(buffer)
            if n == 0:
                return total, tail == b'0\r\n\r\n'
            total += n
            tail = (tail + bytes(buffer[max(0, n - 5):n]))[-5:]


def stream(shop, mb, more=''):
    """Peak growth of a worker's memory while a page of so many MB passes."""
    drink(shop, f'/up/big?mb=2{more}')          # what it needs at first
    before = {pid: rss_kb(pid) for pid in workers(shop)}
    for pid in before:
        with open(f'/proc/{pid}/clear_refs', 'w', encoding='ascii') as f:
            f.write('5')                        # VmHWM starts anew
    total, whole = drink(shop, f'/up/big?mb={mb}{more}')
    assert whole and total > mb << 20
    return max(rss_kb(pid, 'VmHWM') - kb for pid, kb in before.items())


@pytest.mark.parametrize('more', ['', '&open=1'])
def test_a_64_mb_page_streams_in_bounded_memory(filled, more):
    growth = stream(filled, 64, more)
    assert growth < 6 * 1024, f'grew by {growth} KB'


@pytest.mark.proof
@pytest.mark.parametrize('more', ['', '&open=1'])
def test_a_1_gb_page_streams_in_bounded_memory(filled, more):
    growth = stream(filled, 1024, more)
    assert growth < 6 * 1024, f'grew by {growth} KB'


def test_a_slow_reader_does_not_make_the_worker_grow(filled):
    before = {pid: rss_kb(pid) for pid in workers(filled)}
    with socket.create_connection(('127.0.0.1', filled.port('nginx')),
                                  timeout=10) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b'GET /up/big?mb=64 HTTP/1.1\r\nHost: x\r\n\r\n')
        got = 0
        end = time.monotonic() + 1
        while time.monotonic() < end and select.select([s], [], [], 1)[0]:
            got += len(s.recv(512))
        assert got > 0
        growth = max(rss_kb(pid) - kb for pid, kb in before.items())
    assert growth < 6 * 1024, f'grew by {growth} KB'


def test_pages_at_once_do_not_mix(filled, visitor):
    """Many streams through one worker, each held up in another marker."""
    results = []

    def browse(v, at):
        results.append(v.text(f'/up/cut?at={at}'))
    threads = [threading.Thread(target=browse, args=(visitor(), at))
               for at in range(5, 65, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [SHORT_FILLED] * len(threads)


# ---- /crm/decide ------------------------------------------------------------

def decide(shop_or_visitor, query, **headers):
    answer, body, rid = shop_or_visitor.get('/crm/decide' + query, **headers)
    return answer, body, rid


def test_decide_answers_as_the_page_does(filled, visitor):
    v = visitor()
    v.get('/plain.html')
    answer, body, rid = decide(v, '?slots=hero,unknown')
    assert answer.status == 200
    assert answer.headers['Content-Type'].startswith('application/json')
    assert 'private' in answer.headers['Cache-Control']
    slots = json.loads(body)['slots']
    assert slots['unknown'] is None
    assert slots['hero'] == {'campaign': 'content', 'variant': 'a',
                             'content': FILLED}
    assert list(slots) == ['hero', 'unknown']


def test_decide_gives_a_new_visitor_a_cookie(filled, visitor):
    v = visitor()
    answer, _, _ = decide(v, '?slots=hero')
    assert answer.headers['Set-Cookie'].startswith('crm=')


@pytest.mark.parametrize('query', [
    '', '?', '?slots', '?slots=', '?slot=hero', '?slots=,', '?slots=hero,',
    '?slots=.hero', '?slots=he%20ro', '?slots=%00',
    '?slots=' + 'n' * 65, '?slots=' + ','.join(f's{n}' for n in range(100)),
    '?slots=' + 'hero,' * 1000, '?slots="hero"',
    '?slots=%ff%fe', '?slots=hero;x'], ids=lambda query: query[:24])
def test_decide_refuses_a_bad_argument_by_name(filled, visitor, query):
    answer, body, _ = decide(visitor(), query)
    assert answer.status == 400, body
    assert answer.headers['Content-Type'] == 'application/problem+json'
    assert 'slots' in json.loads(body)['detail']


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE'])
def test_decide_is_asked_with_get(filled, visitor, method):
    answer, _, _ = visitor().get('/crm/decide?slots=hero', method=method)
    assert answer.status == 405


def test_decide_head(filled, visitor):
    answer, body, _ = visitor().get('/crm/decide?slots=hero', method='HEAD')
    assert (answer.status, body) == (200, '')


def test_visitors_that_never_come_back_do_not_fill_up(filled):
    """A flood of pages without a cookie, answered all the same."""
    before = filled.counter('slots_filled')
    v = Visitor(filled)
    for _ in range(300):
        v.cookie = None
        assert v.text('/short.html') == SHORT_FILLED
    v.close()
    assert filled.counter('slots_filled') - before == 300
