/*
 * 000016_identity.sql - who is who: aliases, log-ins, merges, and their undoing.
 *
 * A customer is the shop's own id.  Everything else that names one (a hashed
 * e-mail, a loyalty card, a number in another system, a client library's
 * anonymous id) is an alias and belongs to one customer at a time.  An alias
 * or a log-in never joins two customers: what would is refused and written
 * down.  Only a person merges, by name, and the log holds what was moved, so
 * that it can be moved back.
 *
 * Events are never rewritten.  What a browser did before its first log-in is
 * attributed when somebody reads it, by crm.person_event.
 */

set local role crm_owner;

alter table crm.site add column keep_contact boolean not null default false;

comment on column crm.site.keep_contact is
'Whether e-mail and phone of identify events are kept as sent, not hashed.';

alter table crm.customer add column merged_into text,
    add constraint customer_merged_fkey foreign key (site, merged_into)
        references crm.customer,
    add constraint customer_merged_other check (merged_into <> customer_id);

create index customer_merged_idx on crm.customer (site, merged_into)
    where merged_into is not null;

comment on column crm.customer.merged_into is
'The customer this one turned out to be; never one that is merged itself.';


create table crm.alias (
    site        text not null,
    kind        text not null,
    value       text not null,
    customer_id text not null,
    first_at    timestamptz not null,
    last_at     timestamptz not null,
    source      text not null,
    primary key (site, kind, value),
    constraint alias_customer_fkey foreign key (site, customer_id)
        references crm.customer,
    constraint alias_kind_form check (kind ~ '^[a-z0-9_]{1,32}$'),
    constraint alias_value_form
        check (octet_length(value) between 1 and 256
               and value !~ '[\x01-\x1f\x7f]'),
    constraint alias_times_order check (first_at <= last_at)
) with (fillfactor = 80);

create index alias_customer_idx on crm.alias (site, customer_id);

comment on table crm.alias is
'Another name of a customer: email_sha256, phone_sha256, loyalty, crm, anon, ...';
comment on column crm.alias.source is
'upstream, origin, client (a trusted one), import or file.';


create table crm.login (
    site        text not null,
    vid         uuid not null,
    at          timestamptz not null,
    customer_id text not null,
    primary key (site, vid, at),
    constraint login_customer_fkey foreign key (site, customer_id)
        references crm.customer
);

create index login_customer_idx on crm.login (site, customer_id);

comment on table crm.login is
'Each time a browser became another customer''s: the history of crm.identity.';


create table crm.banned_id (
    site   text not null,
    id     text not null,
    reason text not null,
    at     timestamptz not null default now(),
    primary key (site, id)
);

comment on table crm.banned_id is
'Ids that name nobody, in lower case; site * is every site.';

insert into crm.banned_id (site, id, reason)
select '*', v.id, 'a word that programs write when they have no id'
  from unnest(array['null', 'undefined', 'nan', 'none', 'nil', 'anonymous',
                    'anon', 'guest', 'unknown', 'test', 'user', 'visitor',
                    'id', 'userid', 'user_id', 'customer', 'true', 'false',
                    '-1', '[object object]', '{}', '[]', '#n/a', 'n/a',
                    '(null)', '<null>']) as v (id);


create table crm.merge_log (
    id          bigint generated always as identity primary key,
    site        text not null references crm.site,
    outcome     text not null,
    from_id     text not null,
    into_id     text not null,
    reason      text not null,
    at          timestamptz not null default clock_timestamp(),
    who         text not null,
    moved       jsonb not null default '{}',
    reverted_at timestamptz,
    reverted_by text,
    constraint merge_log_outcome_known
        check (outcome in ('merged', 'refused')),
    constraint merge_log_reverted
        check ((reverted_at is null) = (reverted_by is null)
               and (reverted_at is null or outcome = 'merged'))
);

create index merge_log_site_idx on crm.merge_log (site, id);

comment on table crm.merge_log is
'Customers that people merged, and joins that were refused.';
comment on column crm.merge_log.moved is
'Keys of the rows that changed hands, so that they can change back.';


/* ---- ids -------------------------------------------------------------- */

create function crm.id_banned(site text, id text) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    /* Nothing but zeros and punctuation, or a single letter, is no id. */
    return $2 !~ '[^0[:punct:][:space:]]'
           or $2 ~ '^[^0-9]$'
           or exists (select from crm.banned_id as b
                       where b.site in ('*', $1)
                         and b.id = lower(btrim($2)));
end
$$;

comment on function crm.id_banned is
'True for an id that programs use when they know nobody.';


create function crm.customer_now(site text, id text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce((select c.merged_into from crm.customer as c
                      where c.site = $1 and c.customer_id = $2), $2);
end
$$;

comment on function crm.customer_now is
'The customer that an id means after merges; the id itself if unknown.';


create function crm.refuse_merge(site text, from_id text, into_id text,
    reason text, who text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into crm.merge_log (site, outcome, from_id, into_id, reason, who)
    select $1, 'refused', $2, $3, $4, $5
     where not exists (select from crm.merge_log as m
                        where m.site = $1 and m.outcome = 'refused'
                          and m.from_id = $2 and m.into_id = $3
                          and m.reason = $4
                          and m.at > clock_timestamp() - interval '1 day');
end
$$;

comment on function crm.refuse_merge is
'Writes down a join of two customers that was refused, once a day.';


create function crm.alias_put(site text, kind text, value text,
    customer text, at timestamptz, source text)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    owner text;
begin
    insert into crm.alias as a (site, kind, value, customer_id, first_at,
                                last_at, source)
    values ($1, $2, $3, $4, $5, $5, $6)
    on conflict (site, kind, value) do update
       set first_at = least(a.first_at, excluded.first_at),
           last_at = greatest(a.last_at, excluded.last_at)
     where a.customer_id = excluded.customer_id
    returning a.customer_id into owner;
    if owner is not null then
        return true;
    end if;

    select a.customer_id into owner
      from crm.alias as a
     where a.site = $1 and a.kind = $2 and a.value = $3;
    perform crm.refuse_merge($1, $4, owner, 'alias ' || $2 || ' is taken',
                             $6);
    return false;
end
$$;

comment on function crm.alias_put is
'Gives a customer an alias; one that another has is refused and logged.';


create function crm.contact_hash(kind text, value text) returns text
language sql immutable parallel safe
return encode(sha256(convert_to(
           case kind when 'email' then lower(btrim(value))
                     else regexp_replace(value, '[^0-9]', '', 'g') end,
           'UTF8')), 'hex');

comment on function crm.contact_hash is
'SHA-256 of an e-mail (trimmed, lower case) or the digits of a phone number.';


create function crm.trait_alias(src text, key text, value text)
returns table (kind text, name text)
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    /*
     * What the shop itself says are aliases by their kind; of a client's
     * traits only those whose name tells that they name somebody.
     */
    select t.kind, t.name
      from (select case when key in ('email', 'phone') then key || '_sha256'
                        when key in ('loyalty_id', 'loyalty') then 'loyalty'
                        when key in ('crm_id', 'crm') then 'crm'
                        when key in ('email_sha256', 'phone_sha256', 'anon')
                             or src = 'upstream' then key end as kind,
                   case when key in ('email', 'phone')
                        then crm.contact_hash(key, value)
                        when key in ('email_sha256', 'phone_sha256')
                        then lower(value) else value end as name) as t
     where t.kind ~ '^[a-z0-9_]{1,32}$'
       and octet_length(t.name) between 1 and 256
       and t.name !~ '[\x01-\x1f\x7f]'
       and (key not in ('email_sha256', 'phone_sha256')
            or t.name ~ '^[0-9a-f]{64}$')
       and (key <> 'email' or value like '%_@_%')
       and (key <> 'phone' or value ~ '[0-9].*[0-9].*[0-9].*[0-9]')
$$;

comment on function crm.trait_alias is
'The alias that a trait of an identify event is, or none.';


/* ---- what the importer brings ----------------------------------------- */

insert into crm.login (site, vid, at, customer_id)
select i.site, i.vid, i.at, i.customer_id from crm.identity as i;


create or replace function crm.absorb_identities(list jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    shared constant int := 50;  /* browsers of one customer in a day */
    used   record;
begin
    if list = '[]' then
        return;
    end if;

    insert into crm.reject (source, reason, raw)
    select 'absorb', case when coalesce(crm.id_ok(r.uid), false)
                          then 'uid is banned: it names nobody'
                          else 'uid is no id of 1 to 64 bytes' end,
           left(r.uid, 4096)
      from jsonb_to_recordset(list) as r (site text, uid text)
     where not coalesce(crm.id_ok(r.uid), false)
        or crm.id_banned(r.site, r.uid);

    insert into crm.customer (site, customer_id)
    select distinct r.site, r.uid
      from jsonb_to_recordset(list) as r (site text, uid text)
      join crm.site as s on s.key = r.site
     where crm.id_ok(r.uid) and not crm.id_banned(r.site, r.uid)
     order by r.site, r.uid
    on conflict do nothing;

    /* The newest login wins; the customers stay two. */
    insert into crm.identity as i (site, vid, customer_id, at)
    select distinct on (r.site, r.vid::uuid)
           r.site, r.vid::uuid, crm.customer_now(r.site, r.uid),
           crm.us_time(r.at)
      from jsonb_to_recordset(list)
           as r (site text, vid text, uid text, at jsonb)
      join crm.site as s on s.key = r.site
     where crm.id_ok(r.uid)
       and not crm.id_banned(r.site, r.uid)
       and crm.uuid_ok(r.vid)
       and crm.us_time(r.at) is not null
     order by r.site, r.vid::uuid, crm.us_time(r.at) desc, r.uid
    on conflict (site, vid) do update
       set customer_id = excluded.customer_id, at = excluded.at
     where excluded.at > i.at;

    /* The history: where a browser was not that customer's already. */
    insert into crm.login as l (site, vid, at, customer_id)
    select distinct on (r.site, r.vid, r.at)
           r.site, r.vid, r.at, r.customer_id
      from (select x.site, x.vid::uuid as vid, crm.us_time(x.at) as at,
                   crm.customer_now(x.site, x.uid) as customer_id
              from jsonb_to_recordset(list)
                   as x (site text, vid text, uid text, at jsonb)
              join crm.site as s on s.key = x.site
             where crm.id_ok(x.uid)
               and not crm.id_banned(x.site, x.uid)
               and crm.uuid_ok(x.vid)
               and crm.us_time(x.at) is not null) as r
     where r.customer_id is distinct from (
               select n.customer_id
                 from crm.login as n
                where n.site = r.site and n.vid = r.vid and n.at <= r.at
                order by n.at desc limit 1)
     order by r.site, r.vid, r.at, r.customer_id
    on conflict do nothing;

    /* A person has few browsers: an id that new ones keep claiming is none. */
    for used in
        select r.site, r.uid
          from jsonb_to_recordset(list) as r (site text, uid text)
         where crm.id_ok(r.uid) and not crm.id_banned(r.site, r.uid)
         group by r.site, r.uid
        having (select count(*)
                  from (select from crm.login as l
                         where l.site = r.site and l.customer_id = r.uid
                           and l.at > now() - interval '1 day'
                         limit shared + 1) as x) > shared
    loop
        insert into crm.banned_id (site, id, reason)
        values (used.site, lower(btrim(used.uid)),
                format('more than %s browsers in a day', shared))
        on conflict do nothing;
    end loop;
end
$$;


create function crm.absorb_identify(site text, vid uuid, uid text,
    at timestamptz, src text, props jsonb)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    customer text := crm.customer_now($1, uid);
    owners   text[];
    trait    record;
begin
    if jsonb_typeof(props) <> 'object' then
        return;
    end if;

    /* Named by an alias alone: only whom all known ones agree on. */
    if customer is null then
        select array_agg(distinct a.customer_id) into owners
          from jsonb_each_text(props) as p
         cross join lateral crm.trait_alias(src, p.key, p.value) as t
          join crm.alias as a
            on a.site = $1 and a.kind = t.kind and a.value = t.name;
        if cardinality(owners) > 1 then
            perform crm.refuse_merge($1, owners[1], owners[2],
                                     'aliases of two customers', src);
        end if;
        if owners is null or cardinality(owners) > 1 then
            return;
        end if;
        customer := owners[1];
        perform crm.absorb_identities(jsonb_build_array(jsonb_build_object(
                    'site', $1, 'vid', vid, 'uid', customer,
                    'at', (extract(epoch from at) * 1000000)::bigint)));
    end if;

    for trait in
        select t.kind, t.name
          from jsonb_each_text(props) as p
         cross join lateral crm.trait_alias(src, p.key, p.value) as t
         where p.value is not null
         order by t.kind, t.name limit 32
    loop
        perform crm.alias_put($1, trait.kind, trait.name, customer, at, src);
    end loop;

    update crm.customer as c
       set email = left(props ->> 'email', 320)
      from crm.site as s
     where s.key = $1 and s.keep_contact
       and c.site = $1 and c.customer_id = customer
       and c.email is null and props ->> 'email' like '%_@_%';
end
$$;

comment on function crm.absorb_identify is
'Part of etl.absorb: the aliases that one identify event tells.';


create function crm.absorb_alias(site text, uid text, at timestamptz,
    src text, props jsonb)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    customer text := crm.customer_now($1, uid);
    previous text := coalesce(props ->> 'previous_id', props ->> 'previousId');
    known    text;
begin
    if not coalesce(octet_length(previous) between 1 and 256
                    and previous !~ '[\x01-\x1f\x7f]', false)
       or previous = uid or crm.id_banned($1, previous)
    then
        return;
    end if;

    select crm.customer_now(c.site, c.customer_id) into known
      from crm.customer as c
     where c.site = $1 and c.customer_id = previous;
    if known is not null then
        if known <> customer then
            perform crm.refuse_merge($1, known, customer,
                                     'alias of two known customers', src);
        end if;
        return;
    end if;

    perform crm.alias_put($1, 'anon', previous, customer, at, src);
end
$$;

comment on function crm.absorb_alias is
'Part of etl.absorb: an anonymous id becomes a customer''s; a known one never.';


create function crm.absorb_records(list jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    r record;
begin
    perform crm.absorb_consents(list);

    for r in
        select x.site, x.type, x.src, x.uid, x.props,
               crm.us_time(x.at) as at,
               case when crm.uuid_ok(x.vid) then x.vid::uuid end as vid
          from jsonb_to_recordset(list)
               as x (site text, type text, src text, vid text, uid text,
                     at jsonb, props jsonb, trusted boolean)
          join crm.site as s on s.key = x.site
         where x.type in ('identify', 'alias') and x.trusted
           and crm.us_time(x.at) is not null
         order by x.site, crm.us_time(x.at)
    loop
        if r.uid is not null
           and (not crm.id_ok(r.uid) or crm.id_banned(r.site, r.uid))
        then
            perform etl.reject('absorb', null,
                        r.type || ': uid is banned or no id', r.uid, null);
            continue;
        end if;
        if r.uid is not null then
            insert into crm.customer (site, customer_id)
            values (r.site, r.uid) on conflict do nothing;
        end if;

        if r.type = 'identify' then
            perform crm.absorb_identify(r.site, r.vid, r.uid, r.at, r.src,
                                        r.props);
        elsif r.uid is not null then
            perform crm.absorb_alias(r.site, r.uid, r.at, r.src, r.props);
        end if;
    end loop;
end
$$;

comment on function crm.absorb_records is 'Part of etl.absorb.';


create or replace function etl.absorb(batch jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    kept    jsonb;
    orders  jsonb;
    records jsonb;
begin
    /* Until this transaction ends nobody is erased or merged beside it. */
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
        perform crm.absorb_records(records);
    end if;
end
$$;


/* An e-mail that a file brings is an alias as well. */

create function crm.customer_alias() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if new.email like '%_@_%' then
        perform crm.alias_put(new.site, 'email_sha256',
                    crm.contact_hash('email', new.email),
                    coalesce(new.merged_into, new.customer_id), now(),
                    'file');
    end if;
    return null;
end
$$;

comment on function crm.customer_alias is
'Trigger: a customer''s e-mail, hashed, becomes its alias.';

create trigger alias_insert after insert on crm.customer
    for each row when (new.email is not null)
    execute function crm.customer_alias();

create trigger alias_update after update on crm.customer
    for each row when (new.email is distinct from old.email
                       and new.email is not null)
    execute function crm.customer_alias();

select crm.alias_put(c.site, 'email_sha256',
                     crm.contact_hash('email', c.email), c.customer_id,
                     now(), 'file')
  from crm.customer as c
 where c.email like '%_@_%'
 order by c.site, c.customer_id;


/* ---- whose event it is ------------------------------------------------ */

create view crm.person_event as
select e.site, e.id, e.rts, e.type, e.name, e.vid, e.sid, e.uid, e.props,
       e.ctx, coalesce(c.merged_into, c.customer_id, l.customer_id)
           as customer_id
  from crm.event as e
  left join crm.customer as c
    on c.site = e.site and c.customer_id = e.uid
   and (e.src <> 'client' or e.ctx @> '{"trusted": true}')
  left join lateral (
        select n.customer_id
          from crm.login as n
         where n.site = e.site and n.vid = e.vid and c.customer_id is null
           and (e.uid is null or e.src = 'client')
         order by n.at <= e.rts desc,
                  case when n.at <= e.rts then n.at end desc, n.at
         limit 1) as l on true;

comment on view crm.person_event is
'Events with whose they are: as said, else who last logged in, else who then did.';


/* ---- merge and un-merge ----------------------------------------------- */

create function crm.customer_rows(site text, customer text) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return jsonb_build_object(
        'identity', coalesce((select jsonb_agg(i.vid) from crm.identity as i
                               where i.site = $1 and i.customer_id = $2),
                             '[]'),
        'login', coalesce((select jsonb_agg(jsonb_build_array(l.vid, l.at))
                             from crm.login as l
                            where l.site = $1 and l.customer_id = $2), '[]'),
        'alias', coalesce((select jsonb_agg(jsonb_build_array(a.kind,
                                                              a.value))
                             from crm.alias as a
                            where a.site = $1 and a.customer_id = $2), '[]'),
        'order', coalesce((select jsonb_agg(o.order_id) from crm."order" as o
                            where o.site = $1 and o.customer_id = $2), '[]'),
        'consent', coalesce((select jsonb_agg(n.id) from crm.consent as n
                              where n.site = $1 and n.customer_id = $2),
                            '[]'),
        'customer', coalesce((select jsonb_agg(c.customer_id)
                                from crm.customer as c
                               where c.site = $1 and c.merged_into = $2),
                             '[]'),
        'profile', (select to_jsonb(p) from crm.profile as p
                     where p.site = $1 and p.customer_id = $2));
end
$$;

comment on function crm.customer_rows is
'Keys of what belongs to a customer: what a merge moves.';


create function crm.customer_move(site text, rows jsonb, from_id text,
    into_id text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    n    bigint := 0;
    done bigint;
begin
    update crm.identity as i set customer_id = $4
     where i.site = $1 and i.customer_id = $3
       and i.vid in (select v::uuid
                       from jsonb_array_elements_text($2 -> 'identity') as v);
    get diagnostics done = row_count;
    n := n + done;

    update crm.login as l set customer_id = $4
     where l.site = $1 and l.customer_id = $3
       and (l.vid, l.at) in (
               select (v ->> 0)::uuid, (v ->> 1)::timestamptz
                 from jsonb_array_elements($2 -> 'login') as v);
    get diagnostics done = row_count;
    n := n + done;

    update crm.alias as a set customer_id = $4
     where a.site = $1 and a.customer_id = $3
       and (a.kind, a.value) in (
               select v ->> 0, v ->> 1
                 from jsonb_array_elements($2 -> 'alias') as v);
    get diagnostics done = row_count;
    n := n + done;

    update crm."order" as o set customer_id = $4
     where o.site = $1 and o.customer_id = $3
       and o.order_id in (
               select v from jsonb_array_elements_text($2 -> 'order') as v);
    get diagnostics done = row_count;
    n := n + done;

    update crm.consent as c set customer_id = $4
     where c.site = $1 and c.customer_id = $3
       and c.id in (select v::bigint
                      from jsonb_array_elements_text($2 -> 'consent') as v);
    get diagnostics done = row_count;
    n := n + done;

    return n;
end
$$;

comment on function crm.customer_move is
'Moves the rows of those keys, as far as they still are the first one''s.';


create function crm.customer_refresh(site text, customer text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v uuid;
begin
    for v in
        select i.vid from crm.identity as i
         where i.site = $1 and i.customer_id = $2
    loop
        perform pg_notify('crm_profiles', $1 || ':' || v);
    end loop;
end
$$;

comment on function crm.customer_refresh is
'Tells nginx that the browsers of a customer have another profile now.';


create function etl.identity_merge(site text, from_id text, into_id text,
    reviewer text, reason text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    rows_of jsonb;
    merge   bigint;
begin
    perform crm.site_check($1);
    if not coalesce(crm.id_ok(reviewer), false) then
        raise exception 'nobody stands for the merge of "%"', $2
            using errcode = 'CRM02', hint = 'give the reviewer''s name';
    end if;

    perform pg_advisory_xact_lock(hashtextextended('crm.erase', 0));

    if $2 is not distinct from $3
       or (select count(*) from crm.customer as c
            where c.site = $1 and c.customer_id in ($2, $3)
              and c.merged_into is null) <> 2
    then
        raise exception 'customers "%" and "%" cannot be merged', $2, $3
            using errcode = 'CRM02',
                  hint = 'both must be known, different, and not merged yet';
    end if;

    rows_of := crm.customer_rows($1, $2);
    perform crm.customer_move($1, rows_of, $2, $3);
    delete from crm.profile as p where p.site = $1 and p.customer_id = $2;
    update crm.customer as c set merged_into = $3
     where c.site = $1 and (c.customer_id = $2 or c.merged_into = $2);

    insert into crm.merge_log (site, outcome, from_id, into_id, reason, who,
                               moved)
    values ($1, 'merged', $2, $3, coalesce(left($5, 1000), 'by hand'), $4,
            rows_of)
    returning id into merge;

    perform crm.customer_refresh($1, $3);

    return merge;
end
$$;

comment on function etl.identity_merge is
'A person declares two customers to be one; returns the merge''s number.';


create function etl.identity_unmerge(site text, merge bigint, reviewer text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    m    crm.merge_log;
    last bigint;
    n    bigint;
begin
    perform crm.site_check($1);
    if not coalesce(crm.id_ok(reviewer), false) then
        raise exception 'nobody stands for undoing merge %', $2
            using errcode = 'CRM02', hint = 'give the reviewer''s name';
    end if;

    perform pg_advisory_xact_lock(hashtextextended('crm.erase', 0));

    select * into m from crm.merge_log as l
     where l.site = $1 and l.id = $2 for update;
    if m.id is null or m.outcome <> 'merged' or m.reverted_at is not null then
        raise exception 'merge % is not in force', $2
            using errcode = 'CRM02', hint = 'see crm-mine identity log';
    end if;

    /* What a later merge took further must come back first. */
    select max(l.id) into last from crm.merge_log as l
     where l.site = $1 and l.outcome = 'merged' and l.reverted_at is null
       and l.id > $2 and l.from_id = m.into_id;
    if last is not null then
        raise exception 'merge % went on in merge %', $2, last
            using errcode = 'CRM02', hint = 'undo the later one first';
    end if;

    update crm.customer as c set merged_into = null
     where c.site = $1 and c.customer_id = m.from_id;
    update crm.customer as c set merged_into = m.from_id
     where c.site = $1 and c.merged_into = m.into_id
       and c.customer_id in (
               select v from jsonb_array_elements_text(m.moved -> 'customer')
                             as v);
    n := crm.customer_move($1, m.moved, m.into_id, m.from_id);

    if jsonb_typeof(m.moved -> 'profile') = 'object' then
        insert into crm.profile
        select * from jsonb_populate_record(null::crm.profile,
                                            m.moved -> 'profile')
        on conflict do nothing;
    end if;

    update crm.merge_log as l
       set reverted_at = clock_timestamp(), reverted_by = $3
     where l.id = $2;
    perform crm.customer_refresh($1, m.from_id);
    perform crm.customer_refresh($1, m.into_id);

    return n;
end
$$;

comment on function etl.identity_unmerge is
'Undoes a merge: what it moved and still is there goes back; returns the rows.';


create function etl.identity_log(site text)
returns table (id bigint, at timestamptz, outcome text, from_id text,
               into_id text, who text, reason text, reverted_at timestamptz,
               reverted_by text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    return query
        select m.id, m.at, m.outcome, m.from_id, m.into_id, m.who, m.reason,
               m.reverted_at, m.reverted_by
          from crm.merge_log as m
         where m.site = $1 order by m.id;
end
$$;

comment on function etl.identity_log is
'Merges and refusals of a site, oldest first.';


create function etl.identity_find(site text, kind text, value text)
returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    return (select a.customer_id
              from crm.alias as a
             where a.site = $1
               and a.kind = case when $2 in ('email', 'phone')
                                 then $2 || '_sha256' else $2 end
               and a.value = case when $2 in ('email', 'phone')
                                  then crm.contact_hash($2, $3) else $3 end);
end
$$;

comment on function etl.identity_find is
'The customer that an alias names; email and phone may be given as they are.';


create or replace function edge.visitor(site text, vid uuid, uid text)
returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site    alias for $1;
    p_vid     alias for $2;
    p_uid     alias for $3;
    size_max  constant int := 1200;  /* bytes of a cell of the visitor zone */
    customer  text := crm.customer_now(p_site, nullif(p_uid, ''));
    found_row record;
    answer    jsonb;
begin
    if customer is null then
        select i.customer_id into customer
          from crm.identity as i
         where i.site = p_site and i.vid = p_vid;
    end if;

    select c.customer_id, c.tier, c.country, p.attributes
      into found_row
      from crm.customer as c
      left join crm.profile as p
        on p.site = c.site and p.customer_id = c.customer_id
     where c.site = p_site and c.customer_id = customer;
    if not found then
        return '{}';
    end if;

    answer := coalesce(found_row.attributes, '{}')
              || jsonb_strip_nulls(jsonb_build_object(
                     'id', found_row.customer_id,
                     'tier', found_row.tier,
                     'country', found_row.country));
    /* Long ids in many recs: the rest of the profile matters more. */
    if octet_length(answer::text) > size_max then
        answer := answer - 'recs' - 'categories';
    end if;

    return jsonb_build_object('customer', answer)::text;
end
$$;

reset role;
