/*
 * 000022_runs.sql - what a run says of itself, kinds of results, going back.
 *
 * A kind of result (part) is a row of crm.part: the table that holds it, with
 * a column run, and the function that puts what is in force in its place.  A
 * new kind needs a table, a function and a row; publishing, forgetting and
 * going back follow the rows.
 *
 * A run may promise something for a day to come (due_at).  Its results are
 * kept until etl.mine_compare has put what happened beside them.
 */

set local role crm_owner;

/* ---- the record of a run ---------------------------------------------- */

alter table crm.run
    add column problem          text,
    add column data             jsonb,
    add column drivers          jsonb,
    add column due_at           timestamptz,
    add column outcome          jsonb,
    add column first_review_by  text,
    add column first_review_at  timestamptz,
    add column second_review_by text,
    add column second_review_at timestamptz,
    drop constraint run_state_known,
    add constraint run_state_known
        check (state in ('running', 'done', 'failed', 'published',
                         'withdrawn', 'dropped')),
    add constraint run_problem_size check (octet_length(problem) <= 1000),
    add constraint run_drivers_array
        check (jsonb_typeof(drivers) = 'array'),
    add constraint run_two_people
        check (second_review_by is null
               or (first_review_by is not null
                   and first_review_by <> second_review_by));

comment on column crm.run.state is
'running, done, failed; published: its results are or were in force; withdrawn: '
'taken back by a person; dropped: its results are deleted.';
comment on column crm.run.parts is 'Results it wrote; see crm.part.';
comment on column crm.run.problem is 'The question it answers, in words.';
comment on column crm.run.data is
'What it looked at: filter in words, from, to; rows_in is how many.';
comment on column crm.run.drivers is
'What its results rest on most, sentences, the strongest first.';
comment on column crm.run.due_at is
'When what it foretold can be compared with what happened.';
comment on column crm.run.outcome is 'What etl.mine_compare found then.';


create table crm.part (
    part    text primary key,
    results text not null,
    apply   text not null,
    step    int not null,
    constraint part_name check (crm.name_ok(part))
);

comment on table crm.part is 'Kinds of results that runs write and publish.';
comment on column crm.part.results is 'Table of the results; has a column run.';
comment on column crm.part.apply is
'Function (site text) returns bigint that puts what is in force in its place.';
comment on column crm.part.step is 'Order of these functions.';

insert into crm.part (part, results, apply, step)
values ('popular', 'crm.result_popular', 'crm.publish_products', 1),
       ('coviewed', 'crm.result_coviewed', 'crm.publish_products', 1),
       ('features', 'crm.result_profile', 'crm.publish_profiles', 9),
       ('rfm', 'crm.result_profile', 'crm.publish_profiles', 9),
       ('clv', 'crm.result_profile', 'crm.publish_profiles', 9);

alter table crm.published
    drop constraint published_part_known,
    add constraint published_part_known
        foreign key (part) references crm.part;


create function etl.run_tell(run bigint, about jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    strange text;
begin
    perform crm.run_site($1);

    select k.key into strange from jsonb_object_keys($2) as k (key)
     where k.key not in ('problem', 'data', 'drivers', 'due_at', 'quality',
                         'summary', 'part', 'rows_in', 'rows_out')
     limit 1;
    if found or octet_length($2::text) > 65536 then
        raise exception 'run % cannot say "%" of itself', $1,
                coalesce(strange, 'so much')
            using errcode = 'CRM02',
                  hint = 'problem, data, drivers, due_at, quality, summary, '
                         'part, rows_in and rows_out, 64 KB in all';
    end if;

    update crm.run as r
       set problem = coalesce($2 ->> 'problem', r.problem),
           data = coalesce($2 -> 'data', r.data),
           drivers = coalesce($2 -> 'drivers', r.drivers),
           due_at = coalesce(($2 ->> 'due_at')::timestamptz, r.due_at),
           quality = coalesce($2 -> 'quality', r.quality),
           summary = coalesce($2 ->> 'summary', r.summary),
           rows_in = coalesce(($2 ->> 'rows_in')::bigint, r.rows_in),
           rows_out = coalesce(($2 ->> 'rows_out')::bigint, r.rows_out),
           parts = case when $2 ->> 'part' is null
                          or $2 ->> 'part' = any (r.parts) then r.parts
                        else r.parts || ($2 ->> 'part') end
     where r.id = $1;
end
$$;

comment on function etl.run_tell is
'What a run says of itself while it runs; what is not named stays.';


create function etl.run_lock(site text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    dead bigint;
begin
    perform crm.site_check($1);
    if not pg_try_advisory_lock(hashtextextended('crm.run ' || $1, 0)) then
        return false;
    end if;

    /* The lock ends with its session: who still runs now runs no more. */
    for dead in select r.id from crm.run as r
                 where r.site = $1 and r.state = 'running' order by r.id
    loop
        perform etl.run_fail(dead, 'the program that ran it was killed');
    end loop;

    return true;
end
$$;

comment on function etl.run_lock is
'Takes the site''s runs for this session; false: another session has them.';


create function etl.run_review(run bigint, reviewer text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if coalesce(octet_length($2), 0) not between 1 and 200 then
        raise exception 'a reviewer needs a name'
            using errcode = 'CRM02', hint = '1 to 200 bytes';
    end if;

    update crm.run as r
       set second_review_by = case when r.first_review_by is null then null
                                   else $2 end,
           second_review_at = case when r.first_review_by is null then null
                                   else now() end,
           first_review_by = coalesce(r.first_review_by, $2),
           first_review_at = coalesce(r.first_review_at, now())
     where r.id = $1 and r.state in ('done', 'published')
       and (r.first_review_by is null
            or (r.first_review_by <> $2 and r.second_review_by is null));
    if not found then
        raise exception 'run % cannot be reviewed by "%"', $1, $2
            using errcode = 'CRM04',
                  hint = 'it must be done or published, not reviewed twice, '
                         'and never twice by the same person';
    end if;
end
$$;

comment on function etl.run_review is
'A person stands for a run''s results: the first mark, then the second.';


/* ---- results ---------------------------------------------------------- */

create or replace function crm.run_forget(runs bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    place text;
begin
    for place in select distinct p.results from crm.part as p order by 1 loop
        execute 'delete from ' || place || ' where run = any ($1)' using $1;
    end loop;
end
$$;


create function etl.result_put(run bigint, part text, rows jsonb)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site constant text := crm.run_site($1);
    nrows  bigint;
begin
    if not exists (select from crm.part as p
                    where p.part = $2 and p.results = 'crm.result_profile')
    then
        raise exception 'no result about customers is called "%"', $2
            using errcode = 'CRM02', hint = 'its row in crm.part is missing';
    end if;

    /* Who was erased meanwhile has no row any more. */
    insert into crm.result_profile (run, part, customer_id, attributes)
    select $1, $2, r.id, r.attributes
      from jsonb_to_recordset($3) as r (id text, attributes jsonb)
      join crm.customer as c on c.site = p_site and c.customer_id = r.id
    on conflict (run, part, customer_id) do update
       set attributes = excluded.attributes;
    get diagnostics nrows = row_count;

    return nrows;
end
$$;

comment on function etl.result_put is
'Results about customers: a list of {id, attributes}; returns rows kept.';


create aggregate crm.merged(jsonb) (
    sfunc = jsonb_concat,
    stype = jsonb,
    initcond = '{}'
);

comment on aggregate crm.merged(jsonb) is
'Objects laid over each other, the last on top.';


create or replace function crm.publish_profiles(site text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site    alias for $1;
    recs_max  constant int := 8;
    favourite constant jsonb := crm.recs(p_site, '[]', recs_max);
    runs      bigint[];
    written   bigint;
    removed   bigint;
begin
    select array_agg(p.run order by p.run) into runs
      from crm.published as p where p.site = p_site;

    create temporary table crm_publish on commit drop as
    select t.customer_id,
           (t.attributes - 'last_items')
           || jsonb_strip_nulls(jsonb_build_object('recs',
                  case when t.attributes ? 'last_items'
                       then crm.recs(p_site, t.attributes -> 'last_items',
                                     recs_max)
                       else favourite end)) as attributes
      from (select r.customer_id,
                   crm.merged(r.attributes order by r.part) as attributes
              from crm.published as p
              join crm.result_profile as r
                on r.run = p.run and r.part = p.part
             where p.site = p_site
             group by r.customer_id) as t
      join crm.customer as c
        on c.site = p_site and c.customer_id = t.customer_id;

    insert into crm.profile as p (site, customer_id, attributes, runs)
    select p_site, t.customer_id, t.attributes, runs
      from pg_temp.crm_publish as t
     order by t.customer_id
    on conflict (site, customer_id) do update
       set attributes = excluded.attributes, runs = excluded.runs,
           modified_at = clock_timestamp()
     where p.attributes is distinct from excluded.attributes;
    get diagnostics written = row_count;

    delete from crm.profile as p
     where p.site = p_site
       and not exists (select from pg_temp.crm_publish as t
                        where t.customer_id = p.customer_id);
    get diagnostics removed = row_count;
    drop table pg_temp.crm_publish;

    return written + removed;
end
$$;


/* ---- publishing and going back ---------------------------------------- */

create function crm.publish_apply(site text, parts text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    apply   text;
    done    bigint;
    changed bigint := 0;
begin
    /* Profiles always: what they recommend rests on products. */
    for apply in select p.apply from crm.part as p
                  where p.part = any ($2) or p.apply = 'crm.publish_profiles'
                  group by p.apply order by min(p.step), p.apply
    loop
        execute 'select ' || apply || '($1)' into done using $1;
        changed := changed + done;
    end loop;

    perform pg_notify('crm_profiles', $1);

    return changed;
end
$$;

comment on function crm.publish_apply is
'Puts what is in force in its place and tells nginx; part of etl.publish.';


create or replace function etl.publish(site text, runs bigint[])
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site    alias for $1;
    p_runs    alias for $2;
    runs_max  constant int := 5;   /* per task, whose results are kept */
    dues_max  constant int := 60;  /* per task, kept for what they foretold */
    forgotten bigint[];
    changed   bigint;
begin
    perform pg_advisory_xact_lock(
                hashtextextended('crm.publish ' || p_site, 0));
    perform crm.publish_check(p_site, p_runs);

    insert into crm.published (site, part, run)
    select p_site, t.part, max(r.id)
      from crm.run as r cross join lateral unnest(r.parts) as t (part)
     where r.id = any (p_runs)
     group by t.part
    on conflict (site, part) do update
       set run = excluded.run, published_at = now();

    update crm.run as r
       set state = 'published'
     where r.id = any (p_runs) and r.state <> 'published';

    changed := crm.publish_apply(p_site, array(
        select distinct t.part
          from crm.run as r cross join lateral unnest(r.parts) as t (part)
         where r.id = any (p_runs)));

    forgotten := array(
        select t.id
          from (select r.id, r.due_at, r.outcome, row_number() over (
                           partition by r.task order by r.id desc) as n
                  from crm.run as r
                 where r.site = p_site
                   and r.state in ('done', 'published', 'withdrawn')) as t
         where t.n > case when t.due_at is not null and t.outcome is null
                          then dues_max else runs_max end
           and t.id not in (select p.run from crm.published as p));
    perform crm.run_forget(forgotten);
    update crm.run as r set state = 'dropped' where r.id = any (forgotten);

    return changed;
end
$$;


create function etl.rollback(run bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site text;
    parts  text[];
begin
    select r.site into p_site from crm.run as r where r.id = $1;
    perform pg_advisory_xact_lock(
                hashtextextended('crm.publish ' || coalesce(p_site, ''), 0));
    parts := array(select p.part from crm.published as p where p.run = $1);
    if cardinality(parts) = 0 then
        raise exception 'run % is not in force', $1
            using errcode = 'CRM04',
                  hint = 'crm-mine status names the runs that are';
    end if;

    update crm.run as r set state = 'withdrawn' where r.id = $1;

    /* The newest run before it, else nothing. */
    update crm.published as p
       set published_at = now(),
           run = (select max(r.id) from crm.run as r
                   where r.site = p_site and r.id < $1
                     and r.state = 'published' and p.part = any (r.parts))
     where p.run = $1
       and exists (select from crm.run as r
                    where r.site = p_site and r.id < $1
                      and r.state = 'published' and p.part = any (r.parts));
    delete from crm.published as p where p.run = $1;

    return crm.publish_apply(p_site, parts);
end
$$;

comment on function etl.rollback is
'Takes a run out of force: its results give way to those of the run before.';


/* ---- customer value --------------------------------------------------- */

create function etl.clv_buyers(run bigint, as_of timestamptz)
returns table (customer_id text, x bigint, t_x float8, t float8,
               spend float8, held_x bigint, held_t_x float8, held_t float8,
               held_spend float8, later bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site  constant text := crm.run_site($1);
    p_since constant timestamptz := crm.run_since($1, $2);
    p_last  constant date := $2::date;
    p_cut   date;
begin
    /* A third of what is known is held back, to test the forecast on. */
    select f.day + (p_last - f.day) * 2 / 3 into p_cut
      from (select min(f.ordered_at)::date as day
              from crm.order_fact as f
             where f.site = p_site and f.customer_id is not null
               and f.ordered_at <= $2 and f.ordered_at >= p_since
               and f.amount > 0) as f;

    return query
    with days as (
        /* What is bought on one day is one purchase. */
        select f.customer_id, f.ordered_at::date as day,
               sum(f.amount)::float8 as amount
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id, f.ordered_at::date
    ), marked as (
        select d.*, min(d.day) over (partition by d.customer_id) as first
          from days as d
    )
    select m.customer_id, count(*) - 1,
           (max(m.day) - m.first) / 7.0::float8,
           (p_last - m.first) / 7.0::float8,
           avg(m.amount order by m.day) filter (where m.day > m.first),
           case when m.first <= p_cut
                then count(*) filter (where m.day <= p_cut) - 1 end,
           case when m.first <= p_cut
                then (max(m.day) filter (where m.day <= p_cut) - m.first)
                     / 7.0::float8 end,
           case when m.first <= p_cut
                then (p_cut - m.first) / 7.0::float8 end,
           avg(m.amount order by m.day)
               filter (where m.day > m.first and m.day <= p_cut),
           count(*) filter (where m.day > p_cut)
      from marked as m
     group by m.customer_id, m.first
     order by m.customer_id collate "C";
end
$$;

comment on function etl.clv_buyers is
'Per customer in weeks: repeat purchases, last, age, mean spent; held_*: as '
'two thirds of the time knew it, later: what it bought after that.';


create function etl.mine_compare(run bigint, as_of timestamptz)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site constant text := crm.run_site($1);
    old    record;
    found  jsonb;
    nrows  bigint := 0;
    nruns  bigint := 0;
    words  text := 'no forecast has come due';
begin
    for old in select r.id, (r.data ->> 'to')::timestamptz as since, r.due_at
                 from crm.run as r
                where r.site = p_site and r.task = 'clv'
                  and r.state in ('done', 'published', 'withdrawn')
                  and r.outcome is null and r.due_at <= $2
                order by r.id
    loop
        with bought as (
            select f.customer_id, count(distinct f.ordered_at::date) as n
              from crm.order_fact as f
             where f.site = p_site and f.customer_id is not null
               and f.ordered_at > old.since and f.ordered_at <= old.due_at
               and f.ordered_at::date > old.since::date and f.amount > 0
             group by f.customer_id
        ), pairs as (
            select (p.attributes #>> '{clv,purchases_13w}')::float8 as said,
                   coalesce(b.n, 0) as was
              from crm.result_profile as p
              left join bought as b on b.customer_id = p.customer_id
             where p.run = old.id and p.part = 'clv'
        )
        select jsonb_build_object(
                   'customers', count(*),
                   'expected', round(coalesce(sum(p.said), 0)::numeric, 2),
                   'actual', coalesce(sum(p.was), 0),
                   'mae', round(avg(abs(p.said - p.was))::numeric, 6))
          into found from pairs as p;

        update crm.run as r set outcome = found where r.id = old.id;
        nrows := nrows + (found ->> 'customers')::bigint;
        nruns := nruns + 1;
        words := format('run %s foretold %s purchases in 13 weeks, %s were '
                        'made', old.id, found ->> 'expected',
                        found ->> 'actual');
    end loop;

    perform etl.run_tell($1, jsonb_build_object(
        'rows_in', nrows, 'rows_out', nruns, 'summary', words));

    return nruns;
end
$$;

comment on function etl.mine_compare is
'Puts what happened beside what runs foretold, once its time has come.';

reset role;
