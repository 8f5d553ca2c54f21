#!/usr/bin/python3
"""recommend.py - recommendations on public sessions: quality, speed, bytes.

Settings are searched on the training part; the references are those of the
data folder's README, best neighbourhood method of each metric.
"""

import csv
import gzip
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, '../shared/data')

# name, train, test, more words, recall and MRR to reach, "as a page lists it"
SETS = [
    ('rsc15-100k', 'rsc15-100k/train_full.tsv.gz', 'rsc15-100k/test.tsv', (),
     .6949, .3784, ''),
    ('diginetica', 'diginetica/train.csv.gz', 'diginetica/test.csv.gz', (),
     .5299, .1884, ''),
    ('eshop2008', None, None, (), .6565, .1490, ''),
    ('serenade', 'serenade_example/train.tsv.gz', 'serenade_example/test.tsv',
     ('--no-current',), .6649, .3401, '_without_current'),
]


def eshop(folder):
    """April to June to learn from, July to foretell."""
    with gzip.open(f'{DATA}/eshop2008/eshop_apr_jul.csv.gz', 'rt') as f:
        rows = list(csv.DictReader(f))
    paths = []
    for name, wanted in (('train', lambda m: m < 7), ('test', lambda m: m > 6)):
        path = os.path.join(folder, name + '.csv')
        with open(path, 'w', encoding='ascii') as f:
            f.write('session_id,item,year,month,day,order\n')
            for row in rows:
                if wanted(int(row['month'])):
                    f.write(','.join(row[key] for key in (
                        'session_id', 'page2_clothing_model', 'year', 'month',
                        'day', 'order')) + '\n')
        paths.append(path)
    return paths


def main():
    if not os.path.isdir(DATA):
        sys.exit('recommend.py: ../shared/data is not beside the project')
    print('| set | predictions | recall@20 | reference | MRR@20 | reference | '
          'predictions/s | p50 us | p99 us | bytes per click | per session | '
          'per item | build s |')
    print('|---|' + '---|' * 12)
    with tempfile.TemporaryDirectory() as folder:
        for name, train, test, words, recall, mrr, ending in SETS:
            paths = eshop(folder) if train is None \
                else [f'{DATA}/{train}', f'{DATA}/{test}']
            done = subprocess.run(
                [f'{ROOT}/build/crm-mine', 'evaluate', 'recommend', '--quiet',
                 '--train', paths[0], '--test', paths[1], *words],
                capture_output=True, text=True, check=True)
            got = dict(x.split(' ', 1) for x in done.stdout.splitlines())
            print(f"| {name} | {got['predictions']} | "
                  f"{got['recall@20' + ending]} | {recall:.4f} | "
                  f"{got['mrr@20' + ending]} | {mrr:.4f} | "
                  f"{got['predictions_per_second']} | {got['p50_us']} | "
                  f"{got['p99_us']} | {got['bytes_per_click']} | "
                  f"{got['bytes_per_session']} | {got['bytes_per_item']} | "
                  f"{got['build_seconds']} |", flush=True)


if __name__ == '__main__':
    main()
