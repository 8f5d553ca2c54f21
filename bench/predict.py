#!/usr/bin/python3
"""predict.py - customer value, intent and churn beside reference programs.

    bench/predict.py [DATA]

Runs crm-mine evaluate and, in the same run, scikit-learn's models and a fit of
BG/NBD by SciPy's BFGS on the same rows; CPU seconds of one core.  DATA is the
folder of public data sets.  Without a file its table is left out.
"""

import gzip
import os
import subprocess
import sys
import time

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
    ROOT, '../shared/data')


def evaluate(*words):
    done = subprocess.run([os.path.join(ROOT, 'build/crm-mine'), 'evaluate',
                           *words], capture_output=True, text=True, check=True)
    return dict(line.split(' ', 1) for line in done.stdout.splitlines())


def timed(what):
    start = time.process_time()
    answer = what()
    return answer, time.process_time() - start


def bgnbd(x, t_x, T):
    """Minus the log-likelihood, as in the paper, without grouping."""
    def loss(p):
        r, alpha, a, b = np.exp(p)
        one = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        two = betaln(a, b + x) - betaln(a, b)
        stay = -(r + x) * np.log(alpha + T)
        leave = np.where(x > 0, np.log(a / np.maximum(b + x - 1, 1e-9))
                         - (r + x) * np.log(alpha + t_x), -np.inf)
        return -(one + two + np.logaddexp(stay, leave)).sum()
    return minimize(loss, np.log([1, 1, 1, 1]), method='BFGS')


def clv():
    path = os.path.join(DATA, 'cdnow/CDNOW_master.txt.gz')
    if not os.path.exists(path):
        return
    out = '/tmp/crm-bench-clv.csv'
    got = evaluate('clv', '--transactions', path, '--cut', '1997-09-30',
                   '--out', out)
    rows = np.genfromtxt(out, delimiter=',', skip_header=1, usecols=(1, 2, 3))
    os.unlink(out)
    fit, seconds = timed(lambda: bgnbd(*rows.T))
    ours = float(got['bgnbd_seconds'])
    print('| BG/NBD, 23,570 customers | log-likelihood | CPU s |\n|---|---|---|')
    print(f"| crm-mine | {float(got['bgnbd_log_likelihood']):.4f} |"
          f' {ours:.4f} |')
    print(f'| SciPy BFGS | {-fit.fun:.4f} | {seconds:.3f} |')
    print(f'\nSciPy / crm-mine: {seconds / ours:.0f}\n')


def columns(path, texts):
    with gzip.open(path, 'rt') as f:
        names = f.readline().strip().split(',')
        rows = [line.strip().split(',') for line in f]
    made = []
    for k, name in enumerate(names[:-1]):
        cells = [r[k] for r in rows]
        if name in texts:
            made += [np.array([c == v for c in cells], float)
                     for v in sorted(set(cells))]
        else:
            x = np.array(cells, float)
            x = np.log1p(x) if k < 9 else x
            made.append((x - x.mean()) / x.std())
    return np.column_stack(made), np.array([r[-1] == 'TRUE' for r in rows])


def intent():
    folder = os.path.join(DATA, 'online_shoppers')
    if not os.path.isdir(folder):
        return
    path = os.path.join(folder, 'online_shoppers_intention.csv.gz')
    split = os.path.join(folder, 'split.csv')
    texts = ('Month,OperatingSystems,Browser,Region,TrafficType,VisitorType,'
             'Weekend')
    got = evaluate('intent', '--data', path, '--split', split, '--texts',
                   texts)
    x, y = columns(path, texts.split(','))
    with open(split) as f:
        fold = np.array([line.split(',')[1] for line in list(f)[1:]])
    train, test = fold == 'train', fold == 'test'
    print('| online shoppers, test | AUC | training, CPU s |\n|---|---|---|')
    for name in ('network', 'trees', 'both'):
        seconds = got.get(name + '_train_seconds')
        print(f"| crm-mine, {name} | {float(got[name + '_auc']):.4f} |"
              f" {float(seconds):.2f} |" if seconds else
              f"| crm-mine, {name} | {float(got[name + '_auc']):.4f} | |")
    for name, model in (
            ('MLP 40 of scikit-learn', MLPClassifier(
                (40,), alpha=1, random_state=1, max_iter=300)),
            ('HistGradientBoosting', HistGradientBoostingClassifier(
                max_iter=150, max_leaf_nodes=15, random_state=1))):
        _, seconds = timed(lambda: model.fit(x[train], y[train]))
        auc = roc_auc_score(y[test], model.predict_proba(x[test])[:, 1])
        print(f'| {name} | {auc:.4f} | {seconds:.2f} |')
    print()


def churn():
    folder = os.path.join(DATA, 'ecommerce_churn')
    if not os.path.isdir(folder):
        return
    got = evaluate('churn', '--data',
                   os.path.join(folder, 'ecommerce_churn.csv'), '--split',
                   os.path.join(folder, 'split.csv'), '--fold', 'cv5_dupsafe',
                   '--without', 'CustomerID')
    print('| churn, 5 folds | AUC | calibration error | F1 |\n|---|---|---|---|')
    for name in ('network', 'trees', 'both'):
        print(f"| crm-mine, {name} | {float(got[name + '_auc']):.4f} |"
              f" {float(got[name + '_calibration_error']):.4f} |"
              f" {float(got[name + '_f1_chosen']):.4f} |")


os.environ['OMP_NUM_THREADS'] = '1'
clv()
intent()
churn()
