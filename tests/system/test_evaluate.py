"""test_evaluate.py - off-line measurements, and the specification's cases."""

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
