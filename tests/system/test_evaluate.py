"""test_evaluate.py - off-line measurements."""

import csv
import datetime
import gzip
import os
import random
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
SHARED = os.path.join(ROOT, '../shared/data')


def evaluate(*words):
    return subprocess.run(
        [os.path.join(ROOT, 'build/asan/crm-mine'), 'evaluate', *words],
        capture_output=True, text=True, timeout=60)


def values(*words):
    done = evaluate(*words)
    assert done.returncode == 0, done.stderr
    return {k: float(v) for k, v in
            (line.split() for line in done.stdout.splitlines())}


def lines(*words):
    """As values(), where a value may be text."""
    done = evaluate(*words)
    assert done.returncode == 0, done.stderr
    return dict(line.split(' ', 1) for line in done.stdout.splitlines())


def summary(seed, n):
    """Customers as BG/NBD has them: r .5, alpha 8, a 1, b 3; 40 weeks."""
    draw = random.Random(seed)
    rows = ['x,t_x,T,zbar,actual_39w']
    for _ in range(n):
        rate, leaves = draw.gammavariate(.5, 1 / 8), draw.betavariate(1, 3)
        end, at, x, last, later = 40.0, 0.0, 0, 0.0, 0
        while True:
            at += draw.expovariate(rate)
            if at > end + 39:
                break
            if at <= end:
                x, last = x + 1, at
            else:
                later += 1
            if draw.random() < leaves:
                break
        spend = draw.gammavariate(6, 5) if x else 0
        rows.append(f'{x},{last:.4f},{end},{spend:.4f},{later}')
    return '\n'.join(rows) + '\n'


def test_customer_value_finds_what_was_drawn(tmp_path):
    with gzip.open(tmp_path / 'c.csv.gz', 'wt') as f:
        f.write(summary(7, 6000))
    got = values('clv', '--summary', str(tmp_path / 'c.csv.gz'))
    assert got['customers'] == 6000
    assert got['bgnbd_r'] == pytest.approx(.5, rel=.2)
    assert got['bgnbd_alpha'] == pytest.approx(8, rel=.25)
    assert got['expected_39w'] == pytest.approx(got['actual_39w'], rel=.1)
    assert got['clv_12m_1pct'] > 0


def test_customer_value_of_cdnow():
    path = f'{SHARED}/cdnow/reference_predictions.csv'
    if not os.path.exists(path):
        pytest.skip('the real data are not beside the project')
    got = values('clv', '--summary', path)
    assert got['bgnbd_log_likelihood'] == pytest.approx(-9582.425561, abs=1e-5)
    assert got['spend_log_likelihood'] == pytest.approx(-4055.923244, abs=1e-5)
    for name in ('p_alive', 'expected_39w', 'expected_profit', 'clv_12m_1pct'):
        assert got[f'differs_{name}'] < 1e-6


@pytest.mark.parametrize('text, said', [
    ('', 'has no customer'),
    ('x,t_x\n1,2\n', ':1: no column "T"'),
    ('x,t_x,T\n', 'has no customer'),
    ('x,t_x,T\n1,nan,9\n', ':2: t_x is no number'),
    ('x,t_x,T\n1,2,9\n1,1e999,9\n', ':3: t_x is no number'),
    ('x,t_x,T\n1,2,-9\n', ':2: T is no number'),
    ('x,t_x,T\n1.5,2,9\n', ':2: x is a whole number'),
    ('x,t_x,T\n1,10,9\n', 't_x at most T'),
    ('x,t_x,T\n0,0,9\n0,0,8\n', 'nobody bought again'),
])
def test_a_bad_summary_is_refused_with_its_line(tmp_path, text, said):
    (tmp_path / 'c.csv').write_text(text)
    done = evaluate('clv', '--summary', str(tmp_path / 'c.csv'))
    assert done.returncode == 1
    assert said in done.stderr
    assert 'bgnbd_r' not in done.stdout
    assert 'Sanitizer' not in done.stderr


def counted_by_hand(baskets, least, confidence):
    """Frequent sets, and rules as (left, right): numbers and redundancy."""
    sets, level = {}, [frozenset([i]) for i in set().union(*baskets)]
    while level:
        sets.update((s, n) for s in level
                    if (n := sum(s <= b for b in baskets)) >= least)
        kept = [s for s in level if s in sets]
        level = list({a | b for a in kept for b in kept
                      if len(a | b) == len(a) + 1})
    sets[frozenset()] = len(baskets)
    best = {(s - {y}, y): n / sets[s - {y}]
            for s, n in sets.items() for y in s}
    rules = {}
    for (left, y), own in best.items():
        if left and own >= confidence:
            all_ = sets[left | {y}]
            rules[left, y] = (
                all_ / len(baskets), own,
                own * len(baskets) / sets[frozenset([y])], all_,
                any(c >= own for (less, z), c in best.items()
                    if z == y and less < left))
    return sets, rules


@pytest.mark.parametrize('form', ['lines', 'blanks', 'rows'])
def test_baskets_are_counted_as_by_hand(tmp_path, form):
    draw = random.Random(3)
    names = ['tea, green', 'a "cup"'] + [f'item {i}' for i in range(8)]
    if form == 'blanks':
        names = [str(i) for i in range(10)]
    baskets = [frozenset(n for i, n in enumerate(names)
                         if draw.random() < 2 / (i + 3)) | {names[0]}
               for _ in range(150)]
    path, out = tmp_path / 'b.csv.gz', tmp_path / 'rules.csv'
    words = ['--file', str(path), '--support', '.05', '--confidence', '.4',
             '--rules', str(out), '--all']
    with gzip.open(path, 'wt', newline='') as f:
        if form == 'rows':
            rows = [(f'b{i}', n) for i, b in enumerate(baskets) for n in b]
            draw.shuffle(rows)
            csv.writer(f).writerows([('order', 'product')] + rows)
            words += ['--basket', 'order', '--item', 'product']
        elif form == 'lines':
            csv.writer(f).writerows(sorted(b) for b in baskets)
        else:
            f.writelines('  '.join(b) + ' \n\n' for b in baskets)
    got = values('baskets', *words)
    sets, rules = counted_by_hand(baskets, 8, .4)
    assert got['baskets'] == 150
    assert got['itemsets'] == len(sets) - 1
    assert got['rules'] == len(rules)
    with open(out, newline='') as f:
        rows = list(csv.reader(f))[1:]
    assert len(rows) == len(rules)
    for left, right, support, confidence, lift, count, redundant in rows:
        want = rules[frozenset(left.split(';')), right]
        assert [float(support), float(confidence), float(lift)] \
            == pytest.approx(want[:3], abs=1e-9)
        assert (int(count), redundant == '1') == want[3:]
    assert got['rules_kept'] == sum(not r[4] for r in rules.values()) > 0


@pytest.mark.parametrize('name, support, confidence, sizes, rules', [
    ('groceries.csv', '.001', '.8', [157, 2981, 6831, 3137, 376, 10], 410),
    ('groceries.csv', '.0003', '.5',
     [166, 6246, 37848, 62293, 40850, 14802, 3711, 675, 85, 6], 311948),
    pytest.param('fimi_retail.dat.gz', '.001', '.5',
                 [2117, 3260, 1794, 382, 36], 5731, marks=pytest.mark.proof),
    pytest.param('fimi_retail.dat.gz', '.0005', '.5',
                 [3926, 8198, 5411, 1534, 170, 3], 15321,
                 marks=pytest.mark.proof)])
def test_baskets_of_the_public_sets(name, support, confidence, sizes, rules):
    path = f'{SHARED}/baskets/{name}'
    if not os.path.exists(path):
        pytest.skip('the real data are not beside the project')
    got = values('baskets', '--file', path, '--support', support,
                 '--confidence', confidence)
    assert [got[f'itemsets_{i + 1}'] for i in range(len(sizes))] == sizes
    assert got['itemsets'] == sum(sizes)
    assert got['rules'] == rules
    assert 0 < got['rules_kept'] < rules


@pytest.mark.parametrize('data, words, said', [
    (b'', (), ':1: there is no basket'),
    (b'\n\n \n', (), ':1: there is no basket'),
    (b'a,b\n\0,b\n', (), ':2: there is a NUL'),
    (b'a,b\na,"b\n', (), ':2: a quote is never closed'),
    (b'a,b\n"a"x,b\n', (), ':2: text follows a closing quote'),
    (b'a' * 9000 + b',b\n', (), ':1: an item is over 8192 bytes'),
    (b'a,b\n' + b'a,' * 600000, (), ':2: the line is over 1048576 bytes'),
    (b'o,p\n1,a\n', ('--basket', 'o', '--item', 'q'), ':1: the first line'),
    (b'o,p\n1,a\n1,\n', ('--basket', 'o', '--item', 'p'), ':3: basket or'),
    (b'o,p\n', ('--basket', 'o', '--item', 'p'), 'there is no basket'),
    pytest.param(b'\n'.join([','.join(map(str, range(40))).encode()] * 9),
                 (), 'take a --support above .1', marks=pytest.mark.proof)],
    ids=['empty', 'blank', 'nul', 'quote', 'tail', 'item', 'line', 'column',
         'cell', 'header', 'sets'])
def test_bad_baskets_are_refused_with_their_line(tmp_path, data, words, said):
    (tmp_path / 'b').write_bytes(data)
    done = evaluate('baskets', '--file', str(tmp_path / 'b'), '--support',
                    '.1', *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert 'rules' not in done.stdout
    assert 'Sanitizer' not in done.stderr


@pytest.mark.parametrize('share', ['0', '-1', '1.1', 'nan', 'x', '1e-400'])
def test_a_support_that_is_no_share_is_refused(share):
    done = evaluate('baskets', '--file', 'x', '--support', share)
    assert done.returncode == 2
    assert '--support takes a share' in done.stderr


def test_segments_that_were_drawn_are_found_and_named(tmp_path):
    draw = random.Random(5)
    middles = {'a': (2, 900), 'b': (9, 20), 'c': (30, 4000)}
    rows = [(f'{kind}"{i}', *(m * draw.gauss(1, .05) for m in middles[kind]))
            for i, kind in enumerate(draw.choices('aabc', k=900))]
    with open(tmp_path / 's.csv', 'w', newline='') as f:
        csv.writer(f).writerows([('who', 'visits', 'spend'), *rows])
    told = [lines('segments', '--file', str(tmp_path / 's.csv'), '--k', 'auto',
                  '--id', 'who', '--scale', 'log', '--seed', seed, '--out',
                  str(tmp_path / 'out.csv')) for seed in ('1', '99')]
    got = told[0]
    assert got['k'] == '3'
    assert 'low visits' in got['segment_1_name']
    assert 'low spend' in got['segment_2_name']
    assert sorted(got['segment_3_name'].split(', ')) \
        == ['very high spend', 'very high visits']
    for k in '123':
        for what in ('name', 'size', 'text'):
            assert told[1][f'segment_{k}_{what}'] == got[f'segment_{k}_{what}']
    with open(tmp_path / 'out.csv', newline='') as f:
        out = list(csv.DictReader(f))
    assert [r['id'] for r in out] == [r[0] for r in rows]
    for row in out:
        assert row['segment'] == str('abc'.index(row['id'][0]) + 1)
        shares = [float(row[f'membership_{k}']) for k in '123']
        assert sum(shares) == pytest.approx(1, abs=1e-12)
        assert shares[int(row['segment']) - 1] == max(shares)


@pytest.mark.parametrize('k, fuzziness, objective', [
    (4, None, 3962.294016), (4, '2', 2190.556507),
    *(pytest.param(*case, marks=pytest.mark.proof) for case in (
        (3, None, 4877.116144), (5, None, 3330.159487),
        (8, None, 2359.811670), (3, '2', 3044.459625),
        (4, '1.5', 3382.984229), (5, '1.5', 2790.829608)))])
def test_segments_of_online_retail(k, fuzziness, objective):
    path = f'{SHARED}/online_retail/rfm.csv'
    if not os.path.exists(path):
        pytest.skip('the real data are not beside the project')
    got = lines('segments', '--file', path, '--id', 'CustomerID', '--scale',
                'log', '--k', str(k),
                *(('--fuzziness', fuzziness, '--starts', '3') if fuzziness
                  else ()))
    assert float(got['objective']) <= objective * (1 + 1e-6)


@pytest.mark.parametrize('text, words, said', [
    ('', (), 'has no row'),
    ('a,b\n', (), 'has no row'),
    ('a,b\n1,2\n3,nan\n', (), ':3: b is no number'),
    ('a,b\n1,2\n3,\n', (), ':3: b is no number'),
    ('a,b\n1,2\n3,1e999\n', (), ':3: b is no number'),
    ('a,b\n1,2\n3\n', (), ':3: b is no number'),
    ('a,b\n1,2\n3,"4\n', (), ':3: '),
    ('a,b\n1,2\n', ('--columns', 'a,c'), 'no column "c"'),
    ('a,b\n1,2\n', ('--id', 'c'), 'no column "c"'),
    ('a\n1\n2\n', ('--id', 'a'), 'no column of numbers'),
    ('a,b\n1,2\n-3,4\n', ('--scale', 'log'), 'row 2: a is below 0'),
    ('a,b\n' + '1,2\n' * 9, (), 'fewer than 3 different rows'),
    ('a,b\n' + '1,2\n' * 9, ('--k', 'auto'), 'all rows are equal'),
    ('a,b\n1,2\n3,4\n', (), 'fewer than 3 different rows')])
def test_segments_that_cannot_be_are_refused(tmp_path, text, words, said):
    (tmp_path / 's.csv').write_text(text)
    done = evaluate('segments', '--file', str(tmp_path / 's.csv'), '--k', '3',
                    *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert 'objective' not in done.stdout
    assert 'Sanitizer' not in done.stderr


def test_what_decides_a_table_is_found(tmp_path):
    draw = random.Random(2)
    rows = [[draw.choice('abc') for _ in range(9)] for _ in range(600)]
    for row in rows:
        row.insert(3, 'yes' if row[2] == 'a' or row[7] == 'b' else 'no')
    head = [f'c{i}' for i in range(3)] + ['buys'] \
        + [f'c{i}' for i in range(3, 9)]
    with open(tmp_path / 't.csv', 'w', newline='') as f:
        csv.writer(f).writerows([head, *rows])
    got = lines('rough', '--file', str(tmp_path / 't.csv'), '--decision',
                'buys', '--holdout', '.3', '--rules', str(tmp_path / 'rules'))
    assert got['quality'] == '1.000000000'
    assert (got['reducts'], got['core']) == ('1', 'c2,c7')
    assert got['reduct_1'] == got['search_reduct'] == 'c2,c7'
    assert got['search_evaluations'] == '5000'
    assert float(got['holdout_accuracy']) == 1
    said = (tmp_path / 'rules').read_text().splitlines()
    assert len(said) == int(got['rules'])
    support = sum(r[2] == 'a' for r in rows)
    assert f'if c2 = a then buys = yes (support {support}, certainty 1)' \
        in said


@pytest.mark.parametrize('name, words, sizes, core, most', [
    ('hiring.csv', (), {2: 2}, 'Experience', 4),
    ('binary10.csv', (), {3: 2, 4: 34, 5: 2}, '', 10),
    pytest.param(
        'mushroom.csv', ('--no-header', '--decision', '1', '--holdout', '.3'),
        {4: 13, 5: 150, 6: 77, 7: 40, 8: 12}, '', 13,
        marks=pytest.mark.proof)])
def test_reducts_of_the_reference_tables(name, words, sizes, core, most):
    path = f'{SHARED}/roughset/{name}'
    if not os.path.exists(path):
        pytest.skip('the real data are not beside the project')
    got = lines('rough', '--file', path, *words)
    assert {k: int(got[f'reducts_of_{k}']) for k in sizes} == sizes
    assert int(got['reducts']) == sum(sizes.values())
    assert got['core'] == core
    assert int(got['search_size']) == min(sizes)
    assert int(got['rules']) <= most
    assert float(got.get('holdout_accuracy', 1)) == 1


@pytest.mark.parametrize('text, words, said', [
    ('', (), 'has no row'),
    ('a,b\n', (), 'has no row'),
    ('a\n1\n', (), 'a decision and at least one column more'),
    ('a,a\n1,2\n', (), 'two columns have the name "a"'),
    ('a,b\n1,2\n3\n', (), ':3: 1 fields, the first line has 2'),
    ('a,b\n1,2\n"3,4\n', (), ':3: '),
    ('a,b\n1,2\n', ('--decision', 'c'), 'no column "c"'),
    ('1,2\n', ('--no-header', '--decision', '3'), 'no column "3"')])
def test_a_table_that_decides_nothing_is_refused(tmp_path, text, words, said):
    (tmp_path / 't.csv').write_text(text)
    done = evaluate('rough', '--file', str(tmp_path / 't.csv'), *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert 'quality' not in done.stdout
    assert 'Sanitizer' not in done.stderr


def days(seed, n, level):
    """Orders of a shop that is closed on Sundays, by date."""
    draw = random.Random(seed)
    week = [1, 1.1, .9, 1, 1.4, .6, 0]
    first = datetime.date(2025, 1, 6)
    rows = ['date,value']
    for i in range(n):
        mean = level(i) * week[i % 7]
        rows.append(f'{first + datetime.timedelta(i)},'
                    f'{max(0, round(draw.gauss(mean, mean ** .5)))}')
    return rows


def test_forecast_beats_the_week_before(tmp_path):
    rows = days(4, 400, lambda i: 80 + i / 4)
    random.Random(1).shuffle(rows)  # any order, and one day in two rows
    rows.remove('date,value')
    (tmp_path / 'd.csv').write_text('\n'.join(['date,value', *rows]) + '\n')
    got = lines('forecast', '--file', str(tmp_path / 'd.csv'))
    assert (got['days'], got['held_out']) == ('400', '56')
    assert float(got['mae_ratio']) < .85
    assert .7 < float(got['inside_80']) < .95
    mean, low, high = map(float, got['day_2026-02-13'].split(','))
    assert low < mean < high
    assert 180 * 1.4 < mean * 1.1 and mean < 190 * 1.4
    assert got['day_2026-02-15'] == '0,0,0'  # a Sunday


def test_odd_days_and_changes_are_found(tmp_path):
    rows = days(9, 364, lambda i: 100 if i < 230 else 190)
    day = rows[301].split(',')[0]
    rows[301] = f'{day},600'
    (tmp_path / 'd.csv').write_text('\n'.join(rows) + '\n')
    got = lines('anomalies', '--file', str(tmp_path / 'd.csv'))
    assert got[f'alarm_{day}'].startswith('600,')
    assert float(got['alarms_per_100_days']) < 6  # the rise itself is odd
    assert float(got['found_silent']) > .98
    assert float(got['found_surge']) > .95
    assert got['changes'] == '1'
    change = next(k for k in got if k.startswith('change_'))
    apart = datetime.date.fromisoformat(change[7:]) \
        - datetime.date(2025, 1, 6)
    assert abs(apart.days - 230) <= 3


def test_noise_raises_few_alarms_and_no_change(tmp_path):
    alarms = judged = 0
    for seed in range(6):
        (tmp_path / 'd.csv').write_text(
            '\n'.join(days(seed, 364, lambda i: 60)) + '\n')
        got = lines('anomalies', '--file', str(tmp_path / 'd.csv'))
        alarms += int(got['alarms'])
        judged += int(got['judged_days'])
        assert got['changes'] == '0'
    assert alarms / judged < .02


@pytest.mark.parametrize('source, value, ratio', [
    ('online_retail', 'orders', .98), ('online_retail', 'revenue', .97),
    ('cdnow', 'orders', .85)])
@pytest.mark.proof
def test_forecast_of_real_days(tmp_path, source, value, ratio):
    path = {'online_retail': f'{SHARED}/online_retail/transactions.csv.gz',
            'cdnow': f'{SHARED}/cdnow/CDNOW_master.txt.gz'}[source]
    if not os.path.exists(path):
        pytest.skip('the real data are not beside the project')
    with gzip.open(path, 'rt') as f:
        if source == 'cdnow':
            words = [line.split() for line in f if line[1:2].isdigit()]
            rows = [(f'{w[1][:4]}-{w[1][4:6]}-{w[1][6:]}', 1) for w in words]
        else:
            kept = [r for r in csv.DictReader(f) if r['InvoiceNo'][0] not in
                    'CA' and int(r['Quantity']) > 0]
            rows = [(r['InvoiceDate'][:10],
                     int(r['Quantity']) * float(r['UnitPrice']))
                    for r in kept]
            if value == 'orders':
                rows = [(d, 1) for d, _ in {
                    (r['InvoiceDate'][:10], r['InvoiceNo']) for r in kept}]
    with open(tmp_path / 'd.csv', 'w', newline='') as f:
        csv.writer(f).writerows([('date', 'value'), *rows])
    got = lines('forecast', '--file', str(tmp_path / 'd.csv'))
    assert float(got['mae_ratio']) < ratio
    assert .7 < float(got['inside_80']) < .93
    got = lines('anomalies', '--file', str(tmp_path / 'd.csv'))
    assert float(got['alarms_per_100_days']) < 2
    assert float(got['found_silent']) > .9


@pytest.mark.parametrize('text, said', [
    ('', 'has no row'),
    ('date,value\n', 'has no row'),
    ('day,value\n', 'no column "date"'),
    ('date,value\n2025-01-01,x\n', ':2: value is no number'),
    ('date,value\n2025-01-01,inf\n', ':2: value is no number'),
    ('date,value\n2025-01-01,1\n2025-13-01,1\n', 'row 2: needs a date'),
    ('date,value\n2025-01-01,-1\n', 'row 1: needs a date'),
    ('date,value\n2025-01-01,1\n', '42 are needed'),
    ('date,value\n1971-01-01,1\n2079-01-01,1\n', 'over 20000 days')])
@pytest.mark.parametrize('task', ['forecast', 'anomalies'])
def test_days_that_cannot_be_are_refused(tmp_path, task, text, said):
    (tmp_path / 'd.csv').write_text(text)
    done = evaluate(task, '--file', str(tmp_path / 'd.csv'))
    assert done.returncode == 1
    assert said in done.stderr
    assert 'mae' not in done.stdout and 'alarms' not in done.stdout
    assert 'Sanitizer' not in done.stderr


def test_the_mustache_runner():
    done = subprocess.run(['make', '-s', 'build/mustache'], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = ['build/mustache', 'tests/conformance/mustache.json']
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout
    assert 'all: 29 passed, 0 failed, 0 left out' in done.stdout

def purchases(seed, n):
    """Daily purchases of customers, a third of the time held back."""
    draw = random.Random(seed)
    rows = ['customer,date,amount,goods,service']
    for c in range(n):
        at, rate = draw.uniform(0, 60), draw.gammavariate(.6, 1 / 35) + .001
        while at < 300:
            day = datetime.date(2023, 1, 1) + datetime.timedelta(int(at))
            rows.append(f'c{c},{day},{draw.gammavariate(6, 5):.2f},4,1')
            if draw.random() < .2:
                break
            at += draw.expovariate(rate)
    draw.shuffle(rows[1:])
    return '\n'.join(rows) + '\n'


def test_customer_value_from_purchases(tmp_path):
    f, out = tmp_path / 'p.csv', tmp_path / 'out.csv'
    f.write_text(purchases(3, 1500))
    friends = tmp_path / 'r.csv'
    friends.write_text('customer,referred_by\nc2,c1\nc3,c1\nc4,c4\n'
                       'nobody,c1\n')
    got = values('clv', '--transactions', str(f), '--cut', '2023-08-01',
                 '--referrals', str(friends), '--out', str(out))
    assert got['contribution'] == pytest.approx(
        got['revenue'] - got['cost_goods'] - got['cost_service'])
    assert got['margin'] == pytest.approx(
        got['contribution'] / got['revenue'], abs=1e-6)
    assert got['holdout_mae'] < got['holdout_mae_own_pace']
    assert got['holdout_mae'] < got['holdout_mae_mean']
    assert got['holdout_auc_buys_again'] > .6
    rows = {r['customer']: r for r in csv.DictReader(out.open())}
    assert len(rows) == got['customers']
    assert float(rows['c1']['referred']) == pytest.approx(
        float(rows['c2']['clv']) + float(rows['c3']['clv']), abs=1e-3)
    assert got['clv_referred'] == pytest.approx(
        float(rows['c1']['referred']), abs=1e-3)
    assert sum(float(r['clv']) for r in rows.values()) == pytest.approx(
        got['clv_12m_1pct'], rel=1e-4)
    half = values('clv', '--transactions', str(f), '--cut', '2023-08-01',
                  '--margin', '1', '--columns', 'goods=goods,service=goods')
    assert half['cost_service'] == half['cost_goods']


def test_rfm_of_purchases(tmp_path):
    f, out = tmp_path / 'p.txt', tmp_path / 'out.csv'
    f.write_text(' customer_id  date  dollar_value\n a 20240101  10\n'
                 '  a 20240110 5\t\n b   20240120 100.5 \n c 20240101 -3\n')
    got = values('rfm', '--transactions', str(f), '--out', str(out),
                 '--cuts', '10,20,30,40:1,2,3,4:1,50,100,1000')
    assert (got['customers'], got['rows_not_sold']) == (2, 1)
    assert out.read_text() == ('customer,recency,frequency,monetary,score\n'
                               '"a",11,2,15.00,432\n"b",1,1,100.50,524\n')
    ranks = values('rfm', '--transactions', str(f))
    assert ranks['recency_score_2'] == ranks['recency_score_4'] == 1


@pytest.mark.parametrize('text, words, says', [
    ('a,b,c\n', (), 'columns customer, date, and amount'),
    ('customer,date,amount\n', (), 'has no purchase'),
    ('', (), 'has no purchase'),
    ('customer,date,amount\nx,soon,1\n', (), ':2: date is no date'),
    ('customer,date,amount\nx,20240101,nan\n', (), ':2: amount is no number'),
    ('customer,date,amount\nx,20240101,1e99\n', (), ':2: amount is no number'),
    ('customer,date,amount\nx,20240101\n', (), ':2: amount is missing'),
    ('customer,date,amount\nx,20240101,1\n', ('--columns', 'date=when'),
     'no column "when"'),
    ('customer,date,amount\nx,20240101,1\n', ('--columns', 'colour=x'),
     'NAME=COLUMN is wanted'),
    ('customer,date,amount\nx,20240101,1\n', ('--cut', '2030-01-01'),
     'the cut lies outside'),
    ('customer,date,amount\nx,20240101,1\n', ('--margin', '2'), '--margin'),
    ('customer,date,amount\nx,20240101,1\n', (),
     'nobody bought again: nothing to learn')])
def test_purchases_that_cannot_be_are_refused(tmp_path, text, words, says):
    (tmp_path / 'p.csv').write_text(text)
    done = evaluate('clv', '--transactions', str(tmp_path / 'p.csv'), *words)
    assert done.returncode == 1 and says in done.stderr


@pytest.mark.skipif(not os.path.isdir(os.path.join(SHARED, 'cdnow')),
                    reason='shared/data/cdnow is absent')
def test_purchases_of_cdnow_give_the_published_model():
    got = values('clv', '--transactions',
                 os.path.join(SHARED, 'cdnow/CDNOW_sample.txt'), '--columns',
                 'customer=1,date=3,amount=5', '--cut', '1997-09-30')
    assert [round(got[k], 3) for k in
            ('bgnbd_r', 'bgnbd_alpha', 'bgnbd_a', 'bgnbd_b')] == [
                .243, 4.414, .793, 2.426]
    assert round(got['bgnbd_log_likelihood'], 1) == -9582.4
    assert [round(got[k], 2) for k in ('spend_p', 'spend_q', 'spend_v')] == [
        6.25, 3.74, 15.44]
    assert (got['customers'], got['holdout_actual']) == (2357, 1882)
    assert got['holdout_auc_buys_again'] > .7724


def table(seed, n):
    """Likely when few months and a complaint, never by colour."""
    draw = random.Random(seed)
    rows = ['months,complaint,colour,spent,Churn']
    for _ in range(n):
        months, complaint = draw.randrange(36), draw.random() < .3
        logit = 1 - .15 * months + 2 * complaint
        yes = draw.random() < 1 / (1 + 2.718281828 ** -logit)
        spent = '' if draw.random() < .1 else f'{draw.expovariate(.01):.2f}'
        rows.append(f'{months},{"yes" if complaint else "no"},'
                    f'{draw.choice(["red", "blue", "green"])},{spent},'
                    f'{int(yes)}')
    return '\n'.join(rows) + '\n'


def test_churn_is_learned_calibrated_and_told(tmp_path):
    (tmp_path / 't.csv').write_text(table(5, 1200))
    words = ('churn', '--data', str(tmp_path / 't.csv'), '--one-fold',
             '--out', str(tmp_path / 'doc'))
    done = evaluate(*words)
    assert done.returncode == 0, done.stderr
    got = dict(line.split(' ', 1) for line in done.stdout.splitlines())
    for model in ('network', 'trees', 'both'):
        assert float(got[model + '_auc']) > .8
        assert float(got[model + '_calibration_error']) < .12
        assert float(got[model + '_log_loss']) < .55
    assert got['driver_1'].startswith('months at most')
    assert any(got.get(f'driver_{n}', '').startswith('complaint')
               for n in range(1, 6))
    assert not any(line.startswith('colour') for line in got.values())
    assert (tmp_path / 'doc').read_text().startswith('crm-intent 1 ')
    first = (tmp_path / 'doc').read_bytes()
    again = evaluate(*words)

    def same(text):
        return [w for w in text.splitlines() if 'seconds' not in w]
    assert same(again.stdout) == same(done.stdout)
    assert (tmp_path / 'doc').read_bytes() == first


@pytest.mark.parametrize('text, words, says', [
    ('a,Churn\n', (), 'no row below its header'),
    ('a,Churn\n1,0,3\n', (), ':2: 3 columns, the header has 2'),
    ('a,b\n1,0\n', (), 'no column "Churn"'),
    ('Churn\n' + '1\n0\n' * 20, (), 'no column beside Churn'),
    ('a,Churn\n1,0\n2,0\n', (), 'the same in all rows'),
    ('a,Churn\n1,0\n2,1\n3,2\n', (), 'neither of two answers'),
    ('a,Churn\n1,0\n2,1\n', (), 'a part is too small'),
    ('a,Churn\n' + ''.join(f'x{n},{n % 2}\n' for n in range(300)), (),
     'has 300 different texts'),
    ('a,Churn\n1,0\n2,1\n', ('--split', '/dev/null'), 'no row below')])
def test_tables_that_cannot_be_are_refused(tmp_path, text, words, says):
    (tmp_path / 't.csv').write_text(text)
    done = evaluate('churn', '--data', str(tmp_path / 't.csv'), *words)
    assert done.returncode == 1 and says in done.stderr


SHOPPERS = os.path.join(SHARED, 'online_shoppers')


@pytest.mark.skipif(not os.path.isdir(SHOPPERS),
                    reason='shared/data/online_shoppers is absent')
@pytest.mark.proof
def test_intent_is_as_good_as_the_reference():
    got = values('intent', '--data',
                 os.path.join(SHOPPERS, 'online_shoppers_intention.csv.gz'),
                 '--split', os.path.join(SHOPPERS, 'split.csv'), '--texts',
                 'Month,OperatingSystems,Browser,Region,TrafficType,'
                 'VisitorType,Weekend')
    assert got['network_auc'] > .9228 and got['network_log_loss'] < .240
    assert got['network_calibration_error'] < .02
    assert got['both_auc'] > .933


CHURN = os.path.join(SHARED, 'ecommerce_churn')


@pytest.mark.skipif(not os.path.isdir(CHURN),
                    reason='shared/data/ecommerce_churn is absent')
@pytest.mark.proof
def test_churn_is_as_good_as_the_reference():
    done = evaluate('churn', '--data',
                    os.path.join(CHURN, 'ecommerce_churn.csv'), '--split',
                    os.path.join(CHURN, 'split.csv'), '--fold', 'cv5_dupsafe',
                    '--without', 'CustomerID')
    got = dict(line.split(' ', 1) for line in done.stdout.splitlines())
    assert float(got['trees_auc']) > .975
    assert float(got['trees_calibration_error']) < .02
    assert float(got['network_auc']) > .905
    assert got['driver_1'] == 'Tenure at most 1: 52 of 100, others 6'

    done = subprocess.run(['build/conformance', path], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)
    assert f'evalCondition: {conditions} passed, 0 failed' in done.stdout, \
        done.stdout
    assert done.returncode == 0


def clicks(seed, sessions, separator=','):
    """Visits that walk along a ring of 40 products, and jump at times."""
    draw = random.Random(seed)
    rows = [separator.join(('SessionId', 'ItemId', 'Time'))]
    for visit in range(sessions):
        at = draw.randrange(40)
        for n in range(draw.randrange(2, 9)):
            rows.append(separator.join(
                (f'v{visit}', f'sku-{at}', f'{1.7e9 + visit * 60 + n:.1f}')))
            at = draw.randrange(40) if draw.random() < .15 else (at + 1) % 40
    return '\n'.join(rows) + '\n'


def foretell(*words):
    done = evaluate('recommend', '--quiet', *words)
    assert done.returncode == 0, done.stderr
    return dict(line.split(' ', 1) for line in done.stdout.splitlines())


def test_recommend_learns_a_walk_and_repeats_itself(tmp_path):
    (tmp_path / 'train.csv').write_text(clicks(1, 600))
    with gzip.open(tmp_path / 'train.tsv.gz', 'wt') as f:
        f.write(clicks(1, 600, '\t'))
    (tmp_path / 'test.csv').write_text(clicks(2, 80))
    got, models = [], []
    for train in ('train.csv', 'train.tsv.gz'):
        got.append(foretell(
            '--train', str(tmp_path / train), '--test',
            str(tmp_path / 'test.csv'), '--trials', '6', '--model',
            str(tmp_path / 'model')))
        models.append((tmp_path / 'model').read_bytes())
    assert models[0] == models[1]
    assert got[0]['settings'] == got[1]['settings']
    assert got[0]['items'] == '40'
    assert int(got[0]['index_bytes']) == len(models[0])
    assert float(got[0]['recall@20']) > .9
    assert float(got[0]['mrr@20']) > .75
    popular = foretell('--train', str(tmp_path / 'train.csv'), '--test',
                       str(tmp_path / 'test.csv'), '--algo', 'popular')
    assert float(popular['mrr@20']) < .2
    for algo in ('rules', 'cooc'):
        other = foretell('--train', str(tmp_path / 'train.csv'), '--test',
                         str(tmp_path / 'test.csv'), '--algo', algo,
                         '--trials', '3')
        assert float(other['recall@20']) > .8


RSC15 = ('sample=1283,k=219,last=16,clicked=3.83177,matched=1.14669,'
         'after=3.19075,before=1.95826,back=1.08311,self=0.27111,age=10.0287,'
         'length=0.25,sharp=2,match_idf=0.561439,offer_idf=0.777071,'
         'trend=0.261908,current=17.6931,seen=0.971286,rules=0.0963231,'
         'followed=1.0689')


def rsc15(name):
    path = f'{SHARED}/rsc15-100k/{name}'
    if not os.path.exists(path):
        pytest.skip('the real data are not beside the project')
    return path


def test_recommend_keeps_its_floor():
    """What a search found on the training part, above all the references."""
    got = foretell('--train', rsc15('train_full.tsv.gz'), '--test',
                   rsc15('test.tsv'), '--settings', RSC15)
    assert got['predictions'] == '10152'
    assert float(got['recall@20']) >= .6949
    assert float(got['mrr@20']) >= .3784


@pytest.mark.proof
def test_recommend_searches_above_its_floor():
    done = subprocess.run(
        [os.path.join(ROOT, 'build/crm-mine'), 'evaluate', 'recommend',
         '--train', rsc15('train_full.tsv.gz'), '--test', rsc15('test.tsv'),
         '--quiet'], capture_output=True, text=True, timeout=600)
    got = dict(line.split(' ', 1) for line in done.stdout.splitlines())
    assert float(got['recall@20']) >= .6949
    assert float(got['mrr@20']) >= .3784


@pytest.mark.parametrize('text, said', [
    ('', 'it has no click'),
    ('session,item,time\n', 'it has no click'),
    ('a,b,c\n', ':1: the time is no number'),
    ('visitor,item,time\n1,2,3\n', ':1: no column of the session'),
    ('session,thing,time\n1,2,3\n', ':1: no column of the item'),
    ('session,item,time\n1,2\n', ':2: the row has too few fields'),
    ('session,item,time\n1,2,nan\n', ':2: the time is no number'),
    ('session,item,time\n1,2,1e300\n', ':2: the time is no number'),
    ('session,item,time\n1,,3\n', ':2: session and item have 1 to 256'),
    ('session,item,position\n1,a,1\n1,b,-4\n', ':3: the time is no number'),
    ('session,item,time\n1,"a,3\n', 'a quote is not closed'),
])
def test_recommend_refuses_what_is_no_file_of_clicks(tmp_path, text, said):
    (tmp_path / 'bad.csv').write_text(text)
    (tmp_path / 'good.csv').write_text(clicks(1, 5))
    done = evaluate('recommend', '--train', str(tmp_path / 'bad.csv'),
                    '--test', str(tmp_path / 'good.csv'))
    assert done.returncode == 1 and said in done.stderr
    assert done.stdout == ''


def test_recommend_of_sessions_without_a_second_click(tmp_path):
    (tmp_path / 'one.csv').write_text('session,item,time\n1,a,5\n')
    done = evaluate('recommend', '--train', str(tmp_path / 'one.csv'),
                    '--test', str(tmp_path / 'one.csv'))
    assert done.returncode == 1 and 'has two clicks' in done.stderr


@pytest.mark.parametrize('words, said', [
    (('--algo', 'magic'), 'no algorithm "magic"'),
    (('--settings', 'k=0,age=x'), '"age=x" is no setting'),
])
def test_recommend_refuses_options(tmp_path, words, said):
    done = evaluate('recommend', '--train', 'a', '--test', 'b', *words)
    assert done.returncode == 2 and said in done.stderr
