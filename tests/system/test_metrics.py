"""test_metrics.py - metrics, health, and a dry run that nobody can see."""

import json
import os

import http.client

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import SERVER, Visitor, poll

CONF = {'server': SERVER + '''
        location = /crm/metrics { crm off; crm_metrics; }
        location = /crm/health { crm off; crm_health; }
        location /dry/ {
            crm_dry_run on;
            crm_event "Product Viewed" product_id=$arg_id;
            proxy_pass http://127.0.0.1:@SHOP_PORT@/;
        }
        location /dry/pages/ {
            crm_dry_run on;
            alias @RUN@/pages/;
        }
        location = /dry/decide { crm_dry_run on; crm_decide; }
        location /without/ {
            crm off;
            proxy_pass http://127.0.0.1:@SHOP_PORT@/;
        }
        location /without/pages/ {
            crm off;
            alias @RUN@/pages/;
        }
''', 'http': '''
    crm_journal @RUN@/journal size=1m;
    crm_zone name=crm size=8m;
    crm_redis @REDIS@;
    crm_postgres "@PG@";
    crm_budget 50ms;
''', 'workers': 1}


def metrics(shop):
    """{name: {labels: value}}, and {family: (type, help)}."""
    code, headers, body = shop.get('/crm/metrics')
    assert code == 200
    assert headers['Content-Type'] == 'text/plain; version=0.0.4'
    if isinstance(body, bytes):
        body = body.decode()
    assert body.endswith('\n')
    samples, families = {}, {}
    for family in text_string_to_metric_families(body):
        assert family.name not in families, 'one family, one block'
        families[family.name] = family.type, family.documentation
        for sample in family.samples:
            key = tuple(sorted(sample.labels.items()))
            assert key not in samples.setdefault(sample.name, {}), sample
            samples[sample.name][key] = sample.value
    return samples, families


def health(shop):
    code, _, body = shop.get('/crm/health')
    return code, json.loads(body)


def test_metrics_say_what_status_says(shop, visitor):
    v = visitor()
    rids = [v.get('/plain.html')[2] for _ in range(20)]
    shop.events(rids[-1])
    shop.settled()
    status = shop.crm_status()
    samples, families = metrics(shop)
    for name, (kind, words) in families.items():
        assert kind in ('counter', 'gauge') and words, name
    other = {'ns': 'capture_seconds', 'ns_samples': 'capture_samples',
             'export_ns': 'export_seconds'}
    for name, value in status['counters'].items():
        got = samples[f'crm_{other.get(name, name)}_total'][()]
        if name == 'export_ns':
            continue                    # delivery goes on meanwhile
        assert got == pytest.approx(value / 1e9 if name == 'ns' else value)
    for journal in status['journals']:
        key = (('file', journal['file'].removesuffix('.journal')),
               ('producer', journal['producer']))
        ledger = {name: samples[f'crm_ledger_{name}'][key] for name in (
            'appended_total', 'durable_total', 'shed_total', 'in_journal')}
        assert ledger['appended_total'] == journal['appended'] == (
            ledger['durable_total'] + ledger['in_journal']
            + ledger['shed_total'])
        for sink in ('redis', 'postgres'):
            assert samples['crm_lag_seconds'][key + (('sink', sink),)] == 0
    assert samples['crm_sink_up'] == {(('sink', 'redis'),): 1,
                                      (('sink', 'postgres'),): 1}
    assert samples['crm_zone_cells'][()] == status['zone']['cells']
    assert (('site', 'shop'),) in samples['crm_campaign_set_version']


def test_a_copy_of_a_ring_is_not_counted_twice(shop):
    folder = shop.path('journal')
    copy = os.path.join(folder, '0-copy.journal')
    os.symlink(os.path.join(folder, '0.journal'), copy)
    try:
        samples, _ = metrics(shop)
        producers = [dict(k)['producer']
                     for k in samples['crm_ledger_appended_total']]
        assert len(producers) == len(set(producers)) > 0
    finally:
        os.unlink(copy)


def test_health_names_who_is_away_and_lag_grows(shop, visitor):
    assert poll(lambda: health(shop)[1]['status'] == 'ok', 'health')
    v = visitor()
    shop.redis.stop()
    try:
        v.get('/plain.html')
        poll(lambda: health(shop)[1]['sinks']['redis']['away_s'] >= 1
             and min(metrics(shop)[0]['crm_lag_seconds'].values()) >= 1,
             'a second without Redis')
        code, said = health(shop)
        assert (code, said['status']) == (200, 'degraded')
        assert said['reasons'] == ['redis is away']
        assert said['sinks']['postgres'] == {'state': 'up', 'away_s': 0}
        samples, _ = metrics(shop)
        assert samples['crm_sink_up'][(('sink', 'redis'),)] == 0
        assert samples['crm_sink_away_seconds'][(('sink', 'redis'),)] >= 1
        lags = {dict(k)['sink']: v
                for k, v in samples['crm_lag_seconds'].items()}
        assert lags['redis'] >= 1 and lags['postgres'] >= 1
        assert sum(samples['crm_journal_unsent'].values()) >= 1
        journal = shop.crm_status()['journals'][0]
        assert journal['unsent_lag_s'] >= 1 and journal['lag_s'] >= 1
    finally:
        shop.start_redis()
    shop.settled()
    samples, _ = metrics(shop)
    assert set(samples['crm_lag_seconds'].values()) == {0}
    assert health(shop)[1] == {
        'status': 'ok', 'reasons': [], 'sinks': {
            'redis': {'state': 'up', 'away_s': 0},
            'postgres': {'state': 'up', 'away_s': 0}}}


def test_health_fails_only_when_no_event_can_be_taken(shop, visitor):
    v = visitor()
    shop.redis.stop()
    try:
        path = '/plain.html?' + 'x' * 6000
        before = shop.counter('shed')
        poll(lambda: v.get(path)[0].status == 200
             and shop.counter('shed') > before, 'a full journal', 20)
        code, said = health(shop)
        assert (code, said['status']) == (503, 'failing')
        assert said['reasons'] == ['journal is full', 'redis is away']
        assert v.get('/plain.html')[0].status == 200
    finally:
        shop.start_redis()
    poll(lambda: health(shop)[1]['status'] == 'ok', 'health', 20)


# ---- dry run ----------------------------------------------------------------

def raw(shop, path, **headers):
    """Status, headers but the date, and body of one request."""
    connection = http.client.HTTPConnection('127.0.0.1', shop.port('nginx'),
                                            timeout=20)
    try:
        connection.request('GET', path, headers=headers)
        answer = connection.getresponse()
        return answer.status, sorted(
            (k, v) for k, v in answer.getheaders() if k != 'Date'), \
            answer.read()
    finally:
        connection.close()


PATHS = ['pages/index.html', 'pages/plain.html', 'pages/style.css', 'none',
         'index.html', 'plain.html?id=7', 'login?user=C-9', 'pages/']


@pytest.mark.parametrize('headers', [
    {}, {'Range': 'bytes=3-20'}, {'Accept-Encoding': 'gzip'},
    {'If-Modified-Since': 'Thu, 01 Jan 2099 00:00:00 GMT'}],
    ids=['plain', 'range', 'gzip', 'modified'])
def test_a_dry_run_changes_not_a_byte(shop, headers):
    shop.campaign('seen-by-nobody')
    poll(lambda: b'seen-by-nobody' in raw(shop, '/index.html')[2],
         'the campaign in earnest')
    for path in PATHS:
        assert raw(shop, '/dry/' + path, **headers) \
            == raw(shop, '/without/' + path, **headers), path


def test_a_dry_run_counts_what_it_kept_back(shop):
    shop.campaign('seen-by-nobody')
    poll(lambda: b'seen-by-nobody' in raw(shop, '/index.html')[2],
         'the campaign in earnest')
    shop.settled()
    before = shop.crm_status()
    known = Visitor(shop)
    known.get('/plain.html')
    known.cookie, cookie = None, known.cookie
    for cookies in ({}, {'Cookie': 'crm=' + cookie}):
        raw(shop, '/dry/pages/index.html', **cookies)
        raw(shop, '/dry/plain.html?id=7', **cookies)
    status, _, body = raw(shop, '/dry/decide?slots=hero')
    assert status == 200
    assert json.loads(body) == {'visitor': None, 'slots': {'hero': None}}
    after = shop.crm_status()
    known.close()

    def more(name):
        return after['counters'][name] - before['counters'][name]
    assert more('dry_run_events') == 4
    assert more('dry_run_slots') == 3
    assert more('dry_run_cookies') >= 2
    assert more('slots_filled') == 0
    assert more('events') == 1 == (after['ledger']['appended']
                                   - before['ledger']['appended'])
