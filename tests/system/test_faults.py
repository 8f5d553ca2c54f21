"""test_faults.py - whatever dies, nothing is missing and nothing twice.

Each test browses with several visitors, breaks something meanwhile, and
compares the client's list of answered requests with the warehouse.  At most
the one page event that each killed worker was finishing may be missing.  The
outages last seconds here; "make proof" repeats them with the full minute.
"""

import os
import signal
import time

import pytest

from conftest import HTTP, Load, compare, poll

# What nginx itself says of a worker that was killed.
pytestmark = pytest.mark.allows('exited on signal 9')

# A minute at full speed is 70 MB of events, which the rings have to hold.
CONF = {'http': HTTP.replace('size=32m', 'size=128m')}

SHORT_S = 4
MINUTE_S = 60


def outage(shop, load, seconds):
    """Lets the load go on for so long; pages must keep coming."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        load.more(20, seconds=10)


@pytest.mark.parametrize('kills', [5])
def test_workers_killed(shop, kills):
    with Load(shop) as load:
        load.more(50)
        for _ in range(kills):
            before = set(shop.nginx.children())
            victim = shop.kill('worker')
            poll(lambda: len(set(shop.nginx.children()) - before) >= 1,
                 'another worker')
            load.more(30)
            assert victim not in shop.nginx.children()
    compare(shop, load, may_miss=kills)


def test_master_and_workers_killed(shop):
    for _ in range(2):
        with Load(shop) as load:
            load.more(50)
            members = shop.nginx.members()
            shop.kill('nginx')                      # the master first
            load.more(20)                           # workers go on serving
            for pid in shop.nginx.members():
                os.kill(pid, signal.SIGKILL)
            poll(lambda: not shop.nginx.members(), 'all of nginx to be gone')
            shop.start_nginx()
            load.more(30)
        compare(shop, load, may_miss=len(members))


def test_reloaded_ten_times_under_load(shop):
    with Load(shop) as load:
        load.more(30)
        for _ in range(10):
            shop.reload()
            load.more(20)
    assert load.failed == 0, 'a reload must not cost a request'
    compare(shop, load)
    poll(lambda: len(shop.nginx.children()) == shop.workers,
         'old workers to leave', 15)


def stop_redis(shop, seconds):
    """Stopped and started again; without persistence it comes back empty."""
    with Load(shop) as load:
        load.more(50)
        shop.redis.stop()
        outage(shop, load, seconds)
        shop.start_redis()
        load.more(50)
    assert shop.counter('shed') == 0, 'the ring is too small for this load'
    compare(shop, load)
    shop.settled()


def hang_redis(shop, seconds):
    with Load(shop) as load:
        load.more(50)
        shop.kill('redis', signal.SIGSTOP)
        outage(shop, load, seconds)
        shop.kill('redis', signal.SIGCONT)
        load.more(50)
    compare(shop, load)
    shop.settled()


def stop_postgres(shop, seconds):
    with Load(shop, path='/') as load:
        load.more(50)
        shop.postgres.stop()
        outage(shop, load, seconds)
        shop.start_postgres()
        load.more(50)
    compare(shop, load)
    shop.settled()


def test_redis_stopped_and_restarted_empty(shop):
    stop_redis(shop, SHORT_S)
    assert shop.counter('redis_errors') > 0


def test_redis_emptied_while_running(shop):
    with Load(shop) as load:
        load.more(100)
        shop.redis_command('FLUSHALL')
        load.more(100)
        shop.redis_command('FLUSHALL')
        load.more(50)
    compare(shop, load)
    shop.settled()


def test_redis_hangs(shop):
    hang_redis(shop, SHORT_S)


def test_postgres_stopped(shop):
    stop_postgres(shop, SHORT_S)


@pytest.mark.proof
def test_postgres_killed(shop):
    with Load(shop, path='/') as load:
        load.more(50)
        for pid in shop.postgres.members():
            os.kill(pid, signal.SIGKILL)
        shop.postgres.wait_gone()
        shop.start_postgres()
        load.more(50)
    compare(shop, load)


def test_importer_killed_again_and_again(shop):
    with Load(shop) as load:
        for _ in range(6):
            load.more(60)
            shop.kill('importer')
            shop.importer.wait_gone()
            shop.start_importer()
    compare(shop, load)
    shop.settled()


def test_everything_killed_at_once(shop):
    with Load(shop) as load:
        load.more(80)
        shop.kill('importer')
        shop.kill('redis')
        workers = len(shop.nginx.children())
        while shop.nginx.children() and workers:
            shop.kill('worker')
            workers -= 1
        shop.importer.wait_gone()
        shop.redis.wait_gone()
        shop.start_redis()
        shop.start_importer()
        load.more(80)
    compare(shop, load, may_miss=2)
    shop.settled()


@pytest.mark.proof
@pytest.mark.parametrize('fault', [stop_redis, hang_redis, stop_postgres])
def test_a_minute_without(shop, fault):
    fault(shop, MINUTE_S)
