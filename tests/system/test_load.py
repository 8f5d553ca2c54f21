"""test_load.py - files into the warehouse: in = kept + rejected, always.

Each row that is refused has its line and its reason, in crm.reject and in the
file of --rejects, and costs no other row.
"""

import csv
import gzip
import re
import subprocess

import pytest

from conftest import Shop, new_shop

CUSTOMERS = ('customer_id,name,email,country,registered_at\n'
             'C1,Ann,ann@shop.example,United Kingdom,2024-03-01\n'
             'C2,"Bob, the ""builder""",,Germany,2024-03-02T10:00:00Z\n'
             'C3,,,,\n')
PRODUCTS = ('price,product_id,name,category,currency,url\n'
            '12.50,P1,Trousers,clothes,EUR,/p/P1.html\n'
            '0,P2,"Sample\nof two lines",,,\n'
            '1000000,P3,日本語 🛒,a/b,USD,\n')
ORDERS = ('order_id,line,customer_id,ordered_at,product_id,quantity,price,'
          'currency,country\n'
          'O1,1,C1,2024-04-01 12:00,P1,2,12.50,EUR,United Kingdom\n'
          'O1,2,C1,2024-04-01 12:00,P2,1,0,EUR,United Kingdom\n'
          'O2,1,C9,2024-04-02,P9,-1,3.25,EUR,France\n')
CLICKS = ('session_id,clicked_at,product_id,visitor_id,category,price,country\n'
          'S1,2024-05-01 10:00:00,P1,V1,clothes,12.50,Poland\n'
          'S1,2024-05-01 10:00:30,P2,V1,,,Poland\n'
          'S2,2024-05-02 11:00:00.250,P1,,,,\n')
GOOD = {'customers': CUSTOMERS, 'products': PRODUCTS, 'orders': ORDERS,
        'clicks': CLICKS}
TABLES = {'customers': ['crm.customer'], 'products': ['crm.product'],
          'orders': ['crm."order"', 'crm.order_line'],
          'clicks': ['crm.event']}


@pytest.fixture(scope='module')
def shop(request):
    """PostgreSQL alone: loading needs nothing else."""
    def start(stack):
        Shop.start_postgres(stack)
        stack.migrate()
    with new_shop(request, start) as stack:
        yield stack


class Loaded:
    """What one `crm-mine load` said, and what it left behind."""

    def __init__(self, shop, kind, content, name='file.csv', **more):
        data = content.encode() if isinstance(content, str) else content
        self.path = shop.path(name)
        with open(self.path, 'wb') as f:
            f.write(data)
        rejects = shop.path('rejects.csv')
        done = shop.mine('load', kind, self.path, '--site', 'shop',
                         '--rejects', rejects, check=False, **more)
        self.code, self.said = done.returncode, done.stdout
        counts = re.search(r'^in (\d+) = kept (\d+) \+ rejected (\d+)',
                           self.said, re.M)
        if counts is None:
            return
        self.rows, self.kept, self.rejected = map(int, counts.groups())
        assert self.rows == self.kept + self.rejected

        # the same in the table of batches, of rejects, and in the file
        batch, *row = shop.sql(
            'select id, state, rows_in, kept, rejected from crm.load_batch '
            'order by id desc limit 1')[0]
        assert row == ['done', self.rows, self.kept, self.rejected]
        self.reasons = dict(shop.sql(
            'select line, reason from crm.reject where batch = %s', batch))
        assert len(self.reasons) == self.rejected
        with open(rejects, encoding='utf-8', errors='replace',
                  newline='') as f:
            lines = list(csv.reader(x.replace('\0', '?') for x in f))
        assert lines[0] == ['line', 'reason', 'row']
        assert {int(x[0]): x[1] for x in lines[1:]} == self.reasons


def snapshot(shop, kind):
    """Everything a kind of file fills, the system columns included."""
    return [shop.sql(f'select t.xmin::text, t.ctid::text, t::text from {table} '
                     'as t order by 3') for table in TABLES[kind]]


@pytest.mark.parametrize('kind', list(GOOD))
def test_a_good_file_is_kept_and_loading_it_again_changes_nothing(shop, kind):
    done = Loaded(shop, kind, GOOD[kind])
    assert (done.code, done.rows, done.kept) == (0, 3, 3), done.said
    before = snapshot(shop, kind)
    assert before[0]
    again = Loaded(shop, kind, GOOD[kind])
    assert (again.code, again.kept) == (0, 3)
    assert snapshot(shop, kind) == before


def test_values_arrive_as_they_stand_in_the_file(shop):
    for kind in ('customers', 'products', 'orders', 'clicks'):
        Loaded(shop, kind, GOOD[kind])
    assert shop.sql("select name, country from crm.customer "
                    "where customer_id = 'C2'") \
        == [('Bob, the "builder"', 'Germany')]
    assert shop.sql("select name, price from crm.product where product_id "
                    "in ('P2', 'P3') order by product_id") \
        == [('Sample\nof two lines', 0), ('日本語 🛒', 1000000)]
    # one that is not loaded yet is made bare
    assert shop.sql("select customer_id, name from crm.customer "
                    "where customer_id = 'C9'") == [('C9', None)]
    assert shop.sql("select product_id from crm.product "
                    "where product_id = 'P9'") == [('P9',)]
    assert shop.sql('select order_id, total from crm."order" '
                    'order by 1') == [('O1', 25), ('O2', -3.25)]
    rows = shop.sql("select src, name, seq, props->>'product_id', sid::text, "
                    "vid::text, extract(epoch from rts)::float8 "
                    "from crm.event where src = 'import' order by rts")
    assert [r[:4] for r in rows] \
        == [('import', 'Product Viewed', 1, 'P1'),
            ('import', 'Product Viewed', 2, 'P2'),
            ('import', 'Product Viewed', 1, 'P1')]
    assert rows[0][4] == rows[1][4] != rows[2][4]
    assert rows[0][5] == rows[1][5] != rows[2][5]
    assert rows[2][6] == 1714647600.25


def test_a_second_file_changes_what_it_says_and_leaves_the_rest(shop):
    Loaded(shop, 'customers', CUSTOMERS)
    Loaded(shop, 'customers', 'customer_id,country\nC1,Ireland\nC2,\n')
    assert shop.sql("select name, country from crm.customer where "
                    "customer_id in ('C1', 'C2') order by customer_id") \
        == [('Ann', 'Ireland'), ('Bob, the "builder"', 'Germany')]


@pytest.mark.parametrize('kind,header,words', [
    ('customers', 'name,email', ['customer_id', 'missing']),
    ('customers', 'customer_id,colour', ['colour', 'unknown', 'country']),
    ('customers', 'customer_id,customer_id', ['customer_id', 'twice']),
    ('customers', 'Customer_ID', ['Customer_ID', 'unknown']),
    ('orders', 'order_id,line,customer_id,ordered_at,product_id,quantity',
     ['price', 'missing']),
    ('clicks', 'session_id,product_id', ['clicked_at', 'missing']),
    ('products', '"product_id', ['quote']),
    ('products', 'product_id;name', ['product_id;name', 'unknown']),
    ('products', 'x' * 100000, ['64 KB'])],
    ids=lambda value: str(value)[:20])
def test_wrong_columns_name_the_column_and_keep_nothing(
        shop, kind, header, words):
    before = snapshot(shop, kind)
    done = Loaded(shop, kind, header + '\n' + 'a,b\n')
    assert done.code == 1
    for word in words:
        assert word in done.said, done.said
    assert snapshot(shop, kind) == before


def test_an_empty_file_is_an_error_that_says_so(shop):
    for content in ('', '\n\n', '\ufeff'):
        done = Loaded(shop, 'customers', content)
        assert done.code == 1 and 'is empty' in done.said, done.said


def test_a_header_alone_is_no_error(shop):
    done = Loaded(shop, 'customers', 'customer_id')
    assert (done.code, done.rows) == (0, 0)


BROKEN = [                                  # one bad row and its reason
    (b'"C5" x,n', 'closing quote'),
    (b'C5,n"x', 'quote stands inside'),
    (b'"C5,never closed', 'quote'),
    (b'C5', '1 fields, the header 2'),
    (b'C5,a,b', '3 fields, the header 2'),
    (b'C5,a,' + b',' * 70, 'more than 64 fields'),
    (b'C5,a\0b', 'NUL'),
    (b'"C5","a\0b"', 'NUL'),
    (b'C5,\xc3\x28', 'UTF-8'),
    (b'C5,\xed\xa0\x80', 'UTF-8'),
    (b'C5,\xff\xfe', 'UTF-8'),
    (b'C\x015,n', 'control'),
    (b'"C\n5",n', 'control'),
    (b'C5\x7f,n', 'control'),
    (b'C' * 65 + b',n', '64 bytes'),
    (b',n', 'customer_id is empty'),
    (b'C5,' + b'n' * 8193, '8 KB'),
    (b'C5,' + b'n' * 1001, 'too long'),
    (b'C5,' + b'n' * 1048576, '64 KB'),
    (b'C5,"' + b'n' * 1048576 + b'"', '64 KB'),
    (b'C5,a\rb', 'carriage return'),
]


@pytest.mark.parametrize('row,reason', BROKEN,
                         ids=[b[0][:12].hex() + '-' + b[1].replace(' ', '_')
                              for b in BROKEN])
def test_a_broken_row_costs_only_itself(shop, row, reason):
    shop.sql("delete from crm.customer where customer_id like 'G%'")
    done = Loaded(shop, 'customers',
                  b'customer_id,name\nG1,one\n' + row + b'\nG2,two\nG3,"3"\n')
    assert done.code == 0, done.said
    assert (done.rows, done.kept, done.rejected) == (4, 3, 1), done.said
    assert list(done.reasons) == [3]
    assert reason in done.reasons[3]
    assert 'line 3 rejected: ' in done.said
    assert shop.sql("select customer_id, name from crm.customer "
                    "where customer_id like 'G%%' order by 1") \
        == [('G1', 'one'), ('G2', 'two'), ('G3', '3')]


def test_every_broken_row_in_one_file(shop):
    shop.sql("delete from crm.customer where customer_id like 'G%'")
    content = b'customer_id,name\n'
    expected = set()
    line = 2
    for n, (row, _) in enumerate(BROKEN):
        content += row + b'\n' + b'G%d,fine\n' % n
        expected.add(line)
        line += row.count(b'\n') + 2
    done = Loaded(shop, 'customers', content)
    assert done.code == 0, done.said
    assert (done.kept, done.rejected) == (len(BROKEN), len(BROKEN))
    assert set(done.reasons) == expected
    assert 'more rows are rejected' in done.said


def test_line_numbers_count_the_lines_inside_quotes(shop):
    done = Loaded(shop, 'customers',
                  'customer_id,name\r\n\r\nG1,"a\r\nb\nc"\r\n,x\r\n'
                  'G2,"d\n"\n\n\n,y\nG3,z')
    assert (done.rows, done.rejected) == (5, 2)
    assert set(done.reasons) == {6, 11}


ORDER = 'order_id,line,customer_id,ordered_at,product_id,quantity,price\n'


@pytest.mark.parametrize('column,values', [
    ('quantity', ['0', '-0', '', '1.5', '1e3', '+1', ' 1', '0x10', 'NaN',
                  '1000001', '-1000001', '99999999999999999999', '--1', '-']),
    ('price', ['-1', '-0.01', '', '1e6', 'NaN', 'inf', '1,5', '1000000.01',
               '1000001', '.5', '5.', '1.1234567', '9' * 400, ' 1', '+1',
               '$5']),
    ('ordered_at', ['', '1989-12-31', '2999-01-01', '2024-02-30',
                    '2023-02-29', '2024-13-01', '2024-1-1', '1712000000',
                    '2024-04-01 24:00', '2024-04-01 12:60', 'yesterday',
                    '2024-04-01T12:00:00+99:00', '2024-04-01 12',
                    '01/04/2024', '2024-04-01x']),
    ('line', ['-1', '', '1.5', 'one', '99999999999']),
    ('customer_id', ['', 'x' * 65, 'a\tb', '\x7f']),
])
def test_absurd_values_are_refused_with_the_column(shop, column, values):
    good = {'order_id': 'A1', 'line': '1', 'customer_id': 'C1',
            'ordered_at': '2024-04-01', 'product_id': 'P1', 'quantity': '1',
            'price': '1'}
    rows = [good] + [{**good, column: v} for v in values] + [good]
    done = Loaded(shop, 'orders', ORDER + ''.join(
        ','.join('"%s"' % v for v in row.values()) + '\n' for row in rows))
    assert done.code == 0, done.said
    assert (done.kept, done.rejected) == (2, len(values)), done.reasons
    assert set(done.reasons) == set(range(3, 3 + len(values)))
    for reason in done.reasons.values():
        assert reason.startswith(column + ' '), reason


def test_values_at_the_edges_are_kept(shop):
    done = Loaded(shop, 'orders', ORDER + ''.join(
        f'E{n},{line},C1,{at},P1,{quantity},{price}\n'
        for n, (line, at, quantity, price) in enumerate([
            (0, '1990-01-01', -1000000, 0),
            (1000000, '2024-02-29T23:59:59.999999Z', 1000000, 1000000),
            (1, '2024-04-01T12:00:00+05:30', 1, '0.000001'),
            (7, '2024-04-01 12:00:01', -1, '1000000.000000')])))
    assert (done.kept, done.rejected) == (4, 0), done.reasons


@pytest.mark.parametrize('kind', list(GOOD))
@pytest.mark.parametrize('form', ['crlf', 'bom', 'gz', 'no line feed', '-'])
def test_other_forms_of_the_same_file_say_the_same(shop, kind, form):
    Loaded(shop, kind, GOOD[kind])
    before = snapshot(shop, kind)
    text = GOOD[kind]
    if form == 'crlf':
        # a line feed inside quotes belongs to the value
        text = re.sub(r'(?<!Sample)\n', '\r\n', text)
    elif form == 'no line feed':
        text = text[:-1]
    data = text.encode()
    if form == 'bom':
        data = b'\xef\xbb\xbf' + data
    elif form == 'gz':
        data = gzip.compress(data)
    if form == '-':
        done = subprocess.run(
            [shop.crm_mine, 'load', kind, '-', '--site', 'shop'], input=data,
            capture_output=True, env=shop.mine_env(), check=False)
        assert done.returncode == 0, done.stderr
        assert b'in 3 = kept 3 + rejected 0' in done.stdout
    else:
        done = Loaded(shop, kind, data,
                      name='file.csv.gz' if form == 'gz' else 'file.csv')
        assert (done.code, done.kept) == (0, 3), done.said
    assert snapshot(shop, kind) == before


@pytest.mark.parametrize('cut', [5, 30, -9, -1])
def test_a_gz_cut_short_keeps_nothing(shop, cut):
    before = snapshot(shop, 'customers')
    done = Loaded(shop, 'customers', gzip.compress(
        CUSTOMERS.replace('C', 'Z').encode())[:cut], name='file.csv.gz')
    assert done.code == 1, done.said
    assert 'cut short or damaged' in done.said or 'cannot be read' \
        in done.said or 'is empty' in done.said
    assert snapshot(shop, 'customers') == before


def test_wrong_calls_say_how_to_call(shop):
    shop.page('f.csv', CUSTOMERS)
    path = shop.path('pages', 'f.csv')
    for words, part in (
            (['load', 'shoes', path, '--site', 'shop'], 'customers|products'),
            (['load', 'customers', path], '--site'),
            (['load', 'customers', '--site', 'shop'], 'FILE'),
            (['load', 'customers', path, '--site', 'shop', '--fast'],
             '--fast'),
            (['load', 'customers', path, '--site', 'nobody'], 'nobody'),
            (['load', 'customers', path + 'x', '--site', 'shop'],
             'No such file'),
            (['load', 'customers', shop.path('pages'), '--site', 'shop'],
             'directory')):
        done = shop.mine(*words, check=False)
        assert done.returncode in (1, 2), words
        assert part in done.stdout, done.stdout


def test_fifty_thousand_clicks_twice(shop):
    """Over the size of one part: several commits, and the same ids again."""
    rows = ['session_id,clicked_at,product_id']
    for n in range(50000):
        rows.append(f's{n // 5},2024-06-{n % 28 + 1:02} 10:00:00,P{n % 100}')
    content = '\n'.join(rows) + '\n'
    done = Loaded(shop, 'clicks', content)
    assert (done.code, done.kept) == (0, 50000), done.said
    assert '(50000 new)' in done.said
    again = Loaded(shop, 'clicks', content)
    assert '(0 new)' in again.said, again.said
    assert shop.sql("select count(*) from crm.event where rts >= '2024-06-01'"
                    " and rts < '2024-07-01'") == [(50000,)]
