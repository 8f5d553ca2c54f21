/*
 * 000004_event_partitions.sql - events, one partition per day (UTC) of rts.
 *
 * A day is made as a table of its own and then attached: that takes a lock on
 * crm.event which running imports do not notice, where CREATE TABLE ...
 * PARTITION OF would stop them.  There is no default partition: an event of a
 * day nobody made is an error, not a table that grows unseen.
 *
 * One transaction holds five to eight locks per new day: a stock server
 * (max_locks_per_transaction = 64) makes 800 days at once.  Beyond what fits
 * the function refuses and says how many do.
 */

set local role crm_owner;

create table crm.event (
    site  text not null,
    id    uuid not null,
    rts   timestamptz not null,
    ts    timestamptz,
    type  text not null,
    name  text,
    vid   uuid,
    sid   uuid,
    sn    int,
    seq   int,
    uid   text,
    src   text not null,
    mid   text,
    ctx   jsonb,
    req   jsonb,
    props jsonb,
    dec   jsonb,
    extra jsonb,
    constraint event_id_rts_key unique (id, rts)
) partition by range (rts);

/* Few indexes keep the import fast; a day is small enough to be scanned. */
create index event_rts_idx on crm.event using brin (rts)
    with (pages_per_range = 32);

comment on table crm.event is 'What happened; docs/events.md.';
comment on column crm.event.rts is 'When nginx received it; the order.';
comment on column crm.event.ts is 'The event''s own time; null: equal to rts.';
comment on column crm.event.extra is 'Members that docs/events.md has not.';


create function crm.event_day(day date) returns text
language sql immutable parallel safe
return 'event_' || to_char(day, 'YYYYMMDD');

comment on function crm.event_day is 'Name of the partition of a day.';


create function etl.ensure_partitions(first date, last date) returns int
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set lock_timeout = '10s'
as $$
declare
    locks_per_day constant int := 8;
    days_max      constant int := 3700;
    missing       date[];
    fits          int;
    day           date;
begin
    if first is null or last is null or first > last then
        raise exception 'days % to % are no range', first, last
            using errcode = 'CRM02', hint = 'give the first day first';
    end if;
    if first < date '1990-01-01' or last > current_date + 40 then
        raise exception 'day % is out of range',
                case when first < date '1990-01-01' then first else last end
            using errcode = 'CRM02',
                  detail = format('days from 1990-01-01 to %s are allowed',
                                  current_date + 40),
                  hint = 'check the clock and the time column of the input';
    end if;
    if last - first >= days_max then
        raise exception '% days at once are too many', last - first + 1
            using errcode = 'CRM02',
                  hint = format('ask for at most %s', days_max);
    end if;

    /* Without a lock first: mostly there is nothing to do. */
    select array_agg(d::date order by d) into missing
      from generate_series(first, last, interval '1 day') as d
     where to_regclass('crm.' || crm.event_day(d::date)) is null;
    if missing is null then
        return 0;
    end if;

    fits := current_setting('max_locks_per_transaction')::int
            * current_setting('max_connections')::int / locks_per_day;
    if cardinality(missing) > fits then
        raise exception '% new days do not fit into one transaction',
                cardinality(missing)
            using errcode = 'CRM02',
                  hint = format('ask for at most %s days, or raise '
                                'max_locks_per_transaction', fits);
    end if;

    perform pg_advisory_xact_lock(hashtextextended('crm.event', 0));

    /*
     * Another session may have made some while this one waited.  pg_class is
     * read with a new snapshot; to_regclass could answer from a stale cache.
     */
    fits := 0;
    for day in
        select m.d
          from unnest(missing) as m (d)
         where not exists (select from pg_class as c
                            where c.relnamespace = 'crm'::regnamespace
                              and c.relname = crm.event_day(m.d))
         order by m.d
    loop
        execute format('create table crm.%I (like crm.event
                            including defaults including constraints
                            including storage)', crm.event_day(day));
        execute format('alter table crm.event attach partition crm.%I
                            for values from (%L) to (%L)',
                       crm.event_day(day), day::timestamptz,
                       (day + 1)::timestamptz);
        fits := fits + 1;
    end loop;

    return fits;
end
$$;

comment on function etl.ensure_partitions is
'Makes the missing days of crm.event; returns how many it made.';


create function etl.drop_partitions(before date) returns int
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

    return dropped;
end
$$;

comment on function etl.drop_partitions is
'Retention: drops the days of crm.event before the given one.';

reset role;
