-- One person's data: every place is known, and what erases it is exact.
begin;
select plan(16);
select etl.site_set('t', 'Test');
select etl.ensure_partitions('2025-11-24', '2025-11-24');

-- A new column that names a person must come into etl.person and etl.erase.
select set_eq(
    $$select c.relname::text from pg_attribute as a
        join pg_class as c on c.oid = a.attrelid
       where c.relnamespace = 'crm'::regnamespace
         and c.relkind in ('r', 'p') and not c.relispartition
         and a.attname in ('customer_id', 'vid', 'uid', 'merged_into',
                           'payer_id', 'recipient_id', 'from_id', 'into_id')$$,
    array['alias', 'consent', 'customer', 'event', 'identity', 'login',
          'merge_log', 'order', 'profile', 'result_profile', 'visitor'],
    'tables that name people are those that export and erasure know');
select is(count(*)::int, 11, 'export asks all of them')
  from unnest(array['alias', 'consent', 'customer', 'event', 'identity',
                    'login', 'merge_log', 'order', 'profile',
                    'result_profile', 'visitor']) as t (name)
 where (select prosrc from pg_proc where oid = 'etl.person'::regproc)
       like '%crm.' || case t.name when 'order' then '"order"'
                            else t.name end || ' as%';

create function pg_temp.told(rec jsonb) returns void language sql as $$
    select etl.absorb(jsonb_build_object('records', jsonb_build_array(
        '{"site": "t", "src": "origin", "at": 1764000000000000,
          "vid": "01934b7e-6f2a-7c3d-8e4f-000000000001",
          "trusted": true}' || rec)))
$$;

-- Consent on record.
select pg_temp.told('{"type": "consent", "ctx": {"consent": "mp"},
                      "props": {"source": "gpc"}}');
select pg_temp.told('{"type": "consent", "ctx": {"consent": ""}}');
select results_eq(
    'select measure, personalize, source from crm.consent order by id',
    $$values (true, true, 'gpc'), (false, false, 'unknown')$$,
    'each change is a row');
select lives_ok(format('select pg_temp.told(%L)', j), 'takes ' || j)
  from unnest(array['{"type": "consent", "ctx": {"consent": "x"}}',
                    '{"type": "consent", "ctx": 5, "at": "no"}',
                    '{"type": "identify", "uid": 7, "props": [1]}',
                    '{"type": "alias", "uid": "ann", "props": {"previous_id":
                      {"a": 1}}}']::text[]) as j;
select is(count(*)::int, 2, 'and nothing else is') from crm.consent;
select pg_temp.told('{"type": "consent", "src": "client",
                      "ctx": {"consent": "mp"}}');
select is(count(*)::int, 2, 'least of all what a browser says')
  from crm.consent;

-- Ids that name nobody.
select is(array_agg(j order by j) filter (where crm.id_banned('t', j)),
          array['-', '0', '00000000-0000-0000-0000-000000000000', 'NULL',
                'x'], 'junk is told from ids')
  from unnest(array['NULL', '0', '-', 'x', '7', 'a1', '10', 'ann',
                    '00000000-0000-0000-0000-000000000000',
                    '00000000-0000-0000-0000-000000000001']) as j;
select ok(not crm.id_banned('t', repeat('0-', 31) || '1'),
          'an id with one digit is one');

-- Erasure refuses what names nobody or two.
select throws_ok($$select etl.erase('t', null, null)$$, 'CRM02', null,
                 'nobody is not erased');
select throws_ok($$select etl.erase('t', 'a',
    '01934b7e-6f2a-7c3d-8e4f-000000000001')$$, 'CRM02', null,
    'nor two at once');
select throws_ok($$select etl.erase('nowhere', 'a', null)$$, 'CRM01', null,
                 'nor anybody elsewhere');

-- What the same transaction copied of an erased browser goes again.
select etl.erase('t', null, '01934b7e-6f2a-7c3d-8e4f-000000000001');
insert into crm.event (site, id, rts, type, src, vid) values
    ('t', gen_random_uuid(), '2025-11-24 16:00:00+00', 'page', 'origin',
     '01934b7e-6f2a-7c3d-8e4f-000000000001'),
    ('t', gen_random_uuid(), '2025-11-24 16:00:00+00', 'page', 'origin',
     '01934b7e-6f2a-7c3d-8e4f-000000000002');
select etl.absorb('{"since": 1764000000000000, "visitors": [
    {"site": "t", "vid": "01934B7E-6f2a-7c3d-8e4f-000000000001",
     "first": 1764000000000000, "last": 1764000000000000, "events": 1},
    {"site": "t", "vid": "01934b7e-6f2a-7c3d-8e4f-000000000002",
     "first": 1764000000000000, "last": 1764000000000000, "events": 1}]}');
select results_eq('select vid::text from crm.event union all
                   select vid::text from crm.visitor',
    $$values ('01934b7e-6f2a-7c3d-8e4f-000000000002'),
             ('01934b7e-6f2a-7c3d-8e4f-000000000002')$$,
    'only the other browser''s events stay');
select is(count(*)::int, 0, 'no text of an erased id is kept')
  from crm.suppressed as s
 where encode(s.hash, 'escape') like '%01934b7e%';

select * from finish();
rollback;
