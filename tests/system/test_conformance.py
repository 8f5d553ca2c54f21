"""test_conformance.py - the specification's cases, kept and fresh ones.

The kept file holds cases of ours that the published SDK answered; the fresh
ones are drawn and answered by it on the spot, which needs npm.
"""

import os
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
HERE = os.path.join(ROOT, 'tests/conformance')
BUILT = os.path.join(ROOT, 'build/growthbook')
SECTIONS = ('evalCondition', 'hash', 'getBucketRange', 'feature', 'run',
            'chooseVariation', 'getQueryStringOverride', 'inNamespace',
            'getEqualWeights', 'decrypt', 'stickyBucket')


@pytest.fixture(scope='module')
def conformance():
    done = subprocess.run(
        ['make', '-s', 'build/conformance'], cwd=ROOT, capture_output=True,
        text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    def run(path):
        done = subprocess.run(['build/conformance', path], cwd=ROOT,
                              capture_output=True, text=True, timeout=300)
        counts = {}
        for line in done.stdout.splitlines():
            name, _, rest = line.partition(': ')
            words = rest.split()
            if len(words) == 4 and words[1] == 'passed,':
                counts[name] = (int(words[0]), int(words[2]))
        return done, counts
    return run


def passes(done, counts, least):
    assert done.returncode == 0, done.stdout[-4000:]
    for section in SECTIONS:
        assert counts[section][0] >= least, section
        assert counts[section][1] == 0, section
    assert counts['in all'] == (
        sum(n for name, (n, _) in counts.items() if name != 'in all'), 0)


@pytest.mark.parametrize('path', [
    'tests/conformance/cases.json',
    '../shared/data/growthbook/cases-visible.json'])
def test_cases_conform(conformance, path):
    if not os.path.exists(os.path.join(ROOT, path)):
        pytest.skip('the specification is not beside the project')
    passes(*conformance(path), least=3)


def test_a_failure_is_counted_and_what_is_not_done_is_named(
        conformance, tmp_path):
    (tmp_path / 'cases.json').write_text(
        '{"specVersion":"0.8.0","getEqualWeights":[[2,[0.5,0.5]],[1,[0.9]]],'
        '"hash":[["","a",1,0.1]],"urlRedirect":[["a",{},[]]]}')
    done, counts = conformance(str(tmp_path / 'cases.json'))
    assert done.returncode == 1
    assert counts == {'getEqualWeights': (1, 1), 'hash': (0, 1),
                      'in all': (1, 2)}
    assert 'urlRedirect: left out, 1 cases' in done.stdout


def test_a_file_that_is_none_is_refused(conformance, tmp_path):
    (tmp_path / 'cases.json').write_text('[]')
    done, _ = conformance(str(tmp_path / 'cases.json'))
    assert done.returncode == 2
    assert 'must be an object of sections' in done.stderr
    done, _ = conformance(str(tmp_path / 'absent.json'))
    assert done.returncode == 2
    assert 'absent.json' in done.stderr


@pytest.mark.proof
@pytest.mark.parametrize('seed', range(1, 5))
def test_fresh_cases_conform(conformance, tmp_path, seed):
    if not os.path.exists(os.path.join(BUILT, 'node_modules')):
        os.makedirs(BUILT, exist_ok=True)
        shutil.copy(os.path.join(HERE, 'package.json'), BUILT)
        subprocess.run(['npm', 'install', '--silent', '--no-audit',
                        '--no-fund', '--ignore-scripts'],
                       cwd=BUILT, check=True, timeout=300)
    with open(tmp_path / 'fresh.json', 'w', encoding='utf-8') as out:
        subprocess.run(
            ['node', os.path.join(HERE, 'fresh.cjs'), os.path.join(
                BUILT, 'node_modules/@growthbook/growthbook'), str(seed),
             '3000'], stdout=out, check=True, timeout=300)
    passes(*conformance(str(tmp_path / 'fresh.json')), least=300)
