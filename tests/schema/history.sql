-- Business tables: dates, remark, history; secrets stay out of it.
begin;
select plan(19);

select is_empty(
    $$select t.name, c.name
        from unnest(array['site', 'customer', 'product', 'order', 'campaign',
                          'load_batch', 'app_user']) as t (name),
             unnest(array['registered_at', 'modified_at', 'remark'])
             as c (name)
       where not exists (select from pg_attribute as a
                          where a.attrelid
                                = ('crm.' || quote_ident(t.name))::regclass
                            and a.attname = c.name)$$,
    'business tables have registered_at, modified_at and remark');
select is_empty(
    $$select t.name, c.name
        from unnest(array['campaign', 'load_batch']) as t (name),
             unnest(array['first_review_by', 'first_review_at',
                          'second_review_by', 'second_review_at'])
             as c (name)
       where not exists (select from pg_attribute as a
                          where a.attrelid = ('crm.' || t.name)::regclass
                            and a.attname = c.name)$$,
    'reviewed tables have both reviews');
select is_empty(
    $$select t.name, g.name
        from unnest(array['site', 'customer', 'product', 'order', 'campaign',
                          'load_batch', 'app_user']) as t (name),
             unnest(array['touch', 'remember']) as g (name)
       where not exists (select from pg_trigger as r
                          where r.tgrelid
                                = ('crm.' || quote_ident(t.name))::regclass
                            and r.tgname = g.name)$$,
    'business tables have both triggers');

select etl.site_set('t', 'Test');
insert into crm.customer (site, customer_id, name, country)
values ('t', 'c1', 'Ann', 'UK');
select is_empty($$select from crm.history where table_name = 'customer'$$,
                'a new customer is its own history');

create temp table was as select modified_at from crm.customer;
update crm.customer set name = 'Anne' where customer_id = 'c1';
select is(old, '{"name": "Ann"}', 'the old value is kept')
  from crm.history where table_name = 'customer';
select is(new, '{"name": "Anne"}', 'the new value is kept')
  from crm.history where table_name = 'customer';
select is(key, '{"site": "t", "customer_id": "c1"}', 'with the key')
  from crm.history where table_name = 'customer';
select is(op || ' ' || who, 'update postgres', 'what was done, by whom')
  from crm.history where table_name = 'customer';
select ok(c.modified_at > w.modified_at, 'modified_at moves')
  from crm.customer as c, was as w;

update crm.customer set name = 'Anne' where customer_id = 'c1';
select is(count(*)::int, 1, 'an update without a change is none')
  from crm.history where table_name = 'customer';

delete from crm.customer where customer_id = 'c1';
select is(h.old ->> 'name', 'Anne', 'a deleted row is kept whole')
  from crm.history as h where h.table_name = 'customer' and h.op = 'delete';

set local crm.actor = 'eve';
update crm.site set currency = 'GBP' where key = 't';
select is(h.who || ' ' || h.login, 'eve postgres',
          'the actor is kept beside the login')
  from crm.history as h where h.table_name = 'site' and h.op = 'update';

-- Users.
select lives_ok($$select etl.user_set('ann', 'long enough', 'marketer')$$,
                'a user is made');
select ok(u.password_hash = crm.crypt('long enough', u.password_hash)
          and u.password_hash like '$2a$10$%', 'the password is hashed')
  from crm.app_user as u where u.name = 'ann';
select etl.user_set('ann', 'another one', 'admin', 't');
select ok(bool_and(h.new ->> 'password_hash' = '***'
                   and coalesce(h.old ->> 'password_hash', '***') = '***'),
          'no hash enters the history')
  from crm.history as h where h.table_name = 'app_user';
select throws_ok($$select etl.user_set('bob', 'short', 'admin')$$, 'CRM08',
                 'password of user "bob" has a wrong length',
                 'a short password is refused');
select throws_ok($$select etl.user_set('bob', 'long enough', 'root')$$,
                 'CRM08', 'user "bob" cannot have role "root"',
                 'an unknown role is refused');
select throws_ok($$select etl.user_set('bob', 'long enough', 'admin', 'no')$$,
                 'CRM01', 'site "no" is unknown', 'as is an unknown site');
select throws_ok($$select etl.user_set(null, 'long enough', 'admin')$$,
                 'CRM08', null, 'and a missing name');

select * from finish();
rollback;
