-- Campaigns: rules, reviews, the set, export.
begin;
select plan(88);
select etl.site_set('t', 'Test');

create function pg_temp.doc(more jsonb) returns jsonb language sql as $$
    select '{"key": "welcome", "name": "Welcome", "slot": "hero",
             "state": "live", "priority": 20, "start": "2026-11-01T00:00:00Z",
             "end": null, "when": {"visitor.new": true},
             "variants": [{"key": "a", "weight": 1, "content": "<p>A</p>"}],
             "remark": "agreed"}'::jsonb || more
$$;
create function pg_temp.keys() returns text language sql as $$
    select coalesce(string_agg(c ->> 'key', ' ' order by n), '')
      from jsonb_array_elements(edge.campaign_set('t')::jsonb -> 'campaigns')
           with ordinality as c (c, n)
$$;

-- The set.
select is(edge.campaign_set('nowhere')::jsonb,
          '{"site": "nowhere", "version": 0, "campaigns": []}',
          'an unknown site has an empty set');
select is(edge.campaign_set('t')::jsonb,
          '{"site": "t", "version": 0, "campaigns": []}',
          'as has a new one');
select is(etl.campaign_apply('t', pg_temp.doc('{}'), 'ann'), 'created',
          'a campaign is created');
select is(pg_temp.keys(), '', 'one reviewer is not enough');
select is(etl.campaign_apply('t', pg_temp.doc('{}'), 'ann'), 'same',
          'the same person again');
select is(pg_temp.keys(), '', 'counts once');
select is(etl.campaign_apply('t', pg_temp.doc('{}'), 'bob'), 'same',
          'another person');
select is(pg_temp.keys(), 'welcome', 'makes it live');
select is(edge.campaign_set('t')::jsonb #> '{campaigns,0}',
    '{"key": "welcome", "slot": "hero", "priority": 20, "start": 1793491200,
      "end": null, "when": {"visitor.new": true},
      "variants": [{"key": "a", "weight": 1, "content": "<p>A</p>"}]}',
    'with the members that docs/campaigns.md names');
select is((edge.campaign_set('t')::jsonb ->> 'version')::int, 2,
          'the version counts changes');
select is(row(c.first_review_by, c.second_review_by)::text, row('ann', 'bob')::text,
          'both reviews are kept') from crm.campaign as c;
select is(etl.campaign_apply('t', pg_temp.doc('{"priority": 21}'), 'bob'),
          'changed', 'a changed document');
select is(row(c.first_review_by, c.second_review_by)::text, row('bob', null::text)::text,
          'begins its reviews anew') from crm.campaign as c;
select is(pg_temp.keys(), '', 'and is not live');
select etl.site_set('t', null, null, 1);
select is(pg_temp.keys(), 'welcome', 'a site may want one review');
select is((edge.campaign_set('t')::jsonb ->> 'version')::int, 4,
          'that is a change of the set');
select etl.site_set('t', null, null, 0);
select is(etl.campaign_apply('t', pg_temp.doc('{"key": "b"}'), null),
          'created', 'or none');
select is(etl.campaign_apply('t', pg_temp.doc('{"key": "a-b"}'), ''),
          'created', 'an empty reviewer is none');
select is(pg_temp.keys(), 'a-b b welcome', 'the set is in key order');
select is(etl.campaign_apply('t', pg_temp.doc(jsonb_build_object('key', 'b',
          'state', s)), null), 'changed', s || ' is a state')
  from unnest(array['draft', 'paused', 'ended']) as s;
select is(pg_temp.keys(), 'a-b welcome', 'that is not live');
select throws_ok(
    $$update crm.campaign set second_review_by = 'bob',
      first_review_by = 'bob' where key = 'b'$$, '23514', null,
    'one person cannot be both reviewers, whoever writes');
select throws_ok(
    $$update crm.campaign set second_review_by = 'bob',
      first_review_by = null where key = 'b'$$, '23514', null,
    'nor the second without a first');

-- Export and drop.
select results_eq(
    $$select e from etl.campaign_export('t') as e where e ->> 'key' = 'welcome'$$,
    $$select pg_temp.doc('{"priority": 21}')$$, 'what came in goes out');
select is(etl.campaign_apply('t', e, null), 'same', 'and in again')
  from etl.campaign_export('t') as e where e ->> 'key' = 'welcome';
select is(array_agg(e ->> 'key'), array['a-b', 'b', 'welcome'],
          'in key order') from etl.campaign_export('t') as e;
select is(etl.campaign_apply('t', '{"key": "min", "slot": "s",
    "state": "live", "variants": [{"key": "a", "weight": 1, "content": ""}]}',
    null), 'created', 'defaults fill the rest');
select is(e, '{"key": "min", "name": "", "slot": "s", "state": "live",
    "priority": 0, "start": null, "end": null, "when": {},
    "variants": [{"key": "a", "weight": 1, "content": ""}]}',
    'and are exported')
  from etl.campaign_export('t') as e where e ->> 'key' = 'min';
select is(etl.campaign_drop('t', 'min'), true, 'a campaign is dropped');
select is(etl.campaign_drop('t', 'min'), false, 'once');
select is(etl.campaign_drop('t', 'none'), false, 'an unknown one never');
select is(c.state, 'ended', 'it has ended') from crm.campaign as c
 where key = 'min';
select is_empty($$select from etl.campaign_export('t') as e
                   where e ->> 'key' = 'min'$$, 'and is not exported');
select is(pg_temp.keys(), 'a-b welcome', 'nor in the set');
select is(etl.campaign_apply('t', '{"key": "min", "slot": "s",
    "state": "live", "variants": [{"key": "a", "weight": 1, "content": ""}]}',
    null), 'changed', 'its file may come back');
select is(pg_temp.keys(), 'a-b min welcome', 'and it is live again');
select is(h.who, 'bob', 'the history names the reviewer')
  from crm.history as h
 where h.table_name = 'campaign' and h.new ->> 'priority' = '21';

-- Changes by hand.
select (edge.campaign_set('t')::jsonb ->> 'version')::int as v \gset
update crm.campaign set priority = 1 where key in ('b', 'min');
select is((edge.campaign_set('t')::jsonb ->> 'version')::int, :v + 1,
          'a statement is one change');
delete from crm.campaign where key = 'b';
select is((edge.campaign_set('t')::jsonb ->> 'version')::int, :v + 2,
          'deleting is one, too');
update crm.campaign set priority = 1 where key = 'none';
select is((edge.campaign_set('t')::jsonb ->> 'version')::int, :v + 2,
          'nothing changed is none');

-- Refusals: the message begins with the path.
create function pg_temp.refused(more jsonb, message text) returns text
language sql as $$
    select throws_ok(format('select etl.campaign_apply(%L, %L, %L)', 't',
                            pg_temp.doc(more), 'ann'), 'CRM03', message,
                     message)
$$;
select pg_temp.refused('{"x": 1}', 'x: is no member of a campaign');
select pg_temp.refused('{"key": "Upper"}',
                       'key: must be [a-z0-9][a-z0-9._-]{0,63}');
select pg_temp.refused('{"key": 7}',
                       'key: must be [a-z0-9][a-z0-9._-]{0,63}');
select pg_temp.refused(jsonb_build_object('key', repeat('k', 65)),
                       'key: must be [a-z0-9][a-z0-9._-]{0,63}');
select pg_temp.refused('{"slot": "a b"}',
                       'slot: must be [A-Za-z0-9][A-Za-z0-9._-]{0,63}');
select pg_temp.refused('{"state": "on"}',
                       'state: must be draft, live, paused or ended');
select pg_temp.refused(jsonb_build_object('name', repeat('n', 201)),
                       'name: must be a string of at most 200 characters');
select pg_temp.refused('{"remark": 1}', 'remark: must be a string');
select pg_temp.refused(jsonb_build_object('priority', p),
                       'priority: must be a whole number from 0 to 1000')
  from unnest(array['-1', '1001', '1.5', '"1"', 'null']::jsonb[]) as p;
select pg_temp.refused('{"when": []}',
    'when: must be a condition: an object of at most 256 KB');
select pg_temp.refused(jsonb_build_object('start', t),
    'start: must be null or a time like 2026-11-01T00:00:00Z')
  from unnest(array['2026-02-30T00:00:00Z', '2026-11-01', 'now',
                    '2026-11-01T00:00:00+02:00', '1989-12-31T00:00:00Z'])
       as t;
select pg_temp.refused('{"end": "2026-11-01T00:00:00Z"}',
                       'end: must be after start');
select pg_temp.refused('{"variants": []}', 'variants: must be 1 to 16 objects');
select pg_temp.refused('{"variants": {}}', 'variants: must be 1 to 16 objects');
select pg_temp.refused('{"variants": [1]}', 'variants[0]: must be an object');
select pg_temp.refused('{"variants": [{"key": "a", "weight": 1, "content": "",
    "color": 1}]}', 'variants[0].color: is no member of a variant');
select pg_temp.refused('{"variants": [{"key": "a", "weight": 1, "content": ""},
    {"key": "a", "weight": 1, "content": ""}]}',
    'variants[1].key: is there twice');
select pg_temp.refused('{"variants": [{"key": "", "weight": 1,
    "content": ""}]}', 'variants[0].key: must be [a-z0-9][a-z0-9._-]{0,63}');
select pg_temp.refused('{"variants": [{"key": "a", "weight": -1,
    "content": ""}]}',
    'variants[0].weight: must be a number from 0 to 1000000');
select pg_temp.refused('{"variants": [{"key": "a", "weight": 0,
    "content": ""}]}', 'variants: must have a weight above 0');
select pg_temp.refused(jsonb_build_object('variants', jsonb_build_array(
    jsonb_build_object('key', 'a', 'weight', 1, 'content',
                       repeat('x', 65537)))),
    'variants[0].content: must be a string of at most 65536 bytes');
select throws_ok($$select etl.campaign_apply('t', '[]', 'ann')$$, 'CRM03',
                 '$: must be an object', 'a list is no document');
select throws_ok($$select etl.campaign_apply('t', null, 'ann')$$, 'CRM03',
                 '$: must be an object', 'nor is nothing');
select throws_ok($$select etl.campaign_apply('no', '{}', 'ann')$$, 'CRM01',
                 'site "no" is unknown', 'an unknown site is refused');
select throws_ok($$select etl.campaign_apply('t', '{}', repeat('r', 65))$$,
                 'CRM02', null, 'as is a strange reviewer');

-- Terms: kept, given back, compiled, refused.
select is(etl.campaign_apply('t', pg_temp.doc('{"key": "terms",
    "times": {"zone": "Europe/Berlin", "weekdays": [5], "hours": [18, 2]},
    "namespace": ["popups", 0, 0.5], "holdout": 0.1,
    "goal": "Order Completed"}'), 'ann'), 'created', 'terms are taken');
select is((select d - array['name', 'slot', 'state', 'priority', 'start', 'end',
                            'when', 'variants', 'remark']
             from etl.campaign_export('t') as d where d ->> 'key' = 'terms'),
    '{"key": "terms", "goal": "Order Completed", "holdout": 0.1,
      "namespace": ["popups", 0, 0.5],
      "times": {"zone": "Europe/Berlin", "weekdays": [5], "hours": [18, 2]}}',
    'and given back');
select is(etl.campaign_apply('t', pg_temp.doc('{"key": "terms",
    "holdout": 0.2}'), 'ann'), 'changed', 'other terms are a change');
select is(crm.campaign_terms_compiled('{"holdout": 0.2, "goal": "x"}'),
          '{"holdout": 0.2}', 'a goal is not for nginx');
select is(crm.zone_offsets('UTC') -> 0 -> 1, '0', 'UTC is not ahead');
select is(jsonb_array_length(crm.zone_offsets('UTC')), 1, 'and never changes');
select ok(not exists (
    select from generate_series(now(), now() + interval '790 days',
                                interval '7 hours') as t
     where extract(epoch from t at time zone 'Australia/Lord_Howe'
                              - t at time zone 'UTC')::int
           <> (select (o ->> 1)::int
                 from jsonb_array_elements(
                          crm.zone_offsets('Australia/Lord_Howe')) as o
                where (o ->> 0)::bigint <= extract(epoch from t)
                order by (o ->> 0)::bigint desc limit 1)),
    'offsets are those of the zone at any time');
select pg_temp.refused('{"times": 7}', 'times: must be an object');
select pg_temp.refused('{"times": {"zone": "Berlin"}}',
    'times.zone: must be the name of a time zone like Europe/Berlin');
select pg_temp.refused('{"holdout": 2}',
    'holdout: must be a share from 0 to 1');
select pg_temp.refused('{"goal": ""}',
    'goal: must be the name of an event, at most 200 characters');
select etl.site_holdout('t', 0.05);
select is(edge.campaign_set('t')::jsonb -> 'holdout', '0.05',
          'the hold-out of the site is in its set');
select throws_ok($$select etl.site_holdout('t', 1.5)$$, 'CRM02', null,
                 'which must be a share');

select * from finish();
rollback;
