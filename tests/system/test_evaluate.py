"""test_evaluate.py - off-line measurements, and the specification's cases."""

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


@pytest.mark.parametrize('path, conditions', [
    ('tests/conformance/cases.json', 12),
    ('../shared/data/growthbook/cases-visible.json', 109)])
def test_conditions_conform(path, conditions):
    if not os.path.exists(os.path.join(ROOT, path)):
        pytest.skip('the specification is not beside the project')
    done = subprocess.run(
        ['make', '-s', 'build/conformance'], cwd=ROOT, capture_output=True,
        text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(['build/conformance', path], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)
    assert f'evalCondition: {conditions} passed, 0 failed' in done.stdout, \
        done.stdout
    assert done.returncode == 0


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
