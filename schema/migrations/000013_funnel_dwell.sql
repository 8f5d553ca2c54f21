/*
 * 000013_funnel_dwell.sql - how far visits came, and how long pages held them.
 *
 * A step of the funnel is reached when the session holds an event of its name,
 * in whatever order: shoppers come in at a product and go back to a list.  A
 * session counts for the day (UTC) on which it began.
 *
 * Dwell has two witnesses.  What tracker/client/crm.js reports when a page is
 * left (and while it is read) is exact; the reports of one page share its
 * page_id, and the greatest counts.  Without one, the next page of the session
 * tells when this one was over.  A session that lasts on is over after 30
 * minutes of silence, so no page holds anybody for longer.
 *
 * The page that nginx saw does not know its page_id: a report belongs to the
 * page of the same session and path that began nearest to when the report says
 * its page did.  Pages that scripts made (SPA) carry theirs.
 */

set local role crm_owner;

create view mart.funnel as
select s.site, s.day, count(*) as sessions,
       count(*) filter (where s.listed) as product_list_viewed,
       count(*) filter (where s.viewed) as product_viewed,
       count(*) filter (where s.added) as product_added,
       count(*) filter (where s.cart) as cart_viewed,
       count(*) filter (where s.checkout) as checkout_started,
       count(*) filter (where s.ordered) as order_completed
  from (select e.site, e.sid,
               (min(e.rts) at time zone 'UTC')::date as day,
               coalesce(bool_or(e.name = 'Product List Viewed'), false)
                   as listed,
               coalesce(bool_or(e.name = 'Product Viewed'), false) as viewed,
               coalesce(bool_or(e.name = 'Product Added'), false) as added,
               coalesce(bool_or(e.name = 'Cart Viewed'), false) as cart,
               coalesce(bool_or(e.name = 'Checkout Started'), false)
                   as checkout,
               coalesce(bool_or(e.name = 'Order Completed'), false)
                   as ordered
          from crm.event as e
         where e.sid is not null
         group by e.site, e.sid) as s
 group by s.site, s.day;

comment on view mart.funnel is
'Per site and day (UTC): sessions, and how many reached each step of a purchase.';


create view mart.page_dwell as
with page as (
    select e.site, e.sid, e.vid, e.id, e.rts,
           e.req ->> 'path' as path,
           case when e.src = 'client' then e.props ->> 'page_id' end as page_id,
           lead(e.rts) over (partition by e.site, e.sid
                             order by e.rts, e.seq) as next_rts
      from crm.event as e
     where e.type = 'page' and e.sid is not null
), report as (
    select e.site, e.sid, e.props ->> 'page_id' as page_id,
           min(e.req ->> 'path') as path,
           min(e.rts - n.open_ms * interval '1 ms') as began,
           max(n.visible_ms) as visible_ms,
           max(n.engaged_ms) as engaged_ms, max(n.scroll) as scroll
      from crm.event as e
     cross join lateral (
               /* what a client sent may be anything */
               select max(v.ms) filter (where v.key = 'open_ms') as open_ms,
                      max(v.ms) filter (where v.key = 'visible_ms')
                          as visible_ms,
                      max(v.ms) filter (where v.key = 'engaged_ms')
                          as engaged_ms,
                      max(v.ms) filter (where v.key = 'scroll') as scroll
                 from (select k.key,
                              case when e.props ->> k.key
                                        ~ '^[0-9]{1,9}([.][0-9]{1,9})?$'
                                   then (e.props ->> k.key)::numeric end as ms
                         from unnest(array['open_ms', 'visible_ms',
                                           'engaged_ms', 'scroll'])
                              as k (key)) as v) as n
     where e.name = 'Page Left' and e.src = 'client' and e.sid is not null
       and e.props ? 'page_id'
     group by e.site, e.sid, e.props ->> 'page_id'
), matched as (
    select distinct on (r.site, r.sid, r.page_id)
           r.*, p.id
      from report as r
      join page as p on p.site = r.site and p.sid = r.sid
       and (p.page_id = r.page_id
            or (p.page_id is null and p.path = r.path))
     order by r.site, r.sid, r.page_id, (p.page_id is null),
              abs(extract(epoch from p.rts - r.began))
), told as (
    select m.id, max(m.visible_ms) as visible_ms,
           max(m.engaged_ms) as engaged_ms, max(m.scroll) as scroll
      from matched as m
     group by m.id
)
select p.site, p.sid, p.vid, p.id as event_id, p.rts, p.path,
       case when d.seconds is not null
            then least(d.seconds, 1800)::numeric(10, 3) end
           as dwell_seconds,
       case when t.engaged_ms is not null
            then least(t.engaged_ms / 1000.0, 1800)::numeric(10, 3) end
           as engaged_seconds,
       case when t.scroll is not null then least(t.scroll, 100)::int end
           as scroll_percent
  from page as p
  left join told as t on t.id = p.id
 cross join lateral (
           select coalesce(t.visible_ms / 1000.0,
                           extract(epoch from p.next_rts - p.rts))
                      as seconds) as d;

comment on view mart.page_dwell is
'Per page view: seconds it was in front, or up to the next page; null: unknown.';

comment on column mart.page_dwell.dwell_seconds is
'From the page''s own report, else up to the session''s next page; 1,800 at most.';
comment on column mart.page_dwell.engaged_seconds is
'In front, focused, and the shopper active within 30 seconds; null: no report.';
comment on column mart.page_dwell.scroll_percent is
'The deepest point of the page that was seen, in percent of its height.';

reset role;
