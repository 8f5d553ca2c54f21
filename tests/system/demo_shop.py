"""demo_shop.py - the demo's shop with a handful of products, on a own stack.

Used by test_funnel.py and by the browser's tests, which are no Python.
"""

import contextlib
import csv
import os
import sys
import tempfile

from conftest import Shop
from stack import PROJECT

DEMO = os.path.join(PROJECT, 'demo')
CATEGORIES = ('trousers', 'skirts', 'blouses', 'sale', 'gifts')


def write(folder, name, header, rows):
    with open(os.path.join(folder, name), 'w', newline='',
              encoding='utf-8') as f:
        csv.writer(f).writerows([header, *rows])


def write_data(folder):
    write(folder, 'products.csv', ['product_id', 'name', 'category', 'price',
                                   'currency', 'url'],
          [[f'{category[:2].upper()}{n}', f'Blue {category} {n}', category,
            f'{n + 20}.50', 'GBP', f'/p/{category[:2].upper()}{n}.html']
           for category in CATEGORIES for n in range(4)])
    write(folder, 'orders.csv', ['order_id', 'line', 'customer_id',
                                 'ordered_at'],
          [['1', '1', 'C1', '2024-01-01'], ['2', '1', 'C2', '2024-01-02']])


@contextlib.contextmanager
def demo_shop(**more):
    """A running stack that is the demo's, with its campaigns live."""
    sys.path.insert(0, DEMO)
    import shop as pages

    with tempfile.TemporaryDirectory(prefix='crm-test-') as folder:
        os.chmod(folder, 0o755)
        stack = Shop(folder, http='', server='', **more)
        stack.template = os.path.join(DEMO, 'nginx.conf')
        for name in ('data', 'shop'):
            os.makedirs(stack.path(name))
        write_data(stack.path('data'))
        pages.Shop(stack.path('data'), stack.path('shop')).build(
            stack.path('shop'))
        try:
            stack.start_postgres()
            stack.migrate()
            stack.sql("insert into crm.site (key, name, reviews_needed) "
                      "values ('demo', 'Demo', 1)")
            stack.start()
            stack.mine('campaigns', 'apply', os.path.join(DEMO, 'campaigns'),
                       '--site', 'demo', '--reviewer', 'tester')
            yield stack
        finally:
            stack.stop()
