"""test_collect.py - what client libraries send, checked with plain HTTP."""

import base64
import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import time
import uuid

from conftest import HTTP, SERVER, poll

KEYS = '''
    crm_write_key browser;
    crm_write_key server-secret trusted;
    crm_write_key other site=other;
'''
LOCATIONS = '''
        location /v1/ { crm_collect segment; }
        location /far/ {
            crm_collect segment;
            crm_collect_origin https://far.example;
        }
        location /asked/ {
            crm_collect segment;
            crm_consent $cookie_consent measure=~m personalize=~p;
        }
        location /hashed/ {
            crm_collect segment;
            crm_anonymize ip=16/32 hash=email,tel;
        }
        location /small/ { crm_collect segment; crm_collect_max_body 64k; }
        location /api/ { crm_collect segment; }
        location /beacon/ { crm_collect segment; }
        location /sourceConfig/ { crm_collect segment; }
        location /com.snowplowanalytics.snowplow/ {
            crm_collect snowplow;
            crm_collect_origin any;
        }
        location = /i { crm_collect snowplow; crm_collect_origin any; }
'''
CONF = {'http': HTTP + KEYS, 'server': SERVER + LOCATIONS, 'workers': 1}


def basic(key):
    return 'Basic ' + base64.b64encode(f'{key}:'.encode()).decode()


def send(shop, path, body=b'', key='browser', method='POST', **headers):
    """Returns (status, headers, body)."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    sent = {k.replace('_', '-'): v for k, v in headers.items()}
    if key is not None:
        sent['Authorization'] = basic(key)
    connection = http.client.HTTPConnection(
        '127.0.0.1', shop.port('nginx'), timeout=20)
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode('utf-8', 'replace')
    finally:
        connection.close()


def track(name='Thing Done', mid=None, **more):
    return {'type': 'track', 'event': name, 'anonymousId': 'anon-1',
            'messageId': mid or uuid.uuid4().hex, **more}


def rows(shop, *mids, seconds=20):
    """The events with these message ids, in the order of rts."""
    query = 'select to_jsonb(e) from crm.event e where mid = any(%s) ' \
            'order by rts'
    return [r[0] for r in poll(
        lambda: (lambda found: found if len(found) >= len(mids) else None)(
            shop.sql(query, list(mids))),
        f'{len(mids)} events of a client', seconds)]


def test_one_event_with_all_that_it_says(shop):
    event = track('Product Viewed', userId='u-1', timestamp='2026-11-22T03:58:13.428Z',
                  properties={'product_id': 'p1', 'price': 9.9, 'n': None,
                              'tags': ['a', {'b': True}]},
                  context={'library': {'name': 'lib', 'version': '1.2'},
                           'userAgent': 'Mozilla/5.0 T', 'locale': 'de-DE',
                           'ip': '203.0.113.9',
                           'page': {'url': 'https://shop.example/p/1?x=y#f',
                                    'referrer': 'https://search.example/'}})
    status, headers, body = send(shop, '/v1/track', event)
    assert (status, json.loads(body)) == (200, {'success': True})
    assert headers['Content-Type'] == 'application/json'
    row = rows(shop, event['messageId'])[0]
    assert row['type'] == 'track' and row['name'] == 'Product Viewed'
    assert row['uid'] == 'u-1' and row['src'] == 'client'
    assert row['props'] == event['properties']
    assert row['ctx']['lib'] == {'name': 'lib', 'version': '1.2'}
    assert row['ctx']['anon'] == 'anon-1'
    assert row['ctx']['ua'] == 'Mozilla/5.0 T'
    assert row['ctx']['lang'] == 'de-DE'
    assert row['ctx']['ip'] == '127.0.0.1', 'a browser chose its address'
    assert row['ctx']['ref'] == 'https://search.example/'
    assert 'trusted' not in row['ctx']
    assert row['req'] == {'host': 'shop.example', 'path': '/p/1',
                          'query': 'x=y'}
    assert row['ts'].startswith('2026-11-22T03:58:13.428')
    assert uuid.UUID(row['vid']).version == 8
    assert row['extra'] is None


def test_every_route_and_type(shop):
    sent = {}
    for prefix, words in (('/v1/', ('track t page p identify i screen s group '
                                    'g alias a')),
                          ('/api/s/', 'track page identify group'),
                          ('/api/s/s2s/', 'track page')):
        for word in words.split():
            mid = uuid.uuid4().hex
            event = {'messageId': mid, 'anonymousId': 'r', 'event': 'X',
                     'name': 'Home', 'properties': {'a': 1},
                     'traits': {'b': 2}, 'groupId': 'g9', 'previousId': 'old'}
            assert send(shop, prefix + word, event)[0] == 200, word
            sent[mid] = word
    full = {'t': 'track', 'p': 'page', 'i': 'identify', 's': 'screen',
            'g': 'group', 'a': 'alias'}
    for row in rows(shop, *sent):
        word = sent[row['mid']]
        assert row['type'] == full.get(word, word)
        assert row['name'] == ('X' if row['type'] == 'track' else None)
        assert row['props'] == {
            'track': {'a': 1}, 'page': {'name': 'Home', 'a': 1},
            'screen': {'name': 'Home', 'a': 1}, 'identify': {'b': 2},
            'group': {'group_id': 'g9', 'b': 2},
            'alias': {'previous_id': 'old'}}[row['type']]
    for path in ('/v1/batch', '/v1/b', '/v1/import', '/beacon/v1/batch'):
        mid = uuid.uuid4().hex
        assert send(shop, path, {'batch': [track(mid=mid)]})[0] == 200
        rows(shop, mid)
    assert send(shop, '/v1/none', {})[0] == 404
    assert send(shop, '/v1/track', method='GET')[0] == 405


def test_keys(shop):
    def by(mid, key=None, path='/v1/track', body=None, **headers):
        return send(shop, path, {**track(mid=mid), **(body or {})}, key=key,
                    **headers)[0]
    mids = [uuid.uuid4().hex for _ in range(6)]
    assert by(mids[0], 'browser') == 200
    assert by(mids[1], body={'writeKey': 'browser'}) == 200
    assert by(mids[2], path='/v1/track?writeKey=browser') == 200
    assert by(mids[3], X_Write_Key='browser') == 200
    assert by(mids[4], X_Write_Key='browser',
              body={'writeKey': 'bro:***'}) == 200, 'Jitsu masks the key'
    rows(shop, *mids[:5])
    for answer in (send(shop, '/v1/track', track(), key='wrong'),
                   send(shop, '/v1/track', track(), key=None)):
        assert answer[0] == 401
        assert json.loads(answer[2])['success'] is False
    shop.sql("insert into crm.site (key) values ('other') "
             "on conflict do nothing")
    assert by(mids[5], 'other') == 200
    assert rows(shop, mids[5])[0]['site'] == 'other'


def test_a_server_is_believed_and_a_browser_is_not(shop):
    before = shop.sql('select count(*) from crm.identity')[0][0]
    claim, word = uuid.uuid4().hex, uuid.uuid4().hex
    event = {'type': 'identify', 'userId': 'cust-7', 'traits': {},
             'context': {'ip': '203.0.113.7'}}
    assert send(shop, '/v1/i', {**event, 'anonymousId': 'n1',
                                'messageId': claim})[0] == 200
    assert send(shop, '/v1/i', {**event, 'anonymousId': 'n2',
                                'messageId': word},
                key='server-secret')[0] == 200
    found = {row['mid']: row for row in rows(shop, claim, word)}
    assert found[claim]['uid'] == found[word]['uid'] == 'cust-7'
    assert found[claim]['ctx']['ip'] == '127.0.0.1'
    assert found[word]['ctx']['ip'] == '203.0.113.7'
    assert found[word]['ctx']['trusted'] is True
    known = shop.sql('select vid::text from crm.identity '
                     "where customer_id = 'cust-7'")
    assert known == [(found[word]['vid'],)]
    assert shop.sql('select count(*) from crm.identity')[0][0] == before + 1


def test_a_visitor_cannot_be_chosen(shop, visitor):
    other = visitor()
    other.text('/plain.html')
    _, _, rid = other.get('/plain.html')
    vid = shop.events(rid)[0]['vid']
    for claim in (vid, other.cookie):
        mid = uuid.uuid4().hex
        send(shop, '/v1/t', track(mid=mid, anonymousId=claim))
        assert rows(shop, mid)[0]['vid'] not in (vid, None)
    one, two = uuid.uuid4().hex, uuid.uuid4().hex
    send(shop, '/v1/t', track(mid=one, anonymousId='same'))
    send(shop, '/v1/t', track(mid=two, anonymousId='same'))
    first, second = rows(shop, one, two)
    assert first['vid'] == second['vid']


def test_the_cookie_decides_and_is_set_on_the_own_site(shop, visitor):
    known = visitor()
    known.text('/plain.html')
    _, _, rid = known.get('/plain.html')
    page = shop.events(rid)[0]
    mid = uuid.uuid4().hex
    status, headers, _ = send(shop, '/v1/t', track(mid=mid),
                              Cookie='crm=' + known.cookie)
    assert status == 200 and headers['Set-Cookie'] is None
    row = rows(shop, mid)[0]
    assert (row['vid'], row['sid'], row['sn']) == \
        (page['vid'], page['sid'], page['sn'])
    assert row['seq'] > page['seq']

    own = f'http://127.0.0.1:{shop.port("nginx")}'
    mid = uuid.uuid4().hex
    status, headers, _ = send(shop, '/v1/t', track(mid=mid), Origin=own)
    assert status == 200 and headers['Set-Cookie'].startswith('crm=')
    assert headers['Access-Control-Allow-Origin'] is None
    assert uuid.UUID(rows(shop, mid)[0]['vid']).version == 7
    assert send(shop, '/v1/t', track())[1]['Set-Cookie'] is None


def test_sent_twice_stored_once(shop):
    before = shop.sql("select sum(duplicates) from crm.producer")[0][0] or 0
    batch = {'batch': [track(f'Twice {n}') for n in range(5)]}
    mids = [e['messageId'] for e in batch['batch']]
    assert send(shop, '/v1/batch', batch)[0] == 200
    rows(shop, *mids)
    again = {'batch': batch['batch'] + [track('Twice 5')] * 2}
    assert send(shop, '/v1/batch', again)[0] == 200
    rows(shop, again['batch'][-1]['messageId'])
    shop.settled()
    found = shop.sql("select name from crm.event where mid = any(%s)",
                     mids + [again['batch'][-1]['messageId']])
    assert sorted(r[0] for r in found) == [f'Twice {n}' for n in range(6)]
    assert shop.sql("select sum(duplicates) from crm.producer")[0][0] \
        == before + 6
    ledger = shop.sql("select last_seq = events + gap + refused + duplicates "
                      "from mart.loss_ledger")
    assert all(r[0] for r in ledger)


def test_order_of_a_burst(shop):
    names = [f'Burst {n}' for n in range(300)]
    for start in range(0, 300, 100):
        assert send(shop, '/v1/batch', {'batch': [
            track(name) for name in names[start:start + 100]]})[0] == 200
    poll(lambda: shop.sql("select count(*) from crm.event "
                          "where name like 'Burst %%'")[0][0] == 300, 'a burst')
    assert [r[0] for r in shop.sql(
        "select name from crm.event where name like 'Burst %%' "
        "order by rts")] == names
    assert shop.sql("select count(distinct rts) from crm.event "
                    "where name like 'Burst %%'") == [(300,)]


def test_bodies_in_any_form(shop):
    event = track('Käse 🧀', properties={'text': 'ü' * 20000})
    body = json.dumps({'batch': [event]}, ensure_ascii=False).encode()
    assert send(shop, '/v1/batch', gzip.compress(body),
                Content_Encoding='gzip',
                Content_Type='application/x-www-form-urlencoded')[0] == 200
    row = rows(shop, event['messageId'])[0]
    assert row['name'] == 'Käse 🧀' and row['props'] == event['properties']

    # chunked, in pieces of a byte, and compressed: no length anywhere
    event = track('In Pieces')
    for packed in (False, True):
        event['messageId'] = uuid.uuid4().hex
        body = json.dumps(event).encode()
        if packed:
            body = gzip.compress(body)
        with socket.create_connection(
                ('127.0.0.1', shop.port('nginx')), timeout=10) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(b'POST /v1/b HTTP/1.1\r\nHost: x\r\n'
                      b'Transfer-Encoding: chunked\r\nAuthorization: '
                      + basic('browser').encode() + b'\r\n'
                      + (b'Content-Encoding: gzip\r\n' if packed else b'')
                      + b'\r\n')
            for n in range(len(body)):
                s.sendall(b'1\r\n' + body[n:n + 1] + b'\r\n')
            s.sendall(b'0\r\n\r\n')
            assert s.recv(4096).startswith(b'HTTP/1.1 200 ')
        rows(shop, event['messageId'])


def test_what_is_refused_as_a_whole(shop):
    for body in (b'', b'x', b'[]', b'{"batch":[', b'{"type":"track",}',
                 b'{"batch":[{"type":tru}]}', b'{} {}'):
        assert send(shop, '/v1/batch', body)[0] == 400, body
    assert send(shop, '/v1/batch', b'not gzip at all',
                Content_Encoding='gzip')[0] == 400
    whole = gzip.compress(json.dumps(track()).encode())
    assert send(shop, '/v1/track', whole[:-12],
                Content_Encoding='gzip')[0] == 400
    assert send(shop, '/v1/batch', b'{}', Content_Encoding='br')[0] == 415
    large = json.dumps({'batch': [track()], 'x': 'y' * 70000}).encode()
    assert send(shop, '/v1/batch', large)[0] == 200
    assert send(shop, '/small/v1/batch', large)[0] == 413
    assert send(shop, '/small/v1/batch', gzip.compress(large),
                Content_Encoding='gzip')[0] == 413
    bomb = gzip.compress(b'{"batch":[' + b' ' * 3_900_000 + b']}')
    assert len(bomb) < 8000
    assert send(shop, '/v1/batch', bomb, Content_Encoding='gzip')[0] == 413
    many = b'{"batch":[' + b','.join([b'1'] * 10001) + b']}'
    assert send(shop, '/v1/batch', many)[0] == 413


def test_one_bad_event_fails_no_batch(shop):
    good = [track(f'Good {n}') for n in range(3)]
    deep = {'a': 1}
    for _ in range(40):
        deep = {'d': deep}
    bad = [{}, 7, None, 'text', {'type': 'unheard'}, {'type': 'track'},
           {'type': 'track', 'event': 'x' * 201},
           {**track(), 'messageId': 'm' * 101},
           {**track(), 'properties': deep},
           {**track(), 'properties': {'big': 'b' * 70000}}]
    batch = {'batch': [good[0], *bad[:5], good[1], *bad[5:], good[2]]}
    before = shop.counter('collect_invalid')
    assert send(shop, '/v1/batch', batch)[0] == 200
    rows(shop, *[e['messageId'] for e in good])
    assert shop.counter('collect_invalid') - before == len(bad)
    reasons = [r[0] for r in poll(
        lambda: (lambda found: found if len(found) == len(bad) else None)(
            shop.sql("select reason from crm.reject "
                     "where source = 'collect:shop' and reason <> "
                     "'the body is not JSON' and raw <> '' "
                     "and raw not like '%%tru}%%' and raw not like '%%,}%%' "
                     "order by line")),
        'the rejects')]
    assert reasons == [
        'it has no type', 'it is no object', 'it is no object',
        'it is no object',
        'its type is none of track, page, identify, screen, group, alias',
        'it is a track without the name of an event',
        "its event's name is longer than 200 bytes",
        'its messageId is longer than 100 bytes',
        'it is nested deeper than 30 levels', 'it is larger than 64 KB']


def test_text_that_postgresql_would_refuse(shop):
    mid = uuid.uuid4().hex
    body = (b'{"type":"track","event":"Odd","anonymousId":"o","messageId":"'
            + mid.encode() + b'","properties":{"nul":"a\\u0000b","half":'
            b'"\\ud83d!","bytes":"\xff\xfe","huge":1e999999,'
            b'"pair":"\\ud83e\\uddc0"}}')
    assert send(shop, '/v1/track', body)[0] == 200
    assert rows(shop, mid)[0]['props'] == {
        'nul': 'a\ufffdb', 'half': '\ufffd!', 'bytes': '\ufffd\ufffd',
        'huge': '1e999999', 'pair': '🧀'}


def test_clocks(shop):
    def at(stamp, sent=None, **more):
        mid = uuid.uuid4().hex
        body = {'batch': [track(mid=mid, timestamp=stamp, **more)]}
        if sent:
            body['sentAt'] = sent
        assert send(shop, '/v1/batch', body)[0] == 200
        return rows(shop, mid)[0]

    # a clock an hour slow, noticed by sentAt behind the batch
    now = time.time()
    def iso(t):
        return time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(t))
    row = at(iso(now - 3660), iso(now - 3600))
    lag = shop.sql('select extract(epoch from %s::timestamptz '
                   '- %s::timestamptz)', row['rts'], row['ts'])[0][0]
    assert 58 < lag < 62
    assert at('2019-01-02T03:04:05+01:00')['ts'] == '2019-01-02T02:04:05+00:00'
    assert at('2099-01-01T00:00:00Z')['ts'] is None
    assert at('yesterday')['ts'] is None


def test_other_origins(shop):
    far = {'Origin': 'https://far.example'}
    status, headers, body = send(
        shop, '/far/v1/t', key=None, method='OPTIONS', **far,
        Access_Control_Request_Method='POST',
        Access_Control_Request_Headers='authorization,x-retry-count')
    assert (status, body) == (204, '')
    assert headers['Access-Control-Allow-Origin'] == 'https://far.example'
    assert headers['Access-Control-Allow-Credentials'] == 'true'
    assert headers['Access-Control-Max-Age'] == '7200'
    assert headers['Access-Control-Allow-Headers'] == \
        'authorization,x-retry-count'
    assert headers['Vary'] == 'Origin'
    for key, status in (('browser', 200), ('wrong', 401)):
        answer = send(shop, '/far/v1/t', track(), key=key, **far)
        assert answer[0] == status
        assert answer[1]['Access-Control-Allow-Origin'] == \
            'https://far.example'
        assert answer[1]['Access-Control-Expose-Headers'] == 'Retry-After'
    assert send(shop, '/far/v1/t', track(), Origin='https://evil.example')[0] \
        == 403
    assert send(shop, '/v1/t', track(), **far)[0] == 403


def test_settings_documents(shop):
    status, headers, body = send(
        shop, '/v1/projects/browser/settings', key=None, method='GET')
    host = f'127.0.0.1:{shop.port("nginx")}'
    assert status == 200
    assert json.loads(body)['integrations']['Segment.io'] == {
        'apiKey': 'browser', 'apiHost': host + '/v1', 'protocol': 'http'}
    assert send(shop, '/v1/projects/no/settings', method='GET')[0] == 401
    status, _, body = send(
        shop, '/sourceConfig/?p=npm&v=3&writeKey=browser', key=None,
        method='GET')
    assert status == 200
    assert json.loads(body)['source']['enabled'] is True
    assert json.loads(body)['source']['writeKey'] == 'browser'


def test_an_order_of_a_library(shop):
    mid = uuid.uuid4().hex
    assert send(shop, '/v1/t', track(
        'Order Completed', mid=mid, properties={
            'order_id': 4711, 'total': 29.7, 'currency': 'EUR', 'products': [
                {'product_id': 'p1', 'price': 9.9, 'quantity': 2},
                {'sku': 'p2', 'price': '9.90'},
                {'price': 1}]}))[0] == 200
    rows(shop, mid)
    lines = poll(lambda: shop.sql(
        "select product_id, quantity, price::float from crm.order_line "
        "where order_id = '4711' order by line"), 'the order')
    assert lines == [('p1', 2, 9.9), ('p2', 1, 9.9)]
    assert shop.sql("select total::float, currency from crm.\"order\" "
                    "where order_id = '4711'") == [(29.7, 'EUR')]


def test_snowplow_by_post_and_pixel(shop):
    far = {'Origin': 'https://anywhere.example'}
    post, pixel = str(uuid.uuid4()), str(uuid.uuid4())
    event = {'e': 'pv', 'eid': post, 'url': 'https://shop.example/p?a=1',
             'page': 'Home', 'duid': 'd1', 'uid': 'u1', 'tv': 'js-4.10.1',
             'dtm': '1795320729837', 'stm': '1795320729860', 'aid': 'shop'}
    path = '/com.snowplowanalytics.snowplow/tp2'
    status, headers, body = send(shop, path, {
        'schema': 'iglu:com.snowplowanalytics.snowplow/payload_data/'
                  'jsonschema/1-0-4', 'data': [event]}, key=None, **far)
    assert (status, body) == (200, 'ok')
    assert headers['Access-Control-Allow-Origin'] == \
        'https://anywhere.example'
    status, headers, body = send(
        shop, f'/i?e=se&eid={pixel}&se_ca=c&se_ac=Played&se_va=2&duid=d1'
        '&aid=server-secret&uid=u2&ip=203.0.113.5', key=None, method='GET',
        **far)
    assert status == 200 and headers['Content-Type'] == 'image/gif'
    found = {row['mid']: row for row in rows(shop, post, pixel)}
    page, played = found[post], found[pixel]
    assert page['type'] == 'page' and page['name'] is None
    assert page['props'] == {
        'url': 'https://shop.example/p?a=1', 'path': '/p', 'search': '?a=1',
        'title': 'Home'}
    assert page['ctx']['lib'] == {'name': 'js', 'version': '4.10.1'}
    assert 'trusted' not in page['ctx']
    assert (played['name'], played['props']) == (
        'Played', {'category': 'c', 'value': 2})
    assert played['ctx']['trusted'] is True
    assert played['ctx']['ip'] == '203.0.113.5'
    assert page['vid'] == played['vid']
    assert send(shop, path, b'{"data":[', key=None)[0] == 400
    assert send(shop, '/i', key=None, method='GET')[0] == 400


def test_rejects_can_be_replayed(shop):
    """A site nobody had added: its events come in once it is there."""
    shop.sql("delete from crm.site where key = 'late'")
    shop.sql('update crm.reject set replayed_at = now()')
    shop.sql("insert into crm.reject (source, reason, raw, event) values "
             "('import:x', 'it was another time', 'x', %s)",
             json.dumps({'id': str(uuid.uuid4()), 'site': 'late',
                         'type': 'track', 'rts': int(time.time() * 1e6),
                         'src': 'client', 'mid': 'late-1', 'name': 'Late'}))
    shop.sql("insert into crm.reject (source, reason, raw, event) values "
             "('collect:shop', 'an older release', 'x', %s)",
             json.dumps({'id': str(uuid.uuid4()), 'site': 'shop',
                         'type': 'reject', 'rts': int(time.time() * 1e6),
                         'src': 'client', 'protocol': 'segment',
                         'size': len(json.dumps(track('Later', 'late-2'))),
                         'raw': json.dumps(track('Later', 'late-2'))}))
    shop.sql("insert into crm.reject (source, reason, raw, event) values "
             "('import:y', 'never', 'x', 'nonsense')")
    listed = shop.mine('rejects', 'list').stdout
    assert 'it was another time' in listed and 'an older release' in listed
    assert 'replayed 1, duplicates 0, still refused 2' in \
        shop.mine('rejects', 'replay').stdout
    shop.sql("insert into crm.site (key) values ('late')")
    assert 'replayed 1, duplicates 0, still refused 1' in \
        shop.mine('rejects', 'replay').stdout
    assert 'replayed 0, duplicates 0, still refused 1' in \
        shop.mine('rejects', 'replay').stdout
    assert {r['name'] for r in rows(shop, 'late-1', 'late-2')} == \
        {'Late', 'Later'}


def test_a_full_journal_is_503_and_nothing_is_lost(shop):
    """Redis is away and the ring small: the client is told to come again."""
    shop.settled()
    sent, status, headers = [], 200, None
    shop.redis.stop()
    try:
        while status == 200:
            batch = {'batch': [
                track('Full', properties={'text': 'x' * 30000})
                for _ in range(30)]}
            status, headers, _ = send(shop, '/far/v1/batch', batch,
                                      Origin='https://far.example')
            sent.append(batch)
            assert len(sent) < 80, 'the ring takes everything'
        assert status == 503
        assert headers['Retry-After'] == '5'
        assert headers['Access-Control-Allow-Origin'] == 'https://far.example'
        assert shop.counter('collect_full') >= 1
    finally:
        shop.start_redis()
    poll(lambda: send(shop, '/v1/batch', sent[-1])[0] == 200,
         'the journal to have room', 30)
    mids = [e['messageId'] for batch in sent for e in batch['batch']]
    poll(lambda: shop.sql("select count(*) from crm.event where name = 'Full'")
         [0][0] >= len(mids), 'all events', 30)
    assert sorted(r[0] for r in shop.sql(
        "select mid from crm.event where name = 'Full'")) == sorted(mids)


def test_a_browser_without_consent_leaves_a_count(shop):
    """No visitor, no ids, no properties; not in what was refused either."""
    here = {'Origin': f'http://127.0.0.1:{shop.port("nginx")}'}
    word = 'canary' + uuid.uuid4().hex
    refused, allowed = uuid.uuid4().hex, uuid.uuid4().hex

    def batch(mid):
        return {'batch': [
            track(mid=mid, anonymousId=word, userId=word,
                  properties={'secret': word}),
            {'type': 'track', 'secret': word}]}
    path = '/asked/v1/batch'
    assert send(shop, path, batch(refused), **here)[0] == 200
    status, headers, _ = send(shop, path, batch(allowed), **here,
                              Cookie='consent=m')
    assert status == 200 and 'crm=' in headers['Set-Cookie']
    found = {row['mid']: row for row in rows(shop, refused, allowed)}
    count, whole = found[refused], found[allowed]
    assert word not in json.dumps(count)
    assert count['vid'] is None and count['uid'] is None
    assert count['props'] is None and count['ctx']['consent'] == ''
    assert whole['ctx']['anon'] == word and whole['vid'] is not None
    assert whole['props'] == {'secret': word}
    shop.settled()
    kept = shop.sql('select count(*) from crm.reject where '
                    'position(%s in reject::text) > 0', word)
    assert kept[0][0] == 1, 'only the text of who allowed it'


def stored(shop):
    """All that PostgreSQL, Redis and the journal hold."""
    text = subprocess.run(['pg_dump', '--data-only', '--inserts',
                           '--dbname=' + shop.pg()], check=True,
                          capture_output=True).stdout
    for name in os.listdir(shop.path('journal')):
        with open(shop.path('journal', name), 'rb') as f:
            text += f.read().replace(b'\0', b'')
    for stream in shop.redis_ask('KEYS', 'crm:ev:*'):
        text += repr(shop.redis_ask('XRANGE', stream, '-', '+')).encode()
    return text


def test_named_members_are_hashed_at_any_depth(shop):
    """From browsers and servers, in what is refused, and in page's URLs."""
    known = track(properties={'email': 'canary-1@x.example', 'plan': 'gold'})
    deep = track(properties={
        'to': [{'Email': 'canary-1@x.example', 'n': 1}], 'tel': 5550199,
        'url': 'https://a.example/?b=1&email=canary-2#tel=canary-3'})
    who = {'type': 'identify', 'userId': 'u-hash', 'messageId': uuid.uuid4().hex,
           'traits': {'email': 'canary-4@x.example', 'tel': None}}
    server = track(properties={'email': 'canary-1@x.example'},
                   context={'ip': '203.0.113.9', 'page': {
                       'url': 'https://a.example/p?email=canary-5'}})
    refused = track(name='', mid='refused-hash',
                    properties={'email': 'canary-6@x.example'})
    for event, key in ((known, 'browser'), (deep, 'browser'),
                       (who, 'browser'), (server, 'server-secret'),
                       (refused, 'browser')):
        assert send(shop, '/hashed/v1/track', event, key)[0] == 200, event
    assert send(shop, '/hashed/v1/track', b'{"email":"canary-7')[0] == 400

    found = {e['mid']: e for e in rows(
        shop, *(e['messageId'] for e in (known, deep, who, server)))}
    known, deep, who, server = (found[e['messageId']] for e in
                                (known, deep, who, server))
    digest = known['props']['email']
    assert re.fullmatch('[0-9a-f]{32}', digest)
    assert known['props']['plan'] == 'gold'
    assert deep['props']['to'] == [{'Email': digest, 'n': 1}], 'no key to join'
    assert re.fullmatch('[0-9a-f]{32}', deep['props']['tel'])
    assert deep['props']['url'] == 'https://a.example/?b=1&email=#tel='
    assert who['uid'] == 'u-hash'
    assert server['props']['email'] == digest
    assert server['ctx']['ip'] == '203.0.0.0'
    assert server['req']['query'] == 'email='
    reject = poll(lambda: shop.sql(
        "select raw from crm.reject where raw like '%%refused-hash%%'"),
        'the refused one')
    assert '"email":"' in reject[0][0]
    text = stored(shop)
    assert b'refused-hash' in text
    for n in range(1, 8):
        assert b'canary-%d' % n not in text, n
    assert b'5550199' not in text
