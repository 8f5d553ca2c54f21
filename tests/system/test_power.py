"""test_power.py - a journal that is older than what its stores know.

After a power failure the end of a ring file may be missing, while Redis and
PostgreSQL have the events that were there.  New events then must not get the
numbers of those: they would be taken for old ones and dropped.
"""

import os
import shutil
import signal

from conftest import HTTP, Load, compare

CONF = {'workers': 1, 'http': HTTP}


def browse(shop, n, path='/plain.html'):
    with Load(shop, visitors=2, path=path) as load:
        load.more(n)
    return load


def set_back(shop, n=200):
    """Lets a ring grow and drain, and puts its older self in its place."""
    ring = shop.path('journal', '0.journal')
    first = browse(shop, 50)
    shop.settled()
    shop.nginx.stop()
    shutil.copyfile(ring, ring + '.old')
    shop.start_nginx()
    second = browse(shop, n)
    shop.settled()
    written = shop.crm_status()['journals'][0]['written']
    shop.nginx.stop()
    owner = os.stat(ring)
    os.replace(ring + '.old', ring)
    os.chown(ring, owner.st_uid, owner.st_gid)
    return [first, second], written


def counted(shop, loads):
    class All:
        answered = [rid for load in loads for rid in load.answered]
    compare(shop, All)
    shop.settled()


def test_numbers_that_redis_has_seen_are_not_used_again(shop):
    loads, written = set_back(shop)
    shop.start_nginx()
    loads.append(browse(shop, 50))
    counted(shop, loads)
    assert shop.crm_status()['journals'][0]['written'] > written
    assert 'is ahead of producer' in shop.logs()['error.log']
    assert shop.sql('select sum(gap) from crm.producer')[0][0] == 0


def test_events_taken_before_redis_could_be_asked_are_numbered_anew(shop):
    """More of them than were lost, and than one turn takes."""
    loads, written = set_back(shop, 400)
    pid = shop.redis.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        shop.start_nginx()
        loads.append(browse(shop, 700))
    finally:
        os.kill(pid, signal.SIGCONT)
    loads.append(browse(shop, 50))
    counted(shop, loads)
    assert shop.crm_status()['journals'][0]['written'] >= written + 750
    assert shop.counter('shed') == 0


def test_numbers_that_only_postgresql_has_seen(shop):
    """Power failed for Redis, too: the importer tells the position."""
    loads, written = set_back(shop)
    shop.redis.kill()
    shop.redis.wait_gone()
    shop.start_nginx()
    loads.append(browse(shop, 400))
    shop.start_redis()
    loads.append(browse(shop, 50))
    counted(shop, loads)
    assert shop.crm_status()['journals'][0]['written'] > written
