"""test_collect.py - what client libraries send, checked with plain HTTP."""

import base64
import gzip
import http.client
import json
import socket
import time
import uuid

import pytest

from conftest import HTTP, SERVER, Visitor, new_shop, poll

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
        return answer.status, answer.headers, answer.read().decode()
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
