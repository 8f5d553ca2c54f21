-- Batches and staging tables.
begin;
select plan(33);
select etl.site_set('t', 'Test');
select throws_ok($$select etl.site_set('')$$, 'CRM01', null,
                 'a site without a key is refused');
select throws_ok($$select etl.site_set('u', 'U', 'euro')$$, 'CRM02', null,
                 'as is a wrong currency');
select etl.site_set('t', null, 'GBP', 1);
select is(row(s.name, s.currency, s.reviews_needed)::text, row('Test', 'GBP', 1)::text,
          'settings that are null stay') from crm.site as s;
set local role crm_etl;

select throws_ok($$select etl.load_begin('no', 'orders', 'f')$$, 'CRM01',
                 'site "no" is unknown', 'an unknown site is refused');
select throws_ok($$select etl.load_begin('t', 'cats', 'f')$$, 'CRM02',
                 'files of kind "cats" cannot be loaded',
                 'an unknown kind is refused');

create temp table batch as
    select etl.load_begin('t', 'customers', 'c.csv') as c,
           etl.load_begin('t', 'products', 'p.csv') as p,
           etl.load_begin('t', 'orders', 'o.csv') as o;

select throws_ok('select etl.load_customers(c) from batch', 'CRM07',
                 'there is no staging table pg_temp.load_customers',
                 'a missing staging table is named');
create temp table load_customers (customer_id text, name text, email text,
    country text, registered_at timestamptz);
insert into load_customers values
    ('c1', 'Ann', null, 'UK', '2020-01-01'),
    ('c2', 'Bob', 'b@example.org', null, null),
    ('c1', 'Anne', 'a@example.org', null, null);
select is(etl.load_customers(c), 3::bigint, 'all rows are kept') from batch;
select throws_ok('select etl.load_customers(o) from batch', 'CRM06', null,
                 'a batch of another kind is refused');
select throws_ok('select etl.load_customers(0)', 'CRM06',
                 'batch 0 is not a running load of customers',
                 'as is an unknown batch');
reset role;
select is(row(c.name, c.email, c.country)::text, row('Anne', 'a@example.org', null::text)::text,
          'of equal keys the later row is taken')
  from crm.customer as c where customer_id = 'c1';
truncate load_customers;
insert into load_customers values ('c1', null, null, 'FR', '2019-01-01');
select etl.load_customers(c) from batch;
select is(row(c.name, c.country, c.registered_at::date)::text,
          row('Anne', 'FR', date '2019-01-01')::text,
          'a value that the file lacks stays')
  from crm.customer as c where customer_id = 'c1';
select count(*) as n from crm.history \gset
select etl.load_customers(c) from batch;
select is(count(*), :n::bigint, 'the same again changes nothing')
  from crm.history;

-- Staging tables that carry code.
set local role crm_etl;
drop table load_customers;
create temp view load_customers as
    select 'x' as customer_id, 'x' as name, 'x' as email, 'x' as country,
           now() as registered_at;
select throws_ok('select etl.load_customers(c) from batch', 'CRM07', null,
                 'a view is no staging table');
drop view load_customers;
create temp table load_customers (customer_id text, name text, email text,
    country text, registered_at timestamptz);
alter table load_customers enable row level security;
select throws_ok('select etl.load_customers(c) from batch', 'CRM07', null,
                 'nor a table with policies');
drop table load_customers;
create domain pg_temp.own as text;
create temp table load_customers (customer_id pg_temp.own, name text,
    email text, country text, registered_at timestamptz);
select throws_ok('select etl.load_customers(c) from batch', 'CRM07', null,
                 'nor one with types of its own');

-- Products.
create temp table load_products (product_id text, name text, category text,
    price numeric, currency text, url text);
insert into load_products values ('p1', 'Cup', 'kitchen', 2.5, 'GBP', '/p1'),
                                 ('p2', null, null, null, null, null);
select is(etl.load_products(p), 2::bigint, 'products are kept') from batch;
truncate load_products;
insert into load_products values ('p1', null, null, 3, null, null);
select etl.load_products(p) from batch;
reset role;
select is(row(p.name, p.price)::text, row('Cup', 3.00::numeric)::text, 'and changed')
  from crm.product as p where product_id = 'p1';
truncate load_products;
insert into load_products values ('p1', null, null, -1, null, null);
select throws_ok('select etl.load_products(p) from batch', '23514', null,
                 'a negative price is refused by the table');

-- Orders.
select etl.absorb('{"orders": [{"site": "t", "order_id": "o1", "uid": "c9",
    "at": 1764000000000000, "props": {"products": "x:1:1,y:1:1,z:1:1"}}]}');
set local role crm_etl;
create temp table load_orders (order_id text, line int, customer_id text,
    ordered_at timestamptz, product_id text, quantity int, price numeric,
    currency text, country text, payer_id text, recipient_id text, gift text);
insert into load_orders values
    ('o1', 1, 'c1', '2024-05-01 10:00', 'p1', 2, 2.5, 'GBP', 'UK'),
    ('o1', 2, 'c1', '2024-05-01 10:01', 'p9', -1, 1, 'GBP', 'UK'),
    ('o2', 1, 'c3', '2024-05-02 10:00', 'p1', 1, 0.001, null, 'FR'),
    ('o2', 1, 'c3', '2024-05-02 10:00', 'p1', 1, 0.005, null, 'FR');
select is(etl.load_orders(o), 4::bigint, 'orders are kept') from batch;
reset role;
select is(row(o.customer_id, o.ordered_at, o.total, o.src)::text,
          row('c1', '2024-05-01 10:01'::timestamptz, 4.00::numeric, 'import')::text,
          'a file knows an order better than an event')
  from crm."order" as o where order_id = 'o1';
select is(count(*)::int, 2, 'its lines replace those of the event')
  from crm.order_line where order_id = 'o1';
select is(l.price, 0.005, 'prices keep their digits, the later row is taken')
  from crm.order_line as l where order_id = 'o2';
select is(c.country, 'FR', 'unknown customers are made, with a country')
  from crm.customer as c where customer_id = 'c3';
select ok(exists (select from crm.product where product_id = 'p9'),
          'and unknown products');
truncate load_orders;
insert into load_orders values
    ('o1', 3, 'c1', '2024-05-01 10:00', 'p1', 1, 6, 'GBP', 'UK');
select etl.load_orders(o) from batch;
select is(o.total, 10.00, 'an order may come in parts')
  from crm."order" as o where order_id = 'o1';
select count(*) as n from crm.history \gset
select etl.load_orders(o) from batch;
select is(count(*), :n::bigint, 'the same again changes nothing')
  from crm.history;
truncate load_orders;
insert into load_orders values
    ('o3', 1, null, '2024-05-01 10:00', 'p1', 1, 6, null, null);
select lives_ok('select etl.load_orders(o) from batch',
                'an order without a customer is one');
truncate load_orders;
insert into load_orders values
    ('o4', 1, 'c1', '2024-05-01 10:00', 'p1', 0, 6, null, null);
select throws_ok('select etl.load_orders(o) from batch', '23514', null,
                 'a line of no pieces is refused by the table');

-- The end.
set local role crm_etl;
select throws_ok('select etl.load_end(c, 4, 2, 1) from batch', 'CRM06', null,
                 'counts must add up');
select lives_ok('select etl.load_end(c, 4, 3, 1) from batch', 'they do');
select throws_ok('select etl.load_end(c, 4, 3, 1) from batch', 'CRM06', null,
                 'a batch ends once');
select throws_ok('select etl.load_customers(c) from batch', 'CRM06', null,
                 'and takes no more rows');
reset role;
select is(row(b.state, b.rows_in, b.kept, b.rejected)::text,
          row('done', 4::bigint, 3::bigint, 1::bigint)::text, 'its row says so')
  from crm.load_batch as b, batch where b.id = batch.c;

select * from finish();
rollback;
