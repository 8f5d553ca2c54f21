"""test_backends.py - Redis and PostgreSQL that lie, hang, refuse or break off.

Between nginx and each store stands a peer that can be honest or not.  Whatever
it does: pages keep their speed, a counter and a line say so, and once it is
honest again every event arrives, once.

Every test runs some lies one after another and heals once; "make proof" heals
after each of them, which takes minutes because nginx does not hurry back.
"""

import json
import re
import socket
import time

import pytest

from conftest import (HTTP, Load, Peer, Shop, Visitor, compare, cut, new_shop,
                      poll, read_reply, redis_words, relay)

FAST_S = 1.0        # no benchmark: far beyond the budget, far below a wait


# ---- peers ------------------------------------------------------------------

@pytest.fixture(scope='module')
def peers():
    """(redis, postgres): what nginx believes to be its stores."""
    made = Peer(), Peer()
    yield made
    for peer in made:
        peer.close()


@pytest.fixture(scope='module')
def shop(request, peers):
    request.module.CONF = {'http': HTTP.replace(
        '@REDIS@', f'127.0.0.1:{peers[0].port}').replace(
        '"@PG@"', f'"host=127.0.0.1 port={peers[1].port} dbname=crm '
        'user=crm_edge"')}

    def start(stack):
        peers[0].to = stack.port('redis')
        peers[1].to = stack.port('postgres')
        Shop.start(stack)
    with new_shop(request, start) as stack:
        yield stack


@pytest.fixture
def redis(shop, peers):
    yield peers[0]
    if peers[0].script is not None:
        peers[0].behave()


@pytest.fixture
def postgres(shop, peers):
    yield peers[1]
    if peers[1].script is not None:
        peers[1].behave()


def redis_liar(shop, lie, only=None, lost=False):
    """A script: answers commands named in `only` (all, if None) with a lie.

    lost: the command does reach Redis, only its answer is replaced.
    """
    def script(connection):
        with socket.create_connection(
                ('127.0.0.1', shop.port('redis')), timeout=5) as real, \
                real.makefile('rb') as replies, \
                connection.makefile('rb') as commands:
            while True:
                words = read_reply(commands)
                honest = only is not None and words[0].upper() not in only
                if honest or lost:
                    real.sendall(redis_words(words))
                    reply = raw_reply(replies)
                if honest:
                    connection.sendall(reply)
                else:
                    lie(connection)
    return script


def raw_reply(stream):
    """One reply of Redis as it came."""
    line = stream.readline()
    if line[:1] == b'$' and line[1:2] != b'-':
        return line + stream.read(int(line[1:]) + 2)
    if line[:1] == b'*' and line[1:2] != b'-':
        return line + b''.join(raw_reply(stream)
                               for _ in range(int(line[1:])))
    if not line:
        raise ConnectionError('redis closed the connection')
    return line


def says(data):
    return lambda connection: connection.sendall(data)


def says_and_leaves(data):
    def lie(connection):
        connection.sendall(data)
        raise ConnectionError('left')
    return lie


def says_byte_by_byte(data):
    def lie(connection):
        for byte in data:
            connection.sendall(bytes([byte]))
    return lie


def endlessly(head, more):
    """Never ends a reply; stops when nginx has had enough."""
    def lie(connection):
        connection.sendall(head)
        while True:
            connection.sendall(more)
    return lie


def says_nothing(_):
    pass


WRITES = {b'XADD'}
READS = {b'XINFO', b'HMGET', b'HGET', b'GET', b'MGET'}

REDIS_LIES = {
    'oom': (says(b"-OOM command not allowed when used memory > "
                 b"'maxmemory'.\r\n"), WRITES, False),
    'wrong type': (says(b'-WRONGTYPE Operation against a key holding the '
                        b'wrong kind of value\r\n'), WRITES, False),
    'loading': (says(b'-LOADING Redis is loading the dataset in memory\r\n'),
                None, False),
    'no auth': (says(b'-NOAUTH Authentication required.\r\n'), None, False),
    'read only': (says(b"-READONLY You can't write against a read only "
                       b'replica.\r\n'), WRITES, False),
    'half a reply': (says_and_leaves(b'$5\r\nab'), None, False),
    'half a line': (says_and_leaves(b'+O'), WRITES, False),
    'half and hangs': (says(b'$500000\r\nab'), WRITES, False),
    'nonsense': (says(b'\x00\xff\x16\x03HTTP/1.1 400 Bad Request\r\n\r\n'),
                 None, False),
    'other type': (says(b'*2\r\n$1\r\na\r\n:-7\r\n'), WRITES, False),
    'null': (says(b'$-1\r\n'), WRITES, False),
    'huge length': (says(b'$999999999999999\r\n'), READS, False),
    'negative': (says(b'*-2\r\n$-9\r\n:99999999999999999999\r\n'), READS,
                 False),
    'huge array': (says(b'*2147483647\r\n'), READS, False),
    'deep': (says(b'*1\r\n' * 3000 + b':1\r\n'), READS, False),
    'endless line': (endlessly(b'+', b'a' * 65536), None, False),
    'endless array': (endlessly(b'*1000000000\r\n', b'$1\r\na\r\n' * 4096),
                      None, False),
    'too many answers': (says(b'+OK\r\n' * 50), None, False),
    'false ids': (says(b'$23\r\n9223372036854775807-999\r\n'), READS, False),
    'silence': (says_nothing, None, False),
    'accepted, answer lost': (says_and_leaves(b''), WRITES, True),
    'accepted, said to be refused': (says(b'-ERR no\r\n'), WRITES, True),
    'accepted, answered slowly': (says_byte_by_byte(b'$3\r\n1-0\r\n'),
                                  WRITES, True),
}
# the answer is no fault that nginx could see, or not always
QUIET = {'accepted, answered slowly', 'false ids', 'null'}


def fast_page(v, path='/'):
    """A page without a wait; its request id."""
    started = time.monotonic()
    answer, _, rid = v.get(path)
    took = time.monotonic() - started
    assert answer.status == 200
    assert took < FAST_S, f'a page took {took:.2f} s'
    return rid


def fast_pages(shop, n):
    v = Visitor(shop)
    rids = [fast_page(v) for _ in range(n)]
    v.close()
    return rids


class Answered:
    def __init__(self, rids):
        self.answered = rids


@pytest.mark.proof
# ---- Redis ------------------------------------------------------------------

@pytest.mark.parametrize('name', list(REDIS_LIES))
def test_redis_lies(shop, redis, name):
    lie, only, lost = REDIS_LIES[name]
    before = shop.counter('redis_errors')
    redis.behave(redis_liar(shop, lie, only, lost))
    rids = fast_pages(shop, 10)
    poll(lambda: redis.met >= 1, 'nginx to meet the liar')
    if name not in QUIET:
        poll(lambda: shop.counter('redis_errors') > before,
             'redis_errors to rise', 15)
    rids += fast_pages(shop, 10)
    redis.behave()
    rids += fast_pages(shop, 5)
    compare(shop, Answered(rids))
    shop.settled()


@pytest.mark.proof
def test_redis_refuses_connections_at_once(shop, redis):
    before = shop.counter('redis_errors')
    redis.behave(cut)
    rids = fast_pages(shop, 20)
    poll(lambda: shop.counter('redis_errors') > before, 'redis_errors to rise')
    redis.behave()
    compare(shop, Answered(rids))
    shop.settled()


@pytest.mark.proof
def test_redis_speaks_first(shop, redis):
    def script(connection):
        connection.sendall(b'-ERR max number of clients reached\r\n')
        while connection.recv(4096):
            pass
    redis.behave(script)
    before = shop.counter('redis_errors')
    rids = fast_pages(shop, 10)
    poll(lambda: shop.counter('redis_errors') > before, 'redis_errors to rise')
    redis.behave()
    compare(shop, Answered(rids))


@pytest.mark.proof
@pytest.mark.parametrize('limit', [1, 4, 7, 30, 200])
def test_redis_cut_off_after_some_bytes_of_its_answers(shop, redis, limit):
    before = shop.counter('redis_errors')
    redis.behave(lambda c: relay(c, redis.to, limit))
    rids = fast_pages(shop, 20)
    poll(lambda: shop.counter('redis_errors') > before,
         'redis_errors to rise')
    rids += fast_pages(shop, 20)
    redis.behave()
    compare(shop, Answered(rids))
    shop.settled()


SOME = ('oom', 'nonsense', 'accepted, answer lost', 'half a reply',
        'huge length')


def test_redis_lies_in_turn(shop, redis):
    rids = fast_pages(shop, 5)
    for name in SOME:
        before = shop.counter('redis_errors')
        redis.behave(redis_liar(shop, *REDIS_LIES[name]))
        rids += fast_pages(shop, 5)
        poll(lambda: shop.counter('redis_errors') > before,
             f'redis_errors to rise: {name}')
    assert 'crm redis' in shop.logs()['error.log']
    redis.behave()
    rids += fast_pages(shop, 5)
    compare(shop, Answered(rids))
    shop.settled()


@pytest.mark.proof
def test_redis_lies_in_turn_under_load(shop, redis):
    """A new lie every few pages, healthy moments in between."""
    with Load(shop) as load:
        for name in ('oom', 'half a reply', 'accepted, answer lost',
                     'nonsense', 'accepted, answer lost', 'huge length',
                     'loading', 'accepted, said to be refused'):
            redis.behave(redis_liar(shop, *REDIS_LIES[name]))
            load.more(25)
            redis.behave()
            load.more(10)
    assert load.failed == 0
    compare(shop, load)
    shop.settled()


@pytest.mark.proof
def test_what_redis_did_is_said_but_not_over_and_over(shop, redis):
    """All the lies above left a handful of lines, without personal data."""
    with open(shop.error_log, encoding='utf-8', errors='replace') as f:
        lines = [x for x in f if 'crm redis' in x and '[info]' not in x]
    assert lines
    assert any('events stay in the journal' in x for x in lines)
    assert any('OOM' in x or 'LOADING' in x or 'refused' in x for x in lines)
    # each worker says each kind of loss once a minute
    assert len(lines) < 60, f'{len(lines)} lines'


# ---- PostgreSQL -------------------------------------------------------------

def strangers(shop, n):
    """Visitors that PostgreSQL has to be asked about: known, not cached."""
    found = []
    for i in range(n):
        v = Visitor(shop)
        v.get('/plain.html')
        v.get(f'/login?user=S-{time.monotonic_ns()}-{i}')
        found.append(v)
    return found


def fast_strangers(shop, n):
    """Pages of visitors whose profile is asked for; none waits long."""
    rids = []
    for v in strangers(shop, n):
        rids += [fast_page(v), fast_page(v)]
        v.close()
    return rids


@pytest.fixture(scope='module')
def greeting(shop):
    """A campaign, so that pages have something to decide."""
    shop.campaign('hello', content='<p>hello</p>')
    v = Visitor(shop)
    poll(lambda: '<p>hello</p>' in v.text('/'), 'the campaign', 5)
    v.close()


def heals(shop, rids, text):
    """Every worker is connected, a new set is live, nothing is lost."""
    for worker in shop.nginx.children():
        v = shop.visitor_of(worker)
        poll(lambda: json.loads(v.text('/crm/status'))['postgres']['state']
             == 'up', f'worker {worker} to connect again', 20)
        v.close()
    shop.campaign('hello', content=text)
    v = Visitor(shop)
    poll(lambda: text in v.text('/'), 'the set after the fault', 15)
    v.close()
    compare(shop, Answered(rids))
    shop.settled()


def test_postgres_stopped(shop, postgres, greeting):
    before = shop.counter('pg_errors')
    shop.postgres.stop()
    try:
        rids = fast_strangers(shop, 10)
        v = Visitor(shop)
        assert '<p>hello</p>' in v.text('/'), 'the set before stays'
        v.close()
        poll(lambda: shop.counter('pg_errors') > before, 'pg_errors to rise')
        assert 'crm postgres' in shop.logs()['error.log']
    finally:
        shop.start_postgres()
    heals(shop, rids, '<p>back again</p>')


def test_postgres_stands_still(shop, postgres, greeting):
    """Every process of it: no answer, no end of a connection.

    A page waits for it no longer than its budget, and that is counted.
    """
    visitors = strangers(shop, 8)
    errors, spent = shop.counter('pg_errors'), shop.counter('budget_spent')
    rids = []
    with shop.frozen('postgres'):
        for v in visitors:
            rids.append(fast_page(v))
            v.close()
        poll(lambda: shop.counter('budget_spent') > spent,
             'budget_spent to rise')
        poll(lambda: shop.counter('pg_errors') > errors,
             'pg_errors to rise', 20)
        rids += fast_pages(shop, 20)
    heals(shop, rids, '<p>goes on</p>')


@pytest.mark.proof
@pytest.mark.parametrize('limit', [0, 1, 5, 9, 40, 150, 300, 400, 500, 700,
                                   1000])
def test_postgres_cut_off_after_some_bytes(shop, postgres, greeting, limit):
    """In the start-up, between rows, in the middle of a row."""
    before = shop.counter('pg_errors')
    postgres.behave(lambda c: relay(c, postgres.to, limit))
    rids = fast_strangers(shop, 5)
    poll(lambda: shop.counter('pg_errors') > before, 'pg_errors to rise', 15)
    postgres.behave()
    heals(shop, rids, f'<p>cut at {limit}</p>')


def test_postgres_cut_off_in_turn(shop, postgres, greeting):
    rids = []
    for limit in (9, 300, 500):
        before = shop.counter('pg_errors')
        postgres.behave(lambda c, n=limit: relay(c, postgres.to, n))
        rids += fast_strangers(shop, 3)
        poll(lambda: shop.counter('pg_errors') > before,
             f'pg_errors to rise: {limit} bytes', 15)
    postgres.behave()
    heals(shop, rids, '<p>whole again</p>')


PG_LIES = {
    'refuses': b'E\x00\x00\x00\x2bSFATAL\x00C53300\x00Mtoo many clients '
               b'today\x00\x00',
    'nonsense': b'\x00\xff\x16\x03HTTP/1.1 400 Bad Request\r\n\r\n',
    'huge length': b'R\x7f\xff\xff\xff',
    'negative length': b'R\xff\xff\xff\xff\x00\x00\x00\x00',
    'half': b'R\x00\x00',
    'unknown auth': b'R\x00\x00\x00\x08\x00\x00\x00\x63',
    'asks for a password': b'R\x00\x00\x00\x08\x00\x00\x00\x03',
    'silence': b'',
}


@pytest.mark.proof
@pytest.mark.parametrize('name', list(PG_LIES))
def test_postgres_lies_when_connected_to(shop, postgres, greeting, name):
    def script(connection):
        connection.recv(4096)
        connection.sendall(PG_LIES[name])
        while connection.recv(4096):
            pass
    before = shop.counter('pg_errors')
    postgres.behave(script)
    rids = fast_strangers(shop, 5)
    poll(lambda: shop.counter('pg_errors') > before, 'pg_errors to rise', 15)
    rids += fast_pages(shop, 5)
    postgres.behave()
    heals(shop, rids, f'<p>{name}</p>')


@pytest.mark.proof
def test_postgres_never_stops_talking(shop, postgres, greeting):
    """An endless row behind a good start: no memory without a bound."""
    def script(connection):
        far = socket.create_connection(('127.0.0.1', postgres.to), timeout=5)
        with far:
            seen = 0
            connection.settimeout(0.05)
            far.settimeout(0.05)
            while True:
                for one, other in ((connection, far), (far, connection)):
                    try:
                        data = one.recv(65536)
                    except TimeoutError:
                        continue
                    if not data:
                        return
                    other.sendall(data)
                    seen += len(data) if one is far else 0
                if seen > 400:
                    connection.settimeout(None)
                    connection.sendall(b'D\x7f\xff\xff\xf0\x00\x01')
                    while True:
                        connection.sendall(b'x' * 65536)
    before = {pid: memory_kb(pid) for pid in shop.nginx.children()}
    errors = shop.counter('pg_errors')
    postgres.behave(script)
    rids = fast_strangers(shop, 8)
    poll(lambda: shop.counter('pg_errors') > errors, 'pg_errors to rise', 20)
    for pid, kb in before.items():
        grown = memory_kb(pid) - kb
        assert grown < 200 * 1024, f'grew by {grown} KB'
    postgres.behave()
    heals(shop, rids, '<p>short again</p>')


def memory_kb(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1])


def test_edge_functions_that_answer_nonsense(shop, postgres, greeting):
    """The database itself is wrong: neither a profile nor a set of it."""
    rids = []
    for body in ("'{'", "'[]'", "null", "'x' || repeat('y', 3000000)",
                 "'{\"customer\":7}'", "'{\"customer\":' || "
                 "repeat('{\"a\":', 5000) || '1' || repeat('}', 5001)"):
        shop.sql('alter function edge.visitor(text, uuid, text) '
                 'rename to visitor_kept')
        shop.sql('create function edge.visitor(text, uuid, text) returns '
                 f'text language sql security definer as $$ select {body} $$')
        shop.sql('grant execute on function edge.visitor to crm_edge')
        try:
            rids += fast_strangers(shop, 3)
        finally:
            shop.sql('drop function edge.visitor(text, uuid, text)')
            shop.sql('alter function edge.visitor_kept(text, uuid, text) '
                     'rename to visitor')
    heals(shop, rids, '<p>true again</p>')


@pytest.mark.proof
def test_both_stores_away_and_back(shop, redis, postgres, greeting):
    redis.behave(cut)
    postgres.behave(cut)
    with Load(shop, path='/') as load:
        load.more(100)
        postgres.behave()
        load.more(20)
        redis.behave()
        load.more(20)
    assert load.failed == 0
    compare(shop, load)
    heals(shop, [], '<p>both</p>')


@pytest.mark.proof
def test_what_postgres_did_is_said_but_not_over_and_over(shop):
    with open(shop.error_log, encoding='utf-8', errors='replace') as f:
        lines = [x for x in f if 'crm postgres' in x and '[info]' not in x]
    assert lines
    assert len(lines) < 100, f'{len(lines)} lines'
    assert not any('S-' in x and 'user=' in x for x in lines)
