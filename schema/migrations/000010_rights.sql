/*
 * 000010_rights.sql - who may do what, and what analysts read.
 *
 * PUBLIC may nothing.  crm_edge calls edge, crm_etl calls etl, and neither
 * touches a table, with these exceptions for crm_etl: COPY into crm.event (a
 * function per row would cost more than the row), the columns that a repeated
 * load of clicks compares, and the states that crm-mine status prints.
 */

set local role crm_owner;

create view mart.daily_traffic as
select e.site, (e.rts at time zone 'UTC')::date as day,
       count(*) as events,
       count(*) filter (where e.type = 'page') as pages,
       count(distinct e.vid) as visitors,
       count(distinct e.sid) as sessions,
       count(*) filter (where e.name = 'Product Viewed') as product_views,
       count(distinct e.props ->> 'order_id')
           filter (where e.name = 'Order Completed') as orders
  from crm.event as e
 group by e.site, (e.rts at time zone 'UTC')::date;

comment on view mart.daily_traffic is 'What happened per site and day (UTC).';

create view mart.rfm_segments as
select p.site, p.attributes #>> '{rfm,segment}' as segment,
       count(*) as customers,
       sum((p.attributes #>> '{rfm,monetary}')::numeric) as revenue,
       round(avg((p.attributes #>> '{rfm,recency}')::numeric), 1)
           as recency_days,
       round(avg((p.attributes #>> '{rfm,frequency}')::numeric), 1)
           as frequency
  from crm.profile as p
 where p.attributes ? 'rfm'
 group by p.site, p.attributes #>> '{rfm,segment}';

comment on view mart.rfm_segments is
'The RFM segments in force: customers, revenue, mean recency and frequency.';

create view mart.campaign_exposure as
select e.site, (e.rts at time zone 'UTC')::date as day,
       d.value ->> 'campaign' as campaign, d.value ->> 'slot' as slot,
       d.value ->> 'variant' as variant, count(*) as exposures,
       count(distinct e.vid) as visitors
  from crm.event as e
 cross join lateral jsonb_array_elements(
           case when jsonb_typeof(e.dec) = 'array' then e.dec else '[]' end)
       as d
 where e.dec is not null
 group by 1, 2, 3, 4, 5;

comment on view mart.campaign_exposure is
'How often a variant really filled a slot, and for how many visitors.';

create view mart.loss_ledger as
select p.producer, p.last_seq, p.events, p.gap,
       p.last_seq - p.events - p.gap as refused, p.modified_at
  from crm.producer as p
 union all
select 'all', coalesce(sum(p.last_seq), 0), coalesce(sum(p.events), 0),
       coalesce(sum(p.gap), 0),
       coalesce(sum(p.last_seq - p.events - p.gap), 0), max(p.modified_at)
  from crm.producer as p;

comment on view mart.loss_ledger is
'Per producer and over all: sequences = events kept + gap + refused.';


/* Now, and for what later files add. */

grant usage on schema edge to crm_edge;
grant execute on all functions in schema edge to crm_edge;
alter default privileges for role crm_owner in schema edge
    grant execute on functions to crm_edge;

grant usage on schema etl to crm_etl;
grant execute on all functions in schema etl to crm_etl;
alter default privileges for role crm_owner in schema etl
    grant execute on functions to crm_etl;

/* etl.load_<kind> runs as the caller up to here. */
grant execute on function crm.load_customers_apply(bigint),
    crm.load_products_apply(bigint), crm.load_orders_apply(bigint)
    to crm_etl;

grant usage on schema crm to crm_etl;
grant insert, select (site, id, rts, vid) on crm.event to crm_etl;
grant select on crm.site, crm.producer, crm.run to crm_etl;

grant usage on schema mart to crm_analyst;
grant select on all tables in schema mart to crm_analyst;
alter default privileges for role crm_owner in schema mart
    grant select on tables to crm_analyst;

reset role;
