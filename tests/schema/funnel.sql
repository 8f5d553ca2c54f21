/*
 * funnel.sql - mart.funnel and mart.page_dwell over sessions made by hand.
 */

begin;
select plan(10);

insert into crm.site (key, name) values ('s', 'S');
select etl.ensure_partitions('2026-03-01', '2026-03-02');

create function pg_temp.uuid(n int) returns uuid language sql as
$$ select ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid $$;

create sequence pg_temp.n;

/* An event of session sid, at seconds after noon. */
create function pg_temp.at(sid int, at numeric, src text, type text,
                           name text, path text, props jsonb default null)
returns void language sql as
$$
    insert into crm.event (site, id, rts, type, name, vid, sid, sn, seq, src,
                           req, props)
    select 's', pg_temp.uuid(nextval('pg_temp.n')::int),
           timestamptz '2026-03-01 12:00+00' + at * interval '1 s', type,
           name, pg_temp.uuid(sid), pg_temp.uuid(sid), 1,
           currval('pg_temp.n')::int, src,
           jsonb_strip_nulls(jsonb_build_object('path', path)), props
$$;

create function pg_temp.left(sid int, at numeric, page text, path text,
                             open_ms numeric, visible numeric, engaged numeric)
returns void language sql as
$$
    select pg_temp.at(sid, at, 'client', 'track', 'Page Left', path,
        jsonb_build_object('page_id', page, 'open_ms', open_ms,
            'visible_ms', visible, 'engaged_ms', engaged, 'scroll', 40))
$$;

/* 1: no beacon; the last page is unknown */
select pg_temp.at(1, 0, 'origin', 'page', 'Product List Viewed', '/a');
select pg_temp.at(1, 12.5, 'origin', 'page', 'Product Viewed', '/b');
select pg_temp.at(1, 13, 'origin', 'track', 'Product Added', '/add');
select pg_temp.at(1, 3613, 'origin', 'page', 'Cart Viewed', '/c');

/* 2: reports; the greatest of a page counts, and its own page gets it */
select pg_temp.at(2, 0, 'origin', 'page', null, '/a');
select pg_temp.at(2, 20, 'origin', 'page', 'Order Completed', '/a');
select pg_temp.left(2, 15, 'one', '/a', 15000, 14000, 9000);
select pg_temp.left(2, 19.9, 'one', '/a', 19900, 17250, 11000);
select pg_temp.left(2, 60, 'two', '/a', 40000, 30000, 5000);

/* 3: a page that a script made, and hostile numbers */
select pg_temp.at(3, 0, 'origin', 'page', null, '/spa');
select pg_temp.at(3, 5, 'client', 'page', null, '/spa/2',
    '{"page_id": "p", "name": "x"}');
select pg_temp.left(3, 5, 'q', '/spa', 5000, 5000, 5000);
select pg_temp.left(3, 99, 'p', '/spa/2', 94000, 900000000, 50);
select pg_temp.at(3, 99, 'client', 'track', 'Page Left', '/spa/2',
    '{"page_id": "p", "open_ms": "x", "visible_ms": -1,
      "engaged_ms": 1e400, "scroll": 10000}');
select pg_temp.at(3, 99, 'client', 'track', 'Page Left', null,
    '{"page_id": {}, "open_ms": {}}');

select is((select count(*) from mart.page_dwell), 7::bigint,
          'a row per page view');
select results_eq(
    'select path, dwell_seconds, engaged_seconds from mart.page_dwell
      where sid = pg_temp.uuid(1) order by rts',
    $$values ('/a', 12.5, null::numeric), ('/b', 1800, null),
             ('/c', null, null)$$,
    'without a report the next page tells, at most 30 minutes');
select results_eq(
    'select dwell_seconds, engaged_seconds from mart.page_dwell
      where sid = pg_temp.uuid(2) order by rts',
    $$values (17.25, 11.0), (30.0, 5.0)$$,
    'the greatest report of a page counts for that page');
select results_eq(
    'select path, dwell_seconds, engaged_seconds, scroll_percent
       from mart.page_dwell where sid = pg_temp.uuid(3) order by rts',
    $$values ('/spa', 5.0, 5.0, 40), ('/spa/2', 1800.0, 0.05, 100)$$,
    'pages made by scripts have their own; hostile numbers are bounded');
select is((select max(dwell_seconds) from mart.page_dwell), 1800.000,
          'nobody dwells for more than 30 minutes');

select results_eq(
    'select day, sessions, product_list_viewed, product_viewed, product_added,
            cart_viewed, checkout_started, order_completed from mart.funnel',
    $$values (date '2026-03-01', 3::bigint, 1::bigint, 1::bigint, 1::bigint,
              1::bigint, 0::bigint, 1::bigint)$$,
    'the funnel counts sessions that reached a step');
select pg_temp.at(1, 50000, 'origin', 'page', 'Checkout Started', '/d');
select is((select checkout_started from mart.funnel
            where day = '2026-03-01'), 1::bigint,
          'a session counts for the day on which it began');
select is((select count(*) from mart.funnel), 1::bigint,
          'and for no other');

set local role crm_analyst;
select lives_ok('select * from mart.funnel', 'analysts read the funnel');
select lives_ok('select * from mart.page_dwell', 'analysts read dwell');

select * from finish();
rollback;
