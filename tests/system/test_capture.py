"""test_capture.py - cookie, session, event: what one request leaves behind."""

import base64
import re
import socket
import urllib.parse

import pytest

from conftest import SERVER, Visitor, compare, now_us, poll

UUID = re.compile(r'^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]')


def test_new_visitor_gets_a_signed_cookie_once(shop, visitor):
    v = visitor()
    first, _, rid = v.get('/plain.html')
    cookie = first.headers['Set-Cookie']
    assert re.match(r'crm=[A-Za-z0-9_-]{64};', cookie)
    for part in ('HttpOnly', 'SameSite=Lax', 'Path=/'):
        assert part.lower() in cookie.lower()
    assert 'secure' not in cookie.lower(), 'no TLS here'
    assert 'private' in first.headers['Cache-Control']
    second, _, rid2 = v.get('/plain.html')
    assert second.headers['Set-Cookie'] is None
    one, two = shop.events(rid)[0], shop.events(rid2)[0]
    assert UUID.match(one['vid']) and UUID.match(one['sid'])
    assert (one['vid'], one['sid'], one['sn']) == (two['vid'], two['sid'], 1)
    assert (one['seq'], two['seq']) == (1, 2)


def test_event_says_what_happened(shop, visitor):
    v = visitor(**{'User-Agent': 'Browser/1.0', 'Accept-Language': 'de-DE',
                   'Referer': 'https://search.example/?q=shoes'})
    before = now_us()
    _, _, rid = v.get('/p/view.html?id=A13&cat=trousers&x=%E4%BD%A0')
    event = shop.events(rid)[0]
    assert event['site'] == 'shop' and event['type'] == 'page'
    assert event['name'] == 'Product Viewed' and event['src'] == 'origin'
    assert event['props'] == {'product_id': 'A13', 'category': 'trousers'}
    assert event['ctx'] == {
        'ip': '127.0.0.1', 'ua': 'Browser/1.0', 'lang': 'de-DE',
        'ref': 'https://search.example/?q=shoes', 'device': 'unknown',
        'traffic': {'class': 'referral', 'source': 'search.example'}}
    req = event['req']
    assert req['method'] == 'GET' and req['status'] == 200
    assert req['path'] == '/p/view.html'
    assert req['query'] == 'id=A13&cat=trousers&x=%E4%BD%A0'
    assert req['bytes'] > 20 and req['ms'] >= 0
    row = shop.sql("select extract(epoch from rts) * 1000000 from crm.event "
                   "where req->>'rid' = %s", rid)
    assert abs(float(row[0][0]) - before) < 5e6


def test_pages_only_by_default(shop, visitor):
    v = visitor()
    answer, _, css = v.get('/style.css')
    assert answer.headers['Set-Cookie'] is None
    _, _, page = v.get('/plain.html')
    shop.events(page)
    shop.settled()
    assert css not in shop.rids()


def test_session_ends_after_silence_and_the_visitor_stays(shop, visitor):
    """The cookie alone decides: one moved back in time is a new session."""
    v = visitor()
    _, _, one = v.get('/short/plain.html')
    _, _, two = v.get('/short/plain.html')
    start = now_us()
    a, b = shop.events(one)[0], shop.events(two)[0]
    assert (b['sid'], b['sn'], b['seq']) == (a['sid'], 1, 2)
    # 3 s of silence end a session there: let the clock move on
    poll(lambda: now_us() - start > 4_100_000, 'four seconds of silence')
    _, _, three = v.get('/short/plain.html')
    c = shop.events(three)[0]
    assert c['vid'] == a['vid'] and c['sid'] != a['sid'] and c['sn'] == 2
    assert c['seq'] == 1


def flip(cookie):
    raw = bytearray(base64.urlsafe_b64decode(cookie))
    raw[10] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


@pytest.mark.parametrize('bad', [
    flip, lambda c: c[:-1], lambda c: c[:10], lambda c: '',
    lambda c: c + 'A', lambda c: c * 100, lambda c: '"' + c + '"',
    lambda c: 'A' * 64, lambda c: '\x80' * 64, lambda c: c.swapcase()])
def test_bad_cookie_is_a_new_visitor_and_a_counter(shop, visitor, bad):
    v = visitor()
    v.get('/plain.html')
    good = v.cookie
    before = shop.counter('cookie_bad')
    w = Visitor(shop)
    w.cookie = bad(good).encode('latin-1').decode('latin-1')
    answer, _, rid = w.get('/plain.html')
    assert answer.status == 200
    assert answer.headers['Set-Cookie'], 'no new cookie was given'
    assert w.cookie != good
    if bad(good):
        assert shop.counter('cookie_bad') > before
    assert shop.events(rid)[0]['sn'] == 1
    w.close()


def test_duplicated_cookies_take_the_one_that_verifies(shop, visitor):
    v = visitor()
    _, _, rid = v.get('/plain.html')
    vid = shop.events(rid)[0]['vid']
    good = v.cookie
    for value in (f'{flip(good)}; crm={good}', f'{good}; crm={good}',
                  f'x; a=b; crm={good}; crm={flip(good)}'):
        w = Visitor(shop)
        w.cookie = value
        answer, _, rid = w.get('/plain.html')
        assert answer.headers['Set-Cookie'] is None
        assert shop.events(rid)[0]['vid'] == vid
        w.close()


def test_no_cookie_where_a_shared_cache_may_store(shop, visitor):
    for path in ('/public/plain.html', '/smaxage/plain.html'):
        v = visitor()
        answer, _, rid = v.get(path)
        assert answer.headers['Set-Cookie'] is None, path
        assert 'private' not in answer.headers['Cache-Control']
        assert shop.events(rid)[0].get('vid') is None


HOSTILE = [
    bytes(range(0x80, 0x100)), b'"quoted" \\ back\\slash', b'\xc3\x28',
    b'\xed\xa0\x80', b'\xf8\x88\x80\x80\x80', b'\xff' * 500,
    b'tab\there', b'</script>{"a":1}', b'a' * 3000,
    '日本語 ünïcödé 🛒'.encode(),
]


@pytest.mark.parametrize('header', ['User-Agent', 'Referer',
                                    'Accept-Language', 'Host'])
def test_hostile_headers_lose_nothing(shop, header):
    """Quotes, controls and broken UTF-8 in each header an event takes."""
    for value in HOSTILE:
        v = Visitor(shop)
        if header == 'Host':
            value = b'shop.example' if b' ' in value else b'h\xff.example'
        answer, _, rid = v.get('/plain.html',
                               **{header: value.decode('latin-1')})
        v.close()
        if answer.status == 400:        # nginx itself refuses some
            continue
        assert answer.status == 200
        event = shop.events(rid)[0]
        text = {'User-Agent': event['ctx'].get('ua'),
                'Referer': event['ctx'].get('ref'),
                'Accept-Language': event['ctx'].get('lang'),
                'Host': event['req'].get('host')}[header]
        try:
            assert text == value.decode().strip()
        except UnicodeDecodeError:
            assert '�' in text
    assert shop.counter('invalid_text') > 0


def test_eight_kilobyte_url_is_kept_whole(shop, visitor):
    v = visitor()
    query = 'q=' + urllib.parse.quote('"\\<>' * 600)
    assert 7000 < len(query) < 8000
    _, _, rid = v.get('/plain.html?' + query)
    assert shop.events(rid)[0]['req']['query'] == query


def test_requests_that_nginx_refuses_leave_no_trace_but_a_page(shop):
    for junk in (b'GET\r\n\r\n', b'\x00\x01\x02', b'GET / HTTP/1.1\r\n\r\n',
                 b'GET /' + b'a' * 20000 + b' HTTP/1.1\r\nHost: x\r\n\r\n',
                 b'HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
                 b'GET / HTTP/1.0\r\n\r\n', b'GET //..// HTTP/1.1\r\n'):
        with socket.create_connection(
                ('127.0.0.1', shop.port('nginx')), timeout=5) as s:
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
    assert Visitor(shop).get('/plain.html')[0].status == 200


def test_customer_is_known_after_login(shop, visitor):
    v = visitor()
    answer, _, rid = v.get('/login?user=C-77')
    assert answer.headers['X-CRM-Identify'] is None, 'the header leaked'
    assert shop.events(rid)[0]['uid'] == 'C-77'
    _, _, later = v.get('/plain.html')
    event = shop.events(later)[0]
    assert event['uid'] == 'C-77'
    shop.settled()
    assert shop.sql("select customer_id from crm.identity where vid = %s",
                    event['vid']) == [('C-77',)]


def test_login_by_a_redirect_as_the_first_request_is_remembered(
        shop, visitor):
    v = visitor()
    answer, _, rid = v.get('/login303?user=C-78')
    assert answer.status == 303 and v.cookie is not None
    event = shop.events(rid)[0]
    assert event['uid'] == 'C-78' and event['type'] == 'track'
    _, _, later = v.get('/plain.html')
    assert shop.events(later)[0]['uid'] == 'C-78'


@pytest.mark.parametrize('user', ['', 'x' * 65, 'a%00b'])
def test_hostile_identify_is_ignored_and_never_forwarded(shop, visitor, user):
    v = visitor()
    answer, _, rid = v.get('/login?user=' + user)
    assert answer.status == 200
    assert answer.headers['X-CRM-Identify'] is None
    event = shop.events(rid)[0]
    assert event.get('uid') in (None, 'a%00b')


def test_order_is_written_once(shop, visitor):
    v = visitor()
    path = '/order/done?order=O-1&total=30.5&products=A1:2:10.00,B2:1:10.50'
    v.get(path)
    _, _, rid = v.get(path)             # the shopper reloads the page
    event = shop.events(rid)[0]
    assert event['name'] == 'Order Completed'
    shop.settled()
    assert shop.sql('select count(*), sum(total) from crm."order" '
                    "where order_id = 'O-1'") == [(1, 30.5)]
    assert shop.sql("select product_id, quantity from crm.order_line "
                    "where order_id = 'O-1' order by 1") \
        == [('A1', 2), ('B2', 1)]


def test_variables_name_visitor_and_session(shop, visitor):
    v = visitor()
    v.get('/plain.html')
    answer, _, rid = v.get('/who/plain.html')
    event = shop.events(rid)[0]
    assert answer.headers['X-Visitor'] == event['vid']
    assert answer.headers['X-Session'] == event['sid']


def test_live_session_is_in_redis(shop, visitor):
    v = visitor()
    v.get('/p/view.html?id=A13&cat=trousers')
    _, _, rid = v.get('/plain.html')
    vid = shop.events(rid)[0]['vid']
    poll(lambda: shop.redis_command('EXISTS', f'crm:s:shop:{vid}') == ':1',
         'the session in Redis')
    ttl = int(shop.redis_command('TTL', f'crm:s:shop:{vid}')[1:])
    assert 0 < ttl <= 1800


def test_ledger_and_status_add_up(shop, visitor):
    v = visitor()
    rids = [v.get('/plain.html')[2] for _ in range(50)]
    shop.events(rids[-1])
    shop.settled()
    status = shop.crm_status()
    ledger = status['ledger']
    assert ledger['appended'] == ledger['durable'] + ledger['shed']
    assert ledger['appended'] == sum(j['written'] + j['shed']
                                     for j in status['journals'])
    assert set(rids) <= set(shop.rids())

    class Done:
        answered = rids
    compare(shop, Done)


CONF = {'server': SERVER + '''
        location = /login303 { proxy_pass http://127.0.0.1:@SHOP_PORT@; }
        location /short/ {
            crm_session_timeout 3s;
            alias @RUN@/pages/;
        }
        location /public/ {
            alias @RUN@/pages/;
            add_header Cache-Control "public, max-age=60";
        }
        location /smaxage/ {
            alias @RUN@/pages/;
            add_header Cache-Control "s-maxage=60";
        }
        location /who/ {
            alias @RUN@/pages/;
            add_header X-Visitor $crm_visitor;
            add_header X-Session $crm_session;
        }
'''}
