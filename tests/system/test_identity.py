"""test_identity.py - who is who: aliases, anonymous history, merges, gifts.

Events of kinds that nginx does not write by itself are put into a stream, as
a journal would have; everything behind the stream is real.
"""

import hashlib
import json
import uuid

import pytest

from conftest import Visitor, now_us
from test_import import Producer


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Told:
    """Events that somebody told; `of` the browser vid."""

    def __init__(self, shop):
        self.producer = Producer(shop)
        self.shop = shop
        self.last = 0
        self.at = now_us() - 3600_000_000

    def tell(self, *events):
        """Imports the events, a second apart."""
        lines = []
        for event in events:
            self.at += 1_000_000
            event = {'id': str(uuid.uuid4()), 'site': 'shop', 'rts': self.at,
                     'type': 'track', 'src': 'upstream', **event}
            text = json.dumps({k: v for k, v in event.items()
                               if v is not None})
            lines.append(text.replace('ESCAPED', '\\u0061'))
        first, self.last = self.last + 1, self.last + len(lines)
        self.producer.add(self.last, first, lines)
        self.producer.imported(self.last)


@pytest.fixture
def told(shop):
    return Told(shop)


def browser():
    return str(uuid.uuid4())


def aliases(shop, customer):
    return dict(shop.sql('select kind, value from crm.alias '
                         'where customer_id = %s', customer))


def log(shop, outcome):
    return shop.sql('select from_id, into_id, reason from crm.merge_log '
                    'where outcome = %s order by id', outcome)


def identified(shop, vid):
    rows = shop.sql('select customer_id from crm.identity where vid = %s',
                    vid)
    return rows[0][0] if rows else None


def test_an_identify_gives_aliases_and_no_raw_address(shop, told):
    vid = browser()
    told.tell({'type': 'identify', 'vid': vid, 'uid': 'ID-1', 'props': {
        'email': '  Ann@Mail.Example ', 'phone': '+49 (0)555-0199',
        'loyalty': 'L-77', 'crm': '4711', 'shoe_size': '39'}},
        {'type': 'identify', 'vid': vid, 'uid': 'ID-1', 'src': 'client',
         'ctx': {'trusted': True},
         'props': {'emESCAPEDil': 'ann2@mail.example', 'plan': 'gold'}})
    want = {'email_sha256': sha('ann@mail.example'),
            'phone_sha256': sha('4905550199'), 'loyalty': 'L-77',
            'crm': '4711', 'shoe_size': '39'}
    got = aliases(shop, 'ID-1')
    assert {k: got.get(k) for k in want if k != 'email_sha256'} \
        == {k: v for k, v in want.items() if k != 'email_sha256'}
    assert want['email_sha256'] in [r[0] for r in shop.sql(
        "select value from crm.alias where kind = 'email_sha256'")]
    assert 'plan' not in got, 'a trait of a client that names nobody'
    assert identified(shop, vid) == 'ID-1'
    text = json.dumps([list(r) for r in shop.sql(
        "select to_jsonb(e) from crm.event e where type = 'identify'")])
    for raw in ('Ann@Mail', 'ann2@mail', '555-0199'):
        assert raw not in text
    assert want['email_sha256'] in text
    found = shop.mine('identity', 'find', 'email', 'ANN@mail.example',
                      '--site', 'shop').stdout
    assert found == 'ID-1\n'


def test_a_browser_says_nothing_about_who_it_is(shop, told):
    vid = browser()
    told.tell({'type': 'identify', 'vid': vid, 'uid': 'VICTIM', 'src':
               'client', 'props': {'email': 'evil@mail.example'}},
              {'vid': vid, 'uid': 'VICTIM', 'src': 'client', 'type': 'page'},
              {'type': 'alias', 'vid': vid, 'uid': 'VICTIM', 'src': 'client',
               'props': {'previous_id': 'anon-evil'}})
    assert identified(shop, vid) is None
    assert aliases(shop, 'VICTIM') == {}
    assert shop.sql("select count(*) from crm.customer "
                    "where customer_id = 'VICTIM'") == [(0,)]


def test_ids_that_name_nobody_are_refused_and_counted(shop, told):
    junk = ['null', 'undefined', 'NaN', 'none', 'Anonymous', 'guest',
            'unknown', 'test', '0', '-1', '[object Object]', 'x', '---',
            '00000000-0000-0000-0000-000000000000', ' null ']
    vids = [browser() for _ in junk]
    told.tell(*({'vid': v, 'uid': j, 'type': 'page'}
                for v, j in zip(vids, junk)))
    assert [identified(shop, v) for v in vids] == [None] * len(junk)
    assert shop.sql('select count(*) from crm.customer where customer_id = '
                    'any (%s)', junk) == [(0,)]
    rejects = shop.sql("select raw from crm.reject where reason like "
                       "'uid is banned%%'")
    assert {r[0] for r in rejects} >= set(junk)


def test_an_id_claimed_by_too_many_browsers_is_banned(shop, told):
    vids = [browser() for _ in range(60)]
    # the day that counts is the day before now
    told.tell(*({'vid': v, 'uid': 'SHARED-1', 'type': 'page'} for v in vids))
    assert shop.sql("select reason from crm.banned_id where id = 'shared-1'") \
        == [('more than 50 browsers in a day',)]
    late = browser()
    told.tell({'vid': late, 'uid': 'SHARED-1', 'type': 'page'})
    assert identified(shop, late) is None


def test_two_known_customers_never_merge_by_accident(shop, told):
    one, two = browser(), browser()
    told.tell({'type': 'identify', 'vid': one, 'uid': 'KA-1',
               'props': {'loyalty': 'CARD-1'}},
              {'type': 'identify', 'vid': two, 'uid': 'KB-1',
               'props': {'loyalty': 'CARD-2'}},
              # a card of somebody else, an alias of two known, a shared
              # browser, and two cards of two people without an id
              {'type': 'identify', 'vid': two, 'uid': 'KB-1',
               'props': {'loyalty': 'CARD-1'}},
              {'type': 'alias', 'uid': 'KB-1', 'vid': two,
               'props': {'previous_id': 'KA-1'}},
              {'type': 'identify', 'vid': one, 'uid': 'KB-1', 'props': {}},
              {'type': 'identify', 'vid': browser(),
               'props': {'loyalty': 'CARD-1', 'crm': 'none-yet'}},
              {'type': 'identify', 'vid': browser(),
               'props': {'loyalty': 'CARD-1', 'card2': 'x'}})
    assert shop.sql("select customer_id, merged_into from crm.customer where "
                    "customer_id in ('KA-1', 'KB-1') order by 1") \
        == [('KA-1', None), ('KB-1', None)]
    assert aliases(shop, 'KA-1')['loyalty'] == 'CARD-1'
    assert aliases(shop, 'KB-1') == {'loyalty': 'CARD-2'}
    refused = {r for r in log(shop, 'refused') if r[0] in ('KA-1', 'KB-1')}
    assert refused == {('KB-1', 'KA-1', 'alias loyalty is taken'),
                       ('KA-1', 'KB-1', 'alias of two known customers')}
    # the browser changed hands, and both log-ins are remembered
    assert identified(shop, one) == 'KB-1'
    assert [r[0] for r in shop.sql(
        'select customer_id from crm.login where vid = %s order by at', one)] \
        == ['KA-1', 'KB-1']


def test_an_anonymous_id_becomes_a_customers_once(shop, told):
    told.tell({'type': 'alias', 'uid': 'AL-1',
               'props': {'previous_id': 'anon-1'}},
              {'type': 'alias', 'uid': 'AL-2',
               'props': {'previous_id': 'anon-1'}},
              {'type': 'alias', 'uid': 'AL-1',
               'props': {'previous_id': 'null'}})
    assert aliases(shop, 'AL-1') == {'anon': 'anon-1'}
    assert aliases(shop, 'AL-2') == {}
    assert ('AL-2', 'AL-1', 'alias anon is taken') in log(shop, 'refused')


def test_history_before_the_log_in_is_the_customers(shop, visitor):
    """By nginx itself, and not by rewriting events."""
    v = visitor()
    rids = [v.get('/p/view.html?id=H1&cat=hats')[2] for _ in range(2)]
    rids.append(v.get('/login?user=HIST-1')[2])
    events = [shop.events(rid)[0] for rid in rids]
    assert [e.get('uid') for e in events] == [None, None, 'HIST-1']
    shop.settled()
    assert shop.sql("select customer_id, count(*) from crm.person_event "
                    "where vid = %s group by 1", events[0]['vid']) \
        == [('HIST-1', 3)]
    shop.mine('run', 'features', '--site', 'shop')
    assert shop.sql("select attributes->'views', attributes->'categories' "
                    "from crm.profile where customer_id = 'HIST-1'") \
        == [(2, ['hats'])]


def state(shop):
    """Everything that a merge may touch."""
    return {t: shop.sql(f'select to_jsonb(x) - %s from {t} as x '
                        'order by x::text', 'modified_at')
            for t in ('crm.identity', 'crm.login', 'crm.alias',
                      'crm."order"', 'crm.consent', 'crm.customer',
                      'crm.profile')}


def test_a_merge_is_by_name_and_undone_exactly(shop, told):
    one, two = browser(), browser()
    for who, vid in (('MA-1', one), ('MB-1', two)):
        told.tell({'type': 'identify', 'vid': vid, 'uid': who,
                   'props': {'loyalty': 'M-' + who}},
                  {'vid': vid, 'uid': who, 'type': 'page',
                   'name': 'Product Viewed', 'props': {'product_id': 'P-1'}},
                  {'vid': vid, 'uid': who, 'name': 'Order Completed',
                   'props': {'order_id': 'O-' + who, 'total': '10'}})
    shop.mine('run', '--site', 'shop')
    before = state(shop)
    words = ['identity', 'merge', 'MA-1', 'MB-1', '--site', 'shop']
    assert shop.mine(*words, check=False).returncode == 2, 'nobody signed'
    said = shop.mine(*words, '--reviewer', 'ann').stdout
    number = said.split()[1]
    assert identified(shop, one) == 'MB-1'
    assert aliases(shop, 'MA-1') == {}
    assert shop.sql("select customer_id from crm.\"order\" where order_id = "
                    "'O-MA-1'") == [('MB-1',)]
    # what the old id still says is the new one's
    third = browser()
    told.tell({'vid': third, 'uid': 'MA-1', 'type': 'page'})
    assert identified(shop, third) == 'MB-1'
    assert shop.sql("select distinct customer_id from crm.person_event where "
                    "uid = 'MA-1'") == [('MB-1',)]
    assert shop.mine(*words, '--reviewer', 'ann', check=False).returncode == 1
    for table in ('crm.identity', 'crm.login'):
        shop.sql(f'delete from {table} where vid = %s', third)

    undo = ['identity', 'unmerge', number, '--site', 'shop', '--reviewer',
            'bob']
    shop.mine(*undo)
    assert state(shop) == before
    assert shop.mine(*undo, check=False).returncode == 1
    line = [x for x in shop.mine('identity', 'log', '--site', 'shop').stdout
            .splitlines() if x.startswith(number + '\t')][0].split('\t')
    assert line[2:] == ['merged', 'MA-1', 'MB-1', 'ann', 'by hand',
                        'undone by bob']


def test_chained_merges_come_apart_in_order(shop, told):
    for who in ('CA-1', 'CB-1', 'CC-1'):
        told.tell({'vid': browser(), 'uid': who, 'type': 'page'})
    before = state(shop)

    def merge(a, b):
        return shop.mine('identity', 'merge', a, b, '--site', 'shop',
                         '--reviewer', 'ann').stdout.split()[1]

    def undo(n):
        return shop.mine('identity', 'unmerge', n, '--site', 'shop',
                         '--reviewer', 'ann', check=False).returncode
    first = merge('CA-1', 'CB-1')
    second = merge('CB-1', 'CC-1')
    assert shop.sql("select merged_into from crm.customer where customer_id "
                    "in ('CA-1', 'CB-1')") == [('CC-1',)] * 2
    assert undo(first) == 1, 'the later merge is still in force'
    assert undo(second) == 0 and undo(first) == 0
    assert state(shop) == before


def test_a_gift_is_not_the_buyers_liking(shop, told):
    vid = browser()
    look = {'vid': vid, 'uid': 'GIVER-1', 'type': 'page',
            'name': 'Product Viewed'}
    told.tell({**look, 'props': {'product_id': 'G-1', 'category': 'toys'}},
              {**look, 'props': {'product_id': 'G-1', 'category': 'toys'}},
              {**look, 'props': {'product_id': 'G-2', 'category': 'wine'}},
              {'vid': vid, 'uid': 'GIVER-1', 'name': 'Order Completed',
               'props': {'order_id': 'O-G-1', 'products': 'G-1:1:20',
                         'payer_id': 'FIRM-1', 'recipient_id': 'KID-1'}},
              {'vid': vid, 'uid': 'GIVER-1', 'name': 'Order Completed',
               'props': {'order_id': 'O-G-2', 'products': 'G-2:1:10'}})
    assert shop.sql('select order_id, customer_id, payer_id, recipient_id, '
                    "gift, vid::text from crm.\"order\" where customer_id = "
                    "'GIVER-1' order by 1") == [
        ('O-G-1', 'GIVER-1', 'FIRM-1', 'KID-1', True, vid),
        ('O-G-2', 'GIVER-1', None, None, False, vid)]
    assert shop.sql("select count(*) from crm.customer where customer_id in "
                    "('FIRM-1', 'KID-1')") == [(0,)]
    path = shop.path('orders.csv')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('order_id,line,customer_id,ordered_at,product_id,quantity,'
                'price,gift,recipient_id\n'
                'O-G-3,1,GIVER-1,2026-01-01,G-3,1,5,yes,\n'
                'O-G-4,1,GIVER-1,2026-01-01,G-3,1,5,,GIVER-1\n'
                'O-G-5,1,GIVER-1,2026-01-01,G-3,1,5,maybe,\n')
    assert 'in 3 = kept 2 + rejected 1' in shop.mine(
        'load', 'orders', path, '--site', 'shop').stdout
    assert shop.sql("select order_id, gift from crm.\"order\" where order_id "
                    "in ('O-G-3', 'O-G-4') order by 1") \
        == [('O-G-3', True), ('O-G-4', False)]
    shop.mine('run', 'features', '--site', 'shop')
    a = shop.sql("select attributes from crm.profile "
                 "where customer_id = 'GIVER-1'")[0][0]
    assert a['last_items'] == ['G-2'] if 'last_items' in a else True
    assert a['categories'] == ['wine'] and a['views'] == 1
    assert a['orders'] == 4 and a['gifts'] == 2


def test_who_must_not_be_personalized_is_not_learned_from(shop, told):
    vid = browser()
    look = {'vid': vid, 'uid': 'QUIET-1', 'type': 'page',
            'name': 'Product Viewed'}
    told.tell({**look, 'ctx': {'consent': 'm'},
               'props': {'product_id': 'Q-1', 'category': 'secret'}},
              {**look, 'ctx': {'consent': 'mp'},
               'props': {'product_id': 'Q-2', 'category': 'open'}})
    shop.mine('run', 'features', '--site', 'shop')
    assert shop.sql("select attributes->'categories', attributes->'views' "
                    "from crm.profile where customer_id = 'QUIET-1'") \
        == [(['open'], 1)]


def test_a_shared_e_mail_in_a_file_merges_nobody(shop, told):
    path = shop.path('customers.csv')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('customer_id,email\nEM-1,Desk@Firm.example\n'
                'EM-2,desk@firm.example\n')
    shop.mine('load', 'customers', path, '--site', 'shop')
    value = sha('desk@firm.example')
    owners = [w for w in ('EM-1', 'EM-2')
              if aliases(shop, w) == {'email_sha256': value}]
    assert len(owners) == 1
    # a log-in by the hashed address alone finds its one owner
    vid = browser()
    told.tell({'type': 'identify', 'vid': vid,
               'props': {'email_sha256': value}})
    assert identified(shop, vid) == owners[0]
