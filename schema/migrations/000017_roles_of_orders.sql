/*
 * 000017_roles_of_orders.sql - visitor, buyer, payer and recipient kept apart.
 *
 * Who clicked, who bought, who paid and who gets it are four people until told
 * otherwise.  A gift says what the recipient likes, if anything: what was
 * looked at for it is not counted among the buyer's likings.
 *
 * Export and erasure follow: they know payers and recipients, and the tables
 * of 000016_identity.sql.
 */

set local role crm_owner;

alter table crm."order"
    add column payer_id text,
    add column recipient_id text,
    add column gift boolean not null default false,
    add constraint order_payer_form check (crm.id_ok(payer_id)),
    add constraint order_recipient_form check (crm.id_ok(recipient_id));

create index order_payer_idx on crm."order" (site, payer_id)
    where payer_id is not null;
create index order_recipient_idx on crm."order" (site, recipient_id)
    where recipient_id is not null;

comment on column crm."order".customer_id is 'The buyer.';
comment on column crm."order".payer_id is
'Who paid, if not the buyer; not necessarily a customer.';
comment on column crm."order".recipient_id is
'Who gets it, if not the buyer; not necessarily a customer.';
comment on column crm."order".gift is
'It was said to be a gift, or somebody else gets it.';


create function crm.is_gift(said text, buyer text, recipient text)
returns boolean
language sql immutable parallel safe
return case when lower(said) in ('1', 'true', 'yes', 't', 'y') then true
            when lower(said) in ('0', 'false', 'no', 'f', 'n') then false
            else coalesce(recipient <> buyer, false) end;

comment on function crm.is_gift is
'What was said of an order, else whether somebody else than the buyer gets it.';


create or replace function crm.absorb_orders(list jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    o record;
begin
    insert into crm.customer (site, customer_id)
    select distinct r.site, r.uid
      from jsonb_to_recordset(list) as r (site text, uid text)
      join crm.site as s on s.key = r.site
     where crm.id_ok(r.uid) and not crm.id_banned(r.site, r.uid)
     order by r.site, r.uid
    on conflict do nothing;

    /* Orders are few among events: one at a time keeps the rules readable. */
    for o in
        select r.site, r.order_id, crm.us_time(r.at) as at, r.props,
               case when crm.uuid_ok(r.vid) then r.vid::uuid end as vid,
               r.uid, s.key
          from jsonb_to_recordset(list)
               as r (site text, order_id text, vid text, uid text, at jsonb,
                     props jsonb)
          left join crm.site as s on s.key = r.site
         order by r.site, r.order_id, 3
    loop
        if o.key is null or o.at is null
           or not coalesce(crm.id_ok(o.order_id), false)
        then
            perform etl.reject('absorb', null, case
                        when o.key is null then 'site of the order is unknown'
                        when o.at is null then 'time of the order is bad'
                        else 'order_id is no id of 1 to 64 bytes' end,
                        to_jsonb(o)::text, null);
        else
            perform crm.absorb_order(o.site, o.order_id, o.at, o.vid, o.uid,
                                     o.props);
        end if;
    end loop;
end
$$;


create or replace function crm.absorb_order(site text, order_id text, at timestamptz,
    vid uuid, uid text, props jsonb)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site     alias for $1;
    p_order_id alias for $2;
    total      text := coalesce(props ->> 'total', props ->> 'revenue');
    currency   text := props ->> 'currency';
    products   jsonb := props -> 'products';
    payer      text := props ->> 'payer_id';
    recipient  text := props ->> 'recipient_id';
    number     constant text := '^-?[0-9]{1,12}(\.[0-9]{1,6})?$';
    reasons    text[] := '{}';
begin
    if total !~ number then
        reasons := reasons || 'total is no number'::text;
    end if;
    if currency !~ '^[A-Z]{3}$' then
        reasons := reasons || 'currency is no ISO 4217 code'::text;
    end if;
    if not crm.id_ok(uid) or crm.id_banned(p_site, uid) then
        reasons := reasons || 'uid is banned or no id of 1 to 64 bytes'::text;
        uid := null;
    end if;
    if not crm.id_ok(payer) then
        reasons := reasons || 'payer_id is no id of 1 to 64 bytes'::text;
        payer := null;
    end if;
    if not crm.id_ok(recipient) then
        reasons := reasons || 'recipient_id is no id of 1 to 64 bytes'::text;
        recipient := null;
    end if;

    insert into crm."order" (site, order_id, customer_id, vid, ordered_at,
                             currency, total, payer_id, recipient_id, gift,
                             src)
    values (p_site, p_order_id,
            coalesce(crm.customer_now(p_site, uid),
                     (select i.customer_id from crm.identity as i
                       where i.site = p_site and i.vid = $4)),
            $4, $3,
            case when currency ~ '^[A-Z]{3}$' then currency end,
            case when total ~ number then total::numeric
                 when total is null
                 then (select sum(p.quantity * p.price)
                         from crm.order_pieces(products) as p) end,
            payer, recipient,
            crm.is_gift(props ->> 'gift', uid, recipient), 'event')
    on conflict do nothing;
    if not found then
        return;  /* the first report counts */
    end if;

    insert into crm.product (site, product_id)
    select distinct p_site, p.product_id
      from crm.order_pieces(products) as p
     where p.product_id is not null
     order by p.product_id
    on conflict do nothing;

    insert into crm.order_line (site, order_id, line, product_id,
                                quantity, price)
    select p_site, p_order_id, p.line, p.product_id, p.quantity, p.price
      from crm.order_pieces(products) as p
     where p.product_id is not null;

    select reasons || coalesce(array_agg(
               'product ' || p.line || ' is no id:quantity:price'),
               '{}')
      into reasons
      from crm.order_pieces(products) as p
     where p.product_id is null;

    if reasons <> '{}' then
        insert into crm.reject (source, reason, raw)
        select 'absorb', format('order %s: %s', p_order_id, r.reason),
               left(props::text, 4096)
          from unnest(reasons[1:20]) as r (reason);
    end if;
end
$$;


create or replace function crm.load_orders_apply(batch bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    p_site constant text := crm.batch_site($1, 'orders');
    nrows  bigint;
begin
    perform crm.staging_check('load_orders');
    select count(*) into nrows from pg_temp.load_orders;

    insert into crm.customer (site, customer_id, country)
    select distinct on (l.customer_id::text)
           p_site, l.customer_id::text, l.country::text
      from pg_temp.load_orders as l
     where l.customer_id is not null
     order by l.customer_id::text, l.country is null, l.ctid desc
    on conflict (site, customer_id) do update
       set country = excluded.country
     where customer.country is null and excluded.country is not null;

    insert into crm.product (site, product_id)
    select distinct p_site, l.product_id::text
      from pg_temp.load_orders as l
     order by l.product_id::text
    on conflict do nothing;

    /* The file knows an order that an event told better than the event. */
    delete from crm.order_line as n
     using crm."order" as o,
           (select distinct l.order_id::text from pg_temp.load_orders as l)
           as l
     where o.site = p_site and o.order_id = l.order_id and o.src = 'event'
       and n.site = o.site and n.order_id = o.order_id;

    /*
     * An order may lie in several staging tables (they are of bounded size):
     * hence the latest time of its lines, and the total at the end.
     */
    insert into crm."order" as o (site, order_id, customer_id, ordered_at,
                                  currency, country, total, payer_id,
                                  recipient_id, gift, src)
    select p_site, l.order_id,
           crm.customer_now(p_site, max(l.customer_id)),
           max(l.ordered_at), max(l.currency), max(l.country),
           sum(l.quantity * l.price), max(l.payer_id), max(l.recipient_id),
           crm.is_gift(max(l.gift), max(l.customer_id),
                       max(l.recipient_id)), 'import'
      from (select distinct on (s.order_id::text, s.line)
                   s.order_id::text as order_id,
                   s.customer_id::text as customer_id,
                   s.ordered_at::timestamptz as ordered_at,
                   s.currency::text as currency, s.country::text as country,
                   s.payer_id::text as payer_id,
                   s.recipient_id::text as recipient_id,
                   s.gift::text as gift,
                   s.quantity::int as quantity, s.price::numeric as price
              from pg_temp.load_orders as s
             order by s.order_id::text, s.line, s.ctid desc) as l
     group by l.order_id
     order by l.order_id
    on conflict (site, order_id) do update
       set customer_id = coalesce(excluded.customer_id, o.customer_id),
           ordered_at = case when o.src = 'event' then excluded.ordered_at
                             else greatest(o.ordered_at, excluded.ordered_at)
                             end,
           currency = coalesce(excluded.currency, o.currency),
           country = coalesce(excluded.country, o.country),
           payer_id = coalesce(excluded.payer_id, o.payer_id),
           recipient_id = coalesce(excluded.recipient_id, o.recipient_id),
           gift = excluded.gift or o.gift,
           src = 'import'
     where o.src = 'event'
        or excluded.ordered_at > o.ordered_at
        or (o.customer_id, o.currency, o.country, o.payer_id, o.recipient_id,
            o.gift)
           is distinct from (coalesce(excluded.customer_id, o.customer_id),
                             coalesce(excluded.currency, o.currency),
                             coalesce(excluded.country, o.country),
                             coalesce(excluded.payer_id, o.payer_id),
                             coalesce(excluded.recipient_id, o.recipient_id),
                             excluded.gift or o.gift);

    insert into crm.order_line as n (site, order_id, line, product_id,
                                     quantity, price)
    select distinct on (l.order_id::text, l.line)
           p_site, l.order_id::text, l.line::int, l.product_id::text,
           l.quantity::int, l.price::numeric
      from pg_temp.load_orders as l
     order by l.order_id::text, l.line, l.ctid desc
    on conflict (site, order_id, line) do update
       set product_id = excluded.product_id,
           quantity = excluded.quantity,
           price = excluded.price
     where (n.product_id, n.quantity, n.price)
           is distinct from (excluded.product_id, excluded.quantity,
                             excluded.price);

    update crm."order" as o
       set total = t.total
      from (select n.order_id, sum(n.quantity * n.price)::numeric(18,2)
                   as total
              from crm.order_line as n
             where n.site = p_site
               and n.order_id in (select l.order_id::text
                                    from pg_temp.load_orders as l)
             group by n.order_id) as t
     where o.site = p_site
       and o.order_id = t.order_id
       and o.total is distinct from t.total;

    return nrows;
end
$$;


/* ---- what is learned of a buyer --------------------------------------- */

create or replace function etl.mine_features(run bigint, as_of timestamptz)
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
    /* Views that led to a gift, and those after it, say what it is about. */
    gift_days constant int := 14;
begin
    delete from crm.result_profile where run = $1 and part = 'features';

    /* Right after an import the statistics may know nothing of these, and a
     * plan made for empty tables takes a minute instead of a second. */
    analyze crm.login;
    analyze crm.customer;
    analyze crm."order";
    analyze crm.order_line;

    with orders as (
        select f.customer_id, count(*) as orders, sum(f.amount) as revenue,
               min(f.ordered_at) as first, max(f.ordered_at) as last
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id
    ), given as materialized (
        /* What was bought for somebody else, and when. */
        select o.customer_id, l.product_id, o.ordered_at
          from crm."order" as o
          join crm.order_line as l
            on l.site = o.site and l.order_id = o.order_id
         where o.site = p_site and o.gift and o.customer_id is not null
           and o.ordered_at <= $2 + gift_days * interval '1 day'
           and o.ordered_at >= p_since
    ), seen as materialized (
        /* Neither robots nor who did not allow to be personalized teach. */
        select e.customer_id, e.props ->> 'product_id' as product_id,
               left(e.props ->> 'category', 64) as category, e.rts
          from crm.person_event as e
         where e.site = p_site and e.name = 'Product Viewed'
           and e.rts <= $2 and e.rts >= p_since
           and e.customer_id is not null
           and coalesce(e.ctx ->> 'consent', 'mp') like '%p%'
           and not coalesce(e.ctx ? 'bot', false)
    ), viewed as materialized (
        select s.customer_id, s.product_id, s.category, s.rts
          from seen as s
         where not exists (
               select from given as g
                where g.customer_id = s.customer_id
                  and g.product_id = s.product_id
                  and s.rts between g.ordered_at
                                    - gift_days * interval '1 day'
                                and g.ordered_at
                                    + gift_days * interval '1 day')
    ), gifts as (
        select g.customer_id, count(distinct g.ordered_at) as gifts
          from given as g
         where g.ordered_at <= $2
         group by g.customer_id
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
                   'gifts', f.gifts,
                   'categories', g.categories,
                   'last_items', t.last_items))
          from orders as o
          full join views as v on v.customer_id = o.customer_id
          join crm.customer as c
            on c.site = p_site
           and c.customer_id = coalesce(o.customer_id, v.customer_id)
          left join items as t on t.customer_id = c.customer_id
          left join categories as g on g.customer_id = c.customer_id
          left join gifts as f on f.customer_id = c.customer_id
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



/* ---- one person, with the tables of now ------------------------------- */

create function crm.person_customers(site text, customer text)
returns setof text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if customer is null then
        return;
    end if;
    return next customer;
    return query
        select c.customer_id from crm.customer as c
         where c.site = $1 and c.merged_into = $2;
end
$$;

comment on function crm.person_customers is
'The ids of a customer: its own, and those that were merged into it.';


create or replace function etl.person_visitors(site text, customer text,
    visitor uuid)
returns setof uuid
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform crm.person_check($1, $2, $3);
    return query
        select v from crm.person_customers($1, $2) as c (id)
         cross join lateral crm.person_visitors($1, c.id, null) as v
         union
        select $3 where $3 is not null;
end
$$;


drop function crm.history_of(crm.history, text, text, uuid[]);

create function crm.history_of(h crm.history, site text, customers text[],
    vids uuid[])
returns boolean
language sql stable
return h.key ->> 'site' = $2
       and coalesce(
               h.key ->> 'customer_id' = any ($3)
               or h.old ->> 'customer_id' = any ($3)
               or h.new ->> 'customer_id' = any ($3)
               or h.old ->> 'merged_into' = any ($3)
               or h.new ->> 'merged_into' = any ($3)
               or h.old ->> 'payer_id' = any ($3)
               or h.new ->> 'payer_id' = any ($3)
               or h.old ->> 'recipient_id' = any ($3)
               or h.new ->> 'recipient_id' = any ($3)
               or h.key ->> 'vid' = any ($4::text[])
               or h.old ->> 'vid' = any ($4::text[])
               or h.new ->> 'vid' = any ($4::text[]),
               false);

comment on function crm.history_of is
'True for a change of a row about the customer or one of the visitors.';


create or replace function etl.person(site text, customer text, visitor uuid)
returns table (place text, id text, content jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site constant text := $1;
    vids   uuid[];
    ids    text[];
begin
    perform crm.person_check($1, customer, visitor);
    ids := array(select crm.person_customers($1, customer));
    vids := array(select v from unnest(ids) as c (id)
                   cross join lateral crm.person_visitors($1, c.id, null) as v
                   union
                  select visitor where visitor is not null);

    return query
    select 'customer', c.customer_id, to_jsonb(c)
      from crm.customer as c
     where c.site = p_site and c.customer_id = any (ids)
     union all
    select 'identity', i.vid::text, to_jsonb(i)
      from crm.identity as i
     where i.site = p_site
       and (i.customer_id = any (ids) or i.vid = any (vids))
     union all
    select 'visitor', v.vid::text, to_jsonb(v)
      from crm.visitor as v
     where v.site = p_site and v.vid = any (vids)
     union all
    select 'profile', p.customer_id, to_jsonb(p)
      from crm.profile as p
     where p.site = p_site and p.customer_id = any (ids)
     union all
    select 'result_profile', p.run::text || '/' || p.part, to_jsonb(p)
      from crm.result_profile as p join crm.run as r on r.id = p.run
     where r.site = p_site and p.customer_id = any (ids)
     union all
    select 'consent', n.id::text, to_jsonb(n)
      from crm.consent as n
     where n.site = p_site
       and (n.customer_id = any (ids) or n.vid = any (vids))
     union all
    select 'order', o.order_id,
           to_jsonb(o) || jsonb_build_object('lines', coalesce((
               select jsonb_agg(to_jsonb(l) - 'site' - 'order_id'
                                order by l.line)
                 from crm.order_line as l
                where l.site = o.site and l.order_id = o.order_id), '[]'))
      from crm."order" as o
     where o.site = p_site
       and (o.customer_id = any (ids) or o.vid = any (vids)
            or o.payer_id = any (ids) or o.recipient_id = any (ids))
     union all
    select 'history', h.id::text, to_jsonb(h)
      from crm.history as h
     where crm.history_of(h, p_site, ids, vids)
     union all
    select 'reject', j.id::text, to_jsonb(j)
      from crm.reject as j
     where exists (select from unnest(ids) as c (id)
                    where crm.raw_names(j.raw, c.id))
        or exists (select from unnest(vids) as v (vid)
                    where crm.raw_names(j.raw, v.vid::text))
     union all
    select 'event', e.id::text, to_jsonb(e)
      from crm.event as e
     where e.site = p_site
       and (e.uid = any (ids) or e.vid = visitor
            or (e.uid is null and e.vid in (
                    select l.vid from crm.login as l
                     where l.site = p_site and l.customer_id = any (ids))
                and exists (select from crm.person_event as p
                             where p.site = p_site and p.id = e.id
                               and p.rts = e.rts
                               and p.customer_id = any (ids))))
     union all
    select 'alias', a.kind || ':' || a.value, to_jsonb(a)
      from crm.alias as a
     where a.site = p_site and a.customer_id = any (ids)
     union all
    select 'login', l.vid || ' ' || l.at, to_jsonb(l)
      from crm.login as l
     where l.site = p_site
       and (l.customer_id = any (ids) or l.vid = visitor)
     union all
    select 'merge_log', m.id::text, to_jsonb(m)
      from crm.merge_log as m
     where m.site = p_site and (m.from_id = any (ids) or m.into_id = any (ids));
end
$$;



drop function crm.erase_orders(text, text, uuid[]);

create function crm.erase_orders(site text, customers text[], vids uuid[])
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site constant text := $1;
    o      record;
    other  text;
    n      bigint := 0;
begin
    for o in
        select r.* from crm."order" as r
         where r.site = p_site
           and (r.customer_id = any (customers) or r.vid = any (vids))
         order by r.order_id
           for update
    loop
        /* The shop finds the person by the order's number: it goes too. */
        other := 'erased-' || gen_random_uuid();
        insert into crm."order" (site, order_id, ordered_at, currency, total,
                                 gift, src, registered_at)
        values (o.site, other, date_trunc('day', o.ordered_at), o.currency,
                o.total, o.gift, o.src, date_trunc('day', o.registered_at));
        update crm.order_line as l
           set order_id = other
         where l.site = o.site and l.order_id = o.order_id;
        delete from crm."order" as d
         where d.site = o.site and d.order_id = o.order_id;
        delete from crm.history as h
         where h.table_name = 'order' and h.key ->> 'site' = o.site
           and h.key ->> 'order_id' = o.order_id;
        n := n + 1;
    end loop;

    /* Somebody else's orders that were for, or paid by, the person. */
    for o in
        select r.* from crm."order" as r
         where r.site = p_site
           and (r.payer_id = any (customers)
                or r.recipient_id = any (customers))
         order by r.order_id
           for update
    loop
        update crm."order" as u
           set payer_id = nullif(u.payer_id, all_of.payer),
               recipient_id = nullif(u.recipient_id, all_of.recipient)
          from (select case when o.payer_id = any (customers)
                            then o.payer_id end as payer,
                       case when o.recipient_id = any (customers)
                            then o.recipient_id end as recipient) as all_of
         where u.site = o.site and u.order_id = o.order_id;
        delete from crm.history as h
         where h.table_name = 'order' and h.key ->> 'site' = o.site
           and h.key ->> 'order_id' = o.order_id;
        n := n + 1;
    end loop;

    return n;
end
$$;

comment on function crm.erase_orders is
'Part of etl.erase: orders become anonymous counts under another id.';


create or replace function etl.erase(site text, customer text, visitor uuid)
returns table (place text, n bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site constant text := $1;
    vids   uuid[];
    ids    text[];
    texts  text[];
    counts jsonb := '{}';
    done   bigint;
    v      uuid;
begin
    perform crm.person_check($1, customer, visitor);
    perform pg_advisory_xact_lock(hashtextextended('crm.erase', 0));

    ids := array(select crm.person_customers($1, customer));
    vids := array(select v from unnest(ids) as c (id)
                   cross join lateral crm.person_visitors($1, c.id, null) as v
                   union
                  select visitor where visitor is not null);
    texts := array(select x::text from unnest(vids) as x);

    insert into crm.suppressed (site, kind, hash, at)
    select p_site, 'vid', crm.id_hash(p_site, t.vid), clock_timestamp()
      from unnest(texts) as t (vid)
     union all
    select p_site, 'uid', crm.id_hash(p_site, t.id), clock_timestamp()
      from unnest(ids) as t (id)
    on conflict (site, kind, hash) do update set at = excluded.at;

    delete from crm.event as e
     where e.site = p_site
       and (e.uid = any (ids) or e.vid = visitor
            or (e.uid is null and e.vid in (
                    select l.vid from crm.login as l
                     where l.site = p_site and l.customer_id = any (ids))
                and exists (select from crm.person_event as p
                             where p.site = p_site and p.id = e.id
                               and p.rts = e.rts
                               and p.customer_id = any (ids))));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('event', done);

    counts := counts || jsonb_build_object('order',
                            crm.erase_orders(p_site, ids, vids));

    delete from crm.consent as c
     where c.site = p_site
       and (c.customer_id = any (ids) or c.vid = any (vids));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('consent', done);

    delete from crm.result_profile as p
     using crm.run as r
     where r.id = p.run and r.site = p_site and p.customer_id = any (ids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('result_profile', done);

    delete from crm.profile as p
     where p.site = p_site and p.customer_id = any (ids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('profile', done);

    delete from crm.alias as a
     where a.site = p_site and a.customer_id = any (ids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('alias', done);

    delete from crm.merge_log as m
     where m.site = p_site
       and (m.from_id = any (ids) or m.into_id = any (ids));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('merge_log', done);

    delete from crm.login as l
     where l.site = p_site
       and (l.customer_id = any (ids) or l.vid = any (vids));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('login', done);

    delete from crm.identity as i
     where i.site = p_site
       and (i.customer_id = any (ids) or i.vid = any (vids));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('identity', done);

    delete from crm.visitor as x
     where x.site = p_site and x.vid = any (vids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('visitor', done);

    delete from crm.customer as c
     where c.site = p_site and c.customer_id = any (ids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('customer', done);

    delete from crm.reject as j
     where exists (select from unnest(ids) as c (id)
                    where crm.raw_names(j.raw, c.id))
        or exists (select from unnest(texts) as t (vid)
                    where crm.raw_names(j.raw, t.vid));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('reject', done);

    /* Last: what was deleted above left its own traces there. */
    delete from crm.history as h
     where crm.history_of(h, p_site, ids, vids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('history', done);

    insert into crm.erasure (site, kind, who, counts)
    values (p_site, case when customer is null then 'visitor'
                         else 'customer' end,
            coalesce(nullif(current_setting('crm.actor', true), ''),
                     session_user), counts);

    /* Workers forget what they have of the browser, session and all. */
    foreach v in array vids loop
        perform pg_notify('crm_profiles', p_site || ':' || v || ':erased');
    end loop;

    return query
        select c.key, c.value::bigint
          from jsonb_each_text(counts) as c order by c.key;
end
$$;


reset role;
