"""test_import.py - from the streams of Redis into the warehouse, exactly once.

Half of it are real pages while importers are killed and stores come and go;
the other half are streams of producers made by hand, hostile ones included.
"""

import contextlib
import json
import random
import signal
import time
import uuid

import pytest

from conftest import Load, compare, now_us, poll
from stack import Process


class Producer:
    """A journal as the importer sees it: a stream that the test writes."""

    def __init__(self, shop):
        self.shop = shop
        self.id = uuid.uuid4().hex[:16]
        self.key = f'crm:ev:{self.id}'
        shop.redis_ask('SADD', 'crm:producers', self.id)

    def add(self, last, first, lines, n=None):
        """One entry; lines are texts, bytes or events."""
        raw = b'\n'.join(
            x if isinstance(x, bytes)
            else (x if isinstance(x, str) else json.dumps(x)).encode()
            for x in lines)
        return self.entry(last, f=first, n=len(lines) if n is None else n,
                          e=raw)

    def entry(self, last, **fields):
        answer = self.shop.redis_ask(
            'XADD', self.key, f'{last}-0',
            *[x for pair in fields.items() for x in pair])
        assert answer == f'{last}-0'.encode(), answer
        return answer

    def position(self):
        rows = self.shop.sql('select last_seq from crm.producer '
                             'where producer = %s', self.id)
        return rows[0][0] if rows else 0

    def imported(self, last, seconds=20):
        """Waits until all up to `last` is committed, told and trimmed."""
        poll(lambda: self.position() == last,
             f'position {last} of {self.id}', seconds)
        poll(lambda: self.shop.redis_ask('HGET', 'crm:durable', self.id)
             == str(last).encode(), 'the durable position in Redis')
        poll(lambda: self.shop.redis_ask('XLEN', self.key) == 0,
             'the stream to be trimmed')

    def kept(self):
        """Marks of the events of this producer in the warehouse, sorted."""
        return [r[0] for r in self.shop.sql(
            "select props->>'mark' from crm.event where props->>'of' = %s "
            "order by (props->>'mark')::int", self.id)]

    def rejects(self):
        """Sequence and reason of what was refused."""
        return {r[0]: r[1] for r in self.shop.sql(
            'select line, reason from crm.reject where source = %s',
            'import:' + self.id)}

    def event(self, mark, **members):
        """An event; a member that is None is left out."""
        event = {'id': str(uuid.uuid4()), 'site': 'shop', 'type': 'page',
                 'rts': now_us(), 'src': 'origin',
                 'props': {'of': self.id, 'mark': str(mark)}, **members}
        return {k: v for k, v in event.items() if v is not None}

    def events(self, first, last):
        return [self.event(n) for n in range(first, last + 1)]


def marks(first, last):
    return [str(n) for n in range(first, last + 1)]


@contextlib.contextmanager
def another_importer(shop, name='importer2', *words):
    process = Process(shop, name)
    process.launch([shop.crm_mine, 'import', '--follow', *words],
                   shop.mine_env())
    try:
        yield process
    finally:
        process.stop()


def holders(shop):
    """Connections that hold locks of importers."""
    return {r[0] for r in shop.sql(
        "select l.pid from pg_locks as l join pg_stat_activity as a "
        "using (pid) where l.locktype = 'advisory' and a.usename = 'crm_etl'")}


# ---- exactly once -----------------------------------------------------------

def test_killed_at_random_moments_while_events_flow(shop):
    """kill -9 within the first transaction and anywhere later."""
    chance = random.Random(20260401)
    with Load(shop) as load:
        for _ in range(15):
            started = time.monotonic()
            moment = chance.uniform(0, 0.35)
            poll(lambda: time.monotonic() - started > moment, 'the moment')
            shop.kill('importer')
            shop.importer.wait_gone()
            shop.start_importer()
        load.more(50)
    compare(shop, load)
    shop.settled()


def test_killed_between_many_small_transactions(shop):
    """--batch 7: most kills hit a transaction under way."""
    chance = random.Random(7)
    producer = Producer(shop)
    shop.importer.stop()
    for n in range(200):
        producer.add(n * 10 + 10, n * 10 + 1,
                     producer.events(n * 10 + 1, n * 10 + 10))
    kills = 0
    try:
        while producer.position() < 2000:
            shop.start_importer('--batch', '7')
            seen = producer.position()
            goal = seen + chance.randrange(1, 400)
            poll(lambda: producer.position() > min(seen, 1999)
                 and producer.position() >= min(goal, 2000),
                 'some progress')
            if producer.position() < 2000:
                shop.kill('importer')
                shop.importer.wait_gone()
                kills += 1
    finally:
        shop.importer.stop()
        shop.start_importer()
    assert kills >= 2, 'it was never killed on the way'
    producer.imported(2000)
    assert producer.kept() == marks(1, 2000)
    assert producer.rejects() == {}


def test_two_importers_share_and_one_takes_over(shop):
    producers = [Producer(shop) for _ in range(6)]
    for p in producers:
        p.add(10, 1, p.events(1, 10))
    with another_importer(shop) as second, Load(shop) as load:
        poll(lambda: len(holders(shop)) == 2, 'both to hold producers', 20)
        for p in producers:
            p.add(20, 11, p.events(11, 20))
            p.imported(20)
        load.more(50)
        second.kill()
        second.wait_gone()
        poll(lambda: len(holders(shop)) == 1, 'the locks of the dead to go')
        for p in producers:
            p.add(30, 21, p.events(21, 30))
        for p in producers:
            p.imported(30)
        load.more(50)
    compare(shop, load)
    for p in producers:
        assert p.kept() == marks(1, 30)
    shop.settled()


def test_import_once_ends_when_all_is_in(shop):
    shop.importer.stop()
    try:
        producer = Producer(shop)
        producer.add(5, 1, producer.events(1, 5))
        done = shop.mine('import', '--once')
        assert 'kept 5, rejected 0' in done.stdout
        assert producer.kept() == marks(1, 5)
        assert 'kept 0, rejected 0' in shop.mine('import').stdout
    finally:
        shop.start_importer()


# ---- what may stand in a stream ---------------------------------------------

def test_overlapping_entries_are_cut_to_what_is_new(shop):
    producer = Producer(shop)
    all_of_them = producer.events(1, 40)

    def add(last, first):
        producer.add(last, first, all_of_them[first - 1:last])
    add(5, 1)
    add(8, 3)               # nginx sent again from an older cursor
    add(12, 1)
    producer.imported(12)
    add(13, 1)              # overlaps only what was committed before
    add(20, 14)
    producer.imported(20)
    assert producer.kept() == marks(1, 20)

    # Redis lost everything: the same events come under another cut
    shop.redis_ask('DEL', producer.key)
    add(3, 1)
    add(25, 4)
    add(40, 26)
    producer.imported(40)
    assert producer.kept() == marks(1, 40)
    assert producer.rejects() == {}


def test_a_gap_is_counted_and_said(shop):
    producer = Producer(shop)
    producer.add(3, 1, producer.events(1, 3))
    producer.add(10, 8, producer.events(8, 10))
    # the journal lost two records to damage: fewer lines than sequences
    producer.add(15, 11, producer.events(11, 13))
    producer.imported(15)
    assert producer.kept() == marks(1, 3) + marks(8, 13)
    assert shop.sql('select events, gap from crm.producer '
                    'where producer = %s', producer.id) == [(9, 6)]
    assert f'import: {producer.id} misses' in shop.logs()['importer.log']


def bad_lines(p):
    """Lines that are no events, and a part of the reason each must get."""
    good = json.dumps(p.event(0))
    return [
        ('not json at all', 'not a JSON object'),
        ('', 'not a JSON object'),
        ('[]', 'not a JSON object'),
        ('"x"', 'not a JSON object'),
        ('null', 'not a JSON object'),
        ('{}', 'id'),
        (good[:-1], 'not a JSON object'),
        (good + '}', 'not a JSON object'),
        (good + good, 'not a JSON object'),
        (json.dumps(p.event(0, name='a\0b')), 'not a JSON object'),
        (good.encode()[:-1] + b',"x":"\xff\xfe"}', 'UTF-8'),
        (good.encode()[:-1] + b',"x":"\xed\xa0\x80"}', 'UTF-8'),
        (good[:-1] + ',"x":"\\ud800"}', ''),
        (good[:-1] + ',"x":' + '[' * 100 + ']' * 100 + '}',
         'not a JSON object'),
        (good[:-1] + ',"x":01}', 'not a JSON object'),
        (good[:-1] + ',"x":1e999999}', ''),
        (good[:-1] + ',"x":NaN}', 'not a JSON object'),
        ('{' + ','.join(f'"k{n}":1' for n in range(200)) + '}', 'members'),
        (p.event(0, id=None), 'id is missing'),
        (p.event(0, id=7), 'id is missing'),
        (p.event(0, id='no-uuid'), 'id is missing'),
        (p.event(0, site=None), 'site is missing'),
        (p.event(0, site='nobody'), 'crm.site'),
        (p.event(0, site=['shop']), 'site is missing'),
        (p.event(0, site='x' * 65), 'site is missing'),
        (p.event(0, type=None), 'type is missing'),
        (p.event(0, type=''), 'type is missing'),
        (p.event(0, src=None), 'src is missing'),
        (p.event(0, rts=None), 'rts is missing'),
        (p.event(0, rts=str(now_us())), 'rts is missing'),
        (p.event(0, rts=1.5), 'rts is missing'),
        (p.event(0, rts=-2208988800000000), 'rts'),      # the year 1900
        (p.event(0, rts=now_us() // 1000), 'before 1990'),   # ms, not us
        (p.event(0, rts=now_us() * 1000), 'rts'),            # ns
        (p.event(0, rts=now_us() + 60 * 86400 * 10**6), 'ahead'),
    ]


def test_hostile_lines_are_refused_with_a_reason_and_the_good_ones_kept(shop):
    p = Producer(shop)
    lines = bad_lines(p)
    sent = []
    for n, (line, _) in enumerate(lines):
        sent += [p.event(2 * n + 1), line]
    p.add(len(sent), 1, sent)
    p.imported(len(sent))
    rejects = p.rejects()
    for n, (line, word) in enumerate(lines):
        reason = rejects.pop(2 * n + 2, None)
        assert reason is not None, f'{line} was kept'
        assert word in reason, (line, reason)
    assert rejects == {}, 'good neighbours were refused'
    assert p.kept() == [str(2 * n + 1) for n in range(len(lines))]
    raw = shop.sql("select raw from crm.reject where source = %s and line = 2",
                   'import:' + p.id)
    assert raw == [('not json at all',)]

    q = Producer(shop)              # the same, each in an entry of its own
    for n, (line, _) in enumerate(bad_lines(q)):
        q.add(n + 1, n + 1, [line])
    q.add(len(lines) + 1, len(lines) + 1, [q.event(77)])
    q.imported(len(lines) + 1)
    assert q.kept() == ['77']
    assert len(q.rejects()) == len(lines)


def test_optional_members_of_a_wrong_type_do_not_cost_the_event(shop):
    p = Producer(shop)
    odd = [{'vid': 'no uuid'}, {'vid': 7}, {'sn': 'one'}, {'sn': -1},
           {'sn': 10**12}, {'seq': 1.5}, {'ts': 'now'}, {'uid': ''},
           {'uid': 'x' * 65}, {'uid': {'a': 1}}, {'name': 'n' * 500},
           {'ctx': []}, {'req': 'x'}, {'dec': {}}, {'mid': 3},
           {'unknown': {'deep': [1, {'x': None}]}}, {'id2': None}]
    p.add(len(odd), 1, [p.event(n + 1, **m) for n, m in enumerate(odd)])
    p.imported(len(odd))
    assert p.rejects() == {}
    assert p.kept() == marks(1, len(odd))
    extra = dict(shop.sql(
        "select (props->>'mark')::int, extra from crm.event "
        "where props->>'of' = %s", p.id))
    for n, members in enumerate(odd):
        for name, value in members.items():
            if value is not None:
                assert extra[n + 1][name] == value, (name, value)


def test_hostile_entries_do_not_stop_the_stream(shop):
    p = Producer(shop)
    p.entry(1, e=json.dumps(p.event(1)))                # no f
    p.add(2, 9, [p.event(2)])                           # f > last
    p.add(3, 'x', [p.event(3)])
    p.add(4, -4, [p.event(4)])
    p.add(5, '99999999999999999999', [p.event(5)])
    p.entry(6, f=6, n=1)                                # no e
    p.entry(7, x='y')
    p.add(8, 8, [p.event(8), p.event(80), p.event(81)])  # too many lines
    p.add(9, 9, [p.event(9)], n=5)                      # n is a lie
    p.add(10, 10, [p.event(10)], n='many')
    p.entry(11, f=11, n=1, e='\n\n\n')
    p.entry(12, f=12, n=1, e=b'\xff' * 100000)
    p.add(20, 13, [p.event(20)])
    p.imported(20)
    rejects = p.rejects()
    assert {1, 2, 3, 4, 5, 6, 7, 8, 11, 12} == set(rejects)
    assert 'field f' in rejects[1] and 'field f' in rejects[2]
    assert 'field e' in rejects[6]
    assert 'more events than' in rejects[8]
    assert p.kept() == ['9', '10', '20']


def test_an_entry_id_that_is_no_sequence_is_passed(shop):
    p = Producer(shop)
    p.add(1, 1, [p.event(1)])
    shop.redis_ask('XADD', p.key, '1-5', 'f', '1', 'n', '1', 'e',
                   json.dumps(p.event(100)))
    p.add(2, 2, [p.event(2)])
    p.imported(2)
    assert p.kept() in (['1', '2'], ['1', '2', '100'])


def test_a_key_that_is_no_stream_stops_nobody_else(shop):
    broken = Producer(shop)
    shop.redis_ask('SET', broken.key, 'x')
    shop.redis_ask('SADD', 'crm:producers', 'no id', '', 'Z' * 16, 'a' * 3000,
                   b'\xff\xfe\x00')
    try:
        p = Producer(shop)
        p.add(3, 1, p.events(1, 3))
        p.imported(3)
        assert p.kept() == marks(1, 3)
        assert broken.id in shop.logs()['importer.log']
    finally:
        shop.redis_ask('DEL', broken.key)
        shop.redis_ask('DEL', 'crm:producers')      # nginx says its own again


def test_the_same_event_under_two_producers_is_there_once(shop):
    """A client's retry through another worker: the id is the key."""
    one, two = Producer(shop), Producer(shop)
    event = one.event(1)
    one.add(1, 1, [event])
    one.imported(1)
    two.add(2, 1, [event, two.event(2)])
    two.imported(2)
    assert shop.sql('select count(*) from crm.event where id = %s',
                    event['id']) == [(1,)]
    assert two.kept() == ['2']
    assert 1 in two.rejects()


def test_orders_told_by_strangers(shop):
    p = Producer(shop)
    odd = [{}, {'order_id': ''}, {'order_id': 'x' * 65},
           {'order_id': 'W1', 'total': '-5', 'products': 'A:1:1'},
           {'order_id': 'W2', 'total': '1e400', 'products': 'A:x:1,,B'},
           {'order_id': 'W3', 'total': 'NaN', 'currency': 'euro',
            'products': 'A:99999999999:1'},
           {'order_id': 'W4', 'products': ':' * 3000},
           {'order_id': 'W5', 'total': '7', 'products': 'A:1:7',
            'currency': 'EUR'}]
    p.add(len(odd), 1, [
        p.event(n + 1, name='Order Completed',
                props={'of': p.id, 'mark': str(n + 1), **m})
        for n, m in enumerate(odd)])
    p.imported(len(odd))
    assert p.kept() == marks(1, len(odd))
    assert shop.sql('select total from crm."order" where order_id = \'W5\'') \
        == [(7,)]
    assert shop.sql("select count(*) from crm.order_line where price < 0 "
                    "or quantity > 1000000") == [(0,)]


def test_an_old_day_gets_its_partition(shop):
    p = Producer(shop)
    day = 1104537600 * 10**6                            # 2005-01-01
    p.add(3, 1, [p.event(1), p.event(2, rts=day), p.event(3)])
    p.imported(3)
    assert p.kept() == marks(1, 3)


# ---- stores come and go -----------------------------------------------------

def test_postgres_stopped_and_started(shop):
    p = Producer(shop)
    p.add(5, 1, p.events(1, 5))
    p.imported(5)
    with Load(shop) as load:
        load.more(30)
        shop.postgres.stop()
        p.add(10, 6, p.events(6, 10))
        load.more(100)
        poll(lambda: 'import: postgresql' in shop.logs()['importer.log'],
             'a line that PostgreSQL is away')
        shop.start_postgres()
        load.more(30)
    compare(shop, load)
    p.imported(10)
    assert p.kept() == marks(1, 10)
    poll(lambda: 'stores answer again' in shop.logs()['importer.log'],
         'a line that it is back')
    shop.settled()


def test_redis_stopped_and_started(shop):
    with Load(shop) as load:
        load.more(30)
        shop.redis.stop()
        load.more(100)
        poll(lambda: 'import: redis' in shop.logs()['importer.log'],
             'a line that Redis is away')
        shop.start_redis()
        load.more(30)
    compare(shop, load)
    shop.settled()


@pytest.mark.parametrize('store', ['redis', 'postgres'])
def test_a_store_that_hangs(shop, store):
    with Load(shop) as load:
        load.more(30)
        with shop.frozen(store):
            load.more(60)
        load.more(20)
    compare(shop, load)
    shop.settled()


def test_a_signal_ends_it_after_the_batch(shop):
    p = Producer(shop)
    p.add(2, 1, p.events(1, 2))
    p.imported(2)
    shop.kill('importer', signal.SIGTERM)
    shop.importer.wait_gone(5)
    assert shop.importer.child.returncode == 0
    assert 'import: stopped' in shop.logs()['importer.log']
    shop.start_importer()
