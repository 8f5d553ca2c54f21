"""test_erase.py - one person's data: all of it is told, and all of it goes.

Two customers leave the same traces everywhere: files, visits before and after
the log-in, orders, refused input, history, mined profiles, a live session and
events that are still on their way.  One of them is erased.
"""

import json
import os
import subprocess

import pytest

from conftest import Visitor, poll
from test_consent import redis_text

GONE = 'CANARY-GONE'
STAYS = 'CANARY-STAYS'


def words(who):
    """Everything by which the customer could be found."""
    return [who, f'Name {who}', f'{who.lower()}@mail.example', f'O-{who}-1',
            f'query-{who}', f'ref-{who}', f'agent-{who}']


def pg_text(shop):
    return subprocess.run(['pg_dump', '--data-only', '--inserts',
                           '--dbname=' + shop.pg()], check=True,
                          capture_output=True, text=True).stdout


def load(shop, kind, *lines, check=True):
    path = shop.path('file.csv')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines) + '\n')
    return shop.mine('load', kind, path, '--site', 'shop', check=check)


def shopper(shop, who):
    return Visitor(shop, **{'User-Agent': f'agent-{who}',
                            'Referer': f'https://x.example/ref-{who}'})


def browse(visitor, who):
    """Before the log-in, the log-in, and an order; ids of both requests."""
    visitor.get(f'/p/view.html?id=A1&q=query-{who}')
    _, _, rid = visitor.get(f'/login?user={who}')
    visitor.get(f'/order/done?order=O-{who}-1&total=20&products=A1:2:10')
    visitor.get(f'/p/view.html?id=A2&q=query-{who}')
    return rid


@pytest.fixture(scope='module')
def lived(shop):
    """Both customers have left their traces; visitors and their ids."""
    browsers, vids = {}, {}
    for who in (GONE, STAYS):
        for country in ('Old', 'New'):          # a change makes history
            load(shop, 'customers', 'customer_id,name,email,country',
                 f'{who},Name {who},{who.lower()}@mail.example,{country}')
        load(shop, 'orders', 'order_id,line,customer_id,ordered_at,product_id,'
             'quantity,price', f'O-{who}-2,1,{who},2026-01-02,A1,1,5',
             f'O-{who}-3,1,{who},2026-01-02,A1,0,5')    # refused
        browsers[who] = shopper(shop, who)
        vids[who] = shop.events(browse(browsers[who], who))[0]['vid']
    shop.settled()
    shop.mine('run', '--site', 'shop')
    for who in vids:
        poll(lambda w=who: shop.redis_command(
            'EXISTS', f'crm:s:shop:{vids[w]}') == ':1', 'the session')
    yield browsers, vids
    for browser in browsers.values():
        browser.close()


def test_export_tells_everything(shop, lived):
    _, vids = lived
    out = shop.path('export.jsonl')
    said = shop.mine('export', '--site', 'shop', '--customer', STAYS,
                     '--out', out).stdout
    assert os.stat(out).st_mode & 0o077 == 0
    with open(out, encoding='utf-8') as f:
        rows = [json.loads(line) for line in f]
    counts = {}
    for row in rows:
        counts[row['place']] = counts.get(row['place'], 0) + 1
    assert counts == {'customer': 1, 'identity': 1, 'visitor': 1, 'event': 4,
                      'order': 2, 'history': 1, 'reject': 1, 'profile': 1,
                      'result_profile': 3, 'session': 1, 'alias': 1,
                      'login': 1}
    for place, n in counts.items():
        assert f'export: {place}: {n}\n' in said
    text = json.dumps(rows)
    for word in words(STAYS):
        assert word in text, word
    assert GONE not in text and vids[GONE] not in text
    again = shop.mine('export', '--site', 'shop', '--customer', STAYS,
                      '--out', out, check=False)
    assert again.returncode == 1, 'a file was overwritten'


def test_export_of_a_browser_and_of_nobody(shop, lived):
    _, vids = lived
    rows = [json.loads(line) for line in shop.mine(
        'export', '--site', 'shop', '--visitor', vids[STAYS]).stdout
        .splitlines() if line.startswith('{')]
    assert {r['place'] for r in rows} >= {'visitor', 'event', 'session'}
    nobody = shop.mine('export', '--site', 'shop', '--customer', 'none')
    assert 'nothing is known' in nobody.stdout
    for wrong in (['--customer', 'a', '--visitor', vids[STAYS]], [],
                  ['--visitor', vids[STAYS], '--nonsense']):
        assert shop.mine('export', '--site', 'shop', *wrong,
                         check=False).returncode == 2
    assert shop.mine('export', '--site', 'none', '--customer', 'a',
                     check=False).returncode == 1


def test_after_erasure_nothing_leads_to_the_person(shop, lived):
    browsers, vids = lived
    before = pg_text(shop) + redis_text(shop).decode()
    for who in (GONE, STAYS):
        for word in words(who) + [vids[who]]:
            assert word in before, word
    revenue = shop.sql('select count(*), sum(total) from crm."order"')

    # some of it is still on its way
    shop.importer.stop()
    for who in (GONE, STAYS):
        browsers[who].get(f'/p/view.html?id=A3&q=query-{who}')
    poll(lambda: redis_text(shop).decode().count('id=A3') == 2,
         'the events in the streams')

    said = shop.mine('erase', '--site', 'shop', '--customer', GONE).stdout
    shop.start_importer()
    shop.settled()
    counts = dict(line.split(': ') for line in said.splitlines())
    assert counts == {
        'alias': '1', 'login': '1', 'merge_log': '0',
        'consent': '0', 'customer': '1', 'event': '4', 'history': counts[
            'history'], 'identity': '1', 'order': '2', 'profile': '1',
        'reject': '1', 'result_profile': '3', 'visitor': '1',
        'redis session': '1'}

    after = pg_text(shop) + redis_text(shop).decode()
    for word in words(GONE) + [vids[GONE]]:
        assert word not in after, word
    for word in words(STAYS) + [vids[STAYS]]:
        assert word in after, word
    assert shop.sql('select count(*), sum(total) from crm."order"') == revenue
    assert shop.sql("select count(*) from crm.event where "
                    "props->>'product_id' = 'A3'") == [(1,)]


def test_workers_forgot_and_the_old_cookie_is_dropped(shop, lived):
    """The browser still has its cookie: what it sends makes nobody."""
    browsers, vids = lived
    _, _, rid = browsers[STAYS].get('/plain.html')
    browsers[GONE].get('/plain.html')
    assert shop.events(rid)[0]['uid'] == STAYS
    shop.settled()
    assert shop.sql('select count(*) from crm.event where vid = %s',
                    vids[GONE]) == [(0,)]
    assert shop.sql('select count(*) from crm.visitor where vid = %s',
                    vids[GONE]) == [(0,)]
    live = shop.redis_command('GET', f'crm:s:shop:{vids[GONE]}')
    assert GONE not in str(live) and 'A1' not in str(live)


def test_a_second_erasure_finds_nothing_and_the_log_is_bare(shop, lived):
    said = shop.mine('erase', '--site', 'shop', '--customer', GONE).stdout
    assert all(line.endswith(': 0') for line in said.splitlines()), said
    log = shop.sql('select kind, who, counts from crm.erasure order by id')
    assert [r[0] for r in log] == ['customer', 'customer']
    assert log[0][2]['event'] == 4 and log[1][2]['event'] == 0
    assert GONE not in json.dumps([list(r) for r in log])


def test_the_customer_may_come_back(shop, lived):
    """A new log-in after the erasure is a new relation."""
    v = shopper(shop, GONE)
    rid = browse(v, GONE)
    v.close()
    event = shop.events(rid)[0]
    assert event['uid'] == GONE
    shop.settled()
    assert shop.sql('select customer_id from crm.identity where vid = %s',
                    event['vid']) == [(GONE,)]


def test_a_browser_can_be_erased_alone(shop, lived):
    v = Visitor(shop)
    _, _, rid = v.get('/p/view.html?q=alone-canary')
    vid = shop.events(rid)[0]['vid']
    shop.mine('erase', '--site', 'shop', '--visitor', vid)
    assert vid not in pg_text(shop) and 'alone-canary' not in pg_text(shop)
    v.close()
