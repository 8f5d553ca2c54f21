"""test_config.py - a wrong configuration stops nginx with a sentence.

The sentence names the directive, the value and the remedy.  A small valid one
starts, and "nginx -t" touches no ring file.
"""

import os
import re
import subprocess
import tempfile

import pytest

from stack import PROJECT

MODULE = os.path.join(PROJECT, 'build/ngx_http_crm_module.so')
JOURNAL = 'crm_journal @DIR@/journal size=1m;'

CONF = '''
load_module {module};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ }}
http {{
    access_log off;
    {http}
    server {{ listen 127.0.0.1:1; {server} }}
}}
'''


def nginx_t(http, server=''):
    """(exit code, words) of nginx -t, and whether it left ring files."""
    with tempfile.TemporaryDirectory() as folder:
        def fill(text):
            return text.replace('@DIR@', folder)
        path = os.path.join(folder, 'nginx.conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(CONF.format(module=MODULE, dir=folder, http=fill(http),
                                server=fill(server)))
        done = subprocess.run(
            ['/usr/sbin/nginx', '-t', '-p', folder, '-c', path, '-e',
             os.path.join(folder, 'error.log')],
            capture_output=True, text=True, check=False)
        rings = [f for _, _, files in os.walk(folder) for f in files
                 if f.endswith(('.journal', '.keys'))]
        return done.returncode, done.stderr, rings


def test_smallest_configuration_is_valid_and_touches_nothing():
    code, words, rings = nginx_t(JOURNAL, 'crm on;')
    assert code == 0, words
    assert rings == []


WRONG = [
    (JOURNAL, 'crm on; location / { crm_collect segment; }',
     ['crm_collect', 'crm_write_key', 'add']),
    (JOURNAL, 'location / { crm_collect snowplow; }', ['crm_collect', 'crm on']),
    (JOURNAL, 'crm on; location / { crm_collect matomo; }',
     ['crm_collect', 'matomo', 'segment or snowplow']),
    (JOURNAL, 'crm on; crm_write_key a:b;', ['crm_write_key', 'site=']),
    (JOURNAL, 'crm on; crm_write_key k; crm_write_key k;',
     ['crm_write_key', 'once']),
    (JOURNAL, 'crm on; crm_write_key k site=A;', ['crm_write_key', 'site=']),
    (JOURNAL, 'crm on; crm_collect_max_body 1k;',
     ['crm_collect_max_body', '1k', '64k']),
    (JOURNAL, 'crm on; crm_collect_origin shop.example;',
     ['crm_collect_origin', 'shop.example', 'https://']),
    (JOURNAL, 'crm on; crm_consent $cookie_c;',
     ['crm_consent', 'measure=TEST']),
    (JOURNAL, 'crm on; crm_consent $cookie_c measure=tcf:25;',
     ['crm_consent', 'measure=tcf:25', 'tcf:24']),
    (JOURNAL, 'crm on; crm_consent $cookie_c measure=a,,b;',
     ['crm_consent', 'measure=a,,b']),
    (JOURNAL, 'crm on; crm_consent $cookie_c measure=a gpc=maybe;',
     ['crm_consent', 'gpc=maybe', 'gpc=off|personalize|all']),
    (JOURNAL, 'crm on; crm_anonymize ip=33/48;',
     ['crm_anonymize', 'ip=33/48', 'ip=24/48']),
    (JOURNAL, 'crm on; crm_anonymize hash=e-mail;',
     ['crm_anonymize', 'hash=e-mail']),
    (JOURNAL, 'crm on; crm_link crm-id;', ['crm_link', 'crm-id', 'crm_id']),
    (JOURNAL, 'crm on; crm_link crm_id ttl=1h;',
     ['crm_link', 'ttl=1h', '10m']),
    (JOURNAL, 'crm on; crm_link crm_id to=a/b;', ['crm_link', 'to=a/b']),
    ('', 'crm on;', ['crm_journal', 'add']),
    (JOURNAL, 'crm maybe;', ['crm', 'maybe']),
    (JOURNAL, 'crm on; crm_dry_run maybe;', ['crm_dry_run', 'maybe', '"on"']),
    (JOURNAL + JOURNAL, 'crm on;', ['crm_journal', 'is duplicate']),
    ('crm_journal @DIR@/j size=12;', 'crm on;', ['crm_journal', '12']),
    ('crm_journal @DIR@/j size=1x;', 'crm on;', ['crm_journal', '1x']),
    ('crm_journal @DIR@/j colour=red;', 'crm on;',
     ['crm_journal', 'colour=red', 'size=']),
    (JOURNAL + 'crm_zone size=8m;', 'crm on;', ['crm_zone', 'name=']),
    (JOURNAL + 'crm_zone name=crm size=1k;', 'crm on;', ['crm_zone', '1k']),
    (JOURNAL + 'crm_redis 127.0.0.1:port;', 'crm on;',
     ['crm_redis', '127.0.0.1:port']),
    (JOURNAL + 'crm_redis 127.0.0.1:6379 db=many;', 'crm on;',
     ['crm_redis', 'db=many']),
    (JOURNAL + 'crm_redis cluster;', 'crm on;', ['crm_redis', 'nodes']),
    (JOURNAL + 'crm_redis cluster 127.0.0.1:7000 db=1;', 'crm on;',
     ['crm_redis', 'db=0']),
    (JOURNAL + 'crm_redis cluster 127.0.0.1:7000 unix:/x;', 'crm on;',
     ['crm_redis', 'unix:/x', 'cluster']),
    (JOURNAL + 'crm_redis 127.0.0.1:7000 127.0.0.1:7001;', 'crm on;',
     ['crm_redis', 'db=N']),
    (JOURNAL + 'crm_postgres "host=127.0.0.1 colour=red";', 'crm on;',
     ['crm_postgres', 'colour']),
    (JOURNAL + 'crm_postgres "host=db.example dbname=crm";', 'crm on;',
     ['crm_postgres', 'db.example', 'address']),
    (JOURNAL + 'crm_cookie_keys @DIR@/none;', 'crm on;',
     ['crm_cookie_keys', 'none']),
    (JOURNAL, 'crm on; crm_cookie "a b";', ['crm_cookie', 'a b']),
    (JOURNAL, 'crm on; crm_cookie crm samesite=maybe;',
     ['crm_cookie', 'samesite=maybe', 'lax']),
    (JOURNAL, 'crm on; crm_session_timeout 5x;',
     ['crm_session_timeout', '5x', '30m']),
    (JOURNAL, 'crm on; crm_session_timeout 900d;',
     ['crm_session_timeout', '900d']),
    (JOURNAL, 'crm on; crm_budget 1h;', ['crm_budget', '1h']),
    (JOURNAL, 'crm on; crm_slot maybe;', ['crm_slot', 'maybe', 'markers']),
    (JOURNAL, 'crm on; crm_slot hero beside "x";',
     ['crm_slot', 'beside', 'before', 'replace']),
    (JOURNAL, 'crm on; crm_slot "he ro" before "x";',
     ['crm_slot', 'he ro', 'letters']),
    (JOURNAL, 'crm on; crm_slot hero before "";', ['crm_slot', 'is empty']),
    (JOURNAL, f'crm on; crm_slot hero before "{"x" * 256}";',
     ['crm_slot', '255 bytes']),
    (JOURNAL, 'crm on; crm_slot hero before "<!--";',
     ['crm_slot', '<!--', 'marker']),
    (JOURNAL, 'crm on; crm_slot a after "<b>x"; crm_slot b before "<b>";',
     ['crm_slot', '<b>', 'in another text']),
    (JOURNAL, 'crm on; crm_slot off; crm_slot a before "x";',
     ['crm_slot', 'off', 'remove']),
    (JOURNAL, 'crm on; crm_slot a before "x"; crm_slot off;',
     ['crm_slot', 'off', 'remove']),
    (JOURNAL, 'crm on; ' + ''.join(
        f'crm_slot a before "text {n:02};";' for n in range(17)),
     ['crm_slot', '16 texts']),
    (JOURNAL, 'crm on; crm_site "Big Shop";', ['crm_site', 'Big Shop']),
    (JOURNAL, 'crm on; crm_event "Product Viewed" product_id;',
     ['crm_event', 'product_id', '=']),
    (JOURNAL, 'crm on; crm_event "Product Viewed" 1id=x;',
     ['crm_event', '1id']),
    (JOURNAL, 'crm on; crm_extract item form item;',
     ['crm_extract', 'item', '$variable']),
    (JOURNAL, 'crm on; crm_extract $uri form item;', ['uri']),
    (JOURNAL, 'crm on; crm_extract $crm_visitor form item;',
     ['crm_visitor']),
    (JOURNAL, 'crm on; crm_extract $a xml item;',
     ['crm_extract', 'xml item', 'form FIELD']),
    (JOURNAL, 'crm on; crm_extract $a json cart..total;',
     ['crm_extract', 'cart..total', 'cart.items[0].id']),
    (JOURNAL, 'crm on; crm_extract $a form b; crm_extract $a form c;',
     ['crm_extract', 'is duplicate']),
    (JOURNAL, 'crm on; crm_extract_max 2m;', ['crm_extract_max', '2m', '64k']),
    (JOURNAL, 'crm on; crm_capture some;', ['crm_capture', 'some', 'html']),
    (JOURNAL + 'crm_campaigns @DIR@/none.json;', 'crm on;',
     ['crm_campaigns', 'none.json']),
]


@pytest.mark.parametrize('http,server,words', WRONG)
def test_wrong_configuration_names_directive_value_and_remedy(
        http, server, words):
    code, said, _ = nginx_t(http, server)
    assert code != 0, 'nginx took it'
    lines = [x for x in said.splitlines() if '[emerg]' in x]
    assert len(lines) == 1, said
    for word in words:
        assert word in lines[0], lines[0]
    assert re.search(r'nginx\.conf:\d+$', lines[0]) or 'add' in lines[0]


def test_wrong_key_file_names_the_line():
    with tempfile.NamedTemporaryFile('w', suffix='.keys') as f:
        f.write('# fine\n1 ' + '00' * 32 + '\n2 nonsense\n')
        f.flush()
        code, said, _ = nginx_t(JOURNAL + f'crm_cookie_keys {f.name};',
                                'crm on;')
    assert code != 0
    assert 'crm_cookie_keys' in said and 'line 3' in said
    assert 'nonsense' not in said, 'a key must never reach a log'
