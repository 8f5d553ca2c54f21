-- What nginx hears, and when: psql prints it after the statement that commits.
select plan(9);

select has_trigger('crm', 'campaign', t, t || ' stands on crm.campaign')
  from unnest(array['notify_insert', 'notify_update', 'notify_delete']) as t;

\set heard `mktemp /tmp/crm_heard.XXXXXX`
listen crm_campaigns;
listen crm_profiles;
select etl.site_set('t', 'Test', null, 1);

\o :heard
select etl.campaign_apply('t', '{"key": "k", "slot": "s", "state": "live",
    "variants": [{"key": "a", "weight": 1, "content": ""}]}', 'ann');
select 1;
\o
\setenv HEARD :heard
\set text `grep -o 'notification.*payload "[^"]*"' "$HEARD"`
select is(:'text'::text, 'notification "crm_campaigns" with payload "t"',
          'an applied campaign');

\o :heard
update crm.campaign set priority = 5;
select 1;
\o
\set text `grep -o 'notification.*payload "[^"]*"' "$HEARD"`
select is(:'text'::text, 'notification "crm_campaigns" with payload "t"',
          'a change by hand');

\o :heard
update crm.campaign set priority = 6 where false;
select 1;
\o
\set text `grep -o 'notification.*payload "[^"]*"' "$HEARD"`
select is(:'text'::text, '', 'no change, no word');

\o :heard
delete from crm.campaign;
select 1;
\o
\set text `grep -o 'notification.*payload "[^"]*"' "$HEARD"`
select is(:'text'::text, 'notification "crm_campaigns" with payload "t"',
          'a campaign deleted');

insert into crm.customer (site, customer_id) values ('t', 'ann');
insert into crm.profile (site, customer_id, attributes, runs)
values ('t', 'ann', '{}', '{}');
\o :heard
select etl.absorb('{"identities": [
    {"site": "t", "vid": "01934b7e-6f2a-7c3d-8e4f-000000000001", "uid": "ann",
     "at": 1764000000000000},
    {"site": "t", "vid": "01934b7e-6f2a-7c3d-8e4f-000000000002", "uid": "new",
     "at": 1764000000000000}]}');
select 1;
\o
\set text `grep -o 'notification.*payload "[^"]*"' "$HEARD"`
select is(:'text'::text, 'notification "crm_profiles" with payload '
          '"t:01934b7e-6f2a-7c3d-8e4f-000000000001"',
          'a visitor who is a customer with a profile');

select etl.run_begin('t', 'rfm', '{}', 1) as run \gset
select etl.mine_rfm(:run, now());
select etl.run_end(:run, null, null, null, null);
\o :heard
select etl.publish('t', array[:run]);
select 1;
\o
\set text `grep -o 'notification.*payload "[^"]*"' "$HEARD"`
select is(:'text'::text, 'notification "crm_profiles" with payload "t"',
          'profiles published');
\! rm -f "$HEARD"

select * from finish();
