"""test_consent.py - what is stored of 300 visitors in every state of consent.

Every request of every visitor carries canaries: a word of its own in address,
browser, query, referrer, request id, language, product, log-in and cookie.
Afterwards cookies, journals, Redis, PostgreSQL and logs are searched for the
words of those who had not consented.  A visitor who had is searched for as
well: a search that finds nobody would prove nothing.
"""

import http.client
import json
import os
import re
import subprocess

import pytest

from conftest import HTTP, SERVER, Shop, new_shop, poll
from stack import wait_until

CONF = {
    'http': HTTP + '''
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    crm_consent $cookie_consent measure=~m:1 personalize=~p:1
                gpc=personalize dnt=all default=denied;
''',
    'server': SERVER + '''
        location /hashed/ {
            alias @RUN@/pages/;
            crm_consent off;
            crm_anonymize ip=16/32 hash=email,tel;
            crm_event "Signed Up" email=$arg_email tel=$arg_tel plan=$arg_plan;
        }
'''}

VISITORS = 300
GRANTED = 'm:1,p:1'
# name: phases of (consent cookie, more headers, what is allowed)
STATES = {
    'silent': [(None, {}, '')],
    'refused': [('m:0,p:0', {}, '')],
    'measured': [('m%3A1%2Cp%3A0', {}, 'm')],
    'granted': [(GRANTED, {}, 'mp')],
    'gpc': [(GRANTED, {'Sec-GPC': '1'}, 'm')],
    'dnt': [(GRANTED, {'DNT': '1'}, '')],
    'personal only': [('m:0,p:1', {}, 'p')],
    'upgraded': [(None, {}, ''), (GRANTED, {}, 'mp')],
    'withdrawn': [(GRANTED, {}, 'mp'), ('m:0,p:0', {}, '')],
    'half withdrawn': [(GRANTED, {}, 'mp'), ('m:1,p:0', {}, 'm')],
}


class Person:
    """One visitor in one phase, and the words by which it can be found."""

    def __init__(self, n, phase, allowed):
        self.n = n
        self.allowed = allowed
        word = f'{n:03d}x{phase}'
        self.word = word
        self.address = (f'2001:db8:{n:x}:be{phase}f::77' if n % 5 == 4 else
                        f'203.{n // 200 + 1}.{n % 200}.{77 + phase}')
        self.canaries = {
            'address': self.address,
            'agent': f'agent-{word}', 'query': f'query-{word}',
            'referrer': f'ref-{word}', 'request': f'rid-{word}',
            'language': f'lang-{word}', 'product': f'item-{word}',
            'user': f'user-{word}', 'consent': f'cmp-{word}'}
        self.cookies = []
        self.vids = set()
        self.bodies = []
        self.rids = 0

    def headers(self):
        c = self.canaries
        return {'X-Forwarded-For': self.address,
                'User-Agent': f'Mozilla/5.0 {c["agent"]}',
                'Referer': f'https://search.example/{c["referrer"]}?q=1',
                'Accept-Language': f'{c["language"]}, de'}


class Browser:
    """Keeps cookies like a browser: Max-Age=0 takes one away."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection('127.0.0.1', port,
                                                     timeout=20)
        self.cookie = None

    def get(self, person, path, consent, more):
        person.rids += 1
        cookies = [] if self.cookie is None else ['crm=' + self.cookie]
        if consent is not None:
            cookies.append(f'consent={consent},{person.canaries["consent"]}')
        headers = {**person.headers(), **more, 'X-Request-Id':
                   f'{person.canaries["request"]}.{person.rids}'}
        if cookies:
            headers['Cookie'] = '; '.join(cookies)
        self.connection.request('GET', path, headers=headers)
        answer = self.connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (path, answer.status)
        for value in answer.headers.get_all('Set-Cookie', []):
            person.cookies.append(value)
            self.cookie = None if 'Max-Age=0' in value \
                else value.split('=', 1)[1].split(';')[0]
        return body

    def browse(self, person, consent, more):
        c = person.canaries
        for path in (f'/?q={c["query"]}',
                     f'/p/view.html?id={c["product"]}&q={c["query"]}',
                     f'/login?user={c["user"]}', f'/?again={c["query"]}'):
            person.bodies.append(self.get(person, path, consent, more))
        answer = json.loads(self.get(person, '/crm/decide?slots=hero',
                                     consent, more))
        if answer['visitor'] is not None:
            person.vids.add(answer['visitor'])
        person.bodies.append(answer['slots']['hero']['content'])


@pytest.fixture(scope='module')
def shop(request):
    def start(stack):
        Shop.start(stack)
        stack.importer.stop()       # streams keep what was sent
    with new_shop(request, start) as stack:
        yield stack


def redis_text(shop):
    """Every key and value of Redis."""
    parts = []
    for key in shop.redis_ask('KEYS', '*'):
        kind = shop.redis_ask('TYPE', key)[1:]
        words = {b'string': ('GET', key), b'set': ('SMEMBERS', key),
                 b'hash': ('HGETALL', key),
                 b'stream': ('XRANGE', key, '-', '+')}[kind]
        parts += [key, repr(shop.redis_ask(*words)).encode()]
    return b'\n'.join(parts)


def journal_text(shop):
    text = b''
    for name in sorted(os.listdir(shop.path('journal'))):
        if name.endswith('.journal'):
            with open(shop.path('journal', name), 'rb') as f:
                text += f.read().replace(b'\0', b'')
    return text


def pg_text(shop):
    return subprocess.run(['pg_dump', '--data-only', '--inserts',
                           '--dbname=' + shop.pg()], check=True,
                          capture_output=True).stdout


@pytest.fixture(scope='module')
def browsed(shop):
    """All visitors have browsed; (state, phase, person) and the stores."""
    shop.campaign('personal', priority=10,
                  when={'session.pages': {'$gt': 0}})
    shop.campaign('plain')
    known = Browser(shop.port('nginx'))
    poll(lambda: 'personal' in known.get(
        Person(999, 0, 'mp'), '/', GRANTED, {}), 'the campaigns')
    people = []
    for n in range(VISITORS):
        state = list(STATES)[n % len(STATES)]
        browser = Browser(shop.port('nginx'))
        if n % 3 == 0 and STATES[state][0][2] in ('', 'p'):
            browser.cookie = f'forged{n:03d}'.ljust(64, 'A')
        for phase, (consent, more, allowed) in enumerate(STATES[state]):
            person = Person(n, phase, allowed)
            if browser.cookie is not None and 'm' not in allowed:
                person.canaries['cookie'] = browser.cookie
            people.append((state, phase, person))
            browser.browse(person, consent, more)
        browser.connection.close()

    sent = sum(p.rids for _, _, p in people)

    def arrived():
        status = shop.crm_status()
        return all(j['sent'] == j['written'] for j in status['journals'])
    wait_until(arrived, 'all events to be in Redis')
    stores = {'redis': redis_text(shop), 'journal': journal_text(shop)}
    shop.start_importer()
    shop.settled()
    stores['redis later'] = redis_text(shop)
    stores['postgresql'] = pg_text(shop)
    stores['logs'] = '\n'.join(shop.logs().values()).encode()
    assert sent > 1500
    return people, stores


def test_nothing_of_whom_may_not_be_measured_is_anywhere(browsed):
    people, stores = browsed
    found = []
    searched = 0
    for state, phase, person in people:
        if 'm' in person.allowed:
            continue
        for what, canary in person.canaries.items():
            for store, text in stores.items():
                searched += 1
                # what was allowed before may still be there: an address too
                if canary.encode() in text:
                    found.append((state, phase, what, store, canary))
    # the cookie of a withdrawal was allowed, but is nowhere stored as such
    assert found == []
    assert searched > 5000


def test_of_whom_may_be_measured_all_is_there(browsed):
    people, stores = browsed
    for state, _, person in people:
        if 'm' not in person.allowed:
            continue
        for what in ('address', 'agent', 'query', 'referrer', 'request',
                     'language', 'product', 'user'):
            canary = person.canaries[what].encode()
            assert canary in stores['postgresql'], (state, what)
            assert canary in stores['redis'], (state, what)
            assert canary in stores['journal'], (state, what)
        assert person.canaries['consent'].encode() not in b''.join(
            stores.values()), 'the consent manager\'s own cookie was kept'


def test_cookies_are_set_only_with_consent_and_taken_back(browsed):
    people, _ = browsed
    for state, phase, person in people:
        if 'm' in person.allowed:
            assert phase == 1 or len(person.cookies) == 1, (state, phase)
            assert all('Max-Age=0' not in c for c in person.cookies)
            assert len(person.vids) == 1
        elif 'cookie' in person.canaries:
            assert len(person.cookies) == 1
            assert re.match(r'crm=; Path=/; Max-Age=0;', person.cookies[0])
            assert person.vids == set()
        else:
            assert person.cookies == [] and person.vids == set()


def test_campaigns_see_nothing_personal_without_consent(browsed):
    people, _ = browsed
    for state, _, person in people:
        personal = ['personal' in b for b in person.bodies
                    if 'personal' in b or 'plain' in b]
        assert len(personal) == 3, state
        assert all(p == (person.allowed == 'mp') for p in personal), state


def test_sessions_are_in_redis_only_to_personalize(browsed):
    """And those of whoever took that back are deleted."""
    people, stores = browsed
    last = {}
    for _, _, person in people:
        last[person.n] = person
    for state, phase, person in people:
        for vid in person.vids:
            there = f'crm:s:shop:{vid}'.encode() in stores['redis later']
            assert there == (last[person.n].allowed == 'mp'), (state, phase)


def test_anonymous_events_are_counts(shop, browsed):
    people, _ = browsed
    rows = shop.sql("select to_jsonb(e) from crm.event e "
                    "where ctx->>'consent' in ('', 'p')")
    pages = sum(4 for _, _, p in people if 'm' not in p.allowed)
    events = [r[0] for r in rows if r[0]['type'] != 'consent']
    assert len(events) == pages
    for e in events:
        assert [e[k] for k in ('vid', 'sid', 'sn', 'seq', 'uid', 'props')] \
            == [None] * 6
        assert set(e['req']) <= {'method', 'host', 'path', 'status', 'ms',
                                 'bytes'}
        assert e['ctx']['ua'] == 'desktop' and 'lang' not in e['ctx']
        assert e['ctx']['ref'] == 'https://search.example'
        assert re.match(r'203\.\d+\.\d+\.0$|2001:db8:[0-9a-f]+::$',
                        e['ctx']['ip'])
    assert {e['req']['path'] for e in events} == {'/', '/p/view.html',
                                                   '/login'}


def test_an_upgrade_is_a_new_visitor(shop, browsed):
    people, _ = browsed
    for state, phase, person in people:
        if state != 'upgraded' or phase == 0:
            continue
        vid = next(iter(person.vids))
        rows = shop.sql("select req->>'rid', sn from crm.event "
                        "where vid = %s and type <> 'consent'", vid)
        assert len(rows) == 4
        assert all(rid.startswith(person.canaries['request'])
                   for rid, _ in rows)


def test_each_change_of_consent_is_on_record_once(shop, browsed):
    people, _ = browsed
    log = {}
    for vid, m, p, source in shop.sql(
            'select vid::text, measure, personalize, source '
            'from crm.consent order by id'):
        log.setdefault(vid, []).append((m, p, source))
    for state, phase, person in people:
        for vid in person.vids:
            want = {'measured': [(True, False, 'answer')],
                    'granted': [(True, True, 'answer')],
                    'gpc': [(True, False, 'gpc')],
                    'upgraded': [(True, True, 'answer')],
                    'withdrawn': [(True, True, 'answer'),
                                  (False, False, 'answer')],
                    'half withdrawn': [(True, True, 'answer'),
                                       (True, False, 'answer')]}[state]
            assert log[vid] == want, (state, phase)
    assert shop.counter('consents') == sum(map(len, log.values()))
    assert shop.sql('select sum(visitors) from mart.consent_state') \
        == [(len(log),)]


def test_named_fields_are_hashed_and_addresses_cut_always(shop):
    browser = Browser(shop.port('nginx'))
    person = Person(998, 0, 'mp')
    path = '/hashed/plain.html?plan=gold&email=ann%40x.example&TEL=555-0199'
    for _ in range(2):
        browser.get(person, path, None, {'Referer': 'https://a.example' + path,
                                         'X-Forwarded-For': '198.51.100.7'})
    browser.connection.close()
    shop.settled()
    rows = [r[0] for r in shop.sql(
        "select to_jsonb(e) from crm.event e where name = 'Signed Up'")]
    assert len(rows) == 2
    for row in rows:
        assert row['ctx']['ip'] == '198.51.0.0'
        assert row['req']['query'] == 'plan=gold&email=&TEL='
        assert row['ctx']['ref'] == 'https://a.example/hashed/plain.html' \
            '?plan=gold&email=&TEL='
        assert row['props']['plan'] == 'gold'
        assert re.match(r'[0-9a-f]{32}$', row['props']['email'])
        assert row['props']['email'] != row['props']['tel']
    assert rows[0]['props'] == rows[1]['props'], 'no key to join by'
    text = pg_text(shop) + redis_text(shop) + journal_text(shop)
    assert b'ann%40' not in text and b'555-0199' not in text
