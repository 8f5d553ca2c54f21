-- Runs, the tasks, publishing, and what nginx then reads.
begin;
select plan(67);
set local timezone = 'UTC';
select etl.site_set('t', 'Test');
select etl.site_set('other', 'Other');
select etl.ensure_partitions('2024-05-01', '2024-05-31');

create function pg_temp.run(task text, as_of timestamptz) returns bigint
language plpgsql as $$
declare
    run bigint := etl.run_begin('t', task, '{}', 42);
begin
    execute format('select etl.mine_%s($1, $2)', task) using run, as_of;
    perform etl.run_end(run, null, null, null, null);
    return run;
end
$$;

-- Runs.
select throws_ok($$select etl.run_begin('no', 'rfm', '{}', 1)$$, 'CRM01', null,
                 'a run needs a site');
select throws_ok($$select etl.run_begin('t', 'r f m', '{}', 1)$$, 'CRM02',
                 null, 'and a task');
select throws_ok($$select etl.run_begin('t', 'rfm', '[]', 1)$$, 'CRM02', null,
                 'and parameters that are an object');
select throws_ok($$select etl.run_begin('t', 'rfm', '{"days": "x"}', 1)$$,
                 'CRM02', null, 'with days that are a number');
select throws_ok(format('select etl.mine_%s(0, now())', t), 'CRM04',
                 'run 0 is unknown', t || ' refuses an unknown run')
  from unnest(array['features', 'rfm', 'popular', 'coviewed']) as t;
select etl.run_begin('t', 'rfm', '{}', 1) as bad \gset
select throws_ok(format('select etl.mine_rfm(%s, null)', :bad), 'CRM02', null,
                 'as_of must be there');
select throws_ok(format('select etl.mine_rfm(%s, %L)', :bad, 'infinity'),
                 'CRM02', null, 'and finite');
select throws_ok(format('select etl.publish(%L, array[%s])', 't', :bad),
                 'CRM04', null, 'a running run is not published');
select throws_ok(format('select etl.run_end(%s, -1, 0, null, null)', :bad),
                 'CRM02', null, 'counts are not negative');
select etl.mine_rfm(:bad, now());
select etl.run_fail(:bad, 'out of luck');
select is(row(r.state, r.summary)::text, row('failed', 'out of luck')::text,
          'a failed run says why') from crm.run as r where id = :bad;
select is_empty('select from crm.result_profile', 'and leaves nothing');
select throws_ok(format('select etl.run_end(%s, 0, 0, null, null)', :bad),
                 'CRM04', format('run %s is failed', :bad),
                 'it does not end again');
select throws_ok(format('select etl.publish(%L, array[%s])', 't', :bad),
                 'CRM04', null, 'nor is it published');
select throws_ok($$select etl.publish('t', '{}')$$, 'CRM04',
                 'there is no run to publish', 'nothing is not published');
select throws_ok($$select etl.publish('t', array[0])$$, 'CRM04', null,
                 'nor the unknown');
select throws_ok($$select etl.publish('no', array[0])$$, 'CRM01', null,
                 'nor for an unknown site');

-- Ten customers: c1 bought once and long ago, c10 ten times and just now.
insert into crm.customer (site, customer_id, country)
select 't', 'c' || n, 'UK' from generate_series(1, 10) as n;
insert into crm.product (site, product_id) values ('t', 'p');
insert into crm."order" (site, order_id, customer_id, ordered_at, src)
select 't', n || '-' || k, 'c' || n,
       '2024-05-20 12:00'::timestamptz - (10 - n + k - 1) * interval '1 day',
       'import'
  from generate_series(1, 10) as n, generate_series(1, n) as k;
insert into crm.order_line (site, order_id, line, product_id, quantity, price)
select o.site, o.order_id, 1, 'p', 2, 5 from crm."order" as o;
-- What is no purchase: returned, free, cancelled, without customer, later.
insert into crm.order_line (site, order_id, line, product_id, quantity, price)
values ('t', '1-1', 2, 'p', -1, 5), ('t', '1-1', 3, 'p', 1, 0);
insert into crm."order" (site, order_id, customer_id, ordered_at, total, src)
values ('t', 'C1', 'c1', '2024-05-19', -10, 'import'),
       ('t', 'n1', null, '2024-05-19', 10, 'event'),
       ('t', 'f1', 'c1', '2024-05-22', 10, 'event');

select pg_temp.run('rfm', '2024-05-21') as rfm \gset
create temp table r as
    select customer_id, attributes -> 'rfm' as a from crm.result_profile
     where run = :rfm;
select is(count(*)::int, 10, 'every buyer has an RFM') from r;
select is(row(a ->> 'recency', a ->> 'frequency', a ->> 'monetary')::text,
          row('0', '10', '100.00')::text,
          'whole days since the last, orders, sum of lines')
  from r where customer_id = 'c10';
select is(row(a ->> 'recency', a ->> 'frequency', a ->> 'monetary')::text,
          row('9', '1', '10.00')::text, 'returns, gifts and the future do not count')
  from r where customer_id = 'c1';
select is(a ->> 'score', s, c || ' scores ' || s)
  from r join (values ('c1', '111'), ('c2', '111'), ('c3', '222'),
                      ('c4', '222'), ('c5', '333'), ('c6', '333'),
                      ('c7', '444'), ('c8', '444'), ('c9', '555'),
                      ('c10', '555')) as w (c, s) on w.c = r.customer_id;
select is(a ->> 'segment', 'champions', 'c10 is a champion')
  from r where customer_id = 'c10';
select is(a ->> 'segment', 'lost', 'c1 is lost')
  from r where customer_id = 'c1';
select is(string_agg(crm.rfm_segment(r, f), ' ' order by r, f),
    'lost hibernating at_risk at_risk cannot_lose '
    'hibernating hibernating at_risk at_risk cannot_lose '
    'about_to_sleep about_to_sleep need_attention loyal loyal '
    'promising potential_loyal potential_loyal loyal loyal '
    'new potential_loyal potential_loyal champions champions',
    'the grid is that of docs/schema.md')
  from generate_series(1, 5) as r, generate_series(1, 5) as f;
-- Equal values: all customers alike are in the middle.
select pg_temp.run('rfm', '2024-05-11 13:00') as tie \gset
select is(array_agg(distinct left(attributes #>> '{rfm,score}', 1)
                    order by left(attributes #>> '{rfm,score}', 1)),
          array['3'], 'equal values get equal scores')
  from crm.result_profile
 where run = :tie and attributes #>> '{rfm,recency}' = '0'
   and customer_id in ('c1', 'c10');

-- Views: s1 and s2 see a b c together, s3 sees a d; c10 is in browser 1.
insert into crm.event (site, id, rts, type, name, vid, sid, uid, src, props)
select 't', gen_random_uuid(), '2024-05-20 00:00'::timestamptz
       + n * interval '1 minute', 'page', 'Product Viewed',
       ('01934b7e-6f2a-7c3d-8e4f-00000000000' || s)::uuid,
       ('01934b7e-6f2a-7c3d-8e4f-10000000000' || s)::uuid, u, 'origin',
       jsonb_build_object('product_id', p, 'category', 'cat-' || p)
  from (values (1, 1, 'a', null), (2, 1, 'b', null), (3, 1, 'c', null),
               (4, 2, 'a', 'c9'), (5, 2, 'b', 'c9'), (6, 2, 'c', 'c9'),
               (7, 3, 'a', null), (8, 3, 'd', null), (9, 1, 'b', null),
               (10, 3, repeat('x', 65), null), (11, 3, null, null))
       as w (n, s, p, u);
insert into crm.identity (site, vid, customer_id, at)
values ('t', '01934b7e-6f2a-7c3d-8e4f-000000000001', 'c10', now()),
       ('t', '01934b7e-6f2a-7c3d-8e4f-000000000002', 'c10', now());
insert into crm.login (site, vid, customer_id, at)
select site, vid, customer_id, at from crm.identity;

select pg_temp.run('features', '2024-05-21') as features \gset
select is(attributes, '{"orders": 10, "revenue": 100.00, "views": 4,
    "first_order": "2024-05-11", "last_order": "2024-05-20",
    "recency_days": 0, "last_items": ["b", "c", "a"],
    "categories": ["cat-b", "cat-a", "cat-c"]}', 'features of a customer')
  from crm.result_profile where run = :features and customer_id = 'c10';
select is(attributes ->> 'views', '3', 'the event''s own uid comes first')
  from crm.result_profile where run = :features and customer_id = 'c9';

select pg_temp.run('coviewed', '2024-05-21') as coviewed \gset
select results_eq(
    format('select other_id, round(score::numeric, 3) from crm.result_coviewed
             where run = %s and product_id = %L order by rank', :coviewed, 'a'),
    $$values ('b', 0.816), ('c', 0.816)$$,
    'cosine; a pair seen once is chance');

select pg_temp.run('popular', '2024-05-21') as popular \gset
select is(product_id, 'p', 'orders weigh more than views')
  from crm.result_popular where run = :popular and rank = 1;
select is(score, 1::float8, 'the best scores 1')
  from crm.result_popular where run = :popular and rank = 1;
select ok(abs(max(score) filter (where product_id = 'a')
              / max(score) filter (where product_id = 'd') - 3) < 0.01,
          'three views weigh three times one')
  from crm.result_popular where run = :popular;
select is_empty(format('select from crm.result_popular
    where run = %s and octet_length(product_id) > 64', :popular),
    'ids that are none do not count');
insert into crm.event (site, id, rts, type, name, src, props)
values ('t', gen_random_uuid(), '2024-05-06 00:00', 'page', 'Product Viewed',
        'origin', '{"product_id": "old"}'),
       ('t', gen_random_uuid(), '2024-05-20 00:00', 'page', 'Product Viewed',
        'origin', '{"product_id": "young"}');
select pg_temp.run('popular', '2024-05-21') as later \gset
select ok(abs(max(score) filter (where product_id = 'old')
              / max(score) filter (where product_id = 'young') - 0.5) < 1e-9,
          'a view of 14 days ago weighs half')
  from crm.result_popular where run = :later;
select etl.run_begin('t', 'popular', '{"days": 7}', 1) as week \gset
select etl.mine_popular(:week, '2024-05-21');
select ok(not exists (select from crm.result_popular
                       where run = :week and product_id = 'old'),
          'days bounds how far back a run looks');

-- Publishing.
select is_empty('select from crm.profile', 'nothing is in force yet');
select is(edge.visitor('t', null, 'c10')::jsonb,
          '{"customer": {"id": "c10", "country": "UK"}}',
          'nginx reads what is known');
select throws_ok(format('select etl.publish(%L, array[%s])', 'other', :rfm),
                 'CRM04', format('run %s cannot be published for site "other"',
                                 :rfm), 'another site''s run is refused');
select ok(etl.publish('t', array[:rfm, :features, :popular, :coviewed]) > 0,
          'four runs are published');
select is(count(*)::int, 10, 'profiles are in force') from crm.profile;
select is(etl.publish('t', array[:rfm]), 0::bigint,
          'the same again changes no profile');
select is(array_agg(distinct state), array['published'], 'the runs say so')
  from crm.run where id in (:rfm, :features, :popular, :coviewed);
select is(edge.visitor('t', '01934b7e-6f2a-7c3d-8e4f-000000000001',
                       null)::jsonb -> 'customer' ->> 'id', 'c10',
          'a visitor is the customer it is identified as');
select is(edge.visitor('t', '01934b7e-6f2a-7c3d-8e4f-000000000001',
                       'c1')::jsonb -> 'customer' -> 'rfm' ->> 'segment',
          'lost', 'uid comes first');
select is(edge.visitor('t', '01934b7e-6f2a-7c3d-8e4f-000000000009', null),
          '{}', 'nobody is known as nobody');
select is(edge.visitor('t', null, 'stranger'), '{}', 'as is a stranger');
select is(edge.visitor('no', null, 'c1'), '{}', 'and another site''s customer');
select is(edge.visitor('t', null, 'c10')::jsonb -> 'customer' -> 'recs',
          '["p", "d"]', 'recs are what is left of the popular');
select is(crm.recs('t', '["b"]', 8), '["c", "a", "p", "d"]',
          'co-viewed first, popular next, seen never');

-- The next run replaces; results of the last five stay.
delete from crm."order" where customer_id = 'c1';
select pg_temp.run('rfm', '2024-05-21') as rfm2 \gset
select etl.publish('t', array[:rfm2]);
select is(attributes ? 'rfm', false, 'who has no result loses the old one')
  from crm.profile where customer_id = 'c1';
select etl.publish('t', array[:rfm]);
select is(attributes ? 'rfm', true, 'an older run can be published again')
  from crm.profile where customer_id = 'c1';
select etl.publish('t', array[pg_temp.run('rfm', '2024-05-21')])
  from generate_series(1, 6);
select is(count(distinct run)::int, 5, 'the results of five runs are kept')
  from crm.result_profile where part = 'rfm';

-- What analysts read.
select results_eq(
    $$select customers::int, revenue from mart.rfm_segments
       where segment = 'champions'$$, $$values (2, 190.00)$$,
    'segments are summed up');
update crm.event set dec = '[{"slot": "hero", "campaign": "k",
    "variant": "a"}, {"slot": "foot", "campaign": "k", "variant": "b"}]'
 where sid = '01934b7e-6f2a-7c3d-8e4f-100000000003';
update crm.event set dec = '{"slot": 1}' where vid is null;
select results_eq(
    'select slot, variant, exposures::int, visitors::int
       from mart.campaign_exposure order by slot',
    $$values ('foot', 'b', 4, 1), ('hero', 'a', 4, 1)$$,
    'exposures are counted per variant, nonsense is not');
select is(row(events, pages, visitors, sessions, product_views,
              orders)::text, '(12,12,3,3,12,0)', 'traffic is counted per day')
  from mart.daily_traffic where day = '2024-05-20';
select is(string_agg(task || ' ' || coalesce(summary, '-'), '; '),
    'coviewed 6 pairs from 8 products viewed in sessions',
    'a run says what it did') from crm.run where id = :coviewed;

-- The longest ids that are allowed still fit a cell of the visitor zone.
update crm.profile set attributes = attributes || jsonb_build_object('recs',
    (select jsonb_agg(repeat('"', 63) || n) from generate_series(1, 8) as n))
 where customer_id = 'c10';
select ok(octet_length(edge.visitor('t', null, 'c10')) <= 1216
          and edge.visitor('t', null, 'c10')::jsonb -> 'customer' ? 'rfm',
          'recs give way when a profile is too long');

select * from finish();
rollback;
