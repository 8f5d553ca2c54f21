/*
 * 000014_bots.sql - robots are kept apart.
 *
 * The edge labels their events with ctx.bot.  The events are kept, but nothing
 * is learnt from them: mining reads crm.event_human, which leaves them out.
 * The bodies of the mining functions and of the reports on what people do stay
 * what they are but for that name, so they are not repeated here.
 */

set local role crm_owner;

create view crm.event_human as
select e.* from crm.event as e
 where not coalesce(e.ctx ? 'bot', false);

comment on view crm.event_human is
'Events of people: those that carry no label of a robot.';


do $$
declare
    mined text;
    body  text;
begin
    foreach mined in array array['etl.mine_features(bigint, timestamptz)',
                                 'etl.mine_popular(bigint, timestamptz)',
                                 'etl.mine_coviewed(bigint, timestamptz)']
    loop
        body := pg_get_functiondef(mined::regprocedure);
        if body !~ 'from crm\.event as e' then
            raise exception '% does not read crm.event', mined;
        end if;
        execute replace(body, 'from crm.event as e',
                              'from crm.event_human as e');
    end loop;
end
$$;


do $$
declare
    report text;
    body   text;
begin
    foreach report in array array['mart.funnel', 'mart.page_dwell']
    loop
        body := pg_get_viewdef(report::regclass);
        if body !~ 'crm\.event e' then
            raise exception '% does not read crm.event', report;
        end if;
        execute format('create or replace view %s as %s', report,
            replace(body, 'crm.event e', 'crm.event_human e'));
    end loop;
end
$$;


/* Columns of before keep their place and now count people only. */
create or replace view mart.daily_traffic as
select e.site, (e.rts at time zone 'UTC')::date as day,
       count(*) filter (where not b.bot) as events,
       count(*) filter (where e.type = 'page' and not b.bot) as pages,
       count(distinct e.vid) filter (where not b.bot) as visitors,
       count(distinct e.sid) filter (where not b.bot) as sessions,
       count(*) filter (where e.name = 'Product Viewed' and not b.bot)
           as product_views,
       count(distinct e.props ->> 'order_id')
           filter (where e.name = 'Order Completed' and not b.bot) as orders,
       count(*) filter (where b.bot) as bot_events,
       count(*) filter (where e.type = 'page' and b.bot) as bot_pages
  from crm.event as e
 cross join lateral (select coalesce(e.ctx ? 'bot', false) as bot) as b
 group by e.site, (e.rts at time zone 'UTC')::date;

comment on view mart.daily_traffic is
'What people did per site and day (UTC), and beside it what robots did.';


create view mart.bot_traffic as
select e.site, (e.rts at time zone 'UTC')::date as day,
       e.ctx #>> '{bot,kind}' as kind, e.ctx #>> '{bot,name}' as name,
       e.ctx #>> '{bot,reason}' as reason, count(*) as events,
       count(*) filter (where e.type = 'page') as pages
  from crm.event as e
 where e.ctx ? 'bot'
 group by 1, 2, 3, 4, 5;

comment on view mart.bot_traffic is
'Robots per site and day (UTC): which ones, why they were labelled, pages.';

grant select on mart.bot_traffic to crm_analyst;

reset role;
