"""test_acl.py - one Redis that asks who is there; users with least rights.

The two ACL lines are read from docs/operations.md, so that what is documented
is what works.
"""

import os
import re
import subprocess

from conftest import HTTP, Shop, new_shop, poll
from stack import PROJECT

import pytest

NGINX_WORD = 'word of nginx/1'
MINE_WORD = 'p@ss:w/rd %2'


def acl_lines():
    """[words] of the users in the documentation."""
    with open(os.path.join(PROJECT, 'docs/operations.md'),
              encoding='utf-8') as f:
        lines = re.findall(r'^ACL SETUSER (.*)$', f.read(), re.M)
    assert [line.split()[0] for line in lines] == ['crm_nginx', 'crm_mine']
    return [line.split() for line in lines]


class GuardedShop(Shop):
    def mine_env(self, role='crm_etl'):
        word = ''.join(c if c.isalnum() else f'%{ord(c):02x}'
                       for c in MINE_WORD)
        return {'CRM_PG': self.pg(role),
                'CRM_REDIS': f'redis://crm_mine:{word}@127.0.0.1:'
                             f'{self.port("redis")}/0'}

    def start(self):
        self.start_postgres()
        self.start_redis()
        for words, secret in zip(acl_lines(), (NGINX_WORD, MINE_WORD)):
            words = ['>' + secret if w.startswith('>') else w for w in words]
            assert self.redis_ask('ACL', 'SETUSER', *words) == b'+OK', words
        self.migrate()
        self.start_nginx()
        self.start_importer()


CONF = {'http': HTTP.replace(
    'crm_redis @REDIS@;',
    f'crm_redis @REDIS@ user=crm_nginx "password={NGINX_WORD}";')}


@pytest.fixture(scope='module')
def shop(request):
    with new_shop(request, GuardedShop.start, make=GuardedShop) as stack:
        yield stack


def test_least_rights_are_enough(shop, visitor):
    """Events, sessions, positions and trims; nothing was refused."""
    v = visitor()
    rids = [v.get('/plain.html')[2] for _ in range(20)]
    shop.events(rids[-1])
    shop.settled()
    poll(lambda: shop.redis_ask('KEYS', 'crm:s:*'), 'a session')
    stream = shop.redis_ask('KEYS', 'crm:ev:*')[0]
    poll(lambda: shop.redis_ask('XLEN', stream) == 0, 'a trimmed stream')
    shop.nginx.stop()                   # a new worker reads the session
    shop.start_nginx()
    v.close()
    v.get('/')
    shop.campaign('known')
    poll(lambda: 'known' in v.text('/'), 'the campaign')
    assert shop.mine('status').returncode == 0
    log = shop.redis_ask('ACL', 'LOG')
    assert log == [], log
    assert 'NOPERM' not in ''.join(shop.logs().values())


def test_the_password_is_in_no_log(shop):
    said = ''.join(shop.logs().values())
    for word in (NGINX_WORD, MINE_WORD, 'p%40ss'):
        assert word not in said


def test_a_wrong_password_is_said_and_nothing_is_lost(shop, visitor):
    shop.redis_ask('ACL', 'SETUSER', 'crm_nginx', 'resetpass', '>other')
    shop.redis_ask('CLIENT', 'KILL', 'USER', 'crm_nginx')
    try:
        rid = visitor().get('/plain.html')[2]
        poll(lambda: 'refused AUTH' in shop.logs()['error.log'], 'a line')
    finally:
        shop.redis_ask('ACL', 'SETUSER', 'crm_nginx', 'resetpass',
                       '>' + NGINX_WORD)
    shop.events(rid)


def run_mine(shop, address):
    done = subprocess.run(
        [shop.crm_mine, '--redis', address, 'import', '--once'],
        capture_output=True, text=True, check=False,
        env={**os.environ, 'CRM_PG': shop.pg('crm_etl')})
    return done.returncode, done.stderr


@pytest.mark.parametrize('address,words', [
    ('rediss://127.0.0.1:6379', ['TLS', 'tunnel']),
    ('redis://user@127.0.0.1', ['USER:PASSWORD@']),
    ('redis://user:%zz@127.0.0.1', ['USER:PASSWORD@']),
    ('cluster:127.0.0.1:70000', ['cluster:']),
    ('127.0.0.1:1,127.0.0.1:2', ['cluster:']),
])
def test_addresses_that_crm_mine_refuses(shop, address, words):
    code, said = run_mine(shop, address)
    assert code == 2
    for word in words:
        assert word in said, said
    assert 'secret' not in said


def test_no_cluster_where_one_was_named(shop):
    code, said = run_mine(shop, f'cluster:127.0.0.1:{shop.port("redis")}')
    assert code == 1 and ('cluster' in said or 'NOAUTH' in said), said
