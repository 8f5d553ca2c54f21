/*
 * 000023_models.sql - models in force, likelihood to buy, churn.
 *
 * A model is a text that a task writes under its run and nginx reads once it
 * is published; edge.model gives the one in force.
 */

set local role crm_owner;

create table crm.result_model (
    run      bigint not null,
    part     text not null,
    document text not null,
    primary key (run, part),
    constraint result_model_size
        check (octet_length(document) between 1 and 16777216)
);

comment on table crm.result_model is
'Models that runs learned, not in force before they are published.';

create table crm.model (
    site        text not null references crm.site on delete cascade,
    part        text not null,
    run         bigint not null,
    document    text not null,
    modified_at timestamptz not null default now(),
    primary key (site, part)
);

comment on table crm.model is 'Models in force, as nginx reads them.';


create function crm.publish_models(site text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site  alias for $1;
    written bigint;
    removed bigint;
begin
    insert into crm.model as m (site, part, run, document)
    select p_site, p.part, p.run, r.document
      from crm.published as p
      join crm.result_model as r on r.run = p.run and r.part = p.part
     where p.site = p_site
    on conflict (site, part) do update
       set run = excluded.run, document = excluded.document,
           modified_at = now()
     where m.run <> excluded.run;
    get diagnostics written = row_count;

    delete from crm.model as m
     where m.site = p_site
       and not exists (select from crm.published as p
                        where p.site = p_site and p.part = m.part);
    get diagnostics removed = row_count;

    return written + removed;
end
$$;

comment on function crm.publish_models is 'Part of etl.publish.';

insert into crm.part (part, results, apply, step)
values ('intent', 'crm.result_model', 'crm.publish_models', 2),
       ('churn', 'crm.result_profile', 'crm.publish_profiles', 9);


create function etl.model_put(run bigint, part text, document text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.run_site($1);
    if not exists (select from crm.part as p
                    where p.part = $2 and p.results = 'crm.result_model')
    then
        raise exception 'no model is called "%"', $2
            using errcode = 'CRM02', hint = 'its row in crm.part is missing';
    end if;

    insert into crm.result_model (run, part, document) values ($1, $2, $3)
    on conflict (run, part) do update set document = excluded.document;
end
$$;

comment on function etl.model_put is 'A model that a run has learned.';


create function edge.model(site text, part text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce((select m.document from crm.model as m
                      where m.site = $1 and m.part = $2), '')
$$;

comment on function edge.model is
'The model in force for one purpose; empty: there is none.';


/* ---- likelihood to buy ------------------------------------------------ */

create function etl.intent_pages(run bigint, as_of timestamptz)
returns table (id text, bought int, pages float8, seconds float8,
               number float8, cart_items float8, orders float8,
               hour float8, weekday float8, traffic text, device text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site   constant text := crm.run_site($1);
    p_since  constant timestamptz := crm.run_since($1, $2);
    rows_max constant int := 500000;
begin
    /*
     * A session at some of its pages, as nginx knew it there: what came
     * before, the page itself counted.  Sessions that may still go on are
     * left out.  The first pages are many: later ones are taken sparsely.
     */
    return query
    with told as (
        select e.sid, e.sn, e.rts, e.type, e.name, e.seq,
               first_value(e.rts) over w as started,
               first_value(e.ctx) over w as first_ctx,
               count(*) filter (where e.type = 'page') over w as pages,
               sum(case when coalesce(e.name, '') not in (
                            'Product Added', 'Product Removed') then 0
                        when e.props ->> 'quantity' ~ '^[0-9]{1,6}$'
                        then (e.props ->> 'quantity')::int else 1 end
                   * case e.name when 'Product Removed' then -1
                                 else 1 end) over w as cart,
               count(*) filter (where e.name = 'Order Completed') over w
                   as orders,
               count(*) filter (where e.name = 'Order Completed')
                   over (partition by e.sid) as all_orders,
               max(e.rts) over (partition by e.sid) as ended
          from crm.event_human as e
         where e.site = p_site and e.sid is not null
           and e.rts <= $2 and e.rts >= p_since
        window w as (partition by e.sid order by e.rts, e.seq
                     rows unbounded preceding)
    )
    select null::text, (t.all_orders > t.orders)::int, t.pages::float8,
           floor(extract(epoch from t.rts - t.started))::float8,
           coalesce(t.sn, 1)::float8, greatest(t.cart, 0)::float8,
           (t.orders - (t.name is not distinct from 'Order Completed')::int)
               ::float8,
           extract(hour from t.rts)::float8,
           extract(isodow from t.rts)::float8,
           t.first_ctx #>> '{traffic,class}', t.first_ctx ->> 'device'
      from told as t
     where t.type = 'page' and t.pages in (1, 2, 3, 5, 8, 13, 21)
       and t.ended < $2 - interval '30 minutes'
     order by t.started desc, t.sid, t.pages
     limit rows_max;
end
$$;

comment on function etl.intent_pages is
'Sessions at some of their pages, as nginx knew them there, newest first; '
'bought: an order followed.';


/* ---- churn ------------------------------------------------------------ */

create function etl.churn_customers(
    run bigint, as_of timestamptz, seen timestamptz)
returns table (id text, gone int, orders float8, revenue float8,
               recency_days float8, tenure_days float8, gap_days float8,
               silence float8, orders_90d float8, views_30d float8,
               views_90d float8)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set work_mem = '64MB' set jit = off
as $$
#variable_conflict use_column
declare
    p_site  constant text := crm.run_site($1);
    p_since constant timestamptz := crm.run_since($1, $2);
begin
    /* What was known at `seen`; gone: no order from then to as_of. */
    return query
    with bought as (
        select f.customer_id, count(*) filter (where f.ordered_at <= $3) as n,
               sum(f.amount) filter (where f.ordered_at <= $3)::float8 as sum,
               min(f.ordered_at) as first,
               max(f.ordered_at) filter (where f.ordered_at <= $3) as last,
               count(*) filter (where f.ordered_at <= $3
                   and f.ordered_at > $3 - interval '90 days') as n_90d,
               count(*) filter (where f.ordered_at > $3) as later
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id
        having min(f.ordered_at) <= $3
    ), viewed as (
        select coalesce(e.uid, i.customer_id) as customer_id,
               count(*) filter (where e.rts > $3 - interval '30 days')
                   as n_30d, count(*) as n_90d
          from crm.event_human as e
          left join crm.identity as i
            on i.site = e.site and i.vid = e.vid
         where e.site = p_site and e.name = 'Product Viewed'
           and e.rts <= $3 and e.rts > $3 - interval '90 days'
         group by 1
    ), timed as (
        select b.*, extract(epoch from $3 - b.last) / 86400 as recency,
               extract(epoch from $3 - b.first) / 86400 as tenure,
               case when b.n > 1
                    then extract(epoch from b.last - b.first) / 86400
                         / (b.n - 1) end as gap
          from bought as b
    )
    select t.customer_id, (t.later = 0)::int, t.n::float8, t.sum,
           t.recency::float8, t.tenure::float8, t.gap::float8,
           (t.recency / greatest(t.gap, 1))::float8, t.n_90d::float8,
           coalesce(v.n_30d, 0)::float8, coalesce(v.n_90d, 0)::float8
      from timed as t
      left join viewed as v on v.customer_id = t.customer_id
     order by t.customer_id collate "C";
end
$$;

comment on function etl.churn_customers is
'Buyers as they were known at a moment; gone: no order from then to as_of.';

reset role;
