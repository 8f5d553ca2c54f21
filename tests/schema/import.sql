-- Positions, rejects and etl.absorb.
begin;
select plan(47);
select etl.site_set('t', 'Test');
set local role crm_etl;

select is(etl.position('00000000000000aa'), 0::bigint,
          'a new producer stands at 0');
select lives_ok($$select etl.advance('00000000000000aa', 10, 8, 2)$$,
                'it moves forward');
select is(etl.position('00000000000000aa'), 10::bigint, 'and is there');
select etl.advance('00000000000000aa', 15, 4, 0);
reset role;
select is(row(p.last_seq, p.events, p.gap)::text, row(15::bigint, 12::bigint, 2::bigint)::text,
          'counts add up') from crm.producer as p;
select results_eq(
    $$select producer, refused::int from mart.loss_ledger order by 1$$,
    $$values ('00000000000000aa', 1), ('all', 1)$$, 'the ledger shows it');
select throws_ok($$select etl.advance('00000000000000aa', 14, 1, 0)$$,
                 'CRM05',
                 'producer "00000000000000aa" cannot go back from 15 to 14',
                 'it does not go back');
select throws_ok($$select etl.advance('00000000000000aa', 15, 1, 0)$$,
                 'CRM05', null, 'the same events do not count twice');
select lives_ok($$select etl.advance('00000000000000aa', 15, 0, 0)$$,
                'to stay is no fault');
select throws_ok($$select etl.advance('00000000000000aa', 16, -1, 0)$$,
                 'CRM02', null, 'negative counts are refused');
select throws_ok($$select etl.advance('x y', 16, 1, 0)$$,
                 'CRM02', null, 'as are strange producers');
select throws_ok($$select etl.advance('aa', null, 1, 0)$$,
                 'CRM02', null, 'and missing counts');

select etl.reject('file.csv', 7, 'bad price', repeat('x', 9999), null);
select is(row(r.source, r.line, r.reason, length(r.raw))::text,
          row('file.csv', 7::bigint, 'bad price', 4096)::text,
          'a reject is kept, its raw text bounded')
  from crm.reject as r where source = 'file.csv';

-- Visitors.
create function pg_temp.visitor(first bigint, last bigint, n int, sn int)
returns void language sql as $$
    select etl.absorb(jsonb_build_object('visitors', jsonb_build_array(
        jsonb_build_object('site', 't',
            'vid', '01934b7e-6f2a-7c3d-8e4f-000000000001', 'first', first,
            'last', last, 'events', n, 'sn', sn))))
$$;
select pg_temp.visitor(1764000000123456, 1764000000200000, 3, 2);
select is(row(v.first_at, v.last_at, v.events, v.sessions)::text,
          row('2025-11-24 16:00:00.123456+00'::timestamptz,
           '2025-11-24 16:00:00.2+00'::timestamptz, 3::bigint, 2)::text,
          'a visitor appears, times to the microsecond')
  from crm.visitor as v;
select pg_temp.visitor(1763999999000000, 1764000000000000, 2, 1);
select is(row(v.first_at, v.last_at, v.events, v.sessions)::text,
          row('2025-11-24 15:59:59+00'::timestamptz,
           '2025-11-24 16:00:00.2+00'::timestamptz, 5::bigint, 2)::text,
          'late events widen it')
  from crm.visitor as v;

-- Identities.
create function pg_temp.login(uid text, at bigint) returns void
language sql as $$
    select etl.absorb(jsonb_build_object('identities', jsonb_build_array(
        jsonb_build_object('site', 't',
            'vid', '01934b7e-6f2a-7c3d-8e4f-000000000001', 'uid', uid,
            'at', at))))
$$;
select pg_temp.login('ann', 1764000000000000);
select is(customer_id, 'ann', 'a login identifies the visitor')
  from crm.identity;
select is(count(*)::int, 1, 'the customer is made bare') from crm.customer;
select pg_temp.login('bob', 1764000009000000);
select is(customer_id, 'bob', 'a later login wins') from crm.identity;
select is(h.old ->> 'customer_id', 'ann', 'the one before is in the history')
  from crm.history as h where h.table_name = 'identity';
select pg_temp.login('ann', 1764000005000000);
select is(customer_id, 'bob', 'an earlier one that comes late does not')
  from crm.identity;
select is(count(*)::int, 2, 'customers are never merged') from crm.customer;
select etl.absorb('{"identities": [
    {"site": "t", "vid": "01934b7e-6f2a-7c3d-8e4f-000000000002", "uid": "cc",
     "at": 1764000000000000},
    {"site": "t", "vid": "01934b7e-6f2a-7c3d-8e4f-000000000002", "uid": "dd",
     "at": 1764000000000001}]}');
select is(customer_id, 'dd', 'of two in one batch the newest counts')
  from crm.identity where vid = '01934b7e-6f2a-7c3d-8e4f-000000000002';

-- Orders.
create function pg_temp.order(id text, uid text, props jsonb)
returns void language sql as $$
    select etl.absorb(jsonb_build_object('orders', jsonb_build_array(
        jsonb_strip_nulls(jsonb_build_object('site', 't', 'order_id', id,
            'vid', '01934b7e-6f2a-7c3d-8e4f-000000000001', 'uid', uid,
            'at', 1764000000000000, 'props', props)))))
$$;
select pg_temp.order('o1', 'ann', '{"total": "25.50", "currency": "EUR",
                     "products": "A1:2:10,B2:1:5.5"}');
select is(row(o.customer_id, o.total, o.currency, o.src)::text,
          row('ann', 25.50::numeric, 'EUR', 'event')::text, 'an order is kept')
  from crm."order" as o;
select results_eq(
    'select line, product_id, quantity, price from crm.order_line order by 1',
    $$values (1, 'A1', 2, 10::numeric), (2, 'B2', 1, 5.5)$$, 'with its lines');
select is(count(*)::int, 2, 'products are made bare') from crm.product;
select pg_temp.order('o1', 'ann', '{"total": "99", "products": "C3:1:99"}');
select is((select total from crm."order")::text
          || ' ' || (select count(*) from crm.order_line), '25.50 2',
          'the same order again changes nothing');
select pg_temp.order('o2', null, '{"products": "A1:2:10,B2:1:5.5"}');
select is(row(o.customer_id, o.total)::text, row('bob', 25.50::numeric)::text,
          'the identified customer and the sum of lines fill in')
  from crm."order" as o where o.order_id = 'o2';

-- Hostile orders.
delete from crm.reject;
select lives_ok(
    $$select pg_temp.order('h1', 'ann', '{"total": "NaN", "currency": "eur",
      "products": "A1:x:1,:1:1,A1:1:1e9,A1:99999999:1,A1:0:1,A1:1:1000001,,A1:1:-5,Z9:3:1"}')$$,
    'bad numbers raise nothing');
select is(row(o.total, o.currency)::text, row(null::numeric, null::text)::text,
          'a bad total and currency are none')
  from crm."order" as o where o.order_id = 'h1';
select results_eq(
    $$select line, product_id from crm.order_line where order_id = 'h1'$$,
    $$values (9, 'Z9')$$, 'good pieces are kept');
select is(count(*)::int, 10, 'each fault is a reject') from crm.reject;
select lives_ok($$select pg_temp.order('h2', repeat('u', 65), '[1]')$$,
                'props that are a list raise nothing');
select is(o.customer_id, 'bob', 'an id that is too long is none')
  from crm."order" as o where o.order_id = 'h2';
select lives_ok($$select pg_temp.order(repeat('o', 65), 'ann', '{}')$$,
                'nor does a long order id');
select lives_ok($$select pg_temp.order('h3', 'ann', ('{"products": "'
                  || repeat('A:1:1,', 5000) || '"}')::jsonb)$$, 'nor 5,000 pieces');
select is(count(*)::int, 1000, 'of which 1,000 are kept')
  from crm.order_line where order_id = 'h3';
select lives_ok($$select pg_temp.order('h4', 'ann',
    ('{"total": "999999999999", "products": "'
     || repeat('A:1000000:1000000,', 1000) || '"}')::jsonb)$$, 'nor the largest sums');
select lives_ok($$select pg_temp.order('h5', 'ann', ('{"products": "'
    || repeat('A:1000000:1000000,', 1000) || '"}')::jsonb)$$, 'nor when they are added');
select lives_ok($$select pg_temp.order('h6', 'ann',
    '{"products": "urn:a:b:2:3", "total": {"a": 1}}')$$, 'nor odd types');
select is(l.product_id, 'urn:a:b', 'an id may hold colons')
  from crm.order_line as l where order_id = 'h6';

-- Hostile frames.
select lives_ok(format('select etl.absorb(%L)', j), 'absorb takes ' || left(j, 60))
  from unnest(array['{}', '[]', '5', 'null',
    '{"visitors": 7, "identities": {"a": 1}, "orders": "x"}',
    '{"visitors": [1, null, [2], {"site": "t", "vid": "no", "first": "x"}],
      "identities": [{"site": 1}, {}], "orders": [[], {"order_id": 3}]}',
    '{"visitors": [{"site": "nowhere", "first": 1764000000000000,
      "vid": "01934b7e-6f2a-7c3d-8e4f-000000000001", "last": 1e300}],
      "identities": [{"site": "nowhere", "uid": "u", "at": -5,
      "vid": "01934b7e-6f2a-7c3d-8e4f-000000000001"}]}']) as j;
select is_empty($$select from crm.visitor where site <> 't'$$,
                'nothing comes of an unknown site');

select * from finish();
rollback;
