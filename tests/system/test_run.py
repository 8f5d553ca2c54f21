"""test_run.py - runs as a product: records, going back, being killed; and what
is learned in C from the warehouse."""

import datetime
import random
import subprocess

import pytest

from conftest import Shop, new_shop, poll

FIRST = datetime.datetime(2023, 1, 1, 12)


def orders(seed, n, days):
    """Customers as BG/NBD has them, in weeks: r .6, alpha 5, a 1, b 3."""
    draw = random.Random(seed)
    rows = ['order_id,line,customer_id,ordered_at,product_id,quantity,price']
    for c in range(n):
        rate, leaves = draw.gammavariate(.6, 1 / 5), draw.betavariate(1, 3)
        at, spend = draw.uniform(0, 60), draw.gammavariate(6, 5) + 1
        while at < days:
            when = FIRST + datetime.timedelta(days=at)
            rows.append(f'O{len(rows)},1,C{c},{when:%Y-%m-%d %H:%M},P1,1,'
                        f'{draw.gammavariate(6, spend / 6) + .01:.2f}')
            if draw.random() < leaves:
                break
            at += 7 * draw.expovariate(rate) + 1
    return '\n'.join(rows) + '\n'


@pytest.fixture(scope='module')
def shop(request):
    """PostgreSQL alone, with the orders of 300 customers in 500 days."""
    def start(stack):
        Shop.start_postgres(stack)
        stack.migrate()
        stack.sql("select etl.site_set('shop', 'Shop'),"
                  " etl.site_set('new', 'New')")
        with open(stack.path('orders.csv'), 'w') as f:
            f.write(orders(11, 300, 500))
        stack.mine('load', 'orders', stack.path('orders.csv'), '--site',
                   'shop')
    with new_shop(request, start) as stack:
        yield stack


def profiles(shop):
    return shop.sql("select md5(string_agg(customer_id || attributes::text,"
                    " ',' order by customer_id)) from crm.profile"
                    " where site = 'shop'")[0][0]


def last(shop, columns):
    return shop.sql(f'select {columns} from crm.run order by id desc'
                    ' limit 1')[0]


def test_a_run_learns_and_says_what_it_learned(shop):
    said = shop.mine('run', 'clv', '--site', 'shop', '--as-of', '2024-05-01')
    assert 'customers, worth' in said.stdout
    state, problem, data, quality, drivers, due, parts, rows = last(
        shop, 'state, problem, data, quality, drivers, due_at, parts, rows_out')
    assert (state, parts) == ('published', ['clv'])
    assert 'buy again' in problem and data['to'].startswith('2024-05-01')
    assert rows == 300 and due.date().isoformat() == '2024-07-31'
    assert quality['held_mae'] < quality['held_mae_own_pace']
    assert quality['held_expected'] == pytest.approx(
        quality['held_actual'], rel=.5)
    assert len(drivers) == 4 and 'leave for good' in drivers[1]
    worth = shop.sql("select attributes->'clv' from crm.profile"
                     " where customer_id = 'C7'")[0][0]
    assert set(worth) == {'alive', 'purchases_13w', 'spend', 'value_52w'}
    assert 0 < worth['alive'] <= 1 and worth['value_52w'] > 0


def test_the_same_data_give_the_same_bytes(shop):
    words = ('run', 'clv', '--site', 'shop', '--as-of', '2024-05-01',
             '--seed', '9')
    shop.mine(*words)
    before, quality = profiles(shop), last(shop, 'quality')
    shop.mine(*words)
    assert (profiles(shop), last(shop, 'quality')) == (before, quality)
    shop.mine(*words, '--params', '{"margin": 0.5}')
    assert profiles(shop) != before
    assert last(shop, "params->>'margin', seed") == ('0.5', 9)


def test_going_back_brings_the_run_before(shop):
    words = ('run', 'clv', '--site', 'shop', '--as-of')
    shop.mine(*words, '2024-03-01')
    before = profiles(shop)
    shop.mine(*words, '2024-04-01')
    run = str(last(shop, 'id')[0])
    assert profiles(shop) != before
    shop.mine('review', run, '--reviewer', 'ann')
    shop.mine('rollback', run)
    assert profiles(shop) == before
    assert last(shop, 'state, first_review_by') == ('withdrawn', 'ann')
    again = shop.mine('rollback', run, check=False)
    assert again.returncode == 1 and 'not in force' in again.stdout
    assert shop.mine('rollback', 'x', check=False).returncode == 2
    assert shop.mine('review', run, check=False).returncode == 2


def test_what_was_foretold_is_compared_later(shop):
    shop.mine('run', 'clv', '--site', 'shop', '--as-of', '2023-12-01')
    run = last(shop, 'id')[0]
    early = shop.mine('run', 'compare', '--site', 'shop', '--as-of',
                      '2024-02-01')
    assert 'no forecast has come due' in early.stdout
    shop.mine('run', 'compare', '--site', 'shop', '--as-of', '2024-03-02')
    outcome = shop.sql('select outcome from crm.run where id = %s', run)[0][0]
    assert outcome['actual'] > 0
    assert outcome['expected'] == pytest.approx(outcome['actual'], rel=.5)
    assert outcome['customers'] > 200


def test_a_killed_run_leaves_what_is_published(shop):
    """It waits for a lock that another holds when it is killed."""
    import psycopg2
    before = profiles(shop)
    holder = psycopg2.connect(shop.pg())
    holder.cursor().execute('lock table crm."order" in access exclusive mode')
    words = ('run', 'clv', '--site', 'shop')
    victim = subprocess.Popen(
        [shop.crm_mine, *words], env=shop.mine_env(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    poll(lambda: shop.sql("select 1 from pg_stat_activity where"
                          " wait_event_type = 'Lock'"), 'the run to wait')
    other = shop.mine(*words, check=False)
    assert other.returncode == 1
    assert 'another crm-mine run works on site shop' in other.stdout
    victim.kill()
    victim.wait()
    holder.close()
    poll(lambda: not shop.sql("select 1 from pg_locks where locktype ="
                              " 'advisory'"), 'its session to end')
    assert last(shop, 'state') == ('running',)
    assert profiles(shop) == before
    shop.mine(*words, '--as-of', '2024-05-01')
    assert shop.sql("select count(*) from crm.run where summary ="
                    " 'the program that ran it was killed'") == [(1,)]


def test_nothing_to_learn_from_is_no_failure(shop):
    said = shop.mine('run', '--site', 'new')
    assert 'nothing to learn from' in said.stdout
    assert 'published 0 rows of 8 runs' in said.stdout


@pytest.mark.parametrize('params, says', [
    ('{"margin": 2}', 'parameter margin is no number from 0 to 1'),
    ('{"margin": "x"}', 'parameter margin is no number from 0 to 1'),
    ('[1]', '--params is no JSON object'),
    ('{', '--params is no JSON object'),
    ('{"days": 0}', 'days, if given, is a whole number')])
def test_parameters_that_cannot_be_are_told(shop, params, says):
    before = profiles(shop)
    done = shop.mine('run', 'clv', '--site', 'shop', '--params', params,
                     check=False)
    assert done.returncode in (1, 2) and says in done.stdout
    assert profiles(shop) == before


def test_churn_tells_risk_and_silence(shop):
    said = shop.mine('run', 'churn', '--site', 'shop', '--as-of',
                     '2023-11-15')
    assert 'buyers' in said.stdout and 'silent' in said.stdout
    quality, drivers, rows = last(shop, 'quality, drivers, rows_out')
    assert quality['held_auc'] > .6 and rows == 300
    assert drivers and all('of 100, others' in d for d in drivers)
    risks = shop.sql("select (attributes#>>'{churn,risk}')::float8,"
                     " attributes#>>'{churn,silent}' from crm.profile"
                     " where site = 'shop' and attributes ? 'churn'")
    assert all(0 < risk < 1 for risk, _ in risks)
    assert {silent for _, silent in risks} == {'true', 'false'}
    kept = (profiles(shop), quality, drivers)
    shop.mine('run', 'churn', '--site', 'shop', '--as-of', '2023-11-15')
    assert (profiles(shop), *last(shop, 'quality, drivers')) == kept
