/*
 * 000006_etl_import.sql - the importer's transaction: positions, rejects and
 * what a batch of events tells about visitors, customers and orders.
 *
 * etl.absorb runs in every import, so it is set-based, and locks rows in key
 * order so that several importers never wait for each other in a circle.  The
 * importer has checked the frame of its batch; everything in props comes from
 * strangers.  Nothing here raises for bad data: what cannot be kept becomes a
 * row of crm.reject, because an event that raises would stop its stream.
 */

set local role crm_owner;

create function etl.position(producer text) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    p_producer alias for $1;
begin
    return coalesce((select p.last_seq from crm.producer as p
                      where p.producer = p_producer), 0);
end
$$;

comment on function etl.position is
'Last sequence of the producer that is committed; 0 for a new one.';


create function etl.advance(
    producer text, last_seq bigint, events int, gap bigint)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_producer alias for $1;
    p_last_seq alias for $2;
    p_events   alias for $3;
    p_gap      alias for $4;
    position   bigint;
begin
    if p_last_seq is null or p_events is null or p_gap is null
       or p_last_seq < 0 or p_events < 0 or p_gap < 0
       or not coalesce(crm.name_ok(p_producer), false)
    then
        raise exception 'producer "%" cannot advance to % by % events, gap %',
                p_producer, p_last_seq, p_events, p_gap
            using errcode = 'CRM02',
                  hint = 'counts are not negative; a producer is 16 hex digits';
    end if;

    insert into crm.producer (producer) values (p_producer)
    on conflict do nothing;
    select p.last_seq into position
      from crm.producer as p
     where p.producer = p_producer
       for no key update;

    /* Another importer committed these events: ours must not count twice. */
    if p_last_seq < position or (p_last_seq = position and p_events > 0) then
        raise exception 'producer "%" cannot go back from % to %',
                p_producer, position, p_last_seq
            using errcode = 'CRM05',
                  hint = 'roll back and ask etl.position again';
    end if;

    update crm.producer as p
       set last_seq = p_last_seq,
           events = p.events + p_events,
           gap = p.gap + p_gap,
           modified_at = clock_timestamp()
     where p.producer = p_producer;
end
$$;

comment on function etl.advance is
'Moves a producer forward, in the transaction of its events; never back.';


create function etl.reject(
    source text, line bigint, reason text, raw text, batch bigint)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into crm.reject (source, line, reason, raw, batch)
    values (left(coalesce($1, 'unknown'), 500), $2,
            left(coalesce($3, 'no reason given'), 1000), left($4, 4096), $5);
end
$$;

comment on function etl.reject is
'Keeps input that was refused; batch may be null.';


/* ---- etl.absorb ------------------------------------------------------- */

create function crm.list_of_objects(list jsonb) returns jsonb
language sql immutable parallel safe
return case when jsonb_typeof(list) = 'array'
            then jsonb_path_query_array(list,
                     'strict $[*] ? (@.type() == "object")', '{}', true)
            else '[]'::jsonb end;

comment on function crm.list_of_objects is
'The objects of a JSON array; of anything else none.';

create function crm.uuid_ok(id text) returns boolean
language sql immutable parallel safe
return id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';

comment on function crm.uuid_ok is 'True for the text of a UUID.';

create function crm.us_time(us jsonb) returns timestamptz
language sql immutable parallel safe
return case when jsonb_typeof(us) = 'number'
             and us::numeric between 631152000000000 and 4102444800000000
            then '1970-01-01 00:00:00+00'::timestamptz
                 + us::numeric::float8 * '1 microsecond'::interval end;

comment on function crm.us_time is
'Microseconds since 1970 as time; null outside 1990 to 2099.';

create function crm.count_of(n jsonb, lowest int) returns int
language sql immutable parallel safe
return case when jsonb_typeof(n) = 'number'
             and n::numeric between lowest and 2147483647
            then n::numeric::int else lowest end;

comment on function crm.count_of is
'A JSON number as int, at least the given one.';


create function crm.absorb_visitors(list jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    insert into crm.visitor as v
           (site, vid, first_at, last_at, events, sessions)
    select r.site, r.vid::uuid, min(crm.us_time(r.first)),
           max(crm.us_time(r.last)), sum(crm.count_of(r.events, 1)),
           max(crm.count_of(r.sn, 1))
      from jsonb_to_recordset(list)
           as r (site text, vid text, first jsonb, last jsonb, events jsonb,
                 sn jsonb)
      join crm.site as s on s.key = r.site
     where crm.uuid_ok(r.vid)
       and crm.us_time(r.first) <= crm.us_time(r.last)
     group by r.site, r.vid::uuid
     order by r.site, r.vid::uuid
    on conflict (site, vid) do update
       set first_at = least(v.first_at, excluded.first_at),
           last_at = greatest(v.last_at, excluded.last_at),
           events = v.events + excluded.events,
           sessions = greatest(v.sessions, excluded.sessions);
end
$$;

comment on function crm.absorb_visitors is 'Part of etl.absorb.';


create function crm.absorb_identities(list jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if list = '[]' then
        return;
    end if;

    insert into crm.reject (source, reason, raw)
    select 'absorb', 'uid is no id of 1 to 64 bytes', left(r.uid, 4096)
      from jsonb_to_recordset(list) as r (uid text)
     where not coalesce(crm.id_ok(r.uid), false);

    insert into crm.customer (site, customer_id)
    select distinct r.site, r.uid
      from jsonb_to_recordset(list) as r (site text, uid text)
      join crm.site as s on s.key = r.site
     where crm.id_ok(r.uid)
     order by r.site, r.uid
    on conflict do nothing;

    /* The newest login wins; the customers stay two. */
    insert into crm.identity as i (site, vid, customer_id, at)
    select distinct on (r.site, r.vid::uuid)
           r.site, r.vid::uuid, r.uid, crm.us_time(r.at)
      from jsonb_to_recordset(list)
           as r (site text, vid text, uid text, at jsonb)
      join crm.site as s on s.key = r.site
     where crm.id_ok(r.uid)
       and crm.uuid_ok(r.vid)
       and crm.us_time(r.at) is not null
     order by r.site, r.vid::uuid, crm.us_time(r.at) desc, r.uid
    on conflict (site, vid) do update
       set customer_id = excluded.customer_id, at = excluded.at
     where excluded.at > i.at;
end
$$;

comment on function crm.absorb_identities is 'Part of etl.absorb.';


create function crm.order_pieces(products text)
returns table (line int, product_id text, quantity int, price numeric,
               raw text)
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    /*
     * id:quantity:price joined by ","; an id may hold colons.  A bad piece has
     * no product_id.  1000 pieces are more than any cart.
     */
    select p.n::int,
           case when p.ok then m.part[1] end,
           case when p.ok then m.part[2]::int end,
           case when p.ok then m.part[3]::numeric end,
           p.piece
      from (select t.piece, t.n,
                   coalesce(crm.id_ok(f.part[1])
                            and f.part[2]::int between -1000000 and 1000000
                            and f.part[2]::int <> 0
                            and f.part[3]::numeric <= 1000000, false) as ok
              from string_to_table(products, ',') with ordinality
                   as t (piece, n)
              left join lateral regexp_match(t.piece,
                   '^\s*(.+):(-?[0-9]{1,7}):([0-9]{1,7}(?:\.[0-9]{1,6})?)\s*$')
                   as f (part) on true
             where t.n <= 1000) as p
      left join lateral regexp_match(p.piece,
           '^\s*(.+):(-?[0-9]{1,7}):([0-9]{1,7}(?:\.[0-9]{1,6})?)\s*$')
           as m (part) on true
$$;

comment on function crm.order_pieces is
'Takes props.products of an order apart; bad pieces have a null product_id.';


create function crm.absorb_orders(list jsonb) returns void
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
     where crm.id_ok(r.uid)
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

comment on function crm.absorb_orders is 'Part of etl.absorb.';


create function crm.absorb_order(site text, order_id text, at timestamptz,
    vid uuid, uid text, props jsonb)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site     alias for $1;
    p_order_id alias for $2;
    total      text := props ->> 'total';
    currency   text := props ->> 'currency';
    products   text := coalesce(props ->> 'products', '');
    number     constant text := '^-?[0-9]{1,12}(\.[0-9]{1,6})?$';
    reasons    text[] := '{}';
begin
    if total !~ number then
        reasons := reasons || 'total is no number'::text;
    end if;
    if currency !~ '^[A-Z]{3}$' then
        reasons := reasons || 'currency is no ISO 4217 code'::text;
    end if;
    if not crm.id_ok(uid) then
        reasons := reasons || 'uid is no id of 1 to 64 bytes'::text;
    end if;

    insert into crm."order" (site, order_id, customer_id, vid, ordered_at,
                             currency, total, src)
    values (p_site, p_order_id,
            coalesce(case when crm.id_ok(uid) then uid end,
                     (select i.customer_id from crm.identity as i
                       where i.site = p_site and i.vid = $4)),
            $4, $3,
            case when currency ~ '^[A-Z]{3}$' then currency end,
            case when total ~ number then total::numeric
                 when total is null
                 then (select sum(p.quantity * p.price)
                         from crm.order_pieces(products) as p) end,
            'event')
    on conflict do nothing;
    if not found then
        return;  /* the first report counts */
    end if;

    if products <> '' then
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
    end if;

    if reasons <> '{}' then
        insert into crm.reject (source, reason, raw)
        select 'absorb', format('order %s: %s', p_order_id, r.reason),
               left(props::text, 4096)
          from unnest(reasons[1:20]) as r (reason);
    end if;
end
$$;

comment on function crm.absorb_order is
'Part of etl.absorb: one order with what is good of its lines.';


create function etl.absorb(batch jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    orders jsonb := crm.list_of_objects(batch -> 'orders');
begin
    perform crm.absorb_visitors(crm.list_of_objects(batch -> 'visitors'));
    perform crm.absorb_identities(
                crm.list_of_objects(batch -> 'identities'));
    if orders <> '[]' then
        perform crm.absorb_orders(orders);
    end if;
end
$$;

comment on function etl.absorb is
'Visitors, identities and orders that events of the same transaction tell.';

reset role;
