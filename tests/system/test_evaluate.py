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


def test_the_mustache_runner():
    done = subprocess.run(['make', '-s', 'build/mustache'], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = ['build/mustache', 'tests/conformance/mustache.json']
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout
    assert 'all: 29 passed, 0 failed, 0 left out' in done.stdout
