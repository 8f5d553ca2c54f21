"""test_enrich.py - place, device and source of a session, recommendations."""

import glob
import json
import os
import random
import struct
import subprocess

import pytest

from conftest import HTTP, SERVER, new_shop, poll
from stack import PROJECT
from test_config import JOURNAL, nginx_t

MMDB = os.path.join(os.path.dirname(PROJECT), 'shared/data/mmdb')
CHROME = ('Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML,'
          ' like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36')
EDGE = ('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, '
        'like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0')

# ---- a writer of small MaxMind DB files ------------------------------------


UINT16, UINT32, UINT64 = 5, 6, 9


def encode(value):
    """One value of the data section; maps, texts, numbers and lists."""
    def head(kind, size):
        assert size < 65821
        extended = bytes([kind - 7]) if kind > 7 else b''
        first = 0 if kind > 7 else kind << 5
        if size < 29:
            return bytes([first | size]) + extended
        if size < 285:
            return bytes([first | 29]) + extended + bytes([size - 29])
        return bytes([first | 30]) + extended + struct.pack('>H', size - 285)
    if isinstance(value, dict):
        return head(7, len(value)) + b''.join(
            encode(k) + encode(v) for k, v in value.items())
    if isinstance(value, str):
        text = value.encode()
        return head(2, len(text)) + text
    if isinstance(value, list):
        return head(11, len(value)) + b''.join(map(encode, value))
    kind, number = value if isinstance(value, tuple) else (UINT32, value)
    data = number.to_bytes((number.bit_length() + 7) // 8, 'big')
    return head(kind, len(data)) + data


def mmdb(kind, networks):
    """A file of IPv4 networks {'192.0.2.0/24': record}, records of 24 bits."""
    tree, data, leaves = [[None, None]], b'', {}
    for network, record in networks.items():
        address, bits = network.split('/')
        number = int.from_bytes(map(int, address.split('.')), 'big')
        node = 0
        for i in range(int(bits) - 1):
            side = number >> (31 - i) & 1
            if tree[node][side] is None:
                tree.append([None, None])
                tree[node][side] = len(tree) - 1
            node = tree[node][side]
        leaves[node, number >> (32 - int(bits)) & 1] = len(data)
        data += encode(record)
    count = len(tree)
    out = b''
    for n, sides in enumerate(tree):
        for side in (0, 1):
            value = sides[side] if sides[side] is not None else count
            if (n, side) in leaves:
                value = count + 16 + leaves[n, side]
            out += value.to_bytes(3, 'big')
    meta = {'binary_format_major_version': (UINT16, 2),
            'binary_format_minor_version': (UINT16, 0),
            'build_epoch': (UINT64, 1764000000), 'database_type': kind,
            'description': {'en': 'test'}, 'ip_version': (UINT16, 4),
            'languages': ['en'], 'node_count': count,
            'record_size': (UINT16, 24)}
    return out + bytes(16) + data + b'\xab\xcd\xefMaxMind.com' + encode(meta)


NESTED = {'country': {'iso_code': 'GB'}, 'city': {'names': {'en': 'London'}},
          'subdivisions': [{'iso_code': 'ENG'}]}
CITY = {'192.0.2.0/24': NESTED,
        '198.51.100.0/24': {'country_code': 'SE', 'city': 'Linköping',
                            'state1': 'E'}}
ASN = {'192.0.2.0/24': {'autonomous_system_number': 64500,
                        'autonomous_system_organization': 'Example "Net"'}}


def put(shop, name, data):
    """A new version comes by rename, as it should."""
    path = shop.path(name)
    with open(path + '.new', 'wb') as f:
        f.write(data)
    os.chmod(path + '.new', 0o644)
    os.rename(path + '.new', path)
    return path


SPARE = 6       # files that only the malformed ones take the place of
CONF = {'http': HTTP + '''
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    crm_geoip @RUN@/city.mmdb city;
    crm_geoip @RUN@/asn.mmdb;
    crm_model @RUN@/shop.model;
''' + ''.join(f'crm_geoip @RUN@/spare-{n}.mmdb;' for n in range(SPARE)),
        'server': SERVER + '''
        location = /vars {
            default_type text/html;
            return 200 "<p>$crm_country $crm_device $crm_bot</p>";
        }
        location /asked/ {
            alias @RUN@/pages/;
            crm_consent $arg_ok measure=~m personalize=~p;
        }

        location = /recs/decide { crm_item $arg_item; crm_decide; }
'''}


def ring(stack, step):
    """A model of visits that walk along 30 products, so many at a time."""
    draw = random.Random(5)
    rows = ['session,item,time']
    for visit in range(300):
        at = draw.randrange(30)
        rows += [f'{visit},sku-{(at + n * step) % 30},{visit * 100 + n}'
                 for n in range(5)]
    clicks, model = stack.path('clicks.csv'), stack.path('made.model')
    with open(clicks, 'w', encoding='ascii') as f:
        f.write('\n'.join(rows) + '\n')
    subprocess.run(
        [os.path.join(PROJECT, 'build/asan/crm-mine'), 'evaluate', 'recommend',
         '--train', clicks, '--test', clicks, '--settings', 'k=100',
         '--model', model], check=True, capture_output=True)
    with open(model, 'rb') as f:
        return f.read()


@pytest.fixture(scope='module')
def shop(request):
    def start(stack):
        put(stack, 'city.mmdb', mmdb('Test-City', CITY))
        put(stack, 'asn.mmdb', mmdb('Test-ASN', ASN))
        put(stack, 'shop.model', ring(stack, 1))
        for n in range(SPARE):
            put(stack, f'spare-{n}.mmdb', mmdb('Test-Country', {
                '198.18.0.0/15': {'country_code': 'ZZ'}}))
        stack.start()
    with new_shop(request, start) as stack:
        yield stack


def ctx(shop, rid):
    return shop.events(rid)[0]['ctx']


def test_place_device_and_source(shop, visitor):
    v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': '192.0.2.7'})
    _, _, one = v.get('/plain.html?utm_source=news&utm_medium=email',
                      Referer='https://mail.google.com/')
    _, _, two = v.get('/plain.html')
    first, second = ctx(shop, one), ctx(shop, two)
    assert first['geo'] == {'country': 'GB', 'region': 'ENG', 'city': 'London',
                            'asn': 64500, 'as': 'Example  Net '}
    assert first['traffic'] == {'class': 'mail', 'source': 'news',
                                'medium': 'email'}
    assert 'traffic' not in second, 'of the first event only'
    for name, value in {'device': 'mobile', 'browser': 'Chrome',
                        'browser_version': '126', 'os': 'Android',
                        'os_version': '14'}.items():
        assert first[name] == second[name] == value
    assert second['geo'] == first['geo']
    assert 'bot' not in first


def test_without_consent_nothing_is_looked_up(shop, visitor):
    """Neither place, device nor campaign."""
    path = '/asked/plain.html?utm_source=news&utm_campaign=x&gclid=1'
    person = {'User-Agent': CHROME, 'X-Forwarded-For': '192.0.2.7'}
    for answer, measured in (('', False), ('&ok=p', False), ('&ok=m', True)):
        _, _, rid = visitor(**person).get(path + answer, Referer='https://a.de/b')
        row = poll(lambda r=rid: (shop.events(r) if measured else shop.sql(
            "select to_jsonb(e) from crm.event e where req->>'path' = "
            "'/asked/plain.html' and ctx->>'consent' = %s",
            answer[4:])), 'the event')[0]
        found = set((row if measured else row[0])['ctx'])
        if measured:
            assert found >= {'geo', 'device', 'browser', 'os', 'traffic'}
        else:
            assert found <= {'ip', 'ua', 'ref', 'lang', 'consent'}


def test_flat_layout_and_unknown_addresses(shop, visitor):
    v = visitor(**{'User-Agent': EDGE, 'X-Forwarded-For': '198.51.100.1'})
    _, _, rid = v.get('/plain.html')
    assert ctx(shop, rid)['geo'] == {'country': 'SE', 'region': 'E',
                                     'city': 'Linköping'}
    for address in ('203.0.113.9', '2001:db8::1', '::ffff:203.0.113.1'):
        v = visitor(**{'User-Agent': EDGE, 'X-Forwarded-For': address})
        _, _, rid = v.get('/plain.html')
        assert 'geo' not in ctx(shop, rid)
    v = visitor(**{'User-Agent': EDGE, 'X-Forwarded-For': '::ffff:192.0.2.1'})
    _, _, rid = v.get('/plain.html')
    assert ctx(shop, rid)['geo']['country'] == 'GB'


def test_client_hints_and_variables(shop, visitor):
    v = visitor(**{'User-Agent': EDGE, 'X-Forwarded-For': '192.0.2.7',
                   'Sec-CH-UA-Mobile': '?0', 'Sec-CH-UA-Platform': '"Windows"',
                   'Sec-CH-UA-Platform-Version': '"15.0.0"'})
    _, body, rid = v.get('/vars')
    assert body == '<p>GB desktop </p>'
    event = ctx(shop, rid)
    assert (event['browser'], event['os_version']) == ('Edge', '11')


def test_a_campaign_begins_a_session(shop, visitor):
    v = visitor(**{'User-Agent': CHROME})
    pages = ['/plain.html', '/plain.html?utm_source=a&utm_campaign=x',
             '/plain.html', '/plain.html?utm_campaign=x&utm_source=a',
             '/plain.html?gclid=1', '/plain.html?gclid=1', '/plain.html?gclid=2']
    rids = [v.get(path)[2] for path in pages]
    events = [shop.events(rid)[0] for rid in rids]
    assert [e['sn'] for e in events] == [1, 2, 2, 2, 3, 3, 4]
    assert [e['seq'] for e in events] == [1, 1, 2, 3, 1, 2, 1]
    assert len({e['sid'] for e in events}) == 4
    assert len({e['vid'] for e in events}) == 1
    classes = [e['ctx'].get('traffic', {}).get('class') for e in events]
    assert classes == ['direct', 'referral', None, None, 'search', None,
                       'search']
    assert events[4]['ctx']['traffic'] == {
        'class': 'search', 'source': 'google', 'medium': 'cpc',
        'click_id': 'gclid'}


def test_attributes_decide(shop, visitor):
    """What a campaign may ask for, on the first page and on later ones."""
    shop.campaign('british', when={
        'visitor.country': 'GB', 'visitor.region': 'ENG',
        'visitor.city': 'London', 'visitor.device': 'mobile',
        'visitor.browser': 'Chrome', 'visitor.os': 'Android',
        'visitor.bot': False, 'session.source': 'partner',
        'session.medium': 'banner', 'session.campaign': 'x y',
        'session.traffic': 'referral'}, content='<p>fits</p>')
    query = '/?utm_source=partner&utm_medium=banner&utm_campaign=x+y'

    def fits(path, **headers):
        v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': '192.0.2.7',
                       **headers})
        return v, '<p>fits</p>' in v.text(path)
    poll(lambda: fits(query)[1], 'the campaign to be live')
    v, _ = fits(query)
    assert '<p>fits</p>' in v.text('/'), 'kept in the session'
    assert not fits(query, **{'X-Forwarded-For': '198.51.100.1'})[1]
    assert not fits(query, **{'User-Agent': EDGE})[1]
    assert not fits('/')[1]


def loads(shop):
    status = shop.crm_status()['counters']
    return status['files_loaded'], status['files_refused']


def test_new_files_without_a_restart_and_broken_ones_never(shop, visitor):
    def country():
        v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': '192.0.2.7'})
        return v.get('/vars')[1].split('>')[1].split(' ')[0]
    assert country() == 'GB'
    loaded, refused = loads(shop)
    put(shop, 'city.mmdb', mmdb('Test-City', {
        '192.0.2.0/24': {'country': {'iso_code': 'FR'}}}))
    poll(lambda: loads(shop)[0] >= loaded + 2, 'both workers to take it')
    assert country() == 'FR'

    good = mmdb('Test-City', CITY)
    for broken in (b'', b'nonsense' * 1000, good[:-40]):
        _, refused = loads(shop)
        put(shop, 'city.mmdb', broken)
        poll(lambda: loads(shop)[1] >= refused + 2, 'both to refuse it')
        assert country() == 'FR', 'the one before stays'

    loaded, _ = loads(shop)
    put(shop, 'city.mmdb', good)
    poll(lambda: loads(shop)[0] >= loaded + 2, 'both to take a good one again')
    assert country() == 'GB'


def test_a_file_cut_in_place_costs_nobody_a_page(shop, visitor):
    """Mapped pages go away with the end of the file."""
    path = shop.path('asn.mmdb')
    with open(path, 'rb') as f:
        good = f.read()
    pids = sorted(shop.nginx.children())
    os.truncate(path, 0)
    for n in range(8):
        v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': '192.0.2.7'})
        assert v.get('/plain.html')[0].status == 200, n
    assert sorted(shop.nginx.children()) == pids, 'a worker died'
    loaded, _ = loads(shop)
    put(shop, 'asn.mmdb', good)
    poll(lambda: loads(shop)[0] >= loaded + 2, 'both to take it again')


def bad_files(folder):
    """The malformed files that are known, or else spoiled copies."""
    files = sorted(glob.glob(os.path.join(MMDB, 'bad', '*.mmdb')))
    good = mmdb('Test-City', CITY)
    rng = random.Random(1)
    for n in range(12):
        data = bytearray(good)
        for _ in range(1 + n):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = os.path.join(folder, f'spoiled-{n}.mmdb')
        with open(path, 'wb') as f:
            f.write(data)
        files.append(path)
    return files


def test_malformed_files_never_hurt(shop, visitor, tmp_path):
    """Each takes the place of a good one while visitors come from all over."""
    pids = sorted(shop.nginx.children())
    files = bad_files(str(tmp_path))
    for start in range(0, len(files), SPARE):
        some = files[start:start + SPARE]
        before = sum(loads(shop))
        for n, path in enumerate(some):
            with open(path, 'rb') as f:
                put(shop, f'spare-{n}.mmdb', f.read())
        poll(lambda: sum(loads(shop)) >= before + 2 * len(some),
             f'{some} to be judged')
        for address in ('1.1.1.1', '81.2.69.142', '203.0.113.1', '2001:218::1',
                        '2.125.160.216', '255.255.255.255', '0.0.0.1'):
            v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': address})
            assert v.get('/plain.html')[0].status == 200, some
    assert sorted(shop.nginx.children()) == pids, 'a worker died'
    v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': '192.0.2.7'})
    assert v.get('/vars')[1].startswith('<p>GB '), 'the good one still answers'


@pytest.mark.skipif(not os.path.isdir(MMDB), reason='no such files here')
@pytest.mark.parametrize('name,address,want', [
    ('GeoIP2-City-Test', '81.2.69.142',
     {'country': 'GB', 'region': 'ENG', 'city': 'London'}),
    ('GeoIP2-City-Test', '2001:218::1', {'country': 'JP'}),
    ('GeoLite2-ASN-Test', '1.128.0.1',
     {'asn': 1221, 'as': 'Telstra Pty Ltd'})])
def test_answers_of_known_files(shop, visitor, name, address, want):
    loaded, _ = loads(shop)
    file = 'asn.mmdb' if 'ASN' in name else 'city.mmdb'
    with open(os.path.join(MMDB, name + '.mmdb'), 'rb') as f:
        put(shop, file, f.read())
    poll(lambda: loads(shop)[0] >= loaded + 2, 'both workers to take it')
    v = visitor(**{'User-Agent': CHROME, 'X-Forwarded-For': address})
    _, _, rid = v.get('/plain.html')
    geo = ctx(shop, rid)['geo']
    assert {k: geo.get(k) for k in want} == want


WRONG = [
    ('crm_geoip /none.mmdb;', ['crm_geoip', '/none.mmdb', 'name a file']),
    ('crm_geoip @DIR@/nginx.conf;', ['crm_geoip', 'nginx.conf', 'MaxMind']),
    ('crm_geoip @DIR@/nginx.conf town;', ['crm_geoip', 'town', 'city']),
    ('crm_bots @DIR@/none;', ['crm_bots', 'none', 'name a file']),
    ('crm_bots @DIR@/nginx.conf behaviour=no;', ['crm_bots', 'behaviour=on']),
    ('crm_bots off; crm_bots off;', ['crm_bots', 'is duplicate']),
    ('crm_bots_verified @DIR@/nginx.conf;', ['crm_bots_verified', 'line 2']),
]


@pytest.mark.parametrize('http,words', WRONG)
def test_wrong_configuration_says_what_and_how(http, words):
    code, said, _ = nginx_t(JOURNAL + http, 'crm on;')
    assert code != 0
    for word in words:
        assert word in said, (word, said)


def recs(v, query='recs=5', path='/crm/decide'):
    return json.loads(v.text(f'{path}?{query}'))['recs']


def test_recommends_what_follows_in_slots_and_as_json(shop, visitor):
    v = visitor(**{'User-Agent': CHROME})
    assert len(recs(v)) == 5, 'what is popular'
    v.get('/p/view.html?id=sku-3')
    got = recs(v)
    assert got[0] == 'sku-4' and len(got) == 5 and 'sku-3' not in got
    v.get('/p/view.html?id=sku-7')
    assert recs(v, 'recs=1') == ['sku-8']
    assert recs(v, 'recs=1&slots=hero&item=sku-8', '/recs/decide') \
        == ['sku-9'], 'the page shows one'
    v.get('/p/view.html?id=unheard-of')
    assert recs(v, 'recs=1') == ['sku-8'], 'unknown products do no harm'

    shop.campaign('recs', content='<p>{{session.recs}}</p>', priority=9,
                  when={'session.recs': {'$in': ['sku-8']}})
    poll(lambda: '<p>sku-8, ' in v.text('/'), 'the campaign to be live')
    assert '"slots":{}' in v.text('/crm/decide?recs=2')
    for bad in ('0', '21', 'x', '-1'):
        answer, body, _ = v.get(f'/crm/decide?recs={bad}')
        assert answer.status == 400 and 'from 1 to 20' in body
    assert shop.counter('recs') > 0


def test_a_new_model_without_a_restart_and_a_broken_one_never(shop, visitor):
    v = visitor(**{'User-Agent': CHROME})
    v.get('/p/view.html?id=sku-3')
    good = ring(shop, 7)
    for broken in (good[:-8], good[:900] + bytes(8) + good[908:]):
        _, refused = loads(shop)
        put(shop, 'shop.model', broken)
        poll(lambda: loads(shop)[1] >= refused + 2, 'both to refuse it')
        assert recs(v, 'recs=1') == ['sku-4'], 'the one before stays'
    loaded, _ = loads(shop)
    path = put(shop, 'shop.model', good)
    poll(lambda: loads(shop)[0] >= loaded + 2, 'both to take it')
    assert recs(v, 'recs=1') == ['sku-10']

    pids = sorted(shop.nginx.children())
    os.truncate(path, 0)
    assert all(recs(visitor(**{'User-Agent': CHROME})) == []
               for _ in range(8))
    assert sorted(shop.nginx.children()) == pids, 'a worker died'


@pytest.mark.parametrize('directive, said', [
    ('crm_model @RUN@/none.model;', 'name a file that nginx can read'),
    ('crm_model @RUN@/pages/plain.html;', "shorter than a model's head"),
    ('crm_model @RUN@/made.model sites=x;', 'use site=KEY'),
    ('crm_model @RUN@/made.model site=a; crm_model @RUN@/made.model site=a;',
     'duplicate "crm_model"'),
])
def test_a_wrong_model_stops_the_start(shop, directive, said):
    http = directive.replace('@RUN@', shop.path(''))
    code, words, _ = nginx_t(JOURNAL + http, 'crm on;')
    assert code != 0 and said in words
