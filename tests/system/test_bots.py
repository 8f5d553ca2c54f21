"""test_bots.py - robots are labelled, see defaults, and teach us nothing."""

import os

import pytest

from conftest import HTTP, SERVER, new_shop, poll
from stack import PROJECT

CHROME = ('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML,'
          ' like Gecko) Chrome/126.0.0.0 Safari/537.36')
GOOGLE = ('Mozilla/5.0 (compatible; Googlebot/2.1; '
          '+http://www.google.com/bot.html)')
VERIFIED = '''
# addresses as their operators publish them
Googlebot 192.0.2.0/24
Googlebot 2001:db8:1::/48
'''
CONF = {'http': HTTP + '''
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    crm_bots @RUN@/bots.list;
    crm_bots_verified @RUN@/verified.list;
''', 'server': SERVER + '''
        location = /vars {
            default_type text/html;
            return 200 "<p>[$crm_bot][$crm_device][$crm_segment]</p>";
        }
'''}


def put(shop, name, text):
    path = shop.path(name)
    with open(path + '.new', 'w', encoding='utf-8') as f:
        f.write(text)
    os.chmod(path + '.new', 0o644)
    os.rename(path + '.new', path)


@pytest.fixture(scope='module')
def shop(request):
    def start(stack):
        with open(os.path.join(PROJECT, 'tracker/bots.list'),
                  encoding='utf-8') as f:
            put(stack, 'bots.list', f.read())
        put(stack, 'verified.list', VERIFIED)
        stack.start()
    with new_shop(request, start) as stack:
        yield stack


def label(shop, rid):
    return shop.events(rid)[0]['ctx'].get('bot')


def test_label_by_list_and_by_address(shop, visitor):
    for address, reason in (('192.0.2.9', 'agent'), ('2001:db8:1::9', 'agent'),
                            ('203.0.113.9', 'unverified'),
                            ('2001:db8:2::9', 'unverified')):
        v = visitor(**{'User-Agent': GOOGLE, 'X-Forwarded-For': address})
        _, body, rid = v.get('/vars')
        assert body == '<p>[Googlebot][bot][]</p>'
        assert label(shop, rid) == {'name': 'Googlebot', 'reason': reason,
                                    'kind': 'search-engine'}
    v = visitor(**{'User-Agent': 'SomethingNewBot/1.0'})
    _, _, rid = v.get('/plain.html')
    assert label(shop, rid)['name'] == 'SomethingNewBot'
    v = visitor(**{'User-Agent': CHROME})
    _, _, rid = v.get('/plain.html')
    assert label(shop, rid) is None


def test_default_no_exposure_and_no_rows(shop, visitor):
    """Pages with slots and decisions: a robot gets what everybody sees."""
    shop.campaign('all', content='<p>chosen</p>')
    human = visitor(**{'User-Agent': CHROME})
    poll(lambda: 'chosen' in human.text('/'), 'the campaign to be live')
    lookups = shop.counter('lookups')
    robot = visitor(**{'User-Agent': GOOGLE, 'X-Forwarded-For': '192.0.2.9'})
    rids = []
    for path in ('/', '/login?user=c1', '/', '/vars',
                 '/order/done?order=b1&total=5'):
        _, body, rid = robot.get(path)
        assert 'chosen' not in body
        rids.append(rid)
    decided = robot.text('/crm/decide?slots=hero')
    assert '"hero":null' in decided
    assert shop.counter('lookups') == lookups, 'a robot was looked up'
    events = [e for rid in rids for e in shop.events(rid)]
    assert len(events) == 5, 'events are kept'
    assert all(e['ctx']['bot']['name'] == 'Googlebot' for e in events)
    assert all(e['dec'] is None for e in events)
    _, _, rid = human.get('/')
    assert shop.events(rid)[0]['dec']
    shop.settled()
    vid = events[0]['vid']
    for table in ('crm.visitor', 'crm.identity', 'crm."order"'):
        assert shop.sql(f'select vid from {table} where vid = %s', vid) == []
    assert shop.sql('select vid from crm.visitor where vid = %s',
                    shop.events(rid)[0]['vid']), 'people have a row'
    assert shop.redis_ask('GET', f'crm:s:shop:{vid}') is None
    row = shop.sql("select sum(bot_events), sum(events) "
                   "from mart.daily_traffic where site = 'shop'")[0]
    assert row[0] >= 5 and row[1] >= 2
    names = {r[0] for r in shop.sql('select name from mart.bot_traffic')}
    assert 'Googlebot' in names


def test_no_cookie_back(shop):
    """The ninth visitor in a row of one address who never comes back."""
    from conftest import Visitor
    agent = {'User-Agent': CHROME + ' x', 'X-Forwarded-For': '198.51.100.7'}
    reasons = []
    for _ in range(10):
        v = Visitor(shop, **agent)
        _, _, rid = v.get('/plain.html')
        v.close()
        reasons.append((label(shop, rid) or {}).get('reason'))
    assert reasons[:7] == [None] * 7
    assert reasons[7:] == ['behaviour:no_cookie'] * 3

    # at another address the same browser is somebody else
    v = Visitor(shop, **{**agent, 'X-Forwarded-For': '198.51.100.8'})
    _, _, rid = v.get('/plain.html')
    assert label(shop, rid) is None

    # one whose cookie comes back clears the office behind its address
    v = Visitor(shop, **agent)
    v.get('/plain.html')
    _, _, rid = v.get('/plain.html')
    assert shop.events(rid), 'counted, in the log phase, before the next asks'
    w = Visitor(shop, **agent)
    _, _, rid = w.get('/plain.html')
    assert label(shop, rid) is None
    v.close()
    w.close()


def test_speed(shop, visitor):
    v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': '198.51.100.20'})
    rids = [v.get('/plain.html')[2] for _ in range(40)]
    assert label(shop, rids[5]) is None
    assert label(shop, rids[-1])['reason'] == 'behaviour:speed'
    _, body, _ = v.get('/vars')
    assert body.startswith('<p>[unnamed][bot]')


def test_no_assets(shop):
    """Where nearly all fetch style sheets, who never does is a robot."""
    from conftest import Visitor

    def browse(n, assets, pages=11):
        v = Visitor(shop, **{'User-Agent': CHROME,
                             'X-Forwarded-For': f'10.1.{n // 256}.{n % 256}'})
        if assets:
            v.get('/style.css')
        rids = [v.get('/plain.html')[2] for _ in range(pages)]
        v.close()
        return rids[-1]
    early = browse(0, False)
    assert label(shop, early) is None, 'nothing is known yet'
    for n in range(1, 110):
        last = browse(n, True)
    assert label(shop, last) is None
    robot = browse(200, False)
    assert label(shop, robot)['reason'] == 'behaviour:no_assets'


def test_list_changes_without_a_restart(shop, visitor):
    agent = 'Mozilla/5.0 (X11; Linux x86_64) Unheard/1.0 Gecko Firefox/1'

    def name():
        v = visitor(**{'User-Agent': agent})
        return v.get('/vars')[1].split(']')[0][4:]

    def counters():
        status = shop.crm_status()['counters']
        return status['files_loaded'], status['files_refused']
    assert name() == ''
    loaded, refused = counters()
    put(shop, 'bots.list', 'unheard\tother\tHeard\n')
    poll(lambda: counters()[0] >= loaded + 2, 'both workers to take it')
    assert name() == 'Heard'
    put(shop, 'bots.list', 'good\n(broken\n')
    poll(lambda: counters()[1] >= refused + 2, 'both to refuse it')
    assert name() == 'Heard'
    assert 'has a fault in line 2' in shop.logs()['error.log']
