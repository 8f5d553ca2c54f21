/*
 * 000015_privacy.sql - consent on record, one person's data, and its end.
 *
 * A person is a customer with the browsers it is identified in, or one browser
 * whoever used it.  crm.person_rows is the one list of places where something
 * about a person lies: export reads it, a test compares it with the tables,
 * and etl.erase empties the same places.
 *
 * Erasing deletes.  Orders stay as anonymous counts under another id, because
 * revenue is not personal.  Events on their way (journals, streams) are met
 * at import: crm.suppressed holds hashes of erased ids, and etl.absorb deletes
 * what the same transaction copied.  The order of locks makes that exact: an
 * import holds crm.erase shared until it commits, an erasure alone.
 */

set local role crm_owner;

create table crm.consent (
    id          bigint generated always as identity primary key,
    site        text not null references crm.site,
    vid         uuid not null,
    customer_id text,
    measure     boolean not null,
    personalize boolean not null,
    at          timestamptz not null,
    source      text not null
);

create index consent_visitor_idx on crm.consent (site, vid, at);

comment on table crm.consent is
'The proof: each change of what a visitor allowed; append-only.';
comment on column crm.consent.customer_id is
'Who was logged in then, if anybody.';
comment on column crm.consent.source is
'answer of the consent manager, gpc, dnt or default.';

create view mart.consent_state as
select c.site, (c.at at time zone 'UTC')::date as day, c.measure,
       c.personalize, c.source, count(*) as visitors
  from (select distinct on (n.site, n.vid)
               n.site, n.at, n.measure, n.personalize, n.source
          from crm.consent as n
         order by n.site, n.vid, n.at desc, n.id desc) as c
 group by 1, 2, 3, 4, 5;

comment on view mart.consent_state is
'What visitors allow now, by the day they last chose.';


create table crm.suppressed (
    site text not null,
    kind text not null,
    hash bytea not null,
    at   timestamptz not null,
    primary key (site, kind, hash),
    constraint suppressed_kind_known check (kind in ('vid', 'uid'))
);

comment on table crm.suppressed is
'SHA-256 of erased ids: what still arrives of them is dropped.';
comment on column crm.suppressed.at is
'Of a uid: events received up to then are dropped; of a vid: all.';

create table crm.erasure (
    id     bigint generated always as identity primary key,
    site   text not null references crm.site,
    kind   text not null,
    at     timestamptz not null default now(),
    who    text not null,
    counts jsonb not null,
    constraint erasure_kind_known check (kind in ('customer', 'visitor'))
);

comment on table crm.erasure is
'Erasures done, with counts and without anything personal.';


create function crm.id_hash(site text, id text) returns bytea
language sql immutable parallel safe
return sha256(convert_to(site || chr(31) || id, 'UTF8'));

comment on function crm.id_hash is 'How an erased id is remembered.';


/* ---- consent ---------------------------------------------------------- */

create function crm.absorb_consents(list jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    insert into crm.consent (site, vid, customer_id, measure, personalize,
                             at, source)
    select r.site, r.vid::uuid, i.customer_id,
           r.ctx ->> 'consent' like '%m%', r.ctx ->> 'consent' like '%p%',
           crm.us_time(r.at),
           left(coalesce(r.props ->> 'source', 'unknown'), 40)
      from jsonb_to_recordset(list)
           as r (site text, type text, src text, vid text, at jsonb,
                 ctx jsonb, props jsonb)
      join crm.site as s on s.key = r.site
      left join crm.identity as i
        on i.site = r.site and i.vid::text = lower(r.vid)
     where r.type = 'consent' and r.src = 'origin'
       and crm.uuid_ok(r.vid)
       and crm.us_time(r.at) is not null
       and r.ctx ->> 'consent' in ('', 'm', 'p', 'mp')
     order by r.site, crm.us_time(r.at);
end
$$;

comment on function crm.absorb_consents is 'Part of etl.absorb.';


/* ---- suppression ------------------------------------------------------ */

create function crm.absorb_suppressed(batch jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    lists constant text[] := array['visitors', 'identities', 'orders',
                                   'records'];
    /* No event of this batch is older. */
    since  constant timestamptz := coalesce(crm.us_time(batch -> 'since'),
                                            '-infinity');
    answer jsonb := batch;
    gone   record;
    part   text;
begin
    if not exists (select from crm.suppressed) then
        return batch;
    end if;

    for gone in
        select distinct x.site, x.vid, null as uid,
               'infinity'::timestamptz as until
          from (select v.value ->> 'site' as site, v.value ->> 'vid' as vid
                  from unnest(lists) as l (name)
                 cross join jsonb_array_elements(
                           crm.list_of_objects(batch -> l.name)) as v) as x
          join crm.suppressed as s
            on s.site = x.site and s.kind = 'vid'
           and s.hash = crm.id_hash(x.site, lower(x.vid))
         where crm.uuid_ok(x.vid)
         union all
        select distinct x.site, null, x.uid, s.at
          from (select v.value ->> 'site' as site, v.value ->> 'uid' as uid
                  from unnest(lists) as l (name)
                 cross join jsonb_array_elements(
                           crm.list_of_objects(batch -> l.name)) as v) as x
          join crm.suppressed as s
            on s.site = x.site and s.kind = 'uid'
           and s.hash = crm.id_hash(x.site, x.uid)
         where s.at >= since
    loop
        delete from crm.event as e
         where e.site = gone.site
           and e.rts >= since and e.rts <= gone.until
           and (e.vid = gone.vid::uuid or e.uid = gone.uid);

        foreach part in array lists loop
            select jsonb_set(answer, array[part], coalesce(
                       jsonb_agg(v.value order by v.n)
                           filter (where not (
                               v.value ->> 'site' = gone.site
                               and (coalesce(v.value ->> 'vid' = gone.vid,
                                             false)
                                    or (coalesce(v.value ->> 'uid' = gone.uid,
                                                 false)
                                        and crm.us_time(v.value -> 'at')
                                            <= gone.until)))),
                       '[]'))
              into answer
              from jsonb_array_elements(
                       crm.list_of_objects(answer -> part))
                   with ordinality as v (value, n);
        end loop;
    end loop;

    return answer;
end
$$;

comment on function crm.absorb_suppressed is
'Part of etl.absorb: takes what belongs to erased people out again.';


create or replace function etl.absorb(batch jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    kept    jsonb;
    orders  jsonb;
    records jsonb;
begin
    /* Until this transaction ends nobody is erased beside it. */
    perform pg_advisory_xact_lock_shared(hashtextextended('crm.erase', 0));

    kept := crm.absorb_suppressed(batch);
    orders := crm.list_of_objects(kept -> 'orders');
    records := crm.list_of_objects(kept -> 'records');

    perform crm.absorb_visitors(crm.list_of_objects(kept -> 'visitors'));
    perform crm.absorb_identities(crm.list_of_objects(kept -> 'identities'));
    if orders <> '[]' then
        perform crm.absorb_orders(orders);
    end if;
    if records <> '[]' then
        perform crm.absorb_consents(records);
    end if;
end
$$;

comment on function etl.absorb is
'Visitors, identities, orders and records that events of the same transaction tell.';


/* ---- one person ------------------------------------------------------- */

create function crm.person_visitors(site text, customer text, visitor uuid)
returns setof uuid
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if visitor is not null then
        return next visitor;
    end if;
    return query
        select i.vid from crm.identity as i
         where i.site = $1 and i.customer_id = $2
           and i.vid is distinct from $3;
end
$$;

comment on function crm.person_visitors is
'The browsers of a person: that one, and those identified as the customer.';


create function crm.person_check(site text, customer text, visitor uuid)
returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform crm.site_check($1);
    if (customer is null) = (visitor is null)
       or not coalesce(crm.id_ok(customer), true)
    then
        raise exception 'a person is one customer or one visitor'
            using errcode = 'CRM02',
                  hint = 'give an id of 1 to 64 bytes, or a UUID, not both';
    end if;
end
$$;

comment on function crm.person_check is
'Refuses what names no person, or two.';


create function crm.raw_names(raw text, id text) returns boolean
language sql immutable parallel safe
return raw is not null and id is not null and (
           position('"' || id || '"' in raw) > 0
           or position(',' || id || ',' in ',' || raw || ',') > 0);

comment on function crm.raw_names is
'True if refused input has the id as a JSON string or as a CSV field.';


create function crm.history_of(h crm.history, site text, customer text,
    vids uuid[])
returns boolean
language sql stable
return (h.key ->> 'site' = $2 or $2 is null)
       and coalesce(
               h.key ->> 'customer_id' = $3
               or h.old ->> 'customer_id' = $3
               or h.new ->> 'customer_id' = $3
               or h.key ->> 'vid' = any (array(select v::text
                                                 from unnest($4) as v))
               or h.old ->> 'vid' = any (array(select v::text
                                                 from unnest($4) as v))
               or h.new ->> 'vid' = any (array(select v::text
                                                 from unnest($4) as v)),
               false);

comment on function crm.history_of is
'True for a change of a row about the customer or one of the visitors.';

create function etl.person(site text, customer text, visitor uuid)
returns table (place text, id text, content jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site constant text := $1;
    vids   uuid[];
begin
    perform crm.person_check($1, customer, visitor);
    vids := array(select crm.person_visitors($1, customer, visitor));

    return query
    select 'customer', c.customer_id, to_jsonb(c)
      from crm.customer as c
     where c.site = p_site and c.customer_id = customer
     union all
    select 'identity', i.vid::text, to_jsonb(i)
      from crm.identity as i
     where i.site = p_site
       and (i.customer_id = customer or i.vid = any (vids))
     union all
    select 'visitor', v.vid::text, to_jsonb(v)
      from crm.visitor as v
     where v.site = p_site and v.vid = any (vids)
     union all
    select 'profile', p.customer_id, to_jsonb(p)
      from crm.profile as p
     where p.site = p_site and p.customer_id = customer
     union all
    select 'result_profile', p.run::text || '/' || p.part, to_jsonb(p)
      from crm.result_profile as p join crm.run as r on r.id = p.run
     where r.site = p_site and p.customer_id = customer
     union all
    select 'consent', n.id::text, to_jsonb(n)
      from crm.consent as n
     where n.site = p_site
       and (n.customer_id = customer or n.vid = any (vids))
     union all
    select 'order', o.order_id,
           to_jsonb(o) || jsonb_build_object('lines', coalesce((
               select jsonb_agg(to_jsonb(l) - 'site' - 'order_id'
                                order by l.line)
                 from crm.order_line as l
                where l.site = o.site and l.order_id = o.order_id), '[]'))
      from crm."order" as o
     where o.site = p_site
       and (o.customer_id = customer or o.vid = any (vids))
     union all
    select 'history', h.id::text, to_jsonb(h)
      from crm.history as h
     where crm.history_of(h, p_site, customer, vids)
     union all
    select 'reject', j.id::text, to_jsonb(j)
      from crm.reject as j
     where crm.raw_names(j.raw, customer)
        or exists (select from unnest(vids) as v (vid)
                    where crm.raw_names(j.raw, v.vid::text))
     union all
    select 'event', e.id::text, to_jsonb(e)
      from crm.event as e
     where e.site = p_site
       and (e.uid = customer
            or (e.vid = any (vids)
                and (visitor is not null or e.uid is null)));
end
$$;


comment on function etl.person is
'Everything about one person: a customer, or the users of one browser.';


create function etl.person_visitors(site text, customer text, visitor uuid)
returns setof uuid
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform crm.person_check($1, $2, $3);
    return query select crm.person_visitors($1, $2, $3);
end
$$;

comment on function etl.person_visitors is
'The browsers whose sessions in Redis belong to the person.';


create function crm.erase_orders(site text, customer text, vids uuid[])
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
           and (r.customer_id = customer or r.vid = any (vids))
         order by r.order_id
           for update
    loop
        /* The shop finds the person by the order's number: it goes too. */
        other := 'erased-' || gen_random_uuid();
        insert into crm."order" (site, order_id, ordered_at, currency, total,
                                 src, registered_at)
        values (o.site, other, date_trunc('day', o.ordered_at), o.currency,
                o.total, o.src, date_trunc('day', o.registered_at));
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

    return n;
end
$$;

comment on function crm.erase_orders is
'Part of etl.erase: orders become anonymous counts under another id.';


create function etl.erase(site text, customer text, visitor uuid)
returns table (place text, n bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site constant text := $1;
    vids   uuid[];
    texts  text[];
    counts jsonb := '{}';
    done   bigint;
    v      uuid;
begin
    perform crm.person_check($1, customer, visitor);
    perform pg_advisory_xact_lock(hashtextextended('crm.erase', 0));

    vids := array(select crm.person_visitors($1, customer, visitor));
    texts := array(select x::text from unnest(vids) as x);

    insert into crm.suppressed (site, kind, hash, at)
    select p_site, 'vid', crm.id_hash(p_site, t.vid), clock_timestamp()
      from unnest(texts) as t (vid)
     union all
    select p_site, 'uid', crm.id_hash(p_site, customer), clock_timestamp()
     where customer is not null
    on conflict (site, kind, hash) do update set at = excluded.at;

    delete from crm.event as e
     where e.site = p_site
       and (e.uid = customer
            or (e.vid = any (vids)
                and (visitor is not null or e.uid is null)));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('event', done);

    counts := counts || jsonb_build_object('order',
                            crm.erase_orders(p_site, customer, vids));

    delete from crm.consent as c
     where c.site = p_site
       and (c.customer_id = customer or c.vid = any (vids));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('consent', done);

    delete from crm.result_profile as p
     using crm.run as r
     where r.id = p.run and r.site = p_site and p.customer_id = customer;
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('result_profile', done);

    delete from crm.profile as p
     where p.site = p_site and p.customer_id = customer;
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('profile', done);

    delete from crm.identity as i
     where i.site = p_site
       and (i.customer_id = customer or i.vid = any (vids));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('identity', done);

    delete from crm.visitor as x
     where x.site = p_site and x.vid = any (vids);
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('visitor', done);

    delete from crm.customer as c
     where c.site = p_site and c.customer_id = customer;
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('customer', done);

    delete from crm.reject as j
     where crm.raw_names(j.raw, customer)
        or exists (select from unnest(texts) as t (vid)
                    where crm.raw_names(j.raw, t.vid));
    get diagnostics done = row_count;
    counts := counts || jsonb_build_object('reject', done);

    /* Last: what was deleted above left its own traces there. */
    delete from crm.history as h
     where crm.history_of(h, p_site, customer, vids);
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

comment on function etl.erase is
'Erases one person everywhere in the database; returns rows per place.';

reset role;
