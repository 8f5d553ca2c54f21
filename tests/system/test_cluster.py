"""test_cluster.py - a Redis Cluster: slots move, masters die, nothing is lost.

Three masters with a replica each; nginx and the importer are told of one node.
What every client was answered is compared with the table: none is missing, and
none is there twice.
"""

import contextlib
import os
import signal
import socket

import pytest

from conftest import (HTTP, Load, Shop, compare, new_shop, poll, read_reply,
                      redis_words)
from stack import Process, account, free_port, wait_until

NODES = 6
SLOTS = 16384
NODE_TIMEOUT_MS = 1000
PATIENCE_S = 60                 # nodes elect a master late on a busy machine


class Node:
    """One redis-server of the cluster."""

    def __init__(self, shop, n):
        self.shop = shop
        self.port = free_port()
        self.bus = free_port()
        self.process = Process(shop, f'redis-{n}', account('redis'))
        self.folder = shop.own_folder(f'redis-{n}', self.process.user)

    def start(self):
        words = {'bind': '127.0.0.1', 'port': self.port, 'dir': self.folder,
                 'cluster-enabled': 'yes', 'cluster-port': self.bus,
                 'cluster-config-file': 'nodes.conf', 'daemonize': 'no',
                 'cluster-node-timeout': NODE_TIMEOUT_MS, 'save': '',
                 'cluster-replica-validity-factor': 0,
                 'repl-diskless-sync-delay': 0,
                 'repl-ping-replica-period': 1,
                 'appendonly': 'no', 'loglevel': 'warning'}
        argv = ['/usr/bin/redis-server']
        for name, value in words.items():
            argv += ['--' + name, str(value)]
        self.process.launch(argv)
        self.process.wait_ready(self.answers)

    def answers(self):
        with contextlib.suppress(OSError):
            return self.ask('PING') == b'+PONG'
        return False

    def ask(self, *words):
        with socket.create_connection(('127.0.0.1', self.port),
                                      timeout=5) as s:
            s.sendall(redis_words(words))
            with s.makefile('rb') as stream:
                return read_reply(stream)

    @property
    def id(self):
        return self.ask('CLUSTER', 'MYID').decode()

    def info(self, word):
        for line in self.ask('CLUSTER', 'INFO').decode().split('\r\n'):
            if line.startswith(word + ':'):
                return line.split(':')[1]
        raise KeyError(word)


class ClusterShop(Shop):
    """A shop whose Redis is a cluster."""

    def make_cluster_nodes(self):
        self.nodes = [Node(self, n) for n in range(NODES)]
        for node in self.nodes:
            node.start()
        masters = self.nodes[:NODES // 2]
        for n, node in enumerate(masters):
            node.ask('CLUSTER', 'SET-CONFIG-EPOCH', n + 1)
            node.ask('CLUSTER', 'ADDSLOTSRANGE', n * SLOTS // len(masters),
                     (n + 1) * SLOTS // len(masters) - 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask('CLUSTER', 'MEET', '127.0.0.1', node.port,
                              node.bus)
        wait_until(lambda: all(
            n.info('cluster_known_nodes') == str(NODES) for n in self.nodes),
            'the nodes to meet', PATIENCE_S)
        for master, node in zip(masters, self.nodes[NODES // 2:]):
            wait_until(lambda: node.ask('CLUSTER', 'REPLICATE', master.id)
                       == b'+OK', 'a replica', PATIENCE_S)
        wait_until(self.agreed, 'the nodes to agree', PATIENCE_S)

    def agreed(self):
        """Every node knows all slots, and every master has its replica."""
        return all(n.info('cluster_state') == 'ok'
                   and n.info('cluster_known_nodes') == str(NODES)
                   for n in self.nodes) and all(
            len(r) >= 4 for r in self.nodes[0].ask('CLUSTER', 'SLOTS'))

    def mine_env(self, role='crm_etl'):
        return {'CRM_PG': self.pg(role),
                'CRM_REDIS': f'cluster:127.0.0.1:{self.nodes[-1].port}'}

    def start(self):
        self.make_cluster_nodes()
        # one node only, and one that has no slot
        self.extra['CLUSTER'] = f'cluster 127.0.0.1:{self.nodes[-1].port}'
        self.start_postgres()
        self.migrate()
        self.start_nginx()
        self.start_importer()

    def stop(self):
        super().stop()
        for node in self.nodes:
            node.process.stop()

    def processes(self):
        return [p for p in super().processes() if p is not self.redis]

    # ---- what the cluster says ----------------------------------------------

    def ask_any(self, *words):
        """The answer of the first node that gives one."""
        for node in self.nodes:
            with contextlib.suppress(OSError):
                return node.ask(*words)
        raise AssertionError('no node lives')

    def slots(self):
        """[(first, last, port of the master)] as a living node has it."""
        return [(r[0], r[1], r[2][1])
                for r in self.ask_any('CLUSTER', 'SLOTS')]

    def master_of(self, key):
        slot = self.ask_any('CLUSTER', 'KEYSLOT', key)
        for first, last, port in self.slots():
            if first <= slot <= last:
                return slot, next(n for n in self.nodes if n.port == port)
        raise AssertionError(f'nobody has slot {slot}')

    def keys(self):
        """The keys that must not be lost: one per producer, and two more."""
        return ['crm:producers', 'crm:durable'] + [
            'crm:ev:' + j['producer'] for j in self.crm_status()['journals']
            if j['written'] > 0]

    def move(self, slot, source, target, between=lambda: None):
        """Moves one slot as redis-cli does it, in steps."""
        target.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id)
        source.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id)
        between()
        while True:
            keys = source.ask('CLUSTER', 'GETKEYSINSLOT', slot, 100)
            if not keys:
                break
            said = source.ask('MIGRATE', '127.0.0.1', target.port, '', 0,
                              5000, 'KEYS', *keys)
            assert said in (b'+OK', b'+NOKEY'), said
        between()
        for node in (target, source):
            assert node.ask('CLUSTER', 'SETSLOT', slot, 'NODE',
                            target.id) == b'+OK'


CONF = {'http': HTTP.replace('@REDIS@', '@CLUSTER@')}


@pytest.fixture(scope='module')
def shop(request):
    with new_shop(request, ClusterShop.start, make=ClusterShop) as stack:
        yield stack


def test_told_of_one_node_all_masters_are_found(shop, visitor):
    """The first answers are MOVED: the node told of is a replica."""
    v = visitor()
    rids = [v.get('/plain.html')[2] for _ in range(20)]
    for rid in rids[-2:]:
        shop.events(rid)
    shop.settled()
    redis = poll(lambda: shop.crm_status()['redis'], 'status')
    assert redis['state'] == 'up' and redis['masters'] == 3
    masters = {port for _, _, port in shop.slots()}

    def held():
        return {k.decode() for node in shop.nodes if node.port in masters
                for k in node.ask('KEYS', 'crm:*')}

    # what finds no connection yet is written with a later event
    poll(lambda: v.get('/plain.html') and [
        k for k in held() if k.startswith('crm:s:')],
         'live sessions to be written too')
    assert set(shop.keys()) <= held()
    assert set(rids) <= set(shop.rids())


def test_slots_move_under_load(shop):
    """Every key that counts moves to another master, while it is used."""
    before = shop.counter('redis_redirects')
    with Load(shop, visitors=3) as load:
        load.more(100)
        for key in shop.keys():
            slot, source = shop.master_of(key)
            masters = [port for _, _, port in shop.slots()
                       if port != source.port]
            target = next(n for n in shop.nodes if n.port == masters[0])
            shop.move(slot, source, target, lambda: load.more(30))
            load.more(20)
            assert shop.master_of(key)[1].port == target.port
        load.more(100)
    compare(shop, load)
    shop.settled()
    assert load.failed == 0
    assert shop.counter('redis_redirects') > before


def test_a_master_dies_and_its_replica_takes_over(shop):
    """Killed is the master of a journal's stream, then the one of positions.

    The one that was killed comes back empty, as a replica.
    """
    with Load(shop, visitors=3) as load:
        load.more(100)
        for key in (shop.keys()[2], 'crm:durable'):
            slot, master = shop.master_of(key)
            master.process.kill(signal.SIGKILL)
            load.more(100)
            poll(lambda: shop.master_of(key)[1] is not master,
                 f'a replica to take over slot {slot}', PATIENCE_S)
            load.more(100)
            master.start()
            poll(shop.agreed, 'the cluster to be whole', PATIENCE_S)
    compare(shop, load)
    shop.settled()
    assert load.failed == 0


def busiest(shop, load):
    """The stream of the worker that has most of the visitors."""
    def written():
        return {j['producer']: j['written']
                for j in shop.crm_status()['journals']}
    before = written()
    load.more(100)
    after = written()
    return 'crm:ev:' + max(
        after, key=lambda producer: after[producer] - before[producer])


def test_what_a_dead_master_alone_had_is_sent_again(shop):
    """Acknowledged, not yet with its replica: the journal still has it."""
    before = shop.counter('redis_rewinds')
    shop.importer.stop()                # or PostgreSQL would have it in time
    with Load(shop, visitors=3) as load:
        key = busiest(shop, load)
        _, master = shop.master_of(key)
        master.ask('ACL', 'SETUSER', 'default', '-psync', '-sync')
        master.ask('CLIENT', 'KILL', 'TYPE', 'replica')
        held = master.ask('XLEN', key)
        load.more(300)
        poll(lambda: master.ask('XLEN', key) > held,
             'batches that the replica does not get')
        master.process.kill(signal.SIGKILL)
        poll(lambda: shop.master_of(key)[1] is not master,
             'its replica to take over', PATIENCE_S)
        load.more(100)
        master.start()
    poll(shop.agreed, 'the cluster to be whole', PATIENCE_S)
    shop.start_importer()
    compare(shop, load)
    shop.settled()
    assert load.failed == 0
    assert shop.counter('redis_rewinds') > before


@pytest.mark.proof
def test_every_master_dies_in_turn_while_slots_move(shop):
    with Load(shop, visitors=4) as load:
        for turn in range(6):
            key = shop.keys()[turn % len(shop.keys())]
            slot, source = shop.master_of(key)
            masters = [port for _, _, port in shop.slots()
                       if port != source.port]
            target = next(n for n in shop.nodes if n.port == masters[turn % 2])
            shop.move(slot, source, target, lambda: load.more(50))
            target.process.kill(signal.SIGKILL)
            load.more(200)
            poll(lambda: shop.master_of(key)[1] is not target,
                 'a replica to take over', PATIENCE_S)
            load.more(200)
            target.start()
            poll(shop.agreed, 'the cluster to be whole', PATIENCE_S)
    compare(shop, load)
    shop.settled()


@pytest.mark.proof
def test_a_master_hangs(shop):
    """It stands still, is replaced, and wakes as one that knows nothing."""
    with Load(shop, visitors=4) as load:
        load.more(100)
        slot, master = shop.master_of(shop.keys()[2])
        os.kill(master.process.pid(), signal.SIGSTOP)
        try:
            alive = next(n for n in shop.nodes if n is not master)
            poll(lambda: all(r[2][1] != master.port
                             for r in alive.ask('CLUSTER', 'SLOTS')),
                 f'a replica to take over slot {slot}', PATIENCE_S)
            load.more(300)
        finally:
            os.kill(master.process.pid(), signal.SIGCONT)
        poll(shop.agreed, 'the cluster to be whole', PATIENCE_S)
        load.more(100)
    compare(shop, load)
    shop.settled()


@pytest.mark.proof
def test_all_of_redis_killed(shop):
    """Nobody takes over: the cluster starts again empty."""
    with Load(shop, visitors=4) as load:
        load.more(100)
        for node in shop.nodes:
            node.process.kill(signal.SIGKILL)
        load.more(200)
        for node in shop.nodes:
            node.start()
        poll(shop.agreed, 'the cluster to be whole', PATIENCE_S)
        load.more(100)
    compare(shop, load)
    shop.settled()
