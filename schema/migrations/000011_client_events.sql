/*
 * 000011_client_events.sql - events of client libraries: once each, and those
 * that were refused can be tried again.
 *
 * A library sends an event again whenever it is in doubt, with the same message
 * id.  crm.event is cut by the day of receipt and cannot know an id of another
 * day, so the ids have a table of their own, filled in the transaction of the
 * events.  Events without one (those nginx made itself) never touch it.
 */

set local role crm_owner;

create table crm.message (
    site text not null,
    mid  text not null,
    day  date not null,
    primary key (site, mid)
);

/* Retention asks by day; ids come in about that order. */
create index message_day_idx on crm.message using brin (day)
    with (pages_per_range = 32);

comment on table crm.message is
'Message ids of client libraries that are in crm.event: the key against twice.';
comment on column crm.message.day is 'Day (UTC) of the event''s rts.';


create function etl.claim(list jsonb) returns int[]
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    /* In key order, so that two importers never wait in a circle. */
    with asked as (
        select distinct on (r.s, r.m) r.s, r.m, r.d, r.i
          from jsonb_to_recordset(list)
               as r (i int, s text, m text, d date)
         order by r.s, r.m, r.i
    ), claimed as (
        insert into crm.message (site, mid, day)
        select a.s, a.m, a.d from asked as a order by a.s, a.m
        on conflict do nothing
        returning site, mid
    )
    select coalesce(array_agg(a.i order by a.i), '{}')
      from asked as a
      join claimed as c on c.site = a.s and c.mid = a.m
$$;

comment on function etl.claim is
'Takes message ids, [{i, s: site, m: id, d: day}]; the i of those that are new.';


create or replace function etl.drop_partitions(before date) returns int
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set lock_timeout = '10s'
as $$
declare
    partition name;
    dropped   int := 0;
begin
    if before is null or before > current_date then
        raise exception 'day % is not in the past', before
            using errcode = 'CRM02',
                  hint = 'whole days older than the given one are dropped';
    end if;

    perform pg_advisory_xact_lock(hashtextextended('crm.event', 0));

    for partition in
        select c.relname
          from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
         where i.inhparent = 'crm.event'::regclass
           and c.relname ~ '^event_[0-9]{8}$'
           and c.relname < crm.event_day(before)
         order by c.relname
    loop
        execute format('drop table crm.%I', partition);
        dropped := dropped + 1;
    end loop;

    if dropped > 0 then
        delete from crm.message as m where m.day < before;
    end if;

    return dropped;
end
$$;


/* ---- the ledger ------------------------------------------------------- */

alter table crm.producer
    add column duplicates bigint not null default 0,
    add constraint producer_duplicates_range check (duplicates >= 0);

comment on column crm.producer.duplicates is
'Events that a client library had sent before: not stored twice.';


drop function etl.advance(text, bigint, int, bigint);

create function etl.advance(
    producer text, last_seq bigint, events int, gap bigint,
    duplicates int default 0)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_producer   alias for $1;
    p_last_seq   alias for $2;
    p_events     alias for $3;
    p_gap        alias for $4;
    p_duplicates alias for $5;
    position     bigint;
begin
    if p_last_seq is null or p_events is null or p_gap is null
       or p_duplicates is null or p_last_seq < 0 or p_events < 0 or p_gap < 0
       or p_duplicates < 0
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
    if p_last_seq < position
       or (p_last_seq = position and p_events + p_duplicates > 0)
    then
        raise exception 'producer "%" cannot go back from % to %',
                p_producer, position, p_last_seq
            using errcode = 'CRM05',
                  hint = 'roll back and ask etl.position again';
    end if;

    update crm.producer as p
       set last_seq = p_last_seq,
           events = p.events + p_events,
           gap = p.gap + p_gap,
           duplicates = p.duplicates + p_duplicates,
           modified_at = clock_timestamp()
     where p.producer = p_producer;
end
$$;

comment on function etl.advance is
'Moves a producer forward, in the transaction of its events; never back.';


create or replace view mart.loss_ledger as
select p.producer, p.last_seq, p.events, p.gap,
       p.last_seq - p.events - p.gap - p.duplicates as refused, p.modified_at,
       p.duplicates
  from crm.producer as p
 union all
select 'all', coalesce(sum(p.last_seq), 0), coalesce(sum(p.events), 0),
       coalesce(sum(p.gap), 0),
       coalesce(sum(p.last_seq - p.events - p.gap - p.duplicates), 0),
       max(p.modified_at), coalesce(sum(p.duplicates), 0)
  from crm.producer as p;

comment on view mart.loss_ledger is
'Per producer and over all: sequences = events kept + gap + refused + duplicates.';


/* ---- refused events, tried again -------------------------------------- */

alter table crm.reject
    add column event text,
    add column replayed_at timestamptz,
    add constraint reject_event_size check (octet_length(event) <= 131072);

create index reject_event_idx on crm.reject (id)
    where event is not null and replayed_at is null;

comment on column crm.reject.source is
'Where it came from: a file, import:<producer>, collect:<site>, absorb.';
comment on column crm.reject.event is
'The whole record of a refused event: crm-mine rejects replay tries it again.';
comment on column crm.reject.replayed_at is 'When it became an event after all.';


drop function etl.reject(text, bigint, text, text, bigint);

create function etl.reject(
    source text, line bigint, reason text, raw text, batch bigint,
    event text default null)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into crm.reject (source, line, reason, raw, batch, event)
    values (left(coalesce($1, 'unknown'), 500), $2,
            left(coalesce($3, 'no reason given'), 1000), left($4, 4096), $5,
            case when octet_length($6) <= 131072 then $6 end);
end
$$;

comment on function etl.reject is
'Keeps input that was refused; batch may be null, event is a record to replay.';


create function etl.rejects(after bigint, most int)
returns table (id bigint, at timestamptz, source text, reason text, raw text,
               event text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select r.id, r.at, r.source, r.reason, r.raw, r.event
      from crm.reject as r
     where r.id > after and r.event is not null and r.replayed_at is null
     order by r.id
     limit most
$$;

comment on function etl.rejects is
'Refused events that are to be replayed, behind the given id.';


create function etl.reject_replayed(reject bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update crm.reject as r set replayed_at = clock_timestamp()
     where r.id = reject and r.replayed_at is null;
    if not found then
        raise exception 'reject % is replayed already', reject
            using errcode = 'CRM05', hint = 'roll back';
    end if;
end
$$;

comment on function etl.reject_replayed is
'Marks a refused event as stored, in the transaction that stores it.';


/* ---- products as objects ---------------------------------------------- */

create function crm.order_pieces(products jsonb)
returns table (line int, product_id text, quantity int, price numeric,
               raw text)
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select p.line, p.product_id, p.quantity, p.price, p.raw
      from crm.order_pieces(products #>> '{}') as p
     where jsonb_typeof(products) = 'string' and products <> '""'
     union all
    select o.line::int, case when o.ok then o.id end,
           case when o.ok then o.quantity::int end,
           case when o.ok then o.price::numeric end, o.raw
      from (select t.line, t.raw, t.id, t.quantity, t.price,
                   coalesce(crm.id_ok(t.id)
                            and t.quantity ~ '^-?[0-9]{1,7}$'
                            and t.price ~ '^[0-9]{1,7}(\.[0-9]{1,6})?$'
                            and t.quantity !~ '^-?0+$'
                            and case when t.quantity ~ '^-?[0-9]{1,7}$'
                                then abs(t.quantity::int) <= 1000000 end
                            and case when t.price ~ '^[0-9]{1,7}(\.[0-9]{1,6})?$'
                                then t.price::numeric <= 1000000 end,
                            false) as ok
              from (select e.n as line, e.value::text as raw,
                           coalesce(e.value ->> 'product_id',
                                    e.value ->> 'sku', e.value ->> 'id') as id,
                           coalesce(e.value ->> 'quantity', '1') as quantity,
                           e.value ->> 'price' as price
                      from jsonb_array_elements(
                               case when jsonb_typeof(products) = 'array'
                                    then products else '[]' end)
                           with ordinality as e (value, n)
                     where e.n <= 1000) as t) as o
$$;

comment on function crm.order_pieces(jsonb) is
'The same for props.products as it came: a text, or an array of objects.';


create or replace function crm.absorb_order(site text, order_id text,
    at timestamptz, vid uuid, uid text, props jsonb)
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

reset role;
