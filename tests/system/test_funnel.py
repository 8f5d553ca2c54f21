"""test_funnel.py - an unchanged shop gives the whole funnel, by nginx alone.

The demo's shop is built from a handful of products and driven as a browser
would: along the links and the form of its pages, with no path made up here.
"""

import html.parser
import http.client
import os
import random
import re
import subprocess
import sys
import urllib.parse

import pytest

from conftest import poll
from demo_shop import DEMO, demo_shop

STEPS = ['Product List Viewed', 'Product Viewed', 'Product Added',
         'Cart Viewed', 'Checkout Started', 'Order Completed']


class Page(html.parser.HTMLParser):
    """Links and forms of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.forms = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'a':
            self.links.append(attrs['href'])
        elif tag == 'form':
            self.forms.append((attrs.get('method', 'get'), attrs['action'],
                               {}))
        elif tag == 'input' and self.forms and attrs.get('name'):
            self.forms[-1][2][attrs['name']] = attrs.get('value', '')

    def link(self, pattern):
        return next(x for x in self.links if re.match(pattern, x))


class Shopper:
    """A browser of little talent: a cookie, links, forms and redirects."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection('127.0.0.1', port,
                                                     timeout=20)
        self.cookie = None

    def open(self, path, method='GET', fields=None):
        headers = {'Cookie': self.cookie} if self.cookie else {}
        body = None
        if fields is not None:
            body = urllib.parse.urlencode(fields)
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        for value in answer.headers.get_all('Set-Cookie', []):
            self.cookie = value.split(';')[0]
        if answer.status == 303:
            return self.open(answer.headers['Location'])
        assert answer.status == 200, (path, answer.status)
        return Page(text)

    def buy(self, upto=len(STEPS)):
        home = self.open('/')
        walk = [lambda page: self.open(page.link(r'/c/trousers')),
                lambda page: self.open(page.link(r'/p/')),
                lambda page: self.open(page.forms[0][1], 'POST',
                                       page.forms[0][2]),
                lambda page: page,              # the redirect led to the cart
                lambda page: self.open('/checkout.html'),
                lambda page: self.open(page.link(r'/order/place'))]
        page = home
        for step in walk[:upto]:
            page = step(page)
        return page


@pytest.fixture(scope='module')
def shop():
    with demo_shop() as stack:
        yield stack


def test_the_pages_say_nothing_of_us_but_the_markers_of_slots(shop):
    for folder, _, names in os.walk(shop.path('shop', 'html')):
        for name in names:
            with open(os.path.join(folder, name), encoding='utf-8') as f:
                text = re.sub(r'<!--/?crm:slot[^>]*-->', '', f.read())
            if name.endswith('.html'):
                text = text.replace('/crm/status', '') \
                    .replace('demo shop of ngx_crm', '')
                assert 'crm' not in text.lower(), name
                assert '<script' not in text, name


def test_a_purchase_is_the_whole_funnel(shop):
    def button():
        """The campaign that has the order button is live."""
        shopper = Shopper(shop.port('nginx'))
        page = shopper.buy(5)
        return any('/order/place' in x for x in page.links)
    poll(button, 'the order button')
    shop.settled()
    shop.sql('truncate crm.event')

    buyer = Shopper(shop.port('nginx'))
    buyer.buy()
    Shopper(shop.port('nginx')).buy(upto=2)
    Shopper(shop.port('nginx')).open('/')
    shop.settled()

    rows = shop.sql("select name, props, vid from crm.event e where sid = "
                    "(select sid from crm.event where name = "
                    "'Order Completed') order by seq")
    assert [name for name, _, _ in rows] == [None, *STEPS]
    assert len({vid for _, _, vid in rows}) == 1
    props = {name: p for name, p, _ in rows}
    assert props['Product List Viewed'] == {'category': 'trousers'}
    assert props['Product Viewed'] == {
        'product_id': 'TR0', 'category': 'trousers', 'price': '20.50'}
    assert props['Product Added'] == {
        'product_id': 'TR0', 'price': '20.50', 'quantity': '1'}
    assert props['Order Completed']['total'] == '20.5'
    assert shop.sql('select sessions, product_list_viewed, product_viewed, '
                    'product_added, cart_viewed, checkout_started, '
                    "order_completed from mart.funnel where site = 'demo'") \
        == [(3, 2, 2, 1, 1, 1, 1)]
    shop.check_logs()


def test_what_failed_is_no_step(shop):
    shop.settled()
    shop.sql('truncate crm.event')
    shopper = Shopper(shop.port('nginx'))
    with pytest.raises(AssertionError, match='404'):
        shopper.open('/p/NONE.html')
    shopper.open('/')
    shop.settled()
    assert shop.sql('select name, type from crm.event order by seq') \
        == [(None, 'page'), (None, 'page')]


def test_a_replay_of_visits_arrives_event_by_event(shop):
    sys.path.insert(0, DEMO)
    import visits

    rng = random.Random(1)
    planned = [visits.plan_visit(
        rng, f'v{n}', n, 'Germany',
        [('SK1', '21.50', 'skirts'), ('TR2', '22.50', 'trousers')], [0, 9],
        'C1' if n % 2 else None) for n in range(12)]
    visits.write_visits(shop.path('data'), planned)
    done = subprocess.run(
        [os.path.join(DEMO, 'replay.py'), shop.path('data'), '--speed', '500',
         '--url', shop.url, '--pg', shop.pg()],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in STEPS:
        assert re.search(rf'{step} +[1-9][0-9]* ', done.stdout), done.stdout
