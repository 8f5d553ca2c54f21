"""test_campaigns.py - campaigns in files, in rows, and live in every worker.

A change reaches all workers within a second, whoever made it; a set with a
fault changes nothing; a start without PostgreSQL uses the last good one.
"""

import json
import os
import re
import shutil
import time

import pytest

from conftest import poll

LIVE_S = 1


@pytest.fixture(scope='module')
def browsers(shop):
    """One visitor per worker, each on a connection that stays."""
    made = []

    def make():
        for v in made:
            v.close()
        made[:] = [shop.visitor_of(pid) for pid in shop.nginx.children()]
        assert len(made) == 2
        return made
    yield make
    for v in made:
        v.close()


@pytest.fixture(autouse=True)
def no_campaigns(shop):
    """Each test begins without campaigns and without their files."""
    shutil.rmtree(shop.path('campaigns'), ignore_errors=True)
    if shop.postgres.pid() is None:
        shop.start_postgres()
    shop.sql('delete from crm.campaign')


def document(key, **members):
    return {'key': key, 'name': key, 'slot': 'hero', 'state': 'live',
            'priority': 0, 'start': None, 'end': None, 'when': {},
            'variants': [{'key': 'a', 'weight': 1,
                          'content': f'<p>{key}</p>'}], **members}


def write(shop, name, content, folder='campaigns', site='shop'):
    path = shop.path(folder, site, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(content if isinstance(content, bytes)
                else json.dumps(content).encode())
    return path


def campaigns(shop, verb, *more, folder='campaigns', check=False):
    return shop.mine('campaigns', verb, shop.path(folder), *more, check=check)


def apply(shop, *more):
    return campaigns(shop, 'apply', '--reviewer', 'tester', *more)


def files(folder):
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, 'rb') as f:
                found[os.path.relpath(path, folder)] = f.read()
    return found


def hero(v):
    return v.text('/').split('\n')[1]


def live(v, expected, seconds=LIVE_S):
    poll(lambda: hero(v) == expected, f'{expected} in a worker', seconds)


DEFAULT = '<!--crm:slot hero--><p>default</p><!--/crm:slot-->'


# ---- files ------------------------------------------------------------------

def test_export_and_apply_are_each_others_opposite(shop):
    odd = document(
        'odd.one-2', name='Größe "40" – 日本語', priority=1000,
        start='2020-01-01T00:00:00Z', end='2099-12-31T23:59:59Z',
        remark='line one\nline two', state='paused',
        when={'$and': [{'visitor.new': False},
                       {'$or': [{'session.pages': {'$gt': 2.5}},
                                {'page.query.x': {'$in': ['a', 1, True]}}]},
                       {'$not': {'customer.id': {'$exists': True}}},
                       {'x': None, 'y': {'$ne': 'z', '$lt': -1e-3}}]},
        variants=[{'key': 'a', 'weight': 0.1, 'content': '</script>{{a.b}}'},
                  {'key': 'b', 'weight': 0, 'content': ''}])
    write(shop, 'odd.one-2.json', odd)
    write(shop, 'plain.json', document('plain'))
    done = apply(shop)
    assert done.returncode == 0, done.stdout
    assert '2 created, 0 changed, 0 same' in done.stdout
    assert '0 created, 0 changed, 2 same' in apply(shop).stdout

    out = campaigns(shop, 'export', folder='exported', check=True)
    assert '2 written' in out.stdout
    first = files(shop.path('exported'))
    assert set(first) == {'shop/odd.one-2.json', 'shop/plain.json'}
    assert json.loads(first['shop/odd.one-2.json']) == odd
    assert list(json.loads(first['shop/plain.json'])) == [
        'key', 'name', 'slot', 'state', 'priority', 'start', 'end', 'when',
        'variants']

    # the fixed point: apply what was exported, export again
    done = campaigns(shop, 'apply', '--reviewer', 'tester', folder='exported')
    assert '0 created, 0 changed, 2 same' in done.stdout
    out = campaigns(shop, 'export', folder='exported')
    assert '0 written, 2 unchanged' in out.stdout
    assert files(shop.path('exported')) == first
    assert campaigns(shop, 'diff', folder='exported').returncode == 0
    assert campaigns(shop, 'diff').returncode == 0
    shutil.rmtree(shop.path('exported'))


def test_diff_names_what_differs(shop):
    for key in ('one', 'two', 'gone'):
        write(shop, key + '.json', document(key))
    apply(shop)
    os.unlink(shop.path('campaigns', 'shop', 'gone.json'))
    write(shop, 'two.json', document('two', priority=5, name='x'))
    write(shop, 'new.json', document('new'))
    done = campaigns(shop, 'diff')
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == [
        '+ shop/new', '- shop/gone', '~ shop/two: name, priority']
    done = apply(shop)
    assert 'shop/gone: has no file' in done.stdout
    assert '1 created, 1 changed, 1 same' in done.stdout
    assert 'shop/gone: dropped' in apply(shop, '--prune').stdout
    assert campaigns(shop, 'diff').returncode == 0


CONTENT = {'key': 'a', 'weight': 1, 'content': ''}
FAULTS = [                          # what is changed, and the path that is said
    ({'key': 'other'}, 'key'),
    ({'key': 'Bad Key'}, 'key'),
    ({'key': 7}, 'key'),
    ({'name': 'n' * 1000}, 'name'),
    ({'name': 5}, 'name'),
    ({'slot': 'no slot'}, 'slot'),
    ({'slot': 's' * 65}, 'slot'),
    ({'slot': None}, 'slot'),
    ({'state': 'on'}, 'state'),
    ({'state': None}, 'state'),
    ({'priority': 1001}, 'priority'),
    ({'priority': -1}, 'priority'),
    ({'priority': 1.5}, 'priority'),
    ({'priority': '1'}, 'priority'),
    ({'start': 'tomorrow'}, 'start'),
    ({'start': '2026-02-30T00:00:00Z'}, 'start'),
    ({'end': 1767225600}, 'end'),
    ({'end': '2026-01-01 00:00:00'}, 'end'),
    ({'start': '2026-01-02T00:00:00Z', 'end': '2026-01-01T00:00:00Z'}, 'end'),
    ({'colour': 'red'}, 'colour'),
    ({'remark': 5}, 'remark'),
    ({'when': []}, 'when'),
    ({'when': 'always'}, 'when'),
    ({'when': {'visitor.new': {'$near': 1}}}, 'when.visitor.new'),
    ({'when': {'$xor': []}}, 'when'),
    ({'when': {'$and': {}}}, 'when.$and'),
    ({'when': {'$and': [{'a': 1}, {'b': {'$in': 5}}]}}, 'when.$and[1].b'),
    ({'when': {'$or': [{'a': {'$exists': 'yes'}}]}}, 'when.$or[0].a'),
    ({'when': {'$not': [1]}}, 'when.$not'),
    ({'when': {'a': {'$gt': {}}}}, 'when.a'),
    ({'when': {'$and': [{'a': 1}] * 300}}, 'when'),
    ({'variants': []}, 'variants'),
    ({'variants': {}}, 'variants'),
    ({'variants': [CONTENT] * 2}, 'variants[1].key'),
    ({'variants': [{**CONTENT, 'key': f'v{n}'} for n in range(17)]},
     'variants'),
    ({'variants': [{**CONTENT, 'weight': -1}]}, 'variants[0].weight'),
    ({'variants': [{**CONTENT, 'weight': '1'}]}, 'variants[0].weight'),
    ({'variants': [{**CONTENT, 'weight': 0}]}, 'variants'),
    ({'variants': [{'key': 'a', 'weight': 1}]}, 'variants[0]'),
    ({'variants': [{**CONTENT, 'content': 'x' * 65537}]},
     'variants[0].content'),
    ({'variants': [{**CONTENT, 'content': 'a {{#if}}'}]},
     'variants[0].content'),
    ({'variants': [{**CONTENT, 'content': 'a {{{b}}}'}]},
     'variants[0].content'),
    ({'variants': [{**CONTENT, 'content': 'a {{b'}]}, 'variants[0].content'),
    ({'variants': [{**CONTENT, 'colour': 1}]}, 'variants[0]'),
    ({'variants': [5]}, 'variants[0]'),
]


def test_each_fault_is_said_with_file_and_path_and_nothing_applied(shop):
    """All at once: a fault hides no other, and the good file stays out."""
    write(shop, 'good.json', document('good'))
    paths = {}
    for n, (members, path) in enumerate(FAULTS):
        name = f'bad-{n:02}.json'
        paths[name] = (path, members)
        write(shop, name, {**document(f'bad-{n:02}'), **members})
    deep = {'a': 1}
    for _ in range(40):
        deep = {'$not': deep}
    write(shop, 'deep.json', document('deep', when=deep))
    paths['deep.json'] = ('when', 'deep')
    done = apply(shop)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for name, (path, members) in paths.items():
        said = [x for x in lines if f'/{name}: ' in x]
        assert said, (name, members)
        assert any(x.split(f'/{name}: ', 1)[1].startswith(path)
                   for x in said), (path, said)
    assert not any('/good.json' in x for x in lines)
    assert 'nothing was applied' in done.stdout
    assert shop.sql('select count(*) from crm.campaign') == [(0,)]


@pytest.mark.parametrize('content', [
    b'', b'{', b'[]', b'null', b'\xff\xfe', b'{"key":"bad","key":"bad"}',
    b'{"key":"bad"} x', b'{"key":"a\x00b"}', b'{"key":"\\u0000"}',
    b'{"a":' * 5000, b' ' * (3 << 20)],
    ids=lambda content: repr(content[:12]))
def test_a_file_that_is_no_json_is_said_by_name(shop, content):
    write(shop, 'good.json', document('good'))
    write(shop, 'bad.json', content)
    done = apply(shop)
    assert done.returncode == 1
    assert 'shop/bad.json: ' in done.stdout, done.stdout
    assert shop.sql('select count(*) from crm.campaign') == [(0,)]


def test_an_unknown_site_applies_nothing(shop):
    write(shop, 'good.json', document('good'))
    write(shop, 'good.json', document('good'), site='nobody')
    done = apply(shop)
    assert done.returncode == 1 and 'nobody' in done.stdout
    assert shop.sql('select count(*) from crm.campaign') == [(0,)]


def test_without_the_reviews_a_campaign_stays_out(shop, browsers):
    a, b = browsers()
    shop.sql("update crm.site set reviews_needed = 2 where key = 'shop'")
    try:
        write(shop, 'two.json', document('two'))
        campaigns(shop, 'apply', '--reviewer', 'ann', check=True)
        campaigns(shop, 'apply', '--reviewer', 'ann', check=True)
        # one that is reviewed shows when the set has reached the workers
        shop.page('marker.html', '<!--crm:slot m-->no<!--/crm:slot-->')
        shop.sql("insert into crm.campaign (site, key, slot, state, variants,"
                 " first_review_by, second_review_by) select site, 'marker',"
                 " 'm', state, variants, 'ann', 'bob' from crm.campaign")
        for v in (a, b):
            poll(lambda: v.text('/marker.html') == '<p>two</p>', 'the set')
            assert hero(v) == DEFAULT
        campaigns(shop, 'apply', '--reviewer', 'bob', check=True)
        for v in (a, b):
            live(v, '<p>two</p>')
    finally:
        shop.sql("update crm.site set reviews_needed = 1 where key = 'shop'")


# ---- live in every worker ---------------------------------------------------

def test_live_in_every_worker_within_a_second(shop, browsers):
    a, b = browsers()
    for v in (a, b):
        live(v, DEFAULT, 5)
    for n in range(3):
        shop.campaign('now', content=f'<p>{n}</p>')
        start = time.monotonic()
        for v in (a, b):
            live(v, f'<p>{n}</p>')
        assert time.monotonic() - start < LIVE_S
    # by hand
    shop.sql("update crm.campaign set variants = jsonb_set(variants, "
             "'{0,content}', '\"<p>by hand</p>\"')")
    start = time.monotonic()
    for v in (a, b):
        live(v, '<p>by hand</p>')
    assert time.monotonic() - start < LIVE_S
    shop.sql("update crm.campaign set state = 'paused'")
    for v in (a, b):
        live(v, DEFAULT)


def test_a_hundred_changes_end_with_the_last(shop, browsers):
    a, b = browsers()
    shop.campaign('now')
    for n in range(100):
        shop.sql("update crm.campaign set variants = jsonb_set(variants, "
                 "'{0,content}', to_jsonb(%s::text))", f'<p>{n}</p>')
    for v in (a, b):
        live(v, '<p>99</p>')


def test_live_after_postgresql_was_away(shop, browsers):
    """A NOTIFY that nobody heard: the set is asked for at the connect."""
    a, b = browsers()
    shop.campaign('before')
    for v in (a, b):
        live(v, '<p>before</p>')
    shop.sql("select pg_terminate_backend(pid) from pg_stat_activity "
             "where usename = 'crm_edge'")
    shop.campaign('before', content='<p>after</p>')
    for v in (a, b):
        live(v, '<p>after</p>', 10)


def test_a_set_that_does_not_compile_changes_nothing(shop, browsers):
    a, b = browsers()
    shop.campaign('good', when={'session.pages': {'$lt': 1000000}})
    for v in (a, b):
        live(v, '<p>good</p>')
    before = shop.counter('sets_refused')
    bad = [({'visitor.new': {'$near': 1}},
            'campaigns[0].when.visitor.new'),
           ({'$and': [{'a': 1}, {'$xor': []}]}, 'campaigns[0].when.$and[1]')]
    for n, (condition, path) in enumerate(bad):
        shop.sql("update crm.campaign set condition = %s",
                 json.dumps(condition))
        poll(lambda: shop.counter('sets_refused') >= before + 2 * (n + 1),
             'both workers to refuse the set', 5)
        line = [x for x in shop.logs()['error.log'].splitlines()
                if 'refused the campaign set of site "shop"' in x]
        assert path in line[-1], line
        assert '[alert]' not in line[-1] and '[emerg]' not in line[-1]
        for v in (a, b):
            assert hero(v) == '<p>good</p>'
    shop.sql("update crm.campaign set condition = '{}', variants = "
             "jsonb_set(variants, '{0,content}', '\"<p>well</p>\"')")
    for v in (a, b):
        live(v, '<p>well</p>')


def test_a_start_without_postgresql_uses_the_set_on_disk(shop, visitor):
    shop.campaign('kept', content='<p>kept {{visitor.id}}</p>')
    v = visitor()
    poll(lambda: hero(v).startswith('<p>kept'), 'the set')
    path = shop.path('journal', 'campaigns.shop.json')
    poll(lambda: b'kept' in files(shop.path('journal'))[
        'campaigns.shop.json'], 'the file')
    assert os.stat(path).st_mode & 0o077 & 0o022 == 0
    shop.nginx.stop()
    shop.postgres.stop()
    try:
        v.close()
        shop.start_nginx()
        for _ in range(10):
            started = time.monotonic()
            assert hero(v).startswith('<p>kept ')
            assert time.monotonic() - started < 1
            v.close()
    finally:
        shop.start_postgres()
    shop.campaign('kept', content='<p>back</p>')
    poll(lambda: hero(v) == '<p>back</p>', 'PostgreSQL to be back', 15)


def test_a_damaged_set_on_disk_is_refused_with_a_line(shop, visitor):
    shop.campaign('kept')
    v = visitor()
    poll(lambda: hero(v) == '<p>kept</p>', 'the set')
    path = shop.path('journal', 'campaigns.shop.json')
    shop.nginx.stop()
    shop.postgres.stop()
    try:
        with open(path, 'r+b') as f:
            f.truncate(40)
        v.close()
        shop.start_nginx()
        assert hero(v) == DEFAULT
        assert 'campaigns.shop.json' in shop.logs()['error.log']
    finally:
        shop.start_postgres()
    poll(lambda: hero(v) == '<p>kept</p>', 'the set from PostgreSQL', 15)


# ---- conditions -------------------------------------------------------------

def slots_page(shop, conditions):
    """A campaign and a slot for each condition; returns the page's reader."""
    names = {}
    for n, (name, when) in enumerate(conditions.items()):
        names[f's{n}'] = name
        write(shop, f's{n}.json', document(
            f's{n}', slot=f's{n}', when=when,
            variants=[{**CONTENT, 'content': 'yes'}]))
    assert apply(shop).returncode == 0
    shop.page('cond.html', ''.join(
        f's{n}=<!--crm:slot s{n}-->no<!--/crm:slot-->\n'
        for n in range(len(conditions))))

    def read(v, path='/cond.html', **headers):
        found = re.findall(r'^(s\d+)=(yes|<!--crm.*-->)$',
                           v.text(path, **headers), re.M)
        assert len(found) == len(conditions)
        return {names[s] for s, text in found if text == 'yes'}
    return read


def loaded(read, v, path, name):
    """Waits until the campaigns of this test are in force for v's worker."""
    poll(lambda: name in read(v, path), 'the campaigns')


def test_conditions_over_visitor_session_and_page(shop, visitor):
    read = slots_page(shop, {
        'all': {},
        'new': {'visitor.new': True},
        'back': {'visitor.new': {'$ne': True}},
        'long': {'session.pages': {'$gt': 3}},
        'entry': {'session.entry': '/plain.html'},
        'de': {'visitor.language': {'$in': ['de', 'de-DE']}},
        'x=a': {'page.query.x': 'a'},
        'x>9': {'page.query.x': {'$gt': 9}},
        'x there': {'page.query.x': {'$exists': True}},
        'no x': {'page.query.x': {'$exists': False}},
        'here': {'page.path': '/cond.html', 'page.host': '127.0.0.1'},
        'or': {'$or': [{'page.query.x': 'b'}, {'page.query.y': 'c'}]},
        'not': {'$not': {'page.query.x': 'a'}},
        'none': {'no.such.path': 1},
        'null': {'no.such.path': None},
    })
    warm = visitor()
    loaded(read, warm, '/cond.html?x=a', 'all')
    v = visitor()
    always = {'all', 'here', 'null'}
    assert read(v) == always | {'new', 'no x', 'not'}
    v = visitor(**{'Accept-Language': 'de-DE,de;q=0.9,en;q=0.8'})
    v.get('/plain.html')
    v.get('/plain.html')
    base = always | {'back', 'de', 'entry'}
    assert read(v, '/cond.html?x=a') == base | {'x=a', 'x there'}
    assert read(v, '/cond.html?x=10') \
        == base | {'x>9', 'x there', 'not', 'long'}
    assert read(v, '/cond.html?y=c&x=b') \
        == base | {'x there', 'not', 'or', 'long'}
    assert read(v, '/cond.html?x=') == base | {'x there', 'not', 'long'} \
        or read(v, '/cond.html?x=') == base | {'no x', 'not', 'long'}


def test_conditions_over_the_cart_and_what_was_seen(shop, visitor):
    read = slots_page(shop, {
        'cart': {'session.cart_value': {'$gt': 49.99}},
        'items': {'session.cart_items': 2},
        'saw A': {'session.items': {'$elemMatch': {'$eq': 'A'}}},
        'saw A or Z': {'session.items': {'$in': ['Z', 'A']}},
        'shoes': {'session.category': 'shoes'},
        'bought': {'session.orders': {'$gt': 0}},
        'between': {'session.cart_value': {'$gt': 10, '$lt': 40}},
    })
    warm = visitor()
    warm.get('/p/view.html?id=A&cat=shoes')
    loaded(read, warm, '/cond.html', 'saw A')
    v = visitor()
    v.get('/plain.html')
    assert read(v) == set()
    v.get('/p/view.html?id=A&cat=shoes')
    assert read(v) == {'saw A', 'saw A or Z', 'shoes'}
    v.get('/p/view.html?id=B&cat=hats')
    assert read(v) == {'saw A', 'saw A or Z'}
    v.get('/cart/add?id=A&price=30')
    assert read(v) == {'saw A', 'saw A or Z', 'between'}
    v.get('/cart/add?id=B&price=20.00')
    assert read(v) == {'saw A', 'saw A or Z', 'cart', 'items'}
    v.get('/order/done?order=OC-1&total=50&products=A:1:30')
    assert 'bought' in read(v)


def test_conditions_over_customer_and_time(shop, visitor):
    now = time.gmtime()
    hours = [now.tm_hour, (now.tm_hour + 1) % 24]
    days = [now.tm_wday + 1, (now.tm_wday + 1) % 7 + 1]
    read = slots_page(shop, {
        'all': {},
        'known': {'customer.id': {'$exists': True}},
        'C-9': {'customer.id': 'C-9'},
        'unknown': {'customer.id': None},
        'tier': {'customer.tier': 'gold'},
        'hour': {'time.hour': {'$in': hours}},
        'other hour': {'$not': {'time.hour': {'$in': hours}}},
        'weekday': {'time.weekday': {'$in': days}},
        'no day': {'time.weekday': {'$gt': 7}},
    })
    shop.sql("insert into crm.customer (site, customer_id, tier) "
             "values ('shop', 'C-9', 'gold') on conflict do nothing")
    warm = visitor()
    loaded(read, warm, '/cond.html', 'all')
    v = visitor()
    v.get('/plain.html')
    assert read(v) == {'all', 'unknown', 'hour', 'weekday'}
    v.get('/login?user=C-9')
    known = {'all', 'known', 'C-9', 'hour', 'weekday'}
    assert read(v) >= known
    poll(lambda: read(v) == known | {'tier'}, 'the profile', 5)
    w = visitor()
    w.get('/login?user=D-1')
    assert read(w) == {'all', 'known', 'hour', 'weekday'}


def test_start_and_end_are_kept_to_the_second(shop, visitor):
    def stamp(seconds):
        return time.strftime('%Y-%m-%dT%H:%M:%SZ',
                             time.gmtime(time.time() + seconds))
    write(shop, 'past.json', document('past', priority=9, end=stamp(-60)))
    write(shop, 'future.json', document('future', priority=8,
                                        start=stamp(3600)))
    write(shop, 'soon.json', document('soon', priority=7, start=stamp(2)))
    write(shop, 'now.json', document('now', start=stamp(-60),
                                     end=stamp(3600)))
    assert apply(shop).returncode == 0
    v = visitor()
    poll(lambda: hero(v) == '<p>now</p>', 'the campaign in its time', 1)
    poll(lambda: hero(v) == '<p>soon</p>', 'the one that starts soon', 4)


def test_priority_then_key_and_variants_by_weight(shop, visitor):
    for key, priority in (('b', 5), ('a', 5), ('c', 4)):
        write(shop, key + '.json', document(key, priority=priority))
    apply(shop)
    v = visitor()
    poll(lambda: hero(v) == '<p>a</p>', 'the first key', 1)
    write(shop, 'split.json', document('split', priority=9, variants=[
        {'key': 'x', 'weight': 1, 'content': 'X'},
        {'key': 'y', 'weight': 3, 'content': 'Y'},
        {'key': 'z', 'weight': 0, 'content': 'Z'}]))
    apply(shop)
    poll(lambda: hero(v) in ('X', 'Y'), 'the split', 1)
    seen = []
    for _ in range(200):
        v.cookie = None
        first = hero(v)
        assert hero(v) == first, 'a visitor keeps the variant'
        seen.append(first)
    assert set(seen) == {'X', 'Y'}
    assert 110 < seen.count('Y') < 185          # 150 expected, 6 sigma


def test_content_is_escaped(shop, visitor):
    shop.campaign('echo', content='[{{page.query.x}}|{{no.path}}|'
                                  '{{session.items}}]')
    v = visitor()
    poll(lambda: hero(v).startswith('['), 'the campaign', 1)
    v.get('/p/view.html?id=A%3Cb%3E')
    v.get('/p/view.html?id=B')
    text = v.text('/?x=<script>"\'&amp;</script>').split('\n')[1]
    assert '<script' not in text and '"' not in text
    assert text.startswith('[&lt;script&gt;')
    assert re.search(r'\|\|B, A', text), text
