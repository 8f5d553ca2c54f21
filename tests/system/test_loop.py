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
