-- Robots: kept, labelled, counted apart, and nothing is learnt from them.
begin;
select plan(7);
set local timezone = 'UTC';
select etl.site_set('t', 'Test');
select etl.ensure_partitions('2024-05-20', '2024-05-20');
insert into crm.customer (site, customer_id) values ('t', 'c1');

insert into crm.event (site, id, rts, type, name, vid, sid, uid, src, ctx,
                       props)
select 't', gen_random_uuid(), '2024-05-20 10:00:00'::timestamptz
            + n * interval '1 second', 'page', 'Product Viewed',
       md5('v' || n % 4)::uuid, md5('s' || n % 4)::uuid, 'c1', 'origin',
       case when n % 2 = 1 then jsonb_build_object('bot', jsonb_build_object(
                'name', 'ExampleBot', 'kind', 'seo', 'reason', 'agent'))
            when n = 2 then null else '{"device": "desktop"}' end,
       jsonb_build_object('product_id',
           case when n % 2 = 1 then 'bot-' else 'p-' end || n % 8 / 4)
  from generate_series(1, 16) as n;

select is(count(*)::int, 8, 'people have their events')
  from crm.event_human;
select is(row(events, pages, visitors, sessions, product_views, bot_events,
              bot_pages)::text, '(8,8,2,2,8,8,8)', 'both are counted apart')
  from mart.daily_traffic where site = 't';
select is(row(kind, name, reason, events, pages)::text,
          '(seo,ExampleBot,agent,8,8)', 'robots by name and reason')
  from mart.bot_traffic where site = 't';

select etl.run_begin('t', 'x', '{}', 1) as run \gset
select etl.mine_features(:run, '2024-05-21');
select etl.mine_popular(:run, '2024-05-21');
select etl.mine_coviewed(:run, '2024-05-21');
select is(attributes ->> 'views', '8', 'features count what people viewed')
  from crm.result_profile where run = :run and part = 'features';
select set_eq(format('select product_id from crm.result_popular
                       where run = %s', :run), array['p-0', 'p-1'],
              'popular is what people view');
select ok(count(*) > 0, 'there are pairs')
  from crm.result_coviewed where run = :run;
select is_empty(format($$select from crm.result_coviewed where run = %s
                       and product_id || other_id like '%%bot%%'$$, :run),
                'none of them a robot''s');

select * from finish();
rollback;
