"""test_nocode.py - events from an unchanged shop, and from its own words.

Named captures and conditions of nginx, X-CRM-Event and X-CRM-Identify from
the shop behind, fields of forms and places in JSON replies.
"""

import hashlib
import http.client
import json
import urllib.parse

import pytest

from conftest import SERVER, Visitor, poll


def named(shop, rid):
    """Events of a request, told by name, or by type when they have none."""
    return {e.get('name') or e['type']: e for e in shop.events(rid)}


def said(visitor, *lines, path='/say', **headers):
    """The shop's answer with these lines in its head; (answer, rid)."""
    head = '\r\n'.join(lines)
    visitor.shop.shopkeeper.head = head
    answer, _, rid = visitor.get(path, **headers)
    return answer, rid


# ---- captures and conditions ------------------------------------------------

def test_named_captures_of_a_location_are_properties(shop, visitor):
    _, _, rid = visitor().get('/item/trousers/A13')
    event = shop.events(rid)[0]
    assert event['name'] == 'Product Viewed'
    assert event['props'] == {'product_id': 'A13', 'category': 'trousers'}


def test_named_captures_of_a_condition_are_properties(shop, visitor):
    v = visitor()
    _, _, yes = v.get('/any/thing?from=list-7')
    _, _, no = v.get('/any/thing?from=mail')
    event = shop.events(yes)[0]
    assert event['name'] == 'List Followed'
    assert event['props'] == {'list': '7', 'status': '200'}
    assert shop.events(no)[0].get('name') is None


def test_an_answer_that_failed_can_be_told_from_one_that_did_not(
        shop, visitor):
    v = visitor()
    _, _, good = v.get('/pay?status=200')
    _, _, bad = v.get('/pay?status=500')
    assert shop.events(good)[0]['name'] == 'Order Completed'
    assert shop.events(bad)[0].get('name') is None


# ---- X-CRM-Event ------------------------------------------------------------

def test_the_shop_says_what_happened_in_two_forms(shop, visitor):
    answer, rid = said(
        visitor(), 'X-CRM-Event: Product Added; product_id=A13; price=28',
        'x-crm-event: {"event":"Coupon Used","properties":'
        '{"code":"X;1","value":5,"list":[{"a":1}]}}')
    assert answer.status == 200
    assert answer.headers['X-CRM-Event'] is None, 'the header leaked'
    events = named(shop, rid)
    assert set(events) == {'page', 'Product Added', 'Coupon Used'}
    assert events['page']['src'] == 'origin'
    added = events['Product Added']
    assert (added['type'], added['src']) == ('track', 'upstream')
    assert added['props'] == {'product_id': 'A13', 'price': '28'}
    assert events['Coupon Used']['props'] == {
        'code': 'X;1', 'value': '5', 'list': '[{"a":1}]'}
    assert added['vid'] == events['page']['vid']
    assert {e['seq'] for e in events.values()} == {1, 2, 3}


def test_said_with_a_redirect_it_gives_the_visitor_a_cookie(shop, visitor):
    v = visitor()
    answer, rid = said(v, 'Location: /plain.html', 'X-CRM-Event: Bought',
                       path='/say?303')
    assert answer.status == 303 and v.cookie is not None
    event, = shop.events(rid)
    assert (event['name'], event['src']) == ('Bought', 'upstream')
    _, _, later = v.get('/plain.html')
    assert shop.events(later)[0]['vid'] == event['vid']


@pytest.mark.parametrize('value', [
    '', '; a=1', 'A; b', '{"event":', '{"event":"A","properties":[1]}',
    'A; b="', 'x' * 201])
def test_a_header_with_a_fault_is_counted_and_never_forwarded(
        shop, visitor, value):
    before = shop.counter('upstream_bad')
    answer, rid = said(visitor(), 'X-CRM-Event: ' + value,
                       'X-CRM-Event: Good')
    assert answer.status == 200 and answer.headers['X-CRM-Event'] is None
    assert set(named(shop, rid)) == {'page', 'Good'}
    assert shop.counter('upstream_bad') == before + 1


def test_sixteen_events_in_one_answer_are_enough(shop, visitor):
    before = shop.counter('upstream_bad')
    answer, rid = said(visitor(), *[f'X-CRM-Event: E{n}' for n in range(18)])
    assert answer.headers['X-CRM-Event'] is None
    assert set(named(shop, rid)) == {'page'} | {f'E{n}' for n in range(16)}
    assert shop.counter('upstream_bad') == before + 2


def test_where_nothing_is_captured_the_headers_are_kept_in_all_the_same(
        shop, visitor):
    answer, rid = said(visitor(), 'X-CRM-Event: Secret',
                       'X-CRM-Identify: C-1', path='/silent')
    assert answer.status == 200
    assert answer.headers['X-CRM-Event'] is None
    assert answer.headers['X-CRM-Identify'] is None
    shop.settled()
    assert rid not in shop.rids()


# ---- X-CRM-Identify ---------------------------------------------------------

def test_the_first_id_is_the_customer_and_the_rest_are_aliases(shop, visitor):
    answer, rid = said(
        visitor(), 'X-CRM-Identify: id=C-80; email_sha256=9f86; loyalty=L-9',
        'X-CRM-Identify: {"id":"C-81","phone":"+49 30"}')
    assert answer.headers['X-CRM-Identify'] is None
    events = shop.events(rid)
    assert {e['uid'] for e in events} == {'C-80'}
    identify = [e for e in events if e['type'] == 'identify']
    assert [e['props'] for e in sorted(identify, key=lambda e: e['rts'])] \
        == [{'email_sha256': '9f86', 'loyalty': 'L-9'},
            {'phone_sha256': hashlib.sha256(b'4930').hexdigest()}]
    assert {e['src'] for e in identify} == {'upstream'}


def test_a_cached_answer_identifies_nobody_else(shop, visitor):
    first, second = visitor(), visitor()
    _, one = said(first, 'X-CRM-Identify: C-90; loyalty=L',
                  'X-CRM-Event: Seen', 'Cache-Control: max-age=60',
                  path='/cached')
    _, two = said(second, 'X-CRM-Identify: C-91', path='/cached')
    assert 'C-90' in {e.get('uid') for e in shop.events(one)}
    events = poll(lambda: (lambda found: found if len(found) == 2 else None)(
        named(shop, two)), 'the page and what was said of it')
    assert set(events) == {'page', 'Seen'}
    assert all(e['uid'] is None for e in events.values())


# ---- forms ------------------------------------------------------------------

def post(visitor, path, body, kind='application/x-www-form-urlencoded'):
    connection = http.client.HTTPConnection(
        '127.0.0.1', visitor.shop.port('nginx'), timeout=20)
    rid = 'post-' + urllib.parse.quote(path, safe='')[:8].replace('%', '') \
        + str(visitor.shop.next_number())
    try:
        connection.request('POST', path, body, {
            'Content-Type': kind, 'X-Request-Id': rid})
        answer = connection.getresponse()
        answer.read()
        return answer.status, rid
    finally:
        connection.close()


def test_fields_of_a_form_are_properties(shop, visitor):
    shop.shopkeeper.head = ''
    body = urllib.parse.urlencode(
        {'item': 'A 13&ü', 'price': '28', 'password': 'secret'})
    status, rid = post(visitor(), '/form', body)
    assert status == 200
    event = shop.events(rid)[0]
    assert event['name'] == 'Product Added'
    assert event['props'] == {'product_id': 'A 13&ü', 'price': '28'}
    assert 'secret' not in json.dumps(event)


@pytest.mark.parametrize('kind,body,skipped', [
    ('multipart/form-data; boundary=x', '--x\r\n\r\nitem=A13\r\n--x--', 0),
    ('application/x-www-form-urlencoded', 'pad=' + 'x' * 3000 + '&item=A', 1),
    ('application/x-www-form-urlencoded', 'pad=' + 'x' * 90000 + '&item=A', 1),
    ('application/x-www-form-urlencoded', 'item=' + 'x' * 1500, 1),
    ('application/x-www-form-urlencoded', '', 0)])
def test_a_form_that_cannot_be_looked_at_costs_only_its_properties(
        shop, visitor, kind, body, skipped):
    shop.shopkeeper.head = ''
    before = shop.counter('extract_skipped')
    status, rid = post(visitor(), '/form', body, kind)
    assert status == 200
    event = shop.events(rid)[0]
    assert event['name'] == 'Product Added' and event['props'] is None
    assert shop.counter('extract_skipped') == before + skipped


# ---- JSON replies -----------------------------------------------------------

CART = {'cart': {'items': [{'id': 'A13', 'price': 28.5},
                           {'id': 'B "2"', 'price': 10}], 'total': 38.5},
        'ok': True, 'pad': ''}


def test_places_in_a_reply_are_properties(shop, visitor):
    shop.shopkeeper.reply = json.dumps(CART)
    for path in ('/api/cart', '/api/cart?chunked', '/api/cart?slow'):
        answer, body, rid = visitor().get(path)
        assert json.loads(body) == CART, 'the reply must not change'
        event = shop.events(rid)[0]
        assert event['name'] == 'Cart Viewed'
        assert event['props'] == {'first': 'A13', 'second': 'B "2"',
                                  'value': '38.5', 'ok': 'true'}


@pytest.mark.parametrize('reply,path,skipped', [
    (json.dumps(CART)[:-2], '/api/cart', 1),
    (json.dumps({**CART, 'pad': 'x' * 3000}), '/api/cart', 1),
    (json.dumps({**CART, 'pad': 'x' * 3000}), '/api/cart?chunked', 1),
    ('[' * 100 + ']' * 100, '/api/cart', 1),
    (json.dumps({'cart': None}), '/api/cart', 0),
    (json.dumps(CART), '/api/cart?html', 0)])
def test_a_reply_that_cannot_be_looked_at_costs_only_its_properties(
        shop, visitor, reply, path, skipped):
    shop.shopkeeper.reply = reply
    before = shop.counter('extract_skipped')
    answer, body, rid = visitor().get(path)
    assert answer.status == 200 and body == reply
    event = shop.events(rid)[0]
    assert event['name'] == 'Cart Viewed' and event['props'] is None
    assert shop.counter('extract_skipped') == before + skipped


# ---- the shop behind --------------------------------------------------------

class Shopkeeper:
    """An HTTP server whose answers the test chooses."""

    def __init__(self):
        import http.server
        import threading

        keeper = self
        self.head = ''
        self.reply = ''

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                length = int(self.headers.get('Content-Length', 0))
                while length > 0:
                    length -= len(self.rfile.read(min(length, 65536)))
                keeper.answer(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def answer(self, handler):
        api = handler.path.startswith('/api/')
        kind = 'application/json' if api and 'html' not in handler.path \
            else 'text/html'
        body = self.reply.encode() if api else b'<p>hello</p>'
        status = '303 See Other' if handler.path.endswith('303') else '200 OK'
        head = [f'HTTP/1.1 {status}', 'Content-Type: ' + kind]
        head += [self.head] if self.head and not api else []
        if 'chunked' in handler.path:
            head.append('Transfer-Encoding: chunked')
            half = len(body) // 2
            parts = [b'%x\r\n%s\r\n' % (len(p), p)
                     for p in (body[:half], body[half:]) if p] + [b'0\r\n\r\n']
        else:
            head.append(f'Content-Length: {len(body)}')
            cut = 7 if 'slow' in handler.path else len(body)
            parts = [body[n:n + cut] for n in range(0, len(body), cut)]
        handler.wfile.write(('\r\n'.join(head) + '\r\n\r\n').encode())
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()


@pytest.fixture(scope='module')
def shop(request):
    from conftest import Shop, new_shop

    keeper = Shopkeeper()
    numbers = iter(range(1 << 30))

    def start(stack):
        stack.extra['SERVER'] = stack.extra['SERVER'].replace(
            '@KEEPER@', f'127.0.0.1:{keeper.port}')
        stack.shopkeeper = keeper
        stack.next_number = lambda: next(numbers)
        Shop.start(stack)
    with new_shop(request, start) as stack:
        yield stack
    keeper.server.shutdown()


CONF = {
    'http': '''
    crm_journal @RUN@/journal size=32m;
    crm_zone name=crm size=8m;
    crm_redis @REDIS@;
    crm_postgres "@PG@";
    proxy_cache_path @RUN@/nginx/cache keys_zone=cache:1m;
    map $arg_from $from_list { "~^list-(?<list>[0-9]+)$" 1; }
    map $status $succeeded { "~^[23]" 1; }
''',
    'server': SERVER + '''
        location ~ ^/item/(?<cat>[a-z]+)/(?<sku>[A-Z0-9]+)$ {
            crm_event "Product Viewed" product_id=$sku category=$cat;
            proxy_pass http://@KEEPER@;
        }
        location /any/ {
            crm_event "List Followed" list=$list status=$status if=$from_list;
            default_type text/html;
            return 200 "<p>any</p>";
        }
        location = /pay {
            crm_event "Order Completed" order_id=7 if=$succeeded;
            default_type text/html;
            if ($arg_status = 500) { return 500 "<p>no</p>"; }
            return 200 "<p>yes</p>";
        }
        location /say { proxy_pass http://@KEEPER@; }
        location /silent { crm off; proxy_pass http://@KEEPER@; }
        location /cached {
            proxy_pass http://@KEEPER@;
            proxy_cache cache;
        }
        location = /form {
            crm_extract $form_item form item;
            crm_extract $form_price form price;
            crm_extract_max 2k;
            crm_event "Product Added" product_id=$form_item
                price=$form_price;
            proxy_pass http://@KEEPER@;
        }
        location /api/ {
            crm_extract $first_id json $.cart.items[0].id;
            crm_extract $second_id json cart.items[1].id;
            crm_extract $cart_total json cart.total;
            crm_extract $cart_ok json ok;
            crm_extract_max 2k;
            crm_event "Cart Viewed" first=$first_id second=$second_id
                value=$cart_total ok=$cart_ok;
            proxy_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://@KEEPER@;
        }
'''}
