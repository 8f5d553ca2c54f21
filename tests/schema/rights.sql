-- Who may do what; a new table or function must be put on purpose.
begin;
select plan(30);

select roles_are_there.* from (
    select is(count(*)::int, 9, 'all roles exist')
      from pg_roles
     where rolname in ('crm_owner', 'crm_edge', 'crm_etl', 'crm_admin',
                       'crm_marketer', 'crm_reviewer', 'crm_agent',
                       'crm_analyst', 'crm_partner')) as roles_are_there;
select is(array_agg(rolname::text order by rolname),
          array['crm_edge', 'crm_etl'], 'only nginx and crm-mine log in')
  from pg_roles where rolname like 'crm\_%' and rolcanlogin;
select is_empty(
    $$select rolname from pg_roles where rolname like 'crm\_%'
         and (rolsuper or rolcreaterole or rolcreatedb or rolbypassrls
              or rolreplication)$$, 'no role has power over the server');

-- crm_partner stands for PUBLIC: it has been granted nothing at all.
select is_empty(
    $$select p.oid::regprocedure from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and p.proowner = 'crm_owner'::regrole
         and has_function_privilege('crm_partner', p.oid, 'execute')$$,
    'PUBLIC executes nothing');
select is_empty(
    $$select c.oid::regclass from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and c.relkind in ('r', 'p', 'v', 'm')
         and (has_table_privilege('crm_partner', c.oid,
              'select, insert, update, delete, truncate, references, trigger')
              or has_any_column_privilege('crm_partner', c.oid,
              'select, insert, update, references'))$$,
    'PUBLIC touches no table');
select is_empty(
    $$select n.nspname from pg_namespace as n
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and has_schema_privilege('crm_partner', n.oid, 'usage, create')$$,
    'PUBLIC enters no schema');
select ok(not has_schema_privilege('crm_partner', 'public', 'create'),
          'PUBLIC makes nothing in public');
-- A copied database has rights of its own: the migrated one is looked at.
select ok(not has_database_privilege('public', 'crm_template',
                                     'connect, create, temporary'),
          'PUBLIC does not connect to a migrated database');

-- crm_edge: schema edge and nothing else.
select is_empty(
    $$select c.oid::regclass from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and c.relkind in ('r', 'p', 'v', 'm')
         and (has_table_privilege('crm_edge', c.oid,
              'select, insert, update, delete, truncate, references, trigger')
              or has_any_column_privilege('crm_edge', c.oid,
              'select, insert, update, references'))$$,
    'crm_edge reads and writes no table');
select set_eq(
    $$select n.nspname::text || '.' || p.proname from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and p.proowner = 'crm_owner'::regrole
         and has_function_privilege('crm_edge', p.oid, 'execute')$$,
    array['edge.campaign_set', 'edge.model', 'edge.visitor'],
    'crm_edge executes edge.*');
select is(array_agg(nspname::text), array['edge'], 'crm_edge enters edge')
  from pg_namespace
 where nspname in ('crm', 'edge', 'etl', 'api', 'mart')
   and has_schema_privilege('crm_edge', oid, 'usage');

-- crm_etl: functions, plus the few exceptions of 000010_rights.sql.
select set_eq(
    $$select c.relname::text from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and c.relkind in ('r', 'p', 'v', 'm')
         and (has_table_privilege('crm_etl', c.oid, 'select')
              or has_any_column_privilege('crm_etl', c.oid, 'select'))$$,
    array['site', 'producer', 'run', 'event'], 'crm_etl reads four tables');
select set_eq(
    $$select c.relname::text from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and c.relkind in ('r', 'p', 'v', 'm')
         and has_table_privilege('crm_etl', c.oid,
              'insert, update, delete, truncate, references, trigger')$$,
    array['event'], 'crm_etl writes into crm.event only');
select ok(has_table_privilege('crm_etl', 'crm.event', 'insert')
          and not has_table_privilege('crm_etl', 'crm.event',
                  'update, delete, truncate, references, trigger'),
          'crm_etl only inserts into it');
select ok(not has_column_privilege('crm_etl', 'crm.event', 'ctx', 'select')
          and not has_column_privilege('crm_etl', 'crm.event', 'props',
                                       'select'),
          'crm_etl does not read what events hold');
select is_empty(
    $$select p.proname from pg_proc as p
       where p.pronamespace = 'etl'::regnamespace
         and not has_function_privilege('crm_etl', p.oid, 'execute')$$,
    'crm_etl executes etl.*');
select ok(not has_schema_privilege('crm_etl', 'crm', 'create')
          and not has_schema_privilege('crm_etl', 'etl', 'create'),
          'crm_etl makes no objects');
select ok(not pg_has_role('crm_etl', 'crm_owner', 'member')
          and not pg_has_role('crm_edge', 'crm_owner', 'member'),
          'nobody that logs in is the owner');

-- crm_analyst: mart.
select set_eq(
    $$select c.oid::regclass::text from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and c.relkind in ('r', 'p', 'v', 'm')
         and has_table_privilege('crm_analyst', c.oid, 'select')$$,
    array['mart.daily_traffic', 'mart.rfm_segments', 'mart.campaign_exposure',
          'mart.consent_state', 'mart.loss_ledger', 'mart.funnel',
          'mart.page_dwell', 'mart.bot_traffic'],
    'crm_analyst reads mart');
select is_empty(
    $$select rolname from pg_roles cross join pg_class as c
       where rolname in ('crm_admin', 'crm_marketer', 'crm_reviewer',
                         'crm_agent', 'crm_partner')
         and c.relnamespace = 'crm'::regnamespace
         and c.relkind in ('r', 'p', 'v')
         and has_table_privilege(rolname, c.oid, 'select')$$,
    'people have no table of their own yet');

-- Really refused, not only on paper.
set local role crm_edge;
select throws_ok('select * from crm.customer', '42501', null,
                 'crm_edge is refused a table');
select throws_ok($$select etl.position('p')$$, '42501', null,
                 'crm_edge is refused etl');
select lives_ok($$select edge.campaign_set('x')$$, 'crm_edge calls edge');
set local role crm_etl;
select throws_ok('select * from crm.customer', '42501', null,
                 'crm_etl is refused a table');
select throws_ok($$select crm.recs('x', '[]', 1)$$, '42501', null,
                 'crm_etl is refused private functions');
select throws_ok($$select edge.campaign_set('x')$$, '42501', null,
                 'crm_etl is refused edge');
set local role crm_analyst;
select lives_ok('select * from mart.loss_ledger', 'crm_analyst reads mart');
reset role;

-- How it is made.
select is_empty(
    $$select p.oid::regprocedure from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
        join pg_language as l on l.oid = p.prolang
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and p.proowner = 'crm_owner'::regrole
         and p.prokind <> 'a'  -- an aggregate names its functions by oid
         and not exists (select from unnest(p.proconfig) as c
                          where c = 'search_path=pg_catalog, pg_temp')
         and p.prosqlbody is null$$,
    'every function has a fixed search_path or names bound at creation');
select is_empty(
    $$select p.oid::regprocedure from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and p.proowner = 'crm_owner'::regrole
         and obj_description(p.oid, 'pg_proc') is null$$,
    'every function has a comment');
select is_empty(
    $$select c.oid::regclass from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
         and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
         and (obj_description(c.oid, 'pg_class') is null
              or c.relowner <> 'crm_owner'::regrole)$$,
    'every table has a comment and belongs to crm_owner');

select * from finish();
rollback;
