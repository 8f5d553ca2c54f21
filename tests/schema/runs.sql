-- What runs say of themselves, reviews, going back.
begin;
select plan(29);
set local timezone = 'UTC';
select etl.site_set('t', 'Test');
insert into crm.customer (site, customer_id)
select 't', 'c' || n from generate_series(1, 3) as n;

create function pg_temp.run(value int) returns bigint
language plpgsql as $$
declare
    run bigint := etl.run_begin('t', 'clv', '{}', 42);
begin
    perform etl.result_put(run, 'clv', jsonb_build_array(
        jsonb_build_object('id', 'c1', 'attributes',
            jsonb_build_object('clv', value)),
        '{"id": "stranger", "attributes": {}}'::jsonb));
    perform etl.run_tell(run, '{"part": "clv"}');
    perform etl.run_end(run, 1, 1, null, null);
    return run;
end
$$;

create function pg_temp.clv() returns text
language sql as $$
select p.attributes ->> 'clv' from crm.profile as p
 where p.site = 't' and p.customer_id = 'c1'
$$;

-- What a run says.
select etl.run_begin('t', 'clv', '{}', 42) as said \gset
select throws_ok(format($$select etl.run_tell(%s, '{"colour": 1}')$$, :said),
                 'CRM02', format('run %s cannot say "colour" of itself',
                                 :said), 'a run says what is asked for');
select throws_ok(format($$select etl.run_tell(%s,
                     jsonb_build_object('summary', repeat('x', 70000)))$$,
                     :said), 'CRM02', null, 'and not too much');
select throws_ok($$select etl.run_tell(0, '{}')$$, 'CRM04', null,
                 'an unknown run says nothing');
select etl.run_tell(:said, '{"problem": "who?", "drivers": ["a", "b"],
    "data": {"to": "2024-01-01"}, "part": "clv", "rows_in": 7}');
select etl.run_tell(:said, '{"part": "clv", "summary": "so it is"}');
select is(row(r.problem, r.drivers, r.parts, r.rows_in, r.summary)::text,
          '(who?,"[""a"", ""b""]",{clv},7,"so it is")',
          'what is not named stays') from crm.run as r where r.id = :said;
select throws_ok(format($$select etl.run_tell(%s, '{"drivers": 1}')$$, :said),
                 '23514', null, 'drivers are a list');
select throws_ok(format($$select etl.result_put(%s, 'popular', '[]')$$, :said),
                 'CRM02', null, 'popular products are no result of customers');
select throws_ok(format($$select etl.result_put(%s, 'nonsense', '[]')$$,
                 :said), 'CRM02', null, 'nor is what nobody knows');
select is(etl.result_put(:said, 'clv', '[]'), 0::bigint, 'nothing is nothing');
select etl.run_fail(:said, 'enough');

-- One program at a time; who was killed has failed.
select etl.run_begin('t', 'clv', '{}', 42) as dead \gset
select ok(etl.run_lock('t'), 'a session takes the runs of a site');
select is(row(r.state, r.summary)::text,
          '(failed,"the program that ran it was killed")',
          'what ran before runs no more')
  from crm.run as r where r.id = :dead;
select throws_ok($$select etl.run_lock('no')$$, 'CRM01', null,
                 'an unknown site has none');

-- Reviews.
select pg_temp.run(1) as one \gset
select throws_ok(format($$select etl.run_review(%s, '')$$, :one), 'CRM02', null,
                 'a reviewer has a name');
select lives_ok(format($$select etl.run_review(%s, 'ann')$$, :one), 'first');
select throws_ok(format($$select etl.run_review(%s, 'ann')$$, :one), 'CRM04',
                 null, 'never twice by the same person');
select lives_ok(format($$select etl.run_review(%s, 'bob')$$, :one), 'second');
select throws_ok(format($$select etl.run_review(%s, 'cid')$$, :one), 'CRM04',
                 null, 'two are enough');
select is(row(r.first_review_by, r.second_review_by)::text, '(ann,bob)',
          'both are kept') from crm.run as r where r.id = :one;
select throws_ok(format($$select etl.run_review(%s, 'ann')$$, :dead), 'CRM04',
                 null, 'nobody stands for a failed run');

-- Going back.
select throws_ok(format('select etl.rollback(%s)', :one), 'CRM04',
                 format('run %s is not in force', :one),
                 'what is not in force is not taken back');
select throws_ok('select etl.rollback(null)', 'CRM04', null, 'nor nothing');
select etl.publish('t', array[:one]);
select pg_temp.run(2) as two \gset
select etl.publish('t', array[:two]);
select is(pg_temp.clv(), '2', 'the newer run is in force');
select is(etl.rollback(:two), 1::bigint, 'it is taken back');
select is(pg_temp.clv(), '1', 'and the one before is in force');
select is(r.state, 'withdrawn', 'the record says so')
  from crm.run as r where r.id = :two;
select throws_ok(format($$select etl.publish('t', array[%s])$$, :two), 'CRM04',
                 null, 'what was withdrawn is not published again');
select etl.rollback(:one);
select is(pg_temp.clv(), null, 'without one before, nothing is in force');

-- A forecast is kept until it was judged.
select pg_temp.run(3) as due \gset
update crm.run set due_at = '2024-06-01' where id = :due;
select etl.publish('t', array[pg_temp.run(n)]) from generate_series(4, 12) as n;
select is(count(*)::int, 1, 'a forecast that is not judged is kept')
  from crm.result_profile where run = :due;
update crm.run set outcome = '{}' where id = :due;
select etl.publish('t', array[pg_temp.run(13)]);
select is(r.state, 'dropped', 'then it goes as the others did')
  from crm.run as r where r.id = :due;
select is(count(distinct r.run)::int, 5, 'five are kept')
  from crm.result_profile as r where r.part = 'clv';

select * from finish();
rollback;
