"""test_link.py - a visitor crosses from one domain to another by a link."""

import json
import re

from conftest import HTTP, SERVER, Visitor, poll

TARGET = 'b.shop.example'

CONF = {'http': HTTP + 'crm_link crm_id;', 'server': SERVER + '''
        location /links/ {
            alias @RUN@/pages/;
            crm_link crm_id to=b.shop.example;
            add_header X-Link $crm_link;
        }
        location /brief/ {
            alias @RUN@/pages/;
            crm_link crm_id ttl=1s to=b.shop.example;
            add_header X-Link $crm_link;
        }
        location /elsewhere/ {
            alias @RUN@/pages/;
            crm_link crm_id to=c.shop.example;
            add_header X-Link $crm_link;
        }
        location /unlinked/ {
            alias @RUN@/pages/;
            crm_link off;
        }
'''}


def visit(shop, path, host='a.shop.example', cookie=None, **headers):
    """A browser that has only that cookie: (answer, event, its cookie)."""
    v = Visitor(shop, Host=host, **headers)
    v.cookie = cookie
    answer, _, rid = v.get(path)
    v.close()
    assert answer.status == 200
    return answer, shop.events(rid)[0], v.cookie


def start(shop, path='/links/plain.html'):
    """A visitor of the first domain, and a link for the second."""
    _, event, cookie = visit(shop, path)
    answer, _, _ = visit(shop, path, cookie=cookie)
    token = answer.headers['X-Link']
    assert re.match(r'[A-Za-z0-9_-]{72}$', token)
    return event, cookie, token


def test_the_visitor_goes_on_at_the_other_domain(shop):
    event, cookie, token = start(shop)
    before = shop.counter('links')
    answer, other, taken = visit(shop, f'/plain.html?a=1&crm_id={token}&b=2',
                                 TARGET)
    assert answer.headers['Set-Cookie'].startswith('crm=')
    assert (other['vid'], other['sid'], other['sn']) \
        == (event['vid'], event['sid'], event['sn'])
    assert shop.counter('links') == before + 1
    _, later, _ = visit(shop, '/plain.html', TARGET, cookie=taken)
    assert later['vid'] == event['vid'] and taken != cookie


def test_the_token_is_kept_nowhere(shop):
    _, _, token = start(shop)
    url = f'/plain.html?a=1&crm_id={token}'
    _, event, cookie = visit(shop, url, TARGET)
    assert event['req']['query'] == 'a=1&crm_id='
    _, event, _ = visit(shop, '/plain.html', TARGET, cookie=cookie,
                        Referer=f'https://{TARGET}{url}')
    assert event['ctx']['ref'] == \
        f'https://{TARGET}/plain.html?a=1&crm_id='
    shop.settled()
    rows = shop.sql('select to_jsonb(e)::text from crm.event e')
    assert token not in json.dumps([r[0] for r in rows])


def test_a_cookie_of_ones_own_wins(shop):
    _, _, token = start(shop)
    _, mine, cookie = visit(shop, '/plain.html', TARGET)
    answer, event, _ = visit(shop, f'/plain.html?crm_id={token}', TARGET,
                             cookie=cookie)
    assert event['vid'] == mine['vid']
    assert answer.headers['Set-Cookie'] is None


def test_a_link_works_only_at_its_host_and_for_its_time(shop):
    event, _, token = start(shop)
    other, _, elsewhere = start(shop, '/elsewhere/plain.html')
    before = shop.counter('links_bad')
    flipped = token[:20] + ('A' if token[20] != 'A' else 'B') + token[21:]
    bad = [(token, 'c.shop.example'), (token, 'a.shop.example'),
           (elsewhere, TARGET), (flipped, TARGET), (token[:-1], TARGET),
           ('x' * 5000, TARGET), ('%00' * 24, TARGET)]
    for text, host in bad:
        _, stranger, _ = visit(shop, f'/plain.html?crm_id={text}', host)
        assert stranger['vid'] not in (event['vid'], other['vid'])
        assert stranger['sn'] == 1
    assert shop.counter('links_bad') == before + len(bad)

    event, _, token = start(shop, '/brief/plain.html')

    def expired():
        _, late, _ = visit(shop, f'/plain.html?crm_id={token}', TARGET)
        return late['vid'] != event['vid']
    poll(expired, 'the link to expire', 10)


def test_where_links_are_off_none_is_taken(shop):
    event, _, token = start(shop)
    before = shop.counter('links_bad')
    _, stranger, _ = visit(shop, f'/unlinked/plain.html?crm_id={token}',
                           TARGET)
    assert stranger['vid'] != event['vid']
    assert shop.counter('links_bad') == before
