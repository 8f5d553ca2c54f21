-- Partitions of crm.event and what may go into them.
begin;
select plan(24);
set local timezone = 'UTC';

select is(etl.ensure_partitions('2020-02-28', '2020-03-01'), 3,
          'a leap day is a day');
select has_table('crm', 'event_20200229', 'it has a table');
select is(etl.ensure_partitions('2020-02-28', '2020-03-02'), 1,
          'only missing days are made');
select is(pg_get_expr(c.relpartbound, c.oid),
    'FOR VALUES FROM (''2020-02-29 00:00:00+00'') '
    'TO (''2020-03-01 00:00:00+00'')', 'a day is a day in UTC')
  from pg_class as c where c.oid = 'crm.event_20200229'::regclass;
set local timezone = 'America/New_York';
select is(etl.ensure_partitions('2020-02-27', '2020-02-27'), 1,
          'the zone of the session');
set local timezone = 'UTC';
select is(pg_get_expr(c.relpartbound, c.oid),
    'FOR VALUES FROM (''2020-02-27 00:00:00+00'') '
    'TO (''2020-02-28 00:00:00+00'')', 'does not matter')
  from pg_class as c where c.oid = 'crm.event_20200227'::regclass;
select is(count(*)::int, 2, 'a day has the indexes of the parent')
  from pg_index where indrelid = 'crm.event_20200229'::regclass;

select lives_ok($$select etl.ensure_partitions('1990-01-01', '1990-01-01')$$,
                'the first day that is allowed');
select throws_ok($$select etl.ensure_partitions('1989-12-31', '1990-01-01')$$,
                 'CRM02', 'day 1989-12-31 is out of range',
                 'the day before is refused');
select lives_ok($$select etl.ensure_partitions(current_date + 40,
                                               current_date + 40)$$,
                '40 days ahead are allowed');
select throws_ok($$select etl.ensure_partitions(current_date,
                                                current_date + 41)$$,
                 'CRM02', null, '41 are refused');
select throws_ok($$select etl.ensure_partitions('2001-01-02', '2001-01-01')$$,
                 'CRM02', null, 'a reversed range is refused');
select throws_ok($$select etl.ensure_partitions(null, '2001-01-01')$$,
                 'CRM02', null, 'as is none');
select throws_ok($$select etl.ensure_partitions('2001-01-01',
                                                date '2001-01-01' + 3700)$$,
                 'CRM02', '3701 days at once are too many',
                 'and more than 3,700 days');
select throws_ok($$select etl.ensure_partitions('2001-01-01',
                                                date '2001-01-01' + 3699)$$,
                 'CRM02', '3700 new days do not fit into one transaction',
                 'what the lock table cannot hold is refused before');

insert into crm.event (site, id, rts, type, src)
values ('t', '01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f',
        '2020-02-29 23:59:59.999999+00', 'page', 'origin');
select is(e.tableoid::regclass::text, 'crm.event_20200229',
          'the last microsecond belongs to the day')
  from crm.event as e;
select throws_ok(
    $$insert into crm.event (site, id, rts, type, src)
      values ('t', '01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f',
              '2020-02-29 23:59:59.999999+00', 'page', 'origin')$$,
    '23505', null, 'an event comes once');
select throws_ok(
    $$insert into crm.event (site, id, rts, type, src)
      values ('t', gen_random_uuid(), '2021-01-01', 'page', 'origin')$$,
    '23514', null, 'a day that nobody made takes nothing');
select is(array_agg(a.attname::text order by a.attnum),
    string_to_array('site id rts ts type name vid sid sn seq uid src mid ctx '
                    'req props dec extra', ' '),
    'the columns stand as docs/contracts.md names them')
  from pg_attribute as a
 where a.attrelid = 'crm.event'::regclass and a.attnum > 0;

set local role crm_etl;
select lives_ok(
    $$with n as (insert into crm.event (site, id, rts, type, src)
      values ('t', gen_random_uuid(), '2020-03-01', 'page', 'origin')
      on conflict do nothing returning site, vid, rts) select * from n$$,
    'crm_etl inserts events');
reset role;

select is(etl.drop_partitions('2020-02-29'), 3, 'whole older days are dropped');
select hasnt_table('crm', 'event_20200228', 'the day before is gone');
select has_table('crm', 'event_20200229', 'the day itself stays');
select throws_ok('select etl.drop_partitions(current_date + 1)', 'CRM02', null,
                 'a day to come is refused');

select * from finish();
rollback;
