"""test_loop.py - the closed loop: browse, log in, buy, import, mine, and the
same URL answers differently because of what was mined; the reaction comes in
as new input."""

from conftest import poll


def hero(v):
    return v.text('/').split('\n')[1]


def test_the_same_url_answers_by_what_was_mined(shop, visitor):
    shop.campaign('welcome-new', priority=1, when={'visitor.new': True})
    shop.campaign('for-buyers', priority=9,
                  when={'customer.rfm.segment': {'$exists': True}},
                  content='<a href="/p/view.html?id=B2&amp;from=for-buyers">'
                          'for our {{customer.rfm.segment}}</a>')
    v = visitor()
    poll(lambda: hero(visitor()) == '<p>welcome-new</p>',
         'the set to reach every worker')

    # browse as a new visitor, log in, buy
    assert hero(v) == '<p>welcome-new</p>'
    before = hero(v)
    assert before == '<!--crm:slot hero--><p>default</p><!--/crm:slot-->'
    v.get('/p/view.html?id=A1&cat=shoes')
    v.get('/p/view.html?id=B2&cat=shoes')
    v.get('/login?user=C-1')
    _, _, rid = v.get('/order/done?order=O-9&total=25&products=A1:1:25')
    event = shop.events(rid)[0]
    assert event['uid'] == 'C-1'
    shop.settled()
    assert shop.sql('select customer_id, total from crm."order" '
                    "where order_id = 'O-9'") == [('C-1', 25)]
    assert hero(v) == before, 'nothing was mined yet'

    # mine: the profile is published, every worker is told
    shop.mine('run', '--site', 'shop')
    assert shop.sql("select state from crm.run order by id desc limit 1") \
        == [('published',)]
    after = poll(lambda: (lambda t: t if 'for our' in t else None)(hero(v)),
                 'the mined result on the page')
    segment = shop.sql("select attributes->'rfm'->>'segment' from crm.profile "
                       "where customer_id = 'C-1'")[0][0]
    assert f'for our {segment}' in after
    assert 'for our' not in hero(visitor()), 'another visitor sees another'

    # the reaction is new input: what was shown, and the click on it
    _, _, shown = v.get('/')
    assert shop.events(shown)[0]['dec'] == [
        {'slot': 'hero', 'campaign': 'for-buyers', 'variant': 'a'}]
    _, _, click = v.get('/p/view.html?id=B2&from=for-buyers')
    reaction = shop.events(click)[0]
    assert reaction['name'] == 'Product Viewed'
    assert 'from=for-buyers' in reaction['req']['query']
    shop.mine('run', '--site', 'shop')
    recs = shop.sql("select attributes from crm.profile "
                    "where customer_id = 'C-1'")[0][0]
    assert recs['orders'] == 1


def test_another_node_reads_the_session_from_redis(shop, visitor):
    """A zone that never saw the visitor asks Redis and PostgreSQL."""
    shop.campaign('long-visit', slot='hero', priority=50,
                  when={'session.pages': {'$gt': 3}, 'customer.id': 'C-2'})
    v = visitor()
    v.get('/login?user=C-2')
    for _ in range(4):
        _, _, rid = v.get('/plain.html')
    shop.events(rid)
    shop.settled()
    poll(lambda: hero(v) == '<p>long-visit</p>', 'the campaign')
    shop.nginx.stop()                   # a new zone, as on another node
    shop.start_nginx()
    v.close()
    poll(lambda: hero(v) == '<p>long-visit</p>', 'the session from Redis')
    assert shop.counter('lookups') > 0


SESSIONS = """
insert into crm.event (site, id, rts, type, name, vid, sid, sn, seq, src, ctx)
select 'shop', gen_random_uuid(),
       now() - interval '2 days' + n * interval '1 minute'
       + k * interval '20 s',
       case when k = 7 then 'track' else 'page' end,
       case when k = 7 then 'Order Completed' end,
       md5('v' || n)::uuid, md5('s' || n)::uuid, 1, k, 'origin',
       '{"device": "desktop"}'
  from generate_series(1, 400) as n cross join generate_series(1, 7) as k
 where k <= 2 or n % 2 = 0
"""


def test_a_session_that_looks_like_buying_is_met(shop, visitor):
    """Who looks at more than two pages buys: mined, published, decided by."""
    shop.sql('select etl.ensure_partitions(current_date - 3, current_date)')
    shop.sql(SESSIONS)
    shop.campaign('likely', slot='hero', priority=90,
                  when={'session.intent': {'$gt': .75}})
    early = visitor()
    said = shop.mine('run', 'intent', '--site', 'shop')
    assert 'pages of sessions' in said.stdout
    quality, drivers = shop.sql('select quality, drivers from crm.run order '
                                'by id desc limit 1')[0]
    assert quality['held_auc'] > .7
    assert any(d.startswith('session.pages above') for d in drivers)
    poll(lambda: shop.counter('models') >= shop.workers,
         'every worker to take the model')

    def late():
        v = visitor()
        for _ in range(4):
            _, _, rid = v.get('/plain.html')
        shop.events(rid)
        return hero(v)
    poll(lambda: late() == '<p>likely</p>', 'a session likely to buy')
    assert hero(early) != '<p>likely</p>', 'the first page says little'
    assert shop.counter('models_refused') == 0

    # taken back: the attribute is absent again
    run = shop.sql('select max(id) from crm.run')[0][0]
    shop.mine('rollback', str(run))
    poll(lambda: late() != '<p>likely</p>', 'the model to go')

    # a damaged one is refused, pages go on
    shop.sql("insert into crm.model (site, part, run, document) values"
             " ('shop', 'intent', 0, 'crm-intent 1 nonsense')")
    shop.sql("select pg_notify('crm_profiles', 'shop')")
    poll(lambda: shop.counter('models_refused') >= shop.workers,
         'every worker to refuse it')
    assert late() != '<p>likely</p>'
    shop.sql("delete from crm.model")
