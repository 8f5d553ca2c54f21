"""test_events.py - every event that nginx writes is what docs/events.md says.

The importer is stopped, so that the streams keep what nginx sent; a browse
with all sorts of pages and clients is then read back and validated.
"""

import json
import os
import re
import socket

import jsonschema
import pytest

from conftest import HERE, SERVER, Shop, Visitor, new_shop, poll
from stack import PROJECT

CONF = {'server': SERVER + '''
        location /all/ { crm_capture all; alias @RUN@/pages/; }
        location /public/ {
            alias @RUN@/pages/;
            add_header Cache-Control "public, max-age=60";
        }
        location = /gone { return 301 /plain.html; }
        location = /error { default_type text/html; return 500 "<p>no</p>"; }
'''}


@pytest.fixture(scope='module')
def shop(request):
    def start(stack):
        Shop.start(stack)
        stack.importer.stop()
    with new_shop(request, start) as stack:
        yield stack


@pytest.fixture(scope='module')
def schema():
    with open(os.path.join(HERE, 'event.schema.json'), encoding='utf-8') as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def entries(shop):
    """(producer, last sequence, fields) of everything in the streams."""
    for producer in shop.redis_ask('SMEMBERS', 'crm:producers'):
        name = producer.decode()
        for key, fields in shop.redis_ask('XRANGE', f'crm:ev:{name}',
                                          '-', '+'):
            sequence, _, rest = key.decode().partition('-')
            assert rest == '0'
            yield name, int(sequence), dict(zip(fields[::2], fields[1::2]))


def lines(shop):
    return [line for _, _, fields in entries(shop)
            for line in fields[b'e'].split(b'\n')]


@pytest.fixture(scope='module')
def browsed(shop):
    """A small browse of everything; the request ids, and the events."""
    shop.campaign('hello', content='<p>hello</p>')
    first = Visitor(shop)
    poll(lambda: '<p>hello</p>' in first.text('/'), 'the campaign', 5)
    rids = []

    def get(v, path, method='GET', **headers):
        rids.append(v.get(path, method, **headers)[2])
    for headers in (
            {'User-Agent': 'Browser/1.0', 'Accept-Language': 'de-DE,de;q=0.5',
             'Referer': 'https://search.example/?q=a"b'},
            {'User-Agent': '"\\\t</script>', 'Referer': '\xff\xfe\x80',
             'Accept-Language': 'x' * 3000},
            {'User-Agent': '日本語 🛒'.encode().decode('latin-1'),
             'Host': 'h' * 200 + '.example'},
            {}):
        v = Visitor(shop, **headers)
        for path in ('/', '/plain.html', '/p/view.html?id=A1&cat=shoes',
                     '/p/view.html?id=%22%5C%00%ff', '/p/view.html',
                     '/cart/add?id=A1&price=12.50', '/login?user=C-5',
                     '/order/done?order=O-1&total=25&products=A1:2:12.50',
                     '/?q=' + 'a"<\\' * 1500, '/none.html', '/error',
                     '/gone', '/all/style.css', '/public/plain.html'):
            get(v, path)
        get(v, '/plain.html', 'HEAD')
        get(v, '/cart/add?id=A2', 'POST')
        v.close()
    first.close()

    for rid in ('a' * 64, 'a' * 65, 'a b', 'é', '', '.'):
        with socket.create_connection(
                ('127.0.0.1', shop.port('nginx')), timeout=5) as s:
            s.sendall('GET /plain.html?é\xff" HTTP/1.1\r\nHost: x\r\n'
                      f'X-Request-Id: {rid}\r\nConnection: close\r\n\r\n'
                      .encode('latin-1'))
            while s.recv(65536):
                pass

    def arrived():
        there = b'\n'.join(lines(shop)).decode()
        return rids[-1] in there and there.count('"id":') \
            == shop.counter('events')
    poll(arrived, 'all events to be in the streams')
    return rids


def test_every_event_is_what_the_schema_says(shop, schema, browsed):
    validator = jsonschema.Draft202012Validator(schema)
    seen = [json.loads(line) for line in lines(shop)]
    assert len(seen) > 60
    for event in seen:
        faults = [f'{"/".join(map(str, e.absolute_path))}: {e.message}'
                  for e in validator.iter_errors(event)]
        assert not faults, (faults, event)
    # what we write ourselves, the schema knows by name
    for event in seen:
        assert set(event) <= set(schema['properties'])
        for part in ('ctx', 'req'):
            assert set(event.get(part, ())) \
                <= set(schema['properties'][part]['properties'])
    # each kind is among them, or this test says little
    for member in schema['properties']:
        if member not in ('ts', 'mid'):
            assert any(member in e for e in seen), member
    assert {'page', 'track'} == {e['type'] for e in seen}


def test_a_line_is_one_json_text_in_utf8_without_a_second_name(shop, browsed):
    def once(pairs):
        names = [k for k, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)
    for line in lines(shop):
        text = line.decode('utf-8')
        json.loads(text, object_pairs_hook=once)
        assert '\\u0000' not in text
        assert not re.search(r'[\x00-\x1f]', text)
        assert len(line) <= 131072


def test_ids_are_unique_and_in_the_order_of_time(shop, browsed):
    seen = [json.loads(line) for line in lines(shop)]
    ids = [e['id'] for e in seen]
    assert len(ids) == len(set(ids))
    for event in seen:
        ms = int(event['id'].replace('-', '')[:12], 16)
        assert abs(ms - event['rts'] // 1000) < 60_000
    sessions = {}
    for event in sorted(seen, key=lambda e: e['rts']):
        if 'sid' in event:
            sessions.setdefault(event['sid'], []).append(event['seq'])
    assert any(len(s) > 10 for s in sessions.values())
    for numbers in sessions.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), numbers


def test_entries_are_as_the_contract_has_them(shop, browsed):
    last = {}
    for producer, sequence, fields in entries(shop):
        assert re.match(r'^[0-9a-f]{16}$', producer)
        assert set(fields) == {b'f', b'n', b'e'}
        first = int(fields[b'f'])
        events = fields[b'e'].split(b'\n')
        assert first == last.get(producer, 0) + 1
        assert len(events) == int(fields[b'n']) == sequence - first + 1
        last[producer] = sequence
    assert sum(last.values()) == shop.crm_status()['ledger']['appended']


def test_request_ids_of_another_form_are_left_out(shop, browsed):
    rids = [json.loads(line)['req'].get('rid') for line in lines(shop)]
    assert 'a' * 64 in rids and '.' in rids
    assert 'a' * 65 not in rids and 'a b' not in rids
    assert set(browsed) <= set(rids) | not_captured(shop, browsed)


def not_captured(shop, browsed):
    """Redirects and nothing else of the browse leave no event."""
    rids = {json.loads(line)['req'].get('rid') for line in lines(shop)}
    missing = set(browsed) - rids
    assert len(missing) == 4, 'one redirect for each of the four visitors'
    return missing


def test_the_schema_and_the_page_name_the_same_members(schema):
    with open(os.path.join(PROJECT, 'docs', 'events.md'),
              encoding='utf-8') as f:
        page = f.read()
    table = page.split('| member |')[1].split('\n\n')[0]
    documented = set()
    for row in table.splitlines()[2:]:
        documented |= set(re.findall(r'`(\w+)`', row.split('|')[1]))
    assert documented == set(schema['properties'])
    for part in ('ctx', 'req', 'dec'):
        row = re.search(rf'^\| `{part}` .*$', table, re.M)[0]
        known = schema['properties'][part]
        known = known.get('items', known)['properties']
        assert set(known) <= set(re.findall(r'`(\w+)`', row))
