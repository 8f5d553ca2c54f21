/*
 * 000009_etl_mining.sql - runs, the mining that SQL does best, publishing.
 *
 * A task writes results under its run's number; nobody sees them.  etl.publish
 * makes a set of runs the one in force, in one transaction: readers see the
 * old profiles or the new ones.  Results of the last runs stay, so that an
 * older run can be published again.
 *
 * Every function looks at what had happened by as_of only, so that a run can
 * be repeated.  Amounts are taken as one currency, the site's.
 */

set local role crm_owner;

create function etl.run_begin(
    site text, task text, params jsonb, seed bigint)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    run bigint;
begin
    perform crm.site_check($1);
    if not coalesce(crm.name_ok($2), false)
       or jsonb_typeof(coalesce($3, '{}')) <> 'object'
       or not coalesce($3 ->> 'days', '1') ~ '^[1-9][0-9]{0,4}$'
    then
        raise exception 'task "%" cannot run with these parameters', $2
            using errcode = 'CRM02',
                  hint = 'parameters are an object; days, if given, is a '
                         'whole number from 1 to 99999';
    end if;

    insert into crm.run (site, task, params, seed)
    values ($1, $2, coalesce($3, '{}'), $4)
    returning id into run;

    return run;
end
$$;

comment on function etl.run_begin is 'A mining task begins.';


create function crm.run_site(run bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    found_row crm.run;
begin
    select * into found_row from crm.run as r where r.id = $1 for update;
    if found_row.id is null or found_row.state <> 'running' then
        raise exception 'run % is %', $1,
                coalesce(found_row.state, 'unknown')
            using errcode = 'CRM04',
                  hint = 'only a running run can go on: ask etl.run_begin';
    end if;

    return found_row.site;
end
$$;

comment on function crm.run_site is
'Locks a running run and gives its site; refuses any other run.';


create function etl.run_end(run bigint, rows_in bigint, rows_out bigint,
    quality jsonb, summary text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.run_site($1);
    if $2 < 0 or $3 < 0 then
        raise exception 'run % cannot have % rows in, % rows out', $1, $2, $3
            using errcode = 'CRM02', hint = 'counts are not negative';
    end if;

    /* What the task said of itself stays where the caller says nothing. */
    update crm.run
       set state = 'done',
           rows_in = coalesce($2, rows_in),
           rows_out = coalesce($3, rows_out),
           quality = coalesce($4, quality),
           summary = coalesce($5, summary),
           ended_at = clock_timestamp()
     where id = $1;
end
$$;

comment on function etl.run_end is 'A run is done; null keeps what is known.';


create function etl.run_fail(run bigint, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.run_site($1);
    perform crm.run_forget(array[$1]);
    update crm.run
       set state = 'failed', parts = '{}',
           summary = left(coalesce($2, 'no reason given'), 2000),
           ended_at = clock_timestamp()
     where id = $1;
end
$$;

comment on function etl.run_fail is
'A run failed; its results are dropped, the reason is kept.';


create function crm.run_forget(runs bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from crm.result_profile as r where r.run = any ($1);
    delete from crm.result_popular as r where r.run = any ($1);
    delete from crm.result_coviewed as r where r.run = any ($1);
end
$$;

comment on function crm.run_forget is 'Drops the results of runs.';


create function crm.run_note(
    run bigint, part text, rows_in bigint, rows_out bigint, quality jsonb,
    summary text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    update crm.run as r
       set parts = case when $2 = any (r.parts) then r.parts
                        else r.parts || $2 end,
           rows_in = $3, rows_out = $4, quality = $5, summary = $6
     where r.id = $1;

    return $4;
end
$$;

comment on function crm.run_note is 'What a task says of its result.';


create function crm.run_since(run bigint, as_of timestamptz)
returns timestamptz
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    days int;
begin
    if $2 is null or not isfinite($2) then
        raise exception 'run % has no moment to look back from', $1
            using errcode = 'CRM02', hint = 'give as_of a time';
    end if;

    select (r.params ->> 'days')::int into days
      from crm.run as r where r.id = $1;

    /* The oldest day that etl.ensure_partitions makes. */
    return greatest('1990-01-01 00:00:00+00'::timestamptz,
                    $2 - coalesce(days, 99999) * interval '1 day');
end
$$;

comment on function crm.run_since is
'How far back a run looks: params.days before as_of, default all.';


/* ---- features and RFM ------------------------------------------------- */

create view crm.order_fact as
select o.site, o.order_id, o.customer_id, o.ordered_at,
       case when count(l.line) = 0 then greatest(o.total, 0)
            else coalesce(sum(l.quantity * l.price)
                          filter (where l.quantity > 0 and l.price > 0), 0)
       end as amount
  from crm."order" as o
  left join crm.order_line as l
    on l.site = o.site and l.order_id = o.order_id
 group by o.site, o.order_id;

comment on view crm.order_fact is
'What an order was worth: lines with quantity and price above 0, else total.';


create function etl.mine_features(run bigint, as_of timestamptz)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site  constant text := crm.run_site($1);
    p_since constant timestamptz := crm.run_since($1, $2);
    nviews  bigint;
    nrows   bigint;
    buyers  bigint;
begin
    delete from crm.result_profile where run = $1 and part = 'features';

    with orders as (
        select f.customer_id, count(*) as orders, sum(f.amount) as revenue,
               min(f.ordered_at) as first, max(f.ordered_at) as last
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id
    ), viewed as materialized (
        /* The event's own uid first: people share browsers. */
        select coalesce(e.uid, i.customer_id) as customer_id,
               e.props ->> 'product_id' as product_id,
               left(e.props ->> 'category', 64) as category, e.rts
          from crm.event as e
          left join crm.identity as i
            on i.site = e.site and i.vid = e.vid
         where e.site = p_site and e.name = 'Product Viewed'
           and e.rts <= $2 and e.rts >= p_since
           and coalesce(e.uid, i.customer_id) is not null
    ), views as (
        select v.customer_id, count(*) as views
          from viewed as v group by v.customer_id
    ), items as (
        select t.customer_id,
               jsonb_agg(t.product_id order by t.n) as last_items
          from (select v.customer_id, v.product_id,
                       row_number() over (
                           partition by v.customer_id
                           order by max(v.rts) desc, v.product_id) as n
                  from viewed as v
                 where crm.id_ok(v.product_id)
                 group by v.customer_id, v.product_id) as t
         where t.n <= 8
         group by t.customer_id
    ), categories as (
        select t.customer_id,
               jsonb_agg(t.category order by t.n) as categories
          from (select v.customer_id, v.category,
                       row_number() over (
                           partition by v.customer_id
                           order by count(*) desc, v.category) as n
                  from viewed as v
                 where crm.id_ok(v.category)
                 group by v.customer_id, v.category) as t
         where t.n <= 3
         group by t.customer_id
    ), written as (
        insert into crm.result_profile (run, part, customer_id, attributes)
        select $1, 'features', c.customer_id,
               jsonb_strip_nulls(jsonb_build_object(
                   'orders', coalesce(o.orders, 0),
                   'revenue', round(coalesce(o.revenue, 0), 2),
                   'first_order', o.first::date,
                   'last_order', o.last::date,
                   'recency_days',
                       floor(extract(epoch from $2 - o.last) / 86400)::int,
                   'views', coalesce(v.views, 0),
                   'categories', g.categories,
                   'last_items', t.last_items))
          from orders as o
          full join views as v on v.customer_id = o.customer_id
          join crm.customer as c
            on c.site = p_site
           and c.customer_id = coalesce(o.customer_id, v.customer_id)
          left join items as t on t.customer_id = c.customer_id
          left join categories as g on g.customer_id = c.customer_id
        returning (attributes ->> 'orders')::bigint as orders
    )
    select (select count(*) from viewed), count(*),
           count(*) filter (where w.orders > 0)
      into nviews, nrows, buyers
      from written as w;

    return crm.run_note($1, 'features', nviews, nrows,
        jsonb_build_object('customers', nrows, 'buyers', buyers),
        format('%s customers, %s of them bought; %s views', nrows, buyers,
               nviews));
end
$$;

comment on function etl.mine_features is
'Per customer: orders, revenue, recency, views, categories, last items viewed.';


create function crm.rfm_segment(r int, f int) returns text
language sql immutable parallel safe
return case
    when r = 5 and f >= 4 then 'champions'
    when r >= 3 and f >= 4 then 'loyal'
    when r >= 4 and f >= 2 then 'potential_loyal'
    when r = 5 then 'new'
    when r = 4 then 'promising'
    when r = 3 and f = 3 then 'need_attention'
    when r = 3 then 'about_to_sleep'
    when f = 5 then 'cannot_lose'
    when f >= 3 then 'at_risk'
    when r = 1 and f = 1 then 'lost'
    else 'hibernating'
end;

comment on function crm.rfm_segment is
'Name of a recency and frequency score, 1 (worst) to 5; docs/schema.md.';


create function etl.mine_rfm(run bigint, as_of timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site  constant text := crm.run_site($1);
    p_since constant timestamptz := crm.run_since($1, $2);
    norders bigint;
    nrows   bigint;
    counts  jsonb;
begin
    delete from crm.result_profile where run = $1 and part = 'rfm';

    with facts as (
        select f.customer_id, count(*) as frequency,
               sum(f.amount) as monetary,
               floor(extract(epoch from $2 - max(f.ordered_at))
                     / 86400)::int as recency
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id
    ), shares as (
        /*
         * The share of customers that are worse, plus half of those that are
         * equal: equal values get equal scores, and a lone customer is
         * neither the best nor the worst.
         */
        select f.*,
               (cume_dist() over r
                + (rank() over r - 1.0) / count(*) over ()) / 2 as r_share,
               (cume_dist() over q
                + (rank() over q - 1.0) / count(*) over ()) / 2 as f_share,
               (cume_dist() over m
                + (rank() over m - 1.0) / count(*) over ()) / 2 as m_share
          from facts as f
        window r as (order by f.recency desc),
               q as (order by f.frequency),
               m as (order by f.monetary)
    ), scores as (
        select s.customer_id, s.recency, s.frequency, s.monetary,
               least(5, 1 + floor(s.r_share * 5))::int as r,
               least(5, 1 + floor(s.f_share * 5))::int as f,
               least(5, 1 + floor(s.m_share * 5))::int as m
          from shares as s
    )
    insert into crm.result_profile (run, part, customer_id, attributes)
    select $1, 'rfm', s.customer_id,
           jsonb_build_object('rfm', jsonb_build_object(
               'recency', s.recency,
               'frequency', s.frequency,
               'monetary', round(s.monetary, 2),
               'score', format('%s%s%s', s.r, s.f, s.m),
               'segment', crm.rfm_segment(s.r, s.f)))
      from scores as s;

    select coalesce(sum((p.attributes #>> '{rfm,frequency}')::bigint), 0),
           count(*)
      into norders, nrows
      from crm.result_profile as p
     where p.run = $1 and p.part = 'rfm';
    select coalesce(jsonb_object_agg(t.segment, t.n), '{}') into counts
      from (select p.attributes #>> '{rfm,segment}' as segment,
                   count(*) as n
              from crm.result_profile as p
             where p.run = $1 and p.part = 'rfm'
             group by 1) as t;

    return crm.run_note($1, 'rfm', norders, nrows,
        jsonb_build_object('segments', counts),
        format('%s customers in %s segments from %s orders', nrows,
               (select count(*) from jsonb_object_keys(counts)), norders));
end
$$;

comment on function etl.mine_rfm is
'Recency, frequency, monetary value: quintile scores and a segment each.';


/* ---- products --------------------------------------------------------- */

create function etl.mine_popular(run bigint, as_of timestamptz)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site       constant text := crm.run_site($1);
    p_since      constant timestamptz := crm.run_since($1, $2);
    half_life_s  constant float8 := 14 * 86400;
    order_weight constant float8 := 5;  /* an order tells more than a view */
    products_max constant int := 100;
    nfacts       bigint;
    nrows        bigint;
begin
    delete from crm.result_popular where run = $1;

    /* Without days a fact of 1990 weighs 2^-1000: small, but no underflow. */
    with facts as materialized (
        select e.props ->> 'product_id' as product_id, e.rts as at,
               1::float8 as weight
          from crm.event as e
         where e.site = p_site and e.name = 'Product Viewed'
           and e.rts <= $2 and e.rts >= p_since
        union all
        select l.product_id, o.ordered_at, order_weight
          from crm."order" as o
          join crm.order_line as l
            on l.site = o.site and l.order_id = o.order_id
         where o.site = p_site and l.quantity > 0
           and o.ordered_at <= $2 and o.ordered_at >= p_since
    ), scores as (
        select f.product_id,
               sum(f.weight * power(0.5::float8,
                   extract(epoch from $2 - f.at)::float8 / half_life_s))
                   as score
          from facts as f
         where crm.id_ok(f.product_id)
         group by f.product_id
    ), written as (
        insert into crm.result_popular (run, rank, product_id, score)
        select $1, t.n, t.product_id, t.score / t.best
          from (select s.product_id, s.score, max(s.score) over () as best,
                       row_number() over (order by s.score desc,
                                          s.product_id) as n
                  from scores as s) as t
         where t.n <= products_max
        returning 1
    )
    select (select count(*) from facts), count(*) into nfacts, nrows
      from written;

    return crm.run_note($1, 'popular', nfacts, nrows, null,
        format('%s products from %s views and order lines', nrows, nfacts));
end
$$;

comment on function etl.mine_popular is
'The 100 most popular products: views and orders, halved every 14 days.';


create function etl.mine_coviewed(run bigint, as_of timestamptz)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site     constant text := crm.run_site($1);
    p_since    constant timestamptz := crm.run_since($1, $2);
    items_max  constant int := 50;  /* pairs grow with the square */
    others_max constant int := 20;
    pairs_min  constant int := 2;   /* once is chance */
    nviews     bigint;
    nrows      bigint;
begin
    delete from crm.result_coviewed where run = $1;

    with viewed as materialized (
        select v.sid, v.product_id
          from (select e.sid, e.props ->> 'product_id' as product_id,
                       row_number() over (
                           partition by e.sid
                           order by max(e.rts) desc,
                                    e.props ->> 'product_id') as n
                  from crm.event as e
                 where e.site = p_site and e.name = 'Product Viewed'
                   and e.sid is not null
                   and e.rts <= $2 and e.rts >= p_since
                   and crm.id_ok(e.props ->> 'product_id')
                 group by e.sid, e.props ->> 'product_id') as v
         where v.n <= items_max
    ), products as materialized (
        select v.product_id, count(*) as n,
               row_number() over (order by v.product_id)::int as id
          from viewed as v group by v.product_id
    ), sessions as materialized (
        /* Numbers: the pairs are many, and texts are slow to compare. */
        select v.sid, p.id
          from viewed as v join products as p on p.product_id = v.product_id
    ), pairs as (
        select a.id as one, b.id as other, count(*) as n
          from sessions as a join sessions as b on b.sid = a.sid
         where a.id < b.id
         group by a.id, b.id
        having count(*) >= pairs_min
    ), ranked as (
        select t.*, row_number() over (
                        partition by t.product_id
                        order by t.score desc, t.other_id) as rank
          from (select p.product_id, q.product_id as other_id,
                       m.n / sqrt(p.n::float8 * q.n) as score
                  from (select one, other, n from pairs
                         union all
                        select other, one, n from pairs) as m
                  join products as p on p.id = m.one
                  join products as q on q.id = m.other) as t
    ), written as (
        insert into crm.result_coviewed (run, product_id, rank, other_id,
                                         score)
        select $1, r.product_id, r.rank, r.other_id, r.score
          from ranked as r
         where r.rank <= others_max
        returning 1
    )
    select (select count(*) from viewed), count(*) into nviews, nrows
      from written;

    return crm.run_note($1, 'coviewed', nviews, nrows, null,
        format('%s pairs from %s products viewed in sessions', nrows,
               nviews));
end
$$;

comment on function etl.mine_coviewed is
'Per product the 20 most viewed in the same sessions, by cosine.';


/* ---- publishing ------------------------------------------------------- */

create function crm.publish_check(site text, runs bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    perform crm.site_check($1);
    if coalesce(cardinality($2), 0) = 0 then
        raise exception 'there is no run to publish'
            using errcode = 'CRM04', hint = 'give the ids of runs';
    end if;

    select w.id, r.site, r.state into bad
      from unnest($2) as w (id) left join crm.run as r on r.id = w.id
     where r.id is null or r.site <> $1
        or r.state not in ('done', 'published')
     order by w.id limit 1;
    if found then
        raise exception 'run % cannot be published for site "%"', bad.id, $1
            using errcode = 'CRM04',
                  detail = case when bad.state is null then 'it is unknown'
                                when bad.site <> $1
                                then format('it is of site "%s"', bad.site)
                                else format('it is %s', bad.state) end,
                  hint = 'publish runs that etl.run_end has ended';
    end if;
end
$$;

comment on function crm.publish_check is
'Refuses runs that cannot be published.';


create function crm.publish_products(site text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    popular  bigint;
    coviewed bigint;
begin
    delete from crm.popular as p where p.site = $1;
    insert into crm.popular (site, rank, product_id, score)
    select $1, r.rank, r.product_id, r.score
      from crm.published as p join crm.result_popular as r on r.run = p.run
     where p.site = $1 and p.part = 'popular';
    get diagnostics popular = row_count;

    delete from crm.coviewed as c where c.site = $1;
    insert into crm.coviewed (site, product_id, rank, other_id, score)
    select $1, r.product_id, r.rank, r.other_id, r.score
      from crm.published as p join crm.result_coviewed as r on r.run = p.run
     where p.site = $1 and p.part = 'coviewed';
    get diagnostics coviewed = row_count;

    return popular + coviewed;
end
$$;

comment on function crm.publish_products is 'Part of etl.publish.';


create function crm.recs(site text, last_items jsonb, most int)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    answer jsonb;
begin
    with seen as (
        select i.product_id, i.n
          from jsonb_array_elements_text(coalesce($2, '[]'))
               with ordinality as i (product_id, n)
    ), found_items as (
        /* What was viewed last says most about what is wanted now. */
        select c.other_id as product_id, 1 as step,
               sum(c.score / s.n) as score
          from seen as s
          join crm.coviewed as c
            on c.site = $1 and c.product_id = s.product_id
         group by c.other_id
         union all
        select p.product_id, 2, p.score
          from crm.popular as p
         where p.site = $1
           and p.rank <= $3 + jsonb_array_length(coalesce($2, '[]'))
    ), best as (
        select f.product_id, min(f.step) as step,
               (array_agg(f.score order by f.step))[1] as score
          from found_items as f
         where f.product_id not in (select s.product_id from seen as s)
         group by f.product_id
         order by 2, 3 desc, 1
         limit $3
    )
    select jsonb_agg(b.product_id order by b.step, b.score desc,
                     b.product_id)
      into answer from best as b;

    return answer;
end
$$;

comment on function crm.recs is
'Products viewed with the last items, best first, filled up with popular ones.';


create function crm.publish_profiles(site text) returns bigint
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
      from (select coalesce(f.customer_id, m.customer_id) as customer_id,
                   coalesce(f.attributes, '{}')
                   || coalesce(m.attributes, '{}') as attributes
              from (select r.customer_id, r.attributes
                      from crm.published as p
                      join crm.result_profile as r
                        on r.run = p.run and r.part = p.part
                     where p.site = p_site and p.part = 'features') as f
              full join (select r.customer_id, r.attributes
                           from crm.published as p
                           join crm.result_profile as r
                             on r.run = p.run and r.part = p.part
                          where p.site = p_site and p.part = 'rfm') as m
                on m.customer_id = f.customer_id) as t
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

comment on function crm.publish_profiles is 'Part of etl.publish.';


create function etl.publish(site text, runs bigint[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site   alias for $1;
    p_runs   alias for $2;
    runs_max constant int := 5;  /* per task, whose results are kept */
    changed  bigint := 0;
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

    if exists (select from crm.run as r
                where r.id = any (p_runs)
                  and r.parts && array['popular', 'coviewed'])
    then
        changed := crm.publish_products(p_site);
    end if;
    changed := changed + crm.publish_profiles(p_site);

    perform crm.run_forget(array(
        select t.id
          from (select r.id, row_number() over (
                           partition by r.task order by r.id desc) as n
                  from crm.run as r
                 where r.site = p_site
                   and r.state in ('done', 'published')) as t
         where t.n > runs_max
           and t.id not in (select p.run from crm.published as p)));

    perform pg_notify('crm_profiles', p_site);

    return changed;
end
$$;

comment on function etl.publish is
'Makes runs the ones in force; returns the rows it changed.';

reset role;
