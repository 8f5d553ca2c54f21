
CREATE SCHEMA api;

ALTER SCHEMA api OWNER TO crm_owner;

COMMENT ON SCHEMA api IS 'What people and programs may call; empty so far.';

CREATE SCHEMA crm;

ALTER SCHEMA crm OWNER TO crm_owner;

COMMENT ON SCHEMA crm IS 'Private tables: every fact the product keeps.';

CREATE SCHEMA edge;

ALTER SCHEMA edge OWNER TO crm_owner;

COMMENT ON SCHEMA edge IS 'What nginx may call (role crm_edge).';

CREATE SCHEMA etl;

ALTER SCHEMA etl OWNER TO crm_owner;

COMMENT ON SCHEMA etl IS 'What crm-mine may call (role crm_etl).';

CREATE SCHEMA mart;

ALTER SCHEMA mart OWNER TO crm_owner;

COMMENT ON SCHEMA mart IS 'Read views for analysts (role crm_analyst).';

CREATE FUNCTION crm.absorb_alias(site text, uid text, at timestamp with time zone, src text, props jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.absorb_alias(site text, uid text, at timestamp with time zone, src text, props jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_alias(site text, uid text, at timestamp with time zone, src text, props jsonb) IS 'Part of etl.absorb: an anonymous id becomes a customer''s; a known one never.';

CREATE FUNCTION crm.absorb_consents(list jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.absorb_consents(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_consents(list jsonb) IS 'Part of etl.absorb.';

CREATE FUNCTION crm.absorb_identify(site text, vid uuid, uid text, at timestamp with time zone, src text, props jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.absorb_identify(site text, vid uuid, uid text, at timestamp with time zone, src text, props jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_identify(site text, vid uuid, uid text, at timestamp with time zone, src text, props jsonb) IS 'Part of etl.absorb: the aliases that one identify event tells.';

CREATE FUNCTION crm.absorb_identities(list jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.absorb_identities(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_identities(list jsonb) IS 'Part of etl.absorb.';

CREATE FUNCTION crm.absorb_order(site text, order_id text, at timestamp with time zone, vid uuid, uid text, props jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.absorb_order(site text, order_id text, at timestamp with time zone, vid uuid, uid text, props jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_order(site text, order_id text, at timestamp with time zone, vid uuid, uid text, props jsonb) IS 'Part of etl.absorb: one order with what is good of its lines.';

CREATE FUNCTION crm.absorb_orders(list jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.absorb_orders(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_orders(list jsonb) IS 'Part of etl.absorb.';

CREATE FUNCTION crm.absorb_records(list jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.absorb_records(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_records(list jsonb) IS 'Part of etl.absorb.';

CREATE FUNCTION crm.absorb_suppressed(batch jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.absorb_suppressed(batch jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_suppressed(batch jsonb) IS 'Part of etl.absorb: takes what belongs to erased people out again.';

CREATE FUNCTION crm.absorb_visitors(list jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.absorb_visitors(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.absorb_visitors(list jsonb) IS 'Part of etl.absorb.';

CREATE FUNCTION crm.alias_put(site text, kind text, value text, customer text, at timestamp with time zone, source text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.alias_put(site text, kind text, value text, customer text, at timestamp with time zone, source text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.alias_put(site text, kind text, value text, customer text, at timestamp with time zone, source text) IS 'Gives a customer an alias; one that another has is refused and logged.';

CREATE FUNCTION crm.batch_site(batch bigint, kind text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    found_row crm.load_batch;
begin
    select * into found_row from crm.load_batch as b where b.id = $1;
    if found_row.id is null or found_row.state <> 'running'
       or found_row.kind <> coalesce($2, found_row.kind)
    then
        raise exception 'batch % is not a running load%', $1,
                coalesce(' of ' || $2, '')
            using errcode = 'CRM06', hint = 'ask etl.load_begin for one';
    end if;

    return found_row.site;
end
$_$;

ALTER FUNCTION crm.batch_site(batch bigint, kind text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.batch_site(batch bigint, kind text) IS 'Site of a running batch; refuses any other batch.';

CREATE FUNCTION crm.campaign_bump(site text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site alias for $1;
begin
    insert into crm.campaign_version as v (site, version)
    values (p_site, 1)
    on conflict (site) do update
       set version = v.version + 1, modified_at = clock_timestamp();
    perform pg_notify('crm_campaigns', p_site);
end
$_$;

ALTER FUNCTION crm.campaign_bump(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_bump(site text) IS 'Counts a change of the site''s campaigns and tells nginx at commit.';

CREATE FUNCTION crm.campaign_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'INSERT' then
        perform crm.campaign_bump(s.site)
           from (select site from now_rows group by site order by site) as s;
    elsif tg_op = 'DELETE' then
        perform crm.campaign_bump(s.site)
           from (select site from old_rows group by site order by site) as s;
    else
        perform crm.campaign_bump(s.site)
           from (select site from old_rows union select site from now_rows
                  order by site) as s;
    end if;

    return null;
end
$$;

ALTER FUNCTION crm.campaign_changed() OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_changed() IS 'Trigger: a statement changed campaigns.';

CREATE FUNCTION crm.campaign_check(doc jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    member text;
    value  jsonb;
begin
    if doc is null or jsonb_typeof(doc) <> 'object' then
        perform crm.campaign_refuse('$', 'must be an object', doc);
    end if;

    select k into member
      from jsonb_object_keys(doc) as k
     where k not in ('key', 'name', 'slot', 'state', 'priority', 'start',
                     'end', 'times', 'namespace', 'holdout', 'goal', 'when',
                     'variants', 'remark')
     order by k limit 1;
    if found then
        perform crm.campaign_refuse(member, 'is no member of a campaign',
                                    doc -> member);
    end if;

    perform crm.campaign_check_text(doc, 'key',
        '^[a-z0-9][a-z0-9._-]{0,63}$', '[a-z0-9][a-z0-9._-]{0,63}');
    perform crm.campaign_check_text(doc, 'slot',
        '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
        '[A-Za-z0-9][A-Za-z0-9._-]{0,63}');
    perform crm.campaign_check_text(doc, 'state',
        '^(draft|live|paused|ended)$', 'draft, live, paused or ended');
    if doc ? 'name' then
        perform crm.campaign_check_text(doc, 'name', '^.{0,200}$',
            'a string of at most 200 characters');
    end if;
    if doc ? 'remark' and doc -> 'remark' <> 'null' then
        perform crm.campaign_check_text(doc, 'remark', '', 'a string');
    end if;

    value := doc -> 'priority';
    if value is not null
       and (jsonb_typeof(value) <> 'number'
            or value::numeric not between 0 and 1000
            or value::numeric <> trunc(value::numeric))
    then
        perform crm.campaign_refuse('priority',
            'must be a whole number from 0 to 1000', value);
    end if;

    value := doc -> 'when';
    if value is not null
       and (jsonb_typeof(value) <> 'object'
            or octet_length(value::text) > 262144)
    then
        perform crm.campaign_refuse('when',
            'must be a condition: an object of at most 256 KB', value);
    end if;

    if crm.campaign_time(doc, 'start') >= crm.campaign_time(doc, 'end') then
        perform crm.campaign_refuse('end', 'must be after start',
                                    doc -> 'end');
    end if;

    perform crm.campaign_check_terms(doc);
    perform crm.campaign_check_variants(doc -> 'variants');
end
$_$;

ALTER FUNCTION crm.campaign_check(doc jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_check(doc jsonb) IS 'Refuses a campaign''s document that breaks the rules.';

CREATE FUNCTION crm.campaign_check_terms(doc jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    zone constant jsonb := doc #> '{times,zone}';
begin
    if doc ? 'times' and jsonb_typeof(doc -> 'times') <> 'object' then
        perform crm.campaign_refuse('times', 'must be an object',
                                    doc -> 'times');
    end if;
    if zone is not null
       and (jsonb_typeof(zone) <> 'string'
            or not exists (select from pg_timezone_names as z
                            where z.name = zone #>> '{}'))
    then
        perform crm.campaign_refuse('times.zone',
            'must be the name of a time zone like Europe/Berlin', zone);
    end if;
    if doc #> '{times,offsets}' is not null then
        perform crm.campaign_refuse('times.offsets',
            'is no member of times: the zone has them', doc -> 'times');
    end if;
    if doc ? 'holdout'
       and (jsonb_typeof(doc -> 'holdout') <> 'number'
            or (doc -> 'holdout')::numeric not between 0 and 1)
    then
        perform crm.campaign_refuse('holdout', 'must be a share from 0 to 1',
                                    doc -> 'holdout');
    end if;
    if doc ? 'goal' then
        perform crm.campaign_check_text(doc, 'goal', '^.{1,200}$',
            'the name of an event, at most 200 characters');
    end if;
end
$_$;

ALTER FUNCTION crm.campaign_check_terms(doc jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_check_terms(doc jsonb) IS 'Refuses times, hold-out and goal that break the rules.';

CREATE FUNCTION crm.campaign_check_text(doc jsonb, member text, form text, rule text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    value jsonb := doc -> member;
begin
    if value is null or jsonb_typeof(value) <> 'string'
       or value #>> '{}' !~ form
    then
        perform crm.campaign_refuse(member, 'must be ' || rule, value);
    end if;
end
$$;

ALTER FUNCTION crm.campaign_check_text(doc jsonb, member text, form text, rule text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_check_text(doc jsonb, member text, form text, rule text) IS 'Refuses a member that is no string of the form.';

CREATE FUNCTION crm.campaign_check_variants(variants jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    v      record;
    path   text;
    member text;
    keys   text[] := '{}';
    weight numeric := 0;
begin
    if variants is null or jsonb_typeof(variants) <> 'array'
       or jsonb_array_length(variants) not between 1 and 16
    then
        perform crm.campaign_refuse('variants', 'must be 1 to 16 objects',
                                    variants);
    end if;

    for v in
        select e.value, e.n - 1 as n
          from jsonb_array_elements(variants) with ordinality as e (value, n)
    loop
        path := 'variants[' || v.n || ']';
        if jsonb_typeof(v.value) <> 'object' then
            perform crm.campaign_refuse(path, 'must be an object', v.value);
        end if;

        select k into member
          from jsonb_object_keys(v.value) as k
         where k not in ('key', 'weight', 'content')
         order by k limit 1;
        if found then
            perform crm.campaign_refuse(path || '.' || member,
                'is no member of a variant', v.value -> member);
        end if;

        if coalesce(jsonb_typeof(v.value -> 'key'), '') <> 'string'
           or v.value ->> 'key' !~ '^[a-z0-9][a-z0-9._-]{0,63}$'
        then
            perform crm.campaign_refuse(path || '.key',
                'must be [a-z0-9][a-z0-9._-]{0,63}', v.value -> 'key');
        end if;
        if v.value ->> 'key' = any (keys) then
            perform crm.campaign_refuse(path || '.key',
                'is there twice', v.value -> 'key');
        end if;
        keys := keys || (v.value ->> 'key');

        if coalesce(jsonb_typeof(v.value -> 'weight'), '') <> 'number'
           or (v.value -> 'weight')::numeric not between 0 and 1000000
        then
            perform crm.campaign_refuse(path || '.weight',
                'must be a number from 0 to 1000000', v.value -> 'weight');
        end if;
        weight := weight + (v.value -> 'weight')::numeric;

        if coalesce(jsonb_typeof(v.value -> 'content'), '') <> 'string'
           or octet_length(v.value ->> 'content') > 65536
        then
            perform crm.campaign_refuse(path || '.content',
                'must be a string of at most 65536 bytes',
                v.value -> 'content');
        end if;
    end loop;

    if weight = 0 then
        perform crm.campaign_refuse('variants',
            'must have a weight above 0', variants);
    end if;
end
$_$;

ALTER FUNCTION crm.campaign_check_variants(variants jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_check_variants(variants jsonb) IS 'Refuses variants that break the rules.';

CREATE FUNCTION crm.campaign_refuse(path text, fault text, value jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    raise exception '%: %', $1, $2
        using errcode = 'CRM03',
              detail = format('found %s', coalesce(left($3::text, 200),
                                                   'nothing')),
              hint = 'docs/campaigns.md has the rules';
end
$_$;

ALTER FUNCTION crm.campaign_refuse(path text, fault text, value jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_refuse(path text, fault text, value jsonb) IS 'Raises CRM03 for a member of a campaign''s document.';

CREATE FUNCTION crm.campaign_review(site text, key text, reviewer text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    update crm.campaign as c
       set first_review_by = $3, first_review_at = now()
     where c.site = $1 and c.key = $2 and c.first_review_by is null;
    if not found then
        update crm.campaign as c
           set second_review_by = $3, second_review_at = now()
         where c.site = $1 and c.key = $2 and c.first_review_by <> $3
           and c.second_review_by is null;
    end if;
end
$_$;

ALTER FUNCTION crm.campaign_review(site text, key text, reviewer text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_review(site text, key text, reviewer text) IS 'Notes a reviewer of a campaign as it stands; the same person counts once.';

CREATE FUNCTION crm.campaign_terms(doc jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(jsonb_object_agg(m.key, m.value), '{}')
      from jsonb_each(doc) as m
     where m.key in ('times', 'namespace', 'holdout', 'goal')
$$;

ALTER FUNCTION crm.campaign_terms(doc jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_terms(doc jsonb) IS 'The members of a campaign''s document that the column terms keeps.';

CREATE FUNCTION crm.campaign_terms_compiled(terms jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select terms - 'goal'
           || case when terms -> 'times' ? 'zone'
                   then jsonb_build_object('times', terms -> 'times'
                        || jsonb_build_object('offsets',
                               crm.zone_offsets(terms #>> '{times,zone}')))
                   else '{}' end
$$;

ALTER FUNCTION crm.campaign_terms_compiled(terms jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_terms_compiled(terms jsonb) IS 'The terms of a campaign as nginx takes them: with the zone''s offsets.';

CREATE FUNCTION crm.campaign_time(doc jsonb, member text) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    value jsonb := doc -> member;
    at    timestamptz;
begin
    if value is null or value = 'null' then
        return null;
    end if;

    if jsonb_typeof(value) = 'string' and value #>> '{}'
       ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$'
    then
        begin
            at := (value #>> '{}')::timestamptz;
        exception when data_exception then
            at := null;
        end;
    end if;
    if at is null or at < '1990-01-01' or at >= '2100-01-01' then
        perform crm.campaign_refuse(member,
            'must be null or a time like 2026-11-01T00:00:00Z', value);
    end if;

    return at;
end
$_$;

ALTER FUNCTION crm.campaign_time(doc jsonb, member text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.campaign_time(doc jsonb, member text) IS 'Time in a member of a campaign''s document; null if there is none.';

CREATE FUNCTION crm.contact_hash(kind text, value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(sha256(convert_to(CASE kind WHEN 'email'::text THEN lower(btrim(value)) ELSE regexp_replace(value, '[^0-9]'::text, ''::text, 'g'::text) END, 'UTF8'::name)), 'hex'::text);

ALTER FUNCTION crm.contact_hash(kind text, value text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.contact_hash(kind text, value text) IS 'SHA-256 of an e-mail (trimmed, lower case) or the digits of a phone number.';

CREATE FUNCTION crm.count_of(n jsonb, lowest integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((jsonb_typeof(n) = 'number'::text) AND (((n)::numeric >= (lowest)::numeric) AND ((n)::numeric <= (2147483647)::numeric))) THEN ((n)::numeric)::integer ELSE lowest END;

ALTER FUNCTION crm.count_of(n jsonb, lowest integer) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.count_of(n jsonb, lowest integer) IS 'A JSON number as int, at least the given one.';

CREATE FUNCTION crm.customer_alias() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION crm.customer_alias() OWNER TO crm_owner;

COMMENT ON FUNCTION crm.customer_alias() IS 'Trigger: a customer''s e-mail, hashed, becomes its alias.';

CREATE FUNCTION crm.customer_move(site text, rows jsonb, from_id text, into_id text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.customer_move(site text, rows jsonb, from_id text, into_id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.customer_move(site text, rows jsonb, from_id text, into_id text) IS 'Moves the rows of those keys, as far as they still are the first one''s.';

CREATE FUNCTION crm.customer_now(site text, id text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    return coalesce((select c.merged_into from crm.customer as c
                      where c.site = $1 and c.customer_id = $2), $2);
end
$_$;

ALTER FUNCTION crm.customer_now(site text, id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.customer_now(site text, id text) IS 'The customer that an id means after merges; the id itself if unknown.';

CREATE FUNCTION crm.customer_refresh(site text, customer text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.customer_refresh(site text, customer text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.customer_refresh(site text, customer text) IS 'Tells nginx that the browsers of a customer have another profile now.';

CREATE FUNCTION crm.customer_rows(site text, customer text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.customer_rows(site text, customer text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.customer_rows(site text, customer text) IS 'Keys of what belongs to a customer: what a merge moves.';

CREATE FUNCTION crm.erase_orders(site text, customers text[], vids uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.erase_orders(site text, customers text[], vids uuid[]) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.erase_orders(site text, customers text[], vids uuid[]) IS 'Part of etl.erase: orders become anonymous counts under another id.';

CREATE FUNCTION crm.event_day(day date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('event_'::text || to_char((day)::timestamp with time zone, 'YYYYMMDD'::text));

ALTER FUNCTION crm.event_day(day date) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.event_day(day date) IS 'Name of the partition of a day.';

CREATE TABLE crm.history (
    id bigint NOT NULL,
    table_name text NOT NULL,
    key jsonb NOT NULL,
    op text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    who text NOT NULL,
    login text NOT NULL,
    old jsonb,
    new jsonb,
    CONSTRAINT history_op_known CHECK ((op = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text])))
);

ALTER TABLE crm.history OWNER TO crm_owner;

COMMENT ON TABLE crm.history IS 'Every change of a business row; append-only.';

COMMENT ON COLUMN crm.history.who IS 'crm.actor of the transaction (a reviewer), else the login.';

COMMENT ON COLUMN crm.history.login IS 'The role that had logged in.';

COMMENT ON COLUMN crm.history.old IS 'Members that changed, before.';

COMMENT ON COLUMN crm.history.new IS 'Members that changed, after.';

CREATE FUNCTION crm.history_of(h crm.history, site text, customers text[], vids uuid[]) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN ((((h).key ->> 'site'::text) = site) AND COALESCE(((((h).key ->> 'customer_id'::text) = ANY (customers)) OR (((h).old ->> 'customer_id'::text) = ANY (customers)) OR (((h).new ->> 'customer_id'::text) = ANY (customers)) OR (((h).old ->> 'merged_into'::text) = ANY (customers)) OR (((h).new ->> 'merged_into'::text) = ANY (customers)) OR (((h).old ->> 'payer_id'::text) = ANY (customers)) OR (((h).new ->> 'payer_id'::text) = ANY (customers)) OR (((h).old ->> 'recipient_id'::text) = ANY (customers)) OR (((h).new ->> 'recipient_id'::text) = ANY (customers)) OR (((h).key ->> 'vid'::text) = ANY ((vids)::text[])) OR (((h).old ->> 'vid'::text) = ANY ((vids)::text[])) OR (((h).new ->> 'vid'::text) = ANY ((vids)::text[]))), false));

ALTER FUNCTION crm.history_of(h crm.history, site text, customers text[], vids uuid[]) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.history_of(h crm.history, site text, customers text[], vids uuid[]) IS 'True for a change of a row about the customer or one of the visitors.';

CREATE FUNCTION crm.id_banned(site text, id text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    /* Nothing but zeros and punctuation, or a single letter, is no id. */
    return $2 !~ '[^0[:punct:][:space:]]'
           or $2 ~ '^[^0-9]$'
           or exists (select from crm.banned_id as b
                       where b.site in ('*', $1)
                         and b.id = lower(btrim($2)));
end
$_$;

ALTER FUNCTION crm.id_banned(site text, id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.id_banned(site text, id text) IS 'True for an id that programs use when they know nobody.';

CREATE FUNCTION crm.id_hash(site text, id text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN sha256(convert_to(((site || chr(31)) || id), 'UTF8'::name));

ALTER FUNCTION crm.id_hash(site text, id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.id_hash(site text, id text) IS 'How an erased id is remembered.';

CREATE FUNCTION crm.id_ok(id text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (((octet_length(id) >= 1) AND (octet_length(id) <= 64)) AND (id !~ '[\x01-\x1f\x7f]'::text));

ALTER FUNCTION crm.id_ok(id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.id_ok(id text) IS 'True for an id of 1 to 64 bytes without control characters.';

CREATE FUNCTION crm.identity_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    /* Without a profile nginx would learn nothing new. */
    if exists (select from crm.profile as p
                where p.site = new.site
                  and p.customer_id = new.customer_id)
    then
        perform pg_notify('crm_profiles', new.site || ':' || new.vid);
    end if;

    return null;
end
$$;

ALTER FUNCTION crm.identity_changed() OWNER TO crm_owner;

COMMENT ON FUNCTION crm.identity_changed() IS 'Trigger: tells nginx that a visitor is another customer now.';

CREATE FUNCTION crm.is_gift(said text, buyer text, recipient text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (lower(said) = ANY (ARRAY['1'::text, 'true'::text, 'yes'::text, 't'::text, 'y'::text])) THEN true WHEN (lower(said) = ANY (ARRAY['0'::text, 'false'::text, 'no'::text, 'f'::text, 'n'::text])) THEN false ELSE COALESCE((recipient <> buyer), false) END;

ALTER FUNCTION crm.is_gift(said text, buyer text, recipient text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.is_gift(said text, buyer text, recipient text) IS 'What was said of an order, else whether somebody else than the buyer gets it.';

CREATE FUNCTION crm.list_of_objects(list jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (jsonb_typeof(list) = 'array'::text) THEN jsonb_path_query_array(list, 'strict $[*]?(@.type() == "object")'::jsonpath, '{}'::jsonb, true) ELSE '[]'::jsonb END;

ALTER FUNCTION crm.list_of_objects(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.list_of_objects(list jsonb) IS 'The objects of a JSON array; of anything else none.';

CREATE FUNCTION crm.load_customers_apply(batch bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site constant text := crm.batch_site($1, 'customers');
    nrows  bigint;
begin
    perform crm.staging_check('load_customers');
    select count(*) into nrows from pg_temp.load_customers;

    insert into crm.customer as c (site, customer_id, name, email, country,
                                   registered_at)
    select distinct on (l.customer_id::text)
           p_site, l.customer_id::text, l.name::text, l.email::text,
           l.country::text, coalesce(l.registered_at::timestamptz, now())
      from pg_temp.load_customers as l
     order by l.customer_id::text, l.ctid desc
    on conflict do nothing;

    update crm.customer as c
       set name = coalesce(l.name, c.name),
           email = coalesce(l.email, c.email),
           country = coalesce(l.country, c.country),
           registered_at = coalesce(l.registered_at, c.registered_at)
      from (select distinct on (s.customer_id::text)
                   s.customer_id::text, s.name::text, s.email::text,
                   s.country::text,
                   s.registered_at::timestamptz as registered_at
              from pg_temp.load_customers as s
             order by s.customer_id::text, s.ctid desc) as l
     where c.site = p_site
       and c.customer_id = l.customer_id
       and ((l.name is not null and l.name is distinct from c.name)
            or (l.email is not null and l.email is distinct from c.email)
            or (l.country is not null
                and l.country is distinct from c.country)
            or (l.registered_at is not null
                and l.registered_at is distinct from c.registered_at));

    return nrows;
end
$_$;

ALTER FUNCTION crm.load_customers_apply(batch bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.load_customers_apply(batch bigint) IS 'etl.load_customers, as crm_owner.';

CREATE FUNCTION crm.load_orders_apply(batch bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET work_mem TO '64MB'
    AS $_$
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
$_$;

ALTER FUNCTION crm.load_orders_apply(batch bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.load_orders_apply(batch bigint) IS 'etl.load_orders, as crm_owner.';

CREATE FUNCTION crm.load_products_apply(batch bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site constant text := crm.batch_site($1, 'products');
    nrows  bigint;
begin
    perform crm.staging_check('load_products');
    select count(*) into nrows from pg_temp.load_products;

    insert into crm.product as p (site, product_id, name, category, price,
                                  currency, url)
    select distinct on (l.product_id::text)
           p_site, l.product_id::text, l.name::text, l.category::text,
           l.price::numeric, l.currency::text, l.url::text
      from pg_temp.load_products as l
     order by l.product_id::text, l.ctid desc
    on conflict (site, product_id) do update
       set name = coalesce(excluded.name, p.name),
           category = coalesce(excluded.category, p.category),
           price = coalesce(excluded.price, p.price),
           currency = coalesce(excluded.currency, p.currency),
           url = coalesce(excluded.url, p.url)
     where (p.name, p.category, p.price, p.currency, p.url)
           is distinct from (coalesce(excluded.name, p.name),
                             coalesce(excluded.category, p.category),
                             coalesce(excluded.price, p.price),
                             coalesce(excluded.currency, p.currency),
                             coalesce(excluded.url, p.url));

    return nrows;
end
$_$;

ALTER FUNCTION crm.load_products_apply(batch bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.load_products_apply(batch bigint) IS 'etl.load_products, as crm_owner.';

CREATE FUNCTION crm.name_ok(name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text);

ALTER FUNCTION crm.name_ok(name text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.name_ok(name text) IS 'True for a name that may stand in configuration: [A-Za-z0-9._-], 1 to 64.';

CREATE FUNCTION crm.order_pieces(products jsonb) RETURNS TABLE(line integer, product_id text, quantity integer, price numeric, raw text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.order_pieces(products jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.order_pieces(products jsonb) IS 'The same for props.products as it came: a text, or an array of objects.';

CREATE FUNCTION crm.order_pieces(products text) RETURNS TABLE(line integer, product_id text, quantity integer, price numeric, raw text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.order_pieces(products text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.order_pieces(products text) IS 'Takes props.products of an order apart; bad pieces have a null product_id.';

CREATE FUNCTION crm.person_check(site text, customer text, visitor uuid) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.person_check(site text, customer text, visitor uuid) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.person_check(site text, customer text, visitor uuid) IS 'Refuses what names no person, or two.';

CREATE FUNCTION crm.person_customers(site text, customer text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.person_customers(site text, customer text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.person_customers(site text, customer text) IS 'The ids of a customer: its own, and those that were merged into it.';

CREATE FUNCTION crm.person_visitors(site text, customer text, visitor uuid) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.person_visitors(site text, customer text, visitor uuid) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.person_visitors(site text, customer text, visitor uuid) IS 'The browsers of a person: that one, and those identified as the customer.';

CREATE FUNCTION crm.publish_apply(site text, parts text[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    apply   text;
    done    bigint;
    changed bigint := 0;
begin
    /* Profiles always: what they recommend rests on products. */
    for apply in select p.apply from crm.part as p
                  where p.part = any ($2) or p.apply = 'crm.publish_profiles'
                  group by p.apply order by min(p.step), p.apply
    loop
        execute 'select ' || apply || '($1)' into done using $1;
        changed := changed + done;
    end loop;

    perform pg_notify('crm_profiles', $1);

    return changed;
end
$_$;

ALTER FUNCTION crm.publish_apply(site text, parts text[]) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.publish_apply(site text, parts text[]) IS 'Puts what is in force in its place and tells nginx; part of etl.publish.';

CREATE FUNCTION crm.publish_check(site text, runs bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    bad record;
begin
    perform crm.site_check($1);
    if coalesce(cardinality($2), 0) = 0 then
        raise exception 'there is no run to publish'
            using errcode = 'CRM04', hint = 'give the ids of runs';
    end if;

    select w.id, r.site, r.state into bad
      from unnest($2) as w (id) left join crm.run as r on r.id = w.id
     where r.id is null or r.site <> $1
        or r.state not in ('done', 'published')
     order by w.id limit 1;
    if found then
        raise exception 'run % cannot be published for site "%"', bad.id, $1
            using errcode = 'CRM04',
                  detail = case when bad.state is null then 'it is unknown'
                                when bad.site <> $1
                                then format('it is of site "%s"', bad.site)
                                else format('it is %s', bad.state) end,
                  hint = 'publish runs that etl.run_end has ended';
    end if;
end
$_$;

ALTER FUNCTION crm.publish_check(site text, runs bigint[]) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.publish_check(site text, runs bigint[]) IS 'Refuses runs that cannot be published.';

CREATE FUNCTION crm.publish_models(site text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.publish_models(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.publish_models(site text) IS 'Part of etl.publish.';

CREATE FUNCTION crm.publish_products(site text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    popular  bigint;
    coviewed bigint;
begin
    delete from crm.popular as p where p.site = $1;
    insert into crm.popular (site, rank, product_id, score)
    select $1, r.rank, r.product_id, r.score
      from crm.published as p join crm.result_popular as r on r.run = p.run
     where p.site = $1 and p.part = 'popular';
    get diagnostics popular = row_count;

    delete from crm.coviewed as c where c.site = $1;
    insert into crm.coviewed (site, product_id, rank, other_id, score)
    select $1, r.product_id, r.rank, r.other_id, r.score
      from crm.published as p join crm.result_coviewed as r on r.run = p.run
     where p.site = $1 and p.part = 'coviewed';
    get diagnostics coviewed = row_count;

    return popular + coviewed;
end
$_$;

ALTER FUNCTION crm.publish_products(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.publish_products(site text) IS 'Part of etl.publish.';

CREATE FUNCTION crm.publish_profiles(site text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
    p_site    alias for $1;
    recs_max  constant int := 8;
    favourite constant jsonb := crm.recs(p_site, '[]', recs_max);
    runs      bigint[];
    written   bigint;
    removed   bigint;
begin
    select array_agg(p.run order by p.run) into runs
      from crm.published as p where p.site = p_site;

    create temporary table crm_publish on commit drop as
    select t.customer_id,
           (t.attributes - 'last_items')
           || jsonb_strip_nulls(jsonb_build_object('recs',
                  case when t.attributes ? 'last_items'
                       then crm.recs(p_site, t.attributes -> 'last_items',
                                     recs_max)
                       else favourite end)) as attributes
      from (select r.customer_id,
                   crm.merged(r.attributes order by r.part) as attributes
              from crm.published as p
              join crm.result_profile as r
                on r.run = p.run and r.part = p.part
             where p.site = p_site
             group by r.customer_id) as t
      join crm.customer as c
        on c.site = p_site and c.customer_id = t.customer_id;

    insert into crm.profile as p (site, customer_id, attributes, runs)
    select p_site, t.customer_id, t.attributes, runs
      from pg_temp.crm_publish as t
     order by t.customer_id
    on conflict (site, customer_id) do update
       set attributes = excluded.attributes, runs = excluded.runs,
           modified_at = clock_timestamp()
     where p.attributes is distinct from excluded.attributes;
    get diagnostics written = row_count;

    delete from crm.profile as p
     where p.site = p_site
       and not exists (select from pg_temp.crm_publish as t
                        where t.customer_id = p.customer_id);
    get diagnostics removed = row_count;
    drop table pg_temp.crm_publish;

    return written + removed;
end
$_$;

ALTER FUNCTION crm.publish_profiles(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.publish_profiles(site text) IS 'Part of etl.publish.';

CREATE FUNCTION crm.raw_names(raw text, id text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((raw IS NOT NULL) AND (id IS NOT NULL) AND ((POSITION(((('"'::text || id) || '"'::text)) IN (raw)) > 0) OR (POSITION((((','::text || id) || ','::text)) IN (((','::text || raw) || ','::text))) > 0)));

ALTER FUNCTION crm.raw_names(raw text, id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.raw_names(raw text, id text) IS 'True if refused input has the id as a JSON string or as a CSV field.';

CREATE FUNCTION crm.recs(site text, last_items jsonb, most integer) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    answer jsonb;
begin
    with seen as (
        select i.product_id, i.n
          from jsonb_array_elements_text(coalesce($2, '[]'))
               with ordinality as i (product_id, n)
    ), found_items as (
        /* What was viewed last says most about what is wanted now. */
        select c.other_id as product_id, 1 as step,
               sum(c.score / s.n) as score
          from seen as s
          join crm.coviewed as c
            on c.site = $1 and c.product_id = s.product_id
         group by c.other_id
         union all
        select p.product_id, 2, p.score
          from crm.popular as p
         where p.site = $1
           and p.rank <= $3 + jsonb_array_length(coalesce($2, '[]'))
    ), best as (
        select f.product_id, min(f.step) as step,
               (array_agg(f.score order by f.step))[1] as score
          from found_items as f
         where f.product_id not in (select s.product_id from seen as s)
         group by f.product_id
         order by 2, 3 desc, 1
         limit $3
    )
    select jsonb_agg(b.product_id order by b.step, b.score desc,
                     b.product_id)
      into answer from best as b;

    return answer;
end
$_$;

ALTER FUNCTION crm.recs(site text, last_items jsonb, most integer) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.recs(site text, last_items jsonb, most integer) IS 'Products viewed with the last items, best first, filled up with popular ones.';

CREATE FUNCTION crm.refuse_merge(site text, from_id text, into_id text, reason text, who text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    insert into crm.merge_log (site, outcome, from_id, into_id, reason, who)
    select $1, 'refused', $2, $3, $4, $5
     where not exists (select from crm.merge_log as m
                        where m.site = $1 and m.outcome = 'refused'
                          and m.from_id = $2 and m.into_id = $3
                          and m.reason = $4
                          and m.at > clock_timestamp() - interval '1 day');
end
$_$;

ALTER FUNCTION crm.refuse_merge(site text, from_id text, into_id text, reason text, who text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.refuse_merge(site text, from_id text, into_id text, reason text, who text) IS 'Writes down a join of two customers that was refused, once a day.';

CREATE FUNCTION crm.remember() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    old_row jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    new_row jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    key_row jsonb := coalesce(new_row, old_row);
    secret  constant text := 'password_hash';
    key     jsonb := '{}';
    field   text;
begin
    foreach field in array tg_argv loop
        key := key || jsonb_build_object(field, key_row -> field);
    end loop;

    if tg_op = 'UPDATE' then
        select jsonb_object_agg(o.key, o.value),
               jsonb_object_agg(o.key, new_row -> o.key)
          into old_row, new_row
          from jsonb_each(old_row) as o
         where o.value is distinct from new_row -> o.key
           and o.key <> 'modified_at';
        if old_row is null then
            return null;
        end if;
    end if;

    if old_row ? secret then
        old_row := old_row || jsonb_build_object(secret, '***');
    end if;
    if new_row ? secret then
        new_row := new_row || jsonb_build_object(secret, '***');
    end if;

    insert into crm.history (table_name, key, op, who, login, old, new)
    values (tg_table_name, key, lower(tg_op),
            coalesce(nullif(current_setting('crm.actor', true), ''),
                     session_user),
            session_user, old_row, new_row);

    return null;
end
$$;

ALTER FUNCTION crm.remember() OWNER TO crm_owner;

COMMENT ON FUNCTION crm.remember() IS 'Trigger: writes crm.history; its arguments name the key columns.';

CREATE FUNCTION crm.rfm_segment(r integer, f integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((r = 5) AND (f >= 4)) THEN 'champions'::text WHEN ((r >= 3) AND (f >= 4)) THEN 'loyal'::text WHEN ((r >= 4) AND (f >= 2)) THEN 'potential_loyal'::text WHEN (r = 5) THEN 'new'::text WHEN (r = 4) THEN 'promising'::text WHEN ((r = 3) AND (f = 3)) THEN 'need_attention'::text WHEN (r = 3) THEN 'about_to_sleep'::text WHEN (f = 5) THEN 'cannot_lose'::text WHEN (f >= 3) THEN 'at_risk'::text WHEN ((r = 1) AND (f = 1)) THEN 'lost'::text ELSE 'hibernating'::text END;

ALTER FUNCTION crm.rfm_segment(r integer, f integer) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.rfm_segment(r integer, f integer) IS 'Name of a recency and frequency score, 1 (worst) to 5; docs/schema.md.';

CREATE FUNCTION crm.run_forget(runs bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    place text;
begin
    for place in select distinct p.results from crm.part as p order by 1 loop
        execute 'delete from ' || place || ' where run = any ($1)' using $1;
    end loop;
end
$_$;

ALTER FUNCTION crm.run_forget(runs bigint[]) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.run_forget(runs bigint[]) IS 'Drops the results of runs.';

CREATE FUNCTION crm.run_note(run bigint, part text, rows_in bigint, rows_out bigint, quality jsonb, summary text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    update crm.run as r
       set parts = case when $2 = any (r.parts) then r.parts
                        else r.parts || $2 end,
           rows_in = $3, rows_out = $4, quality = $5, summary = $6
     where r.id = $1;

    return $4;
end
$_$;

ALTER FUNCTION crm.run_note(run bigint, part text, rows_in bigint, rows_out bigint, quality jsonb, summary text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.run_note(run bigint, part text, rows_in bigint, rows_out bigint, quality jsonb, summary text) IS 'What a task says of its result.';

CREATE FUNCTION crm.run_since(run bigint, as_of timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    days int;
begin
    if $2 is null or not isfinite($2) then
        raise exception 'run % has no moment to look back from', $1
            using errcode = 'CRM02', hint = 'give as_of a time';
    end if;

    select (r.params ->> 'days')::int into days
      from crm.run as r where r.id = $1;

    /* The oldest day that etl.ensure_partitions makes. */
    return greatest('1990-01-01 00:00:00+00'::timestamptz,
                    $2 - coalesce(days, 99999) * interval '1 day');
end
$_$;

ALTER FUNCTION crm.run_since(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.run_since(run bigint, as_of timestamp with time zone) IS 'How far back a run looks: params.days before as_of, default all.';

CREATE FUNCTION crm.run_site(run bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    found_row crm.run;
begin
    select * into found_row from crm.run as r where r.id = $1 for update;
    if found_row.id is null or found_row.state <> 'running' then
        raise exception 'run % is %', $1,
                coalesce(found_row.state, 'unknown')
            using errcode = 'CRM04',
                  hint = 'only a running run can go on: ask etl.run_begin';
    end if;

    return found_row.site;
end
$_$;

ALTER FUNCTION crm.run_site(run bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.run_site(run bigint) IS 'Locks a running run and gives its site; refuses any other run.';

CREATE FUNCTION crm.site_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform crm.campaign_bump(new.key);
    return null;
end
$$;

ALTER FUNCTION crm.site_changed() OWNER TO crm_owner;

COMMENT ON FUNCTION crm.site_changed() IS 'Trigger: another number of reviews or hold-out makes other decisions.';

CREATE FUNCTION crm.site_check(site text) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    if not exists (select from crm.site as s where s.key = $1) then
        raise exception 'site "%" is unknown', $1
            using errcode = 'CRM01',
                  hint = 'make it first: select etl.site_set(''KEY'')';
    end if;
end
$_$;

ALTER FUNCTION crm.site_check(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.site_check(site text) IS 'Refuses a site that is not in crm.site.';

CREATE FUNCTION crm.staging_check(name text) RETURNS regclass
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    staging regclass := to_regclass('pg_temp.' || quote_ident($1));
begin
    if staging is null then
        raise exception 'there is no staging table pg_temp.%', $1
            using errcode = 'CRM07', hint = 'create and fill it first';
    end if;
    if exists (select from pg_class as c
                where c.oid = staging
                  and (c.relkind <> 'r' or c.relrowsecurity or c.relhasrules
                       or c.relhassubclass))
       or exists (select from pg_attribute as a
                    join pg_type as t on t.oid = a.atttypid
                   where a.attrelid = staging and a.attnum > 0
                     and not a.attisdropped
                     and t.typnamespace <> 'pg_catalog'::regnamespace)
    then
        raise exception 'pg_temp.% is not a plain table of plain types', $1
            using errcode = 'CRM07',
                  hint = 'no views, rules, policies, children or own types';
    end if;

    return staging;
end
$_$;

ALTER FUNCTION crm.staging_check(name text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.staging_check(name text) IS 'Refuses a staging table that is missing or could carry code.';

CREATE FUNCTION crm.touch() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    /* Not now(): two changes in one transaction are two changes. */
    new.modified_at := clock_timestamp();
    return new;
end
$$;

ALTER FUNCTION crm.touch() OWNER TO crm_owner;

COMMENT ON FUNCTION crm.touch() IS 'Trigger: sets modified_at.';

CREATE FUNCTION crm.trait_alias(src text, key text, value text) RETURNS TABLE(kind text, name text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION crm.trait_alias(src text, key text, value text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.trait_alias(src text, key text, value text) IS 'The alias that a trait of an identify event is, or none.';

CREATE FUNCTION crm.us_time(us jsonb) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((jsonb_typeof(us) = 'number'::text) AND (((us)::numeric >= ('631152000000000'::bigint)::numeric) AND ((us)::numeric <= ('4102444800000000'::bigint)::numeric))) THEN ('1970-01-01 00:00:00+00'::timestamp with time zone + (((us)::numeric)::double precision * '00:00:00.000001'::interval)) ELSE NULL::timestamp with time zone END;

ALTER FUNCTION crm.us_time(us jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.us_time(us jsonb) IS 'Microseconds since 1970 as time; null outside 1990 to 2099.';

CREATE FUNCTION crm.uuid_ok(id text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'::text);

ALTER FUNCTION crm.uuid_ok(id text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.uuid_ok(id text) IS 'True for the text of a UUID.';

CREATE FUNCTION crm.zone_offsets(zone text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with days as (
        select d, extract(epoch from d at time zone zone
                                     - d at time zone 'UTC')::int as seconds
          from (select date_trunc('day', now() at time zone 'UTC')
                           at time zone 'UTC' + n * interval '24 hours' as d
                  from generate_series(-1, 800) as n) as series
    ), changed as (
        select d, seconds, lag(d) over (order by d) as before,
               lag(seconds) over (order by d) as seconds_before
          from days
    ), exact as (
        select (select min(t)
                  from generate_series(before, d, interval '15 minutes') as t
                 where extract(epoch from t at time zone zone
                                          - t at time zone 'UTC')::int
                       = seconds) as since, seconds
          from changed
         where seconds <> seconds_before
        union all
        select min(d), (array_agg(seconds order by d))[1] from days
    )
    select jsonb_agg(jsonb_build_array(extract(epoch from since)::bigint,
                                       seconds) order by since)
      from exact
$$;

ALTER FUNCTION crm.zone_offsets(zone text) OWNER TO crm_owner;

COMMENT ON FUNCTION crm.zone_offsets(zone text) IS 'A zone''s seconds ahead of UTC, from yesterday on for 800 days, by change.';

CREATE FUNCTION edge.campaign_set(site text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site alias for $1;
begin
    return (jsonb_build_object(
        'site', p_site,
        'version', coalesce((select v.version from crm.campaign_version as v
                              where v.site = p_site), 0),
        'campaigns', coalesce((
            select jsonb_agg(jsonb_build_object(
                       'key', c.key,
                       'slot', c.slot,
                       'priority', c.priority,
                       'start', extract(epoch from c.starts_at)::bigint,
                       'end', extract(epoch from c.ends_at)::bigint,
                       'when', c.condition,
                       'variants', c.variants)
                       || crm.campaign_terms_compiled(c.terms) order by c.key collate "C")
              from crm.campaign as c join crm.site as s on s.key = c.site
             where c.site = p_site
               and c.state = 'live'
               and c.dropped_at is null
               and (c.first_review_by is not null)::int
                   + (c.second_review_by is not null)::int
                   >= s.reviews_needed), '[]'))
        || coalesce((select jsonb_build_object('holdout', s.holdout)
                       from crm.site as s
                      where s.key = p_site and s.holdout > 0), '{}'))::text;
end
$_$;

ALTER FUNCTION edge.campaign_set(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION edge.campaign_set(site text) IS 'The site''s campaigns that are live and reviewed, as docs/campaigns.md has it.';

CREATE FUNCTION edge.model(site text, part text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select coalesce((select m.document from crm.model as m
                      where m.site = $1 and m.part = $2), '')
$_$;

ALTER FUNCTION edge.model(site text, part text) OWNER TO crm_owner;

COMMENT ON FUNCTION edge.model(site text, part text) IS 'The model in force for one purpose; empty: there is none.';

CREATE FUNCTION edge.visitor(site text, vid uuid, uid text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION edge.visitor(site text, vid uuid, uid text) OWNER TO crm_owner;

COMMENT ON FUNCTION edge.visitor(site text, vid uuid, uid text) IS 'Attributes of the customer uid, or of the one the visitor is identified as.';

CREATE FUNCTION etl.absorb(batch jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION etl.absorb(batch jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.absorb(batch jsonb) IS 'Visitors, identities, orders and records that events of the same transaction tell.';

CREATE FUNCTION etl.advance(producer text, last_seq bigint, events integer, gap bigint, duplicates integer DEFAULT 0) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.advance(producer text, last_seq bigint, events integer, gap bigint, duplicates integer) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.advance(producer text, last_seq bigint, events integer, gap bigint, duplicates integer) IS 'Moves a producer forward, in the transaction of its events; never back.';

CREATE FUNCTION etl.campaign_apply(site text, doc jsonb, reviewer text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site     alias for $1;
    p_reviewer constant text := nullif($3, '');
    campaigns_max constant int := 10000;
    wanted     crm.campaign;
    current    crm.campaign;
begin
    perform crm.site_check(p_site);
    if not crm.id_ok(p_reviewer) then
        raise exception 'reviewer is no name of 1 to 64 bytes'
            using errcode = 'CRM02', hint = 'give the name of a person';
    end if;
    perform crm.campaign_check(doc);
    perform set_config('crm.actor', coalesce(p_reviewer, ''), true);

    wanted.key := doc ->> 'key';
    wanted.name := coalesce(doc ->> 'name', '');
    wanted.slot := doc ->> 'slot';
    wanted.state := doc ->> 'state';
    wanted.priority := coalesce((doc -> 'priority')::numeric::int, 0);
    wanted.starts_at := crm.campaign_time(doc, 'start');
    wanted.ends_at := crm.campaign_time(doc, 'end');
    wanted.condition := coalesce(doc -> 'when', '{}');
    wanted.variants := doc -> 'variants';
    wanted.terms := crm.campaign_terms(doc);
    wanted.remark := doc ->> 'remark';

    /* One at a time per site: two people may apply the same folder at once. */
    perform from crm.site as s where s.key = p_site for no key update;
    select * into current
      from crm.campaign as c
     where c.site = p_site and c.key = wanted.key;

    if not found then
        if (select count(*) from crm.campaign as c where c.site = p_site)
           >= campaigns_max
        then
            raise exception 'site "%" has % campaigns already', p_site,
                    campaigns_max
                using errcode = 'CRM02', hint = 'delete old ones';
        end if;
        insert into crm.campaign (site, key, name, slot, state, priority,
            starts_at, ends_at, condition, variants, terms, remark,
            first_review_by, first_review_at)
        values (p_site, wanted.key, wanted.name, wanted.slot, wanted.state,
            wanted.priority, wanted.starts_at, wanted.ends_at,
            wanted.condition, wanted.variants, wanted.terms, wanted.remark,
            p_reviewer,
            case when p_reviewer is not null then now() end);
        return 'created';
    end if;

    if (current.name, current.slot, current.state, current.priority,
        current.starts_at, current.ends_at, current.condition,
        current.variants, current.terms, current.remark, current.dropped_at)
       is distinct from
       (wanted.name, wanted.slot, wanted.state, wanted.priority,
        wanted.starts_at, wanted.ends_at, wanted.condition,
        wanted.variants, wanted.terms, wanted.remark, null::timestamptz)
    then
        update crm.campaign as c
           set name = wanted.name, slot = wanted.slot, state = wanted.state,
               priority = wanted.priority, starts_at = wanted.starts_at,
               ends_at = wanted.ends_at, condition = wanted.condition,
               variants = wanted.variants, terms = wanted.terms,
               remark = wanted.remark,
               dropped_at = null,
               first_review_by = p_reviewer,
               first_review_at = case when p_reviewer is not null
                                      then now() end,
               second_review_by = null, second_review_at = null
         where c.site = p_site and c.key = wanted.key;
        return 'changed';
    end if;

    if p_reviewer is not null
       and p_reviewer is distinct from current.first_review_by
       and current.second_review_by is null
    then
        perform crm.campaign_review(p_site, wanted.key, p_reviewer);
    end if;

    return 'same';
end
$_$;

ALTER FUNCTION etl.campaign_apply(site text, doc jsonb, reviewer text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.campaign_apply(site text, doc jsonb, reviewer text) IS 'Takes a campaign''s document in; the reviewer, if any, stands for it.';

CREATE FUNCTION etl.campaign_drop(site text, key text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    update crm.campaign as c
       set state = 'ended', dropped_at = now()
     where c.site = $1 and c.key = $2 and c.dropped_at is null;

    return found;
end
$_$;

ALTER FUNCTION etl.campaign_drop(site text, key text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.campaign_drop(site text, key text) IS 'Ends a campaign whose file is gone; false when there was none to end.';

CREATE FUNCTION etl.campaign_export(site text) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    form constant text := 'YYYY-MM-DD"T"HH24:MI:SS"Z"';
begin
    perform crm.site_check($1);
    return query
        select jsonb_build_object(
                   'key', c.key,
                   'name', c.name,
                   'slot', c.slot,
                   'state', c.state,
                   'priority', c.priority,
                   'start', to_char(c.starts_at at time zone 'UTC', form),
                   'end', to_char(c.ends_at at time zone 'UTC', form),
                   'when', c.condition,
                   'variants', c.variants)
               || c.terms
               || case when c.remark is null then '{}'
                       else jsonb_build_object('remark', c.remark) end
          from crm.campaign as c
         where c.site = $1 and c.dropped_at is null
         order by c.key collate "C";
end
$_$;

ALTER FUNCTION etl.campaign_export(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.campaign_export(site text) IS 'The documents of a site''s campaigns, in key order, without dropped ones.';

CREATE FUNCTION etl.churn_customers(run bigint, as_of timestamp with time zone, seen timestamp with time zone) RETURNS TABLE(id text, gone integer, orders double precision, revenue double precision, recency_days double precision, tenure_days double precision, gap_days double precision, silence double precision, orders_90d double precision, views_30d double precision, views_90d double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
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
$_$;

ALTER FUNCTION etl.churn_customers(run bigint, as_of timestamp with time zone, seen timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.churn_customers(run bigint, as_of timestamp with time zone, seen timestamp with time zone) IS 'Buyers as they were known at a moment; gone: no order from then to as_of.';

CREATE FUNCTION etl.claim(list jsonb) RETURNS integer[]
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

ALTER FUNCTION etl.claim(list jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.claim(list jsonb) IS 'Takes message ids, [{i, s: site, m: id, d: day}]; the i of those that are new.';

CREATE FUNCTION etl.clv_buyers(run bigint, as_of timestamp with time zone) RETURNS TABLE(customer_id text, x bigint, t_x double precision, t double precision, spend double precision, held_x bigint, held_t_x double precision, held_t double precision, held_spend double precision, later bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
    p_site  constant text := crm.run_site($1);
    p_since constant timestamptz := crm.run_since($1, $2);
    p_last  constant date := $2::date;
    p_cut   date;
begin
    /* A third of what is known is held back, to test the forecast on. */
    select f.day + (p_last - f.day) * 2 / 3 into p_cut
      from (select min(f.ordered_at)::date as day
              from crm.order_fact as f
             where f.site = p_site and f.customer_id is not null
               and f.ordered_at <= $2 and f.ordered_at >= p_since
               and f.amount > 0) as f;

    return query
    with days as (
        /* What is bought on one day is one purchase. */
        select f.customer_id, f.ordered_at::date as day,
               sum(f.amount)::float8 as amount
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id, f.ordered_at::date
    ), marked as (
        select d.*, min(d.day) over (partition by d.customer_id) as first
          from days as d
    )
    select m.customer_id, count(*) - 1,
           (max(m.day) - m.first) / 7.0::float8,
           (p_last - m.first) / 7.0::float8,
           avg(m.amount order by m.day) filter (where m.day > m.first),
           case when m.first <= p_cut
                then count(*) filter (where m.day <= p_cut) - 1 end,
           case when m.first <= p_cut
                then (max(m.day) filter (where m.day <= p_cut) - m.first)
                     / 7.0::float8 end,
           case when m.first <= p_cut
                then (p_cut - m.first) / 7.0::float8 end,
           avg(m.amount order by m.day)
               filter (where m.day > m.first and m.day <= p_cut),
           count(*) filter (where m.day > p_cut)
      from marked as m
     group by m.customer_id, m.first
     order by m.customer_id collate "C";
end
$_$;

ALTER FUNCTION etl.clv_buyers(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.clv_buyers(run bigint, as_of timestamp with time zone) IS 'Per customer in weeks: repeat purchases, last, age, mean spent; held_*: as two thirds of the time knew it, later: what it bought after that.';

CREATE FUNCTION etl.drop_partitions(before date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '10s'
    AS $_$
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
$_$;

ALTER FUNCTION etl.drop_partitions(before date) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.drop_partitions(before date) IS 'Retention: drops the days of crm.event before the given one.';

CREATE FUNCTION etl.ensure_partitions(first date, last date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '10s'
    AS $$
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

ALTER FUNCTION etl.ensure_partitions(first date, last date) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.ensure_partitions(first date, last date) IS 'Makes the missing days of crm.event; returns how many it made.';

CREATE FUNCTION etl.erase(site text, customer text, visitor uuid) RETURNS TABLE(place text, n bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.erase(site text, customer text, visitor uuid) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.erase(site text, customer text, visitor uuid) IS 'Erases one person everywhere in the database; returns rows per place.';

CREATE FUNCTION etl.identity_find(site text, kind text, value text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.identity_find(site text, kind text, value text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.identity_find(site text, kind text, value text) IS 'The customer that an alias names; email and phone may be given as they are.';

CREATE FUNCTION etl.identity_log(site text) RETURNS TABLE(id bigint, at timestamp with time zone, outcome text, from_id text, into_id text, who text, reason text, reverted_at timestamp with time zone, reverted_by text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    return query
        select m.id, m.at, m.outcome, m.from_id, m.into_id, m.who, m.reason,
               m.reverted_at, m.reverted_by
          from crm.merge_log as m
         where m.site = $1 order by m.id;
end
$_$;

ALTER FUNCTION etl.identity_log(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.identity_log(site text) IS 'Merges and refusals of a site, oldest first.';

CREATE FUNCTION etl.identity_merge(site text, from_id text, into_id text, reviewer text, reason text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.identity_merge(site text, from_id text, into_id text, reviewer text, reason text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.identity_merge(site text, from_id text, into_id text, reviewer text, reason text) IS 'A person declares two customers to be one; returns the merge''s number.';

CREATE FUNCTION etl.identity_unmerge(site text, merge bigint, reviewer text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.identity_unmerge(site text, merge bigint, reviewer text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.identity_unmerge(site text, merge bigint, reviewer text) IS 'Undoes a merge: what it moved and still is there goes back; returns the rows.';

CREATE FUNCTION etl.intent_pages(run bigint, as_of timestamp with time zone) RETURNS TABLE(id text, bought integer, pages double precision, seconds double precision, number double precision, cart_items double precision, orders double precision, hour double precision, weekday double precision, traffic text, device text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
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
$_$;

ALTER FUNCTION etl.intent_pages(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.intent_pages(run bigint, as_of timestamp with time zone) IS 'Sessions at some of their pages, as nginx knew them there, newest first; bought: an order followed.';

CREATE FUNCTION etl.load_begin(site text, kind text, file text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    batch bigint;
begin
    perform crm.site_check($1);
    if $2 is null or $2 not in ('customers', 'products', 'orders', 'clicks')
    then
        raise exception 'files of kind "%" cannot be loaded', $2
            using errcode = 'CRM02',
                  hint = 'kinds are customers, products, orders and clicks';
    end if;

    insert into crm.load_batch (site, kind, file)
    values ($1, $2, left(coalesce($3, '-'), 1000))
    returning id into batch;

    return batch;
end
$_$;

ALTER FUNCTION etl.load_begin(site text, kind text, file text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.load_begin(site text, kind text, file text) IS 'A file begins to be loaded.';

CREATE FUNCTION etl.load_customers(batch bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if to_regclass('pg_temp.load_customers') is not null then
        grant select on pg_temp.load_customers to crm_owner;
    end if;
    return crm.load_customers_apply(batch);
end
$$;

ALTER FUNCTION etl.load_customers(batch bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.load_customers(batch bigint) IS 'Upserts customers from pg_temp.load_customers; returns the rows kept.';

CREATE FUNCTION etl.load_end(batch bigint, rows_in bigint, kept bigint, rejected bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    perform crm.batch_site($1, null);
    if $2 is null or $3 is null or $4 is null or $3 < 0 or $4 < 0
       or $2 <> $3 + $4
    then
        raise exception 'batch %: % rows in are not % kept + % rejected',
                $1, $2, $3, $4
            using errcode = 'CRM06', hint = 'every row is kept or rejected';
    end if;

    update crm.load_batch
       set state = 'done', rows_in = $2, kept = $3, rejected = $4,
           ended_at = clock_timestamp()
     where id = $1;
end
$_$;

ALTER FUNCTION etl.load_end(batch bigint, rows_in bigint, kept bigint, rejected bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.load_end(batch bigint, rows_in bigint, kept bigint, rejected bigint) IS 'A file is loaded; its counts must add up.';

CREATE FUNCTION etl.load_orders(batch bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if to_regclass('pg_temp.load_orders') is not null then
        grant select on pg_temp.load_orders to crm_owner;
    end if;
    return crm.load_orders_apply(batch);
end
$$;

ALTER FUNCTION etl.load_orders(batch bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.load_orders(batch bigint) IS 'Upserts orders and lines from pg_temp.load_orders; returns the rows kept.';

CREATE FUNCTION etl.load_products(batch bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if to_regclass('pg_temp.load_products') is not null then
        grant select on pg_temp.load_products to crm_owner;
    end if;
    return crm.load_products_apply(batch);
end
$$;

ALTER FUNCTION etl.load_products(batch bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.load_products(batch bigint) IS 'Upserts products from pg_temp.load_products; returns the rows kept.';

CREATE FUNCTION etl.mine_compare(run bigint, as_of timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
    p_site constant text := crm.run_site($1);
    old    record;
    found  jsonb;
    nrows  bigint := 0;
    nruns  bigint := 0;
    words  text := 'no forecast has come due';
begin
    for old in select r.id, (r.data ->> 'to')::timestamptz as since, r.due_at
                 from crm.run as r
                where r.site = p_site and r.task = 'clv'
                  and r.state in ('done', 'published', 'withdrawn')
                  and r.outcome is null and r.due_at <= $2
                order by r.id
    loop
        with bought as (
            select f.customer_id, count(distinct f.ordered_at::date) as n
              from crm.order_fact as f
             where f.site = p_site and f.customer_id is not null
               and f.ordered_at > old.since and f.ordered_at <= old.due_at
               and f.ordered_at::date > old.since::date and f.amount > 0
             group by f.customer_id
        ), pairs as (
            select (p.attributes #>> '{clv,purchases_13w}')::float8 as said,
                   coalesce(b.n, 0) as was
              from crm.result_profile as p
              left join bought as b on b.customer_id = p.customer_id
             where p.run = old.id and p.part = 'clv'
        )
        select jsonb_build_object(
                   'customers', count(*),
                   'expected', round(coalesce(sum(p.said), 0)::numeric, 2),
                   'actual', coalesce(sum(p.was), 0),
                   'mae', round(avg(abs(p.said - p.was))::numeric, 6))
          into found from pairs as p;

        update crm.run as r set outcome = found where r.id = old.id;
        nrows := nrows + (found ->> 'customers')::bigint;
        nruns := nruns + 1;
        words := format('run %s foretold %s purchases in 13 weeks, %s were '
                        'made', old.id, found ->> 'expected',
                        found ->> 'actual');
    end loop;

    perform etl.run_tell($1, jsonb_build_object(
        'rows_in', nrows, 'rows_out', nruns, 'summary', words));

    return nruns;
end
$_$;

ALTER FUNCTION etl.mine_compare(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.mine_compare(run bigint, as_of timestamp with time zone) IS 'Puts what happened beside what runs foretold, once its time has come.';

CREATE FUNCTION etl.mine_coviewed(run bigint, as_of timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
    p_site     constant text := crm.run_site($1);
    p_since    constant timestamptz := crm.run_since($1, $2);
    items_max  constant int := 50;  /* pairs grow with the square */
    others_max constant int := 20;
    pairs_min  constant int := 2;   /* once is chance */
    nviews     bigint;
    nrows      bigint;
begin
    delete from crm.result_coviewed where run = $1;

    with viewed as materialized (
        select v.sid, v.product_id
          from (select e.sid, e.props ->> 'product_id' as product_id,
                       row_number() over (
                           partition by e.sid
                           order by max(e.rts) desc,
                                    e.props ->> 'product_id') as n
                  from crm.event_human as e
                 where e.site = p_site and e.name = 'Product Viewed'
                   and e.sid is not null
                   and e.rts <= $2 and e.rts >= p_since
                   and crm.id_ok(e.props ->> 'product_id')
                 group by e.sid, e.props ->> 'product_id') as v
         where v.n <= items_max
    ), products as materialized (
        select v.product_id, count(*) as n,
               row_number() over (order by v.product_id)::int as id
          from viewed as v group by v.product_id
    ), sessions as materialized (
        /* Numbers: the pairs are many, and texts are slow to compare. */
        select v.sid, p.id
          from viewed as v join products as p on p.product_id = v.product_id
    ), pairs as (
        select a.id as one, b.id as other, count(*) as n
          from sessions as a join sessions as b on b.sid = a.sid
         where a.id < b.id
         group by a.id, b.id
        having count(*) >= pairs_min
    ), ranked as (
        select t.*, row_number() over (
                        partition by t.product_id
                        order by t.score desc, t.other_id) as rank
          from (select p.product_id, q.product_id as other_id,
                       m.n / sqrt(p.n::float8 * q.n) as score
                  from (select one, other, n from pairs
                         union all
                        select other, one, n from pairs) as m
                  join products as p on p.id = m.one
                  join products as q on q.id = m.other) as t
    ), written as (
        insert into crm.result_coviewed (run, product_id, rank, other_id,
                                         score)
        select $1, r.product_id, r.rank, r.other_id, r.score
          from ranked as r
         where r.rank <= others_max
        returning 1
    )
    select (select count(*) from viewed), count(*) into nviews, nrows
      from written;

    return crm.run_note($1, 'coviewed', nviews, nrows, null,
        format('%s pairs from %s products viewed in sessions', nrows,
               nviews));
end
$_$;

ALTER FUNCTION etl.mine_coviewed(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.mine_coviewed(run bigint, as_of timestamp with time zone) IS 'Per product the 20 most viewed in the same sessions, by cosine.';

CREATE FUNCTION etl.mine_features(run bigint, as_of timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
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
$_$;

ALTER FUNCTION etl.mine_features(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.mine_features(run bigint, as_of timestamp with time zone) IS 'Per customer: orders, revenue, recency, views, categories, last items viewed.';

CREATE FUNCTION etl.mine_popular(run bigint, as_of timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
    p_site       constant text := crm.run_site($1);
    p_since      constant timestamptz := crm.run_since($1, $2);
    half_life_s  constant float8 := 14 * 86400;
    order_weight constant float8 := 5;  /* an order tells more than a view */
    products_max constant int := 100;
    nfacts       bigint;
    nrows        bigint;
begin
    delete from crm.result_popular where run = $1;

    /* Without days a fact of 1990 weighs 2^-1000: small, but no underflow. */
    with facts as materialized (
        select e.props ->> 'product_id' as product_id, e.rts as at,
               1::float8 as weight
          from crm.event_human as e
         where e.site = p_site and e.name = 'Product Viewed'
           and e.rts <= $2 and e.rts >= p_since
        union all
        select l.product_id, o.ordered_at, order_weight
          from crm."order" as o
          join crm.order_line as l
            on l.site = o.site and l.order_id = o.order_id
         where o.site = p_site and l.quantity > 0
           and o.ordered_at <= $2 and o.ordered_at >= p_since
    ), scores as (
        select f.product_id,
               sum(f.weight * power(0.5::float8,
                   extract(epoch from $2 - f.at)::float8 / half_life_s))
                   as score
          from facts as f
         where crm.id_ok(f.product_id)
         group by f.product_id
    ), written as (
        insert into crm.result_popular (run, rank, product_id, score)
        select $1, t.n, t.product_id, t.score / t.best
          from (select s.product_id, s.score, max(s.score) over () as best,
                       row_number() over (order by s.score desc,
                                          s.product_id) as n
                  from scores as s) as t
         where t.n <= products_max
        returning 1
    )
    select (select count(*) from facts), count(*) into nfacts, nrows
      from written;

    return crm.run_note($1, 'popular', nfacts, nrows, null,
        format('%s products from %s views and order lines', nrows, nfacts));
end
$_$;

ALTER FUNCTION etl.mine_popular(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.mine_popular(run bigint, as_of timestamp with time zone) IS 'The 100 most popular products: views and orders, halved every 14 days.';

CREATE FUNCTION etl.mine_rfm(run bigint, as_of timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
    p_site  constant text := crm.run_site($1);
    p_since constant timestamptz := crm.run_since($1, $2);
    norders bigint;
    nrows   bigint;
    counts  jsonb;
begin
    delete from crm.result_profile where run = $1 and part = 'rfm';

    with facts as (
        select f.customer_id, count(*) as frequency,
               sum(f.amount) as monetary,
               floor(extract(epoch from $2 - max(f.ordered_at))
                     / 86400)::int as recency
          from crm.order_fact as f
         where f.site = p_site and f.customer_id is not null
           and f.ordered_at <= $2 and f.ordered_at >= p_since
           and f.amount > 0
         group by f.customer_id
    ), shares as (
        /*
         * The share of customers that are worse, plus half of those that are
         * equal: equal values get equal scores, and a lone customer is
         * neither the best nor the worst.
         */
        select f.*,
               (cume_dist() over r
                + (rank() over r - 1.0) / count(*) over ()) / 2 as r_share,
               (cume_dist() over q
                + (rank() over q - 1.0) / count(*) over ()) / 2 as f_share,
               (cume_dist() over m
                + (rank() over m - 1.0) / count(*) over ()) / 2 as m_share
          from facts as f
        window r as (order by f.recency desc),
               q as (order by f.frequency),
               m as (order by f.monetary)
    ), scores as (
        select s.customer_id, s.recency, s.frequency, s.monetary,
               least(5, 1 + floor(s.r_share * 5))::int as r,
               least(5, 1 + floor(s.f_share * 5))::int as f,
               least(5, 1 + floor(s.m_share * 5))::int as m
          from shares as s
    )
    insert into crm.result_profile (run, part, customer_id, attributes)
    select $1, 'rfm', s.customer_id,
           jsonb_build_object('rfm', jsonb_build_object(
               'recency', s.recency,
               'frequency', s.frequency,
               'monetary', round(s.monetary, 2),
               'score', format('%s%s%s', s.r, s.f, s.m),
               'segment', crm.rfm_segment(s.r, s.f)))
      from scores as s;

    select coalesce(sum((p.attributes #>> '{rfm,frequency}')::bigint), 0),
           count(*)
      into norders, nrows
      from crm.result_profile as p
     where p.run = $1 and p.part = 'rfm';
    select coalesce(jsonb_object_agg(t.segment, t.n), '{}') into counts
      from (select p.attributes #>> '{rfm,segment}' as segment,
                   count(*) as n
              from crm.result_profile as p
             where p.run = $1 and p.part = 'rfm'
             group by 1) as t;

    return crm.run_note($1, 'rfm', norders, nrows,
        jsonb_build_object('segments', counts),
        format('%s customers in %s segments from %s orders', nrows,
               (select count(*) from jsonb_object_keys(counts)), norders));
end
$_$;

ALTER FUNCTION etl.mine_rfm(run bigint, as_of timestamp with time zone) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.mine_rfm(run bigint, as_of timestamp with time zone) IS 'Recency, frequency, monetary value: quintile scores and a segment each.';

CREATE FUNCTION etl.model_put(run bigint, part text, document text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.model_put(run bigint, part text, document text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.model_put(run bigint, part text, document text) IS 'A model that a run has learned.';

CREATE FUNCTION etl.person(site text, customer text, visitor uuid) RETURNS TABLE(place text, id text, content jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

ALTER FUNCTION etl.person(site text, customer text, visitor uuid) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.person(site text, customer text, visitor uuid) IS 'Everything about one person: a customer, or the users of one browser.';

CREATE FUNCTION etl.person_visitors(site text, customer text, visitor uuid) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    perform crm.person_check($1, $2, $3);
    return query
        select v from crm.person_customers($1, $2) as c (id)
         cross join lateral crm.person_visitors($1, c.id, null) as v
         union
        select $3 where $3 is not null;
end
$_$;

ALTER FUNCTION etl.person_visitors(site text, customer text, visitor uuid) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.person_visitors(site text, customer text, visitor uuid) IS 'The browsers whose sessions in Redis belong to the person.';

CREATE FUNCTION etl."position"(producer text) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    p_producer alias for $1;
begin
    return coalesce((select p.last_seq from crm.producer as p
                      where p.producer = p_producer), 0);
end
$_$;

ALTER FUNCTION etl."position"(producer text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl."position"(producer text) IS 'Last sequence of the producer that is committed; 0 for a new one.';

CREATE FUNCTION etl.publish(site text, runs bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site    alias for $1;
    p_runs    alias for $2;
    runs_max  constant int := 5;   /* per task, whose results are kept */
    dues_max  constant int := 60;  /* per task, kept for what they foretold */
    forgotten bigint[];
    changed   bigint;
begin
    perform pg_advisory_xact_lock(
                hashtextextended('crm.publish ' || p_site, 0));
    perform crm.publish_check(p_site, p_runs);

    insert into crm.published (site, part, run)
    select p_site, t.part, max(r.id)
      from crm.run as r cross join lateral unnest(r.parts) as t (part)
     where r.id = any (p_runs)
     group by t.part
    on conflict (site, part) do update
       set run = excluded.run, published_at = now();

    update crm.run as r
       set state = 'published'
     where r.id = any (p_runs) and r.state <> 'published';

    changed := crm.publish_apply(p_site, array(
        select distinct t.part
          from crm.run as r cross join lateral unnest(r.parts) as t (part)
         where r.id = any (p_runs)));

    forgotten := array(
        select t.id
          from (select r.id, r.due_at, r.outcome, row_number() over (
                           partition by r.task order by r.id desc) as n
                  from crm.run as r
                 where r.site = p_site
                   and r.state in ('done', 'published', 'withdrawn')) as t
         where t.n > case when t.due_at is not null and t.outcome is null
                          then dues_max else runs_max end
           and t.id not in (select p.run from crm.published as p));
    perform crm.run_forget(forgotten);
    update crm.run as r set state = 'dropped' where r.id = any (forgotten);

    return changed;
end
$_$;

ALTER FUNCTION etl.publish(site text, runs bigint[]) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.publish(site text, runs bigint[]) IS 'Makes runs the ones in force; returns the rows it changed.';

CREATE FUNCTION etl.reject(source text, line bigint, reason text, raw text, batch bigint, event text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    insert into crm.reject (source, line, reason, raw, batch, event)
    values (left(coalesce($1, 'unknown'), 500), $2,
            left(coalesce($3, 'no reason given'), 1000), left($4, 4096), $5,
            case when octet_length($6) <= 131072 then $6 end);
end
$_$;

ALTER FUNCTION etl.reject(source text, line bigint, reason text, raw text, batch bigint, event text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.reject(source text, line bigint, reason text, raw text, batch bigint, event text) IS 'Keeps input that was refused; batch may be null, event is a record to replay.';

CREATE FUNCTION etl.reject_replayed(reject bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update crm.reject as r set replayed_at = clock_timestamp()
     where r.id = reject and r.replayed_at is null;
    if not found then
        raise exception 'reject % is replayed already', reject
            using errcode = 'CRM05', hint = 'roll back';
    end if;
end
$$;

ALTER FUNCTION etl.reject_replayed(reject bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.reject_replayed(reject bigint) IS 'Marks a refused event as stored, in the transaction that stores it.';

CREATE FUNCTION etl.rejects(after bigint, most integer) RETURNS TABLE(id bigint, at timestamp with time zone, source text, reason text, raw text, event text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select r.id, r.at, r.source, r.reason, r.raw, r.event
      from crm.reject as r
     where r.id > after and r.event is not null and r.replayed_at is null
     order by r.id
     limit most
$$;

ALTER FUNCTION etl.rejects(after bigint, most integer) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.rejects(after bigint, most integer) IS 'Refused events that are to be replayed, behind the given id.';

CREATE FUNCTION etl.result_put(run bigint, part text, rows jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site constant text := crm.run_site($1);
    nrows  bigint;
begin
    if not exists (select from crm.part as p
                    where p.part = $2 and p.results = 'crm.result_profile')
    then
        raise exception 'no result about customers is called "%"', $2
            using errcode = 'CRM02', hint = 'its row in crm.part is missing';
    end if;

    /* Who was erased meanwhile has no row any more. */
    insert into crm.result_profile (run, part, customer_id, attributes)
    select $1, $2, r.id, r.attributes
      from jsonb_to_recordset($3) as r (id text, attributes jsonb)
      join crm.customer as c on c.site = p_site and c.customer_id = r.id
    on conflict (run, part, customer_id) do update
       set attributes = excluded.attributes;
    get diagnostics nrows = row_count;

    return nrows;
end
$_$;

ALTER FUNCTION etl.result_put(run bigint, part text, rows jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.result_put(run bigint, part text, rows jsonb) IS 'Results about customers: a list of {id, attributes}; returns rows kept.';

CREATE FUNCTION etl.rollback(run bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    p_site text;
    parts  text[];
begin
    select r.site into p_site from crm.run as r where r.id = $1;
    perform pg_advisory_xact_lock(
                hashtextextended('crm.publish ' || coalesce(p_site, ''), 0));
    parts := array(select p.part from crm.published as p where p.run = $1);
    if cardinality(parts) = 0 then
        raise exception 'run % is not in force', $1
            using errcode = 'CRM04',
                  hint = 'crm-mine status names the runs that are';
    end if;

    update crm.run as r set state = 'withdrawn' where r.id = $1;

    /* The newest run before it, else nothing. */
    update crm.published as p
       set published_at = now(),
           run = (select max(r.id) from crm.run as r
                   where r.site = p_site and r.id < $1
                     and r.state = 'published' and p.part = any (r.parts))
     where p.run = $1
       and exists (select from crm.run as r
                    where r.site = p_site and r.id < $1
                      and r.state = 'published' and p.part = any (r.parts));
    delete from crm.published as p where p.run = $1;

    return crm.publish_apply(p_site, parts);
end
$_$;

ALTER FUNCTION etl.rollback(run bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.rollback(run bigint) IS 'Takes a run out of force: its results give way to those of the run before.';

CREATE FUNCTION etl.run_begin(site text, task text, params jsonb, seed bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    run bigint;
begin
    perform crm.site_check($1);
    if not coalesce(crm.name_ok($2), false)
       or jsonb_typeof(coalesce($3, '{}')) <> 'object'
       or not coalesce($3 ->> 'days', '1') ~ '^[1-9][0-9]{0,4}$'
    then
        raise exception 'task "%" cannot run with these parameters', $2
            using errcode = 'CRM02',
                  hint = 'parameters are an object; days, if given, is a '
                         'whole number from 1 to 99999';
    end if;

    insert into crm.run (site, task, params, seed)
    values ($1, $2, coalesce($3, '{}'), $4)
    returning id into run;

    return run;
end
$_$;

ALTER FUNCTION etl.run_begin(site text, task text, params jsonb, seed bigint) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.run_begin(site text, task text, params jsonb, seed bigint) IS 'A mining task begins.';

CREATE FUNCTION etl.run_end(run bigint, rows_in bigint, rows_out bigint, quality jsonb, summary text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    perform crm.run_site($1);
    if $2 < 0 or $3 < 0 then
        raise exception 'run % cannot have % rows in, % rows out', $1, $2, $3
            using errcode = 'CRM02', hint = 'counts are not negative';
    end if;

    /* What the task said of itself stays where the caller says nothing. */
    update crm.run
       set state = 'done',
           rows_in = coalesce($2, rows_in),
           rows_out = coalesce($3, rows_out),
           quality = coalesce($4, quality),
           summary = coalesce($5, summary),
           ended_at = clock_timestamp()
     where id = $1;
end
$_$;

ALTER FUNCTION etl.run_end(run bigint, rows_in bigint, rows_out bigint, quality jsonb, summary text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.run_end(run bigint, rows_in bigint, rows_out bigint, quality jsonb, summary text) IS 'A run is done; null keeps what is known.';

CREATE FUNCTION etl.run_fail(run bigint, reason text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    perform crm.run_site($1);
    perform crm.run_forget(array[$1]);
    update crm.run
       set state = 'failed', parts = '{}',
           summary = left(coalesce($2, 'no reason given'), 2000),
           ended_at = clock_timestamp()
     where id = $1;
end
$_$;

ALTER FUNCTION etl.run_fail(run bigint, reason text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.run_fail(run bigint, reason text) IS 'A run failed; its results are dropped, the reason is kept.';

CREATE FUNCTION etl.run_lock(site text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    dead bigint;
begin
    perform crm.site_check($1);
    if not pg_try_advisory_lock(hashtextextended('crm.run ' || $1, 0)) then
        return false;
    end if;

    /* The lock ends with its session: who still runs now runs no more. */
    for dead in select r.id from crm.run as r
                 where r.site = $1 and r.state = 'running' order by r.id
    loop
        perform etl.run_fail(dead, 'the program that ran it was killed');
    end loop;

    return true;
end
$_$;

ALTER FUNCTION etl.run_lock(site text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.run_lock(site text) IS 'Takes the site''s runs for this session; false: another session has them.';

CREATE FUNCTION etl.run_review(run bigint, reviewer text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    if coalesce(octet_length($2), 0) not between 1 and 200 then
        raise exception 'a reviewer needs a name'
            using errcode = 'CRM02', hint = '1 to 200 bytes';
    end if;

    update crm.run as r
       set second_review_by = case when r.first_review_by is null then null
                                   else $2 end,
           second_review_at = case when r.first_review_by is null then null
                                   else now() end,
           first_review_by = coalesce(r.first_review_by, $2),
           first_review_at = coalesce(r.first_review_at, now())
     where r.id = $1 and r.state in ('done', 'published')
       and (r.first_review_by is null
            or (r.first_review_by <> $2 and r.second_review_by is null));
    if not found then
        raise exception 'run % cannot be reviewed by "%"', $1, $2
            using errcode = 'CRM04',
                  hint = 'it must be done or published, not reviewed twice, '
                         'and never twice by the same person';
    end if;
end
$_$;

ALTER FUNCTION etl.run_review(run bigint, reviewer text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.run_review(run bigint, reviewer text) IS 'A person stands for a run''s results: the first mark, then the second.';

CREATE FUNCTION etl.run_tell(run bigint, about jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    strange text;
begin
    perform crm.run_site($1);

    select k.key into strange from jsonb_object_keys($2) as k (key)
     where k.key not in ('problem', 'data', 'drivers', 'due_at', 'quality',
                         'summary', 'part', 'rows_in', 'rows_out')
     limit 1;
    if found or octet_length($2::text) > 65536 then
        raise exception 'run % cannot say "%" of itself', $1,
                coalesce(strange, 'so much')
            using errcode = 'CRM02',
                  hint = 'problem, data, drivers, due_at, quality, summary, '
                         'part, rows_in and rows_out, 64 KB in all';
    end if;

    update crm.run as r
       set problem = coalesce($2 ->> 'problem', r.problem),
           data = coalesce($2 -> 'data', r.data),
           drivers = coalesce($2 -> 'drivers', r.drivers),
           due_at = coalesce(($2 ->> 'due_at')::timestamptz, r.due_at),
           quality = coalesce($2 -> 'quality', r.quality),
           summary = coalesce($2 ->> 'summary', r.summary),
           rows_in = coalesce(($2 ->> 'rows_in')::bigint, r.rows_in),
           rows_out = coalesce(($2 ->> 'rows_out')::bigint, r.rows_out),
           parts = case when $2 ->> 'part' is null
                          or $2 ->> 'part' = any (r.parts) then r.parts
                        else r.parts || ($2 ->> 'part') end
     where r.id = $1;
end
$_$;

ALTER FUNCTION etl.run_tell(run bigint, about jsonb) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.run_tell(run bigint, about jsonb) IS 'What a run says of itself while it runs; what is not named stays.';

CREATE FUNCTION etl.site_holdout(site text, share double precision) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    if $2 is null or $2 not between 0 and 1 then
        raise exception 'hold-out % is no share', $2
            using errcode = 'CRM02', hint = 'give a number from 0 to 1';
    end if;
    update crm.site as s set holdout = $2 where s.key = $1;
end
$_$;

ALTER FUNCTION etl.site_holdout(site text, share double precision) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.site_holdout(site text, share double precision) IS 'Sets the share of visitors, 0 to 1, that see no campaign of the site.';

CREATE FUNCTION etl.site_set(key text, name text DEFAULT NULL::text, currency text DEFAULT NULL::text, reviews_needed integer DEFAULT NULL::integer, retention_days integer DEFAULT NULL::integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
begin
    if not coalesce(crm.id_ok($1), false) then
        raise exception 'site "%" is no id of 1 to 64 bytes', $1
            using errcode = 'CRM01', hint = 'use the value of crm_site';
    end if;
    if $3 !~ '^[A-Z]{3}$' or $4 not between 0 and 2
       or $5 not between 1 and 36500 or octet_length($2) > 200
    then
        raise exception 'a setting of site "%" is out of range', $1
            using errcode = 'CRM02',
                  hint = 'currency is ISO 4217, reviews 0 to 2, '
                         'retention 1 to 36500 days, name up to 200 bytes';
    end if;

    insert into crm.site as s (key, name, currency, reviews_needed,
                               retention_days)
    values ($1, coalesce($2, $1), coalesce($3, 'EUR'), coalesce($4, 2), $5)
    on conflict (key) do update
       set name = coalesce($2, s.name),
           currency = coalesce($3, s.currency),
           reviews_needed = coalesce($4, s.reviews_needed),
           retention_days = coalesce($5, s.retention_days);
end
$_$;

ALTER FUNCTION etl.site_set(key text, name text, currency text, reviews_needed integer, retention_days integer) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.site_set(key text, name text, currency text, reviews_needed integer, retention_days integer) IS 'Makes a site, or changes the settings that are not null.';

CREATE FUNCTION etl.user_set(name text, password text, role text, site text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    hash text;
    home name;
begin
    if not coalesce(crm.id_ok($1), false)
       or $3 is null
       or $3 not in ('admin', 'marketer', 'reviewer', 'agent', 'analyst',
                     'partner')
    then
        raise exception 'user "%" cannot have role "%"', $1, $3
            using errcode = 'CRM08',
                  hint = 'names are ids of 1 to 64 bytes; roles are admin, '
                         'marketer, reviewer, agent, analyst and partner';
    end if;
    /* Blowfish looks at 72 bytes only. */
    if $2 is null or octet_length($2) not between 8 and 72 then
        raise exception 'password of user "%" has a wrong length', $1
            using errcode = 'CRM08', hint = 'use 8 to 72 bytes';
    end if;
    if $4 is not null then
        perform crm.site_check($4);
    end if;

    /* pgcrypto may have been installed elsewhere before us. */
    select n.nspname into strict home
      from pg_extension as e join pg_namespace as n
        on n.oid = e.extnamespace
     where e.extname = 'pgcrypto';
    execute format('select %1$I.crypt($1, %1$I.gen_salt(''bf'', 10))', home)
       into hash using $2;

    insert into crm.app_user (name, password_hash, role, site)
    values ($1, hash, $3, $4)
    on conflict (name) do update
       set password_hash = excluded.password_hash,
           role = excluded.role,
           site = excluded.site;
end
$_$;

ALTER FUNCTION etl.user_set(name text, password text, role text, site text) OWNER TO crm_owner;

COMMENT ON FUNCTION etl.user_set(name text, password text, role text, site text) IS 'Makes a user of the console or changes password, role and site.';

CREATE AGGREGATE crm.merged(jsonb) (
    SFUNC = jsonb_concat,
    STYPE = jsonb,
    INITCOND = '{}'
);

ALTER AGGREGATE crm.merged(jsonb) OWNER TO crm_owner;

COMMENT ON AGGREGATE crm.merged(jsonb) IS 'Objects laid over each other, the last on top.';

CREATE TABLE crm.alias (
    site text NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    customer_id text NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    source text NOT NULL,
    CONSTRAINT alias_kind_form CHECK ((kind ~ '^[a-z0-9_]{1,32}$'::text)),
    CONSTRAINT alias_times_order CHECK ((first_at <= last_at)),
    CONSTRAINT alias_value_form CHECK ((((octet_length(value) >= 1) AND (octet_length(value) <= 256)) AND (value !~ '[\x01-\x1f\x7f]'::text)))
)
WITH (fillfactor='80');

ALTER TABLE crm.alias OWNER TO crm_owner;

COMMENT ON TABLE crm.alias IS 'Another name of a customer: email_sha256, phone_sha256, loyalty, crm, anon, ...';

COMMENT ON COLUMN crm.alias.source IS 'upstream, origin, client (a trusted one), import or file.';

CREATE TABLE crm.app_user (
    name text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL,
    site text,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    CONSTRAINT app_user_name_form CHECK (crm.id_ok(name)),
    CONSTRAINT app_user_role_known CHECK ((role = ANY (ARRAY['admin'::text, 'marketer'::text, 'reviewer'::text, 'agent'::text, 'analyst'::text, 'partner'::text])))
);

ALTER TABLE crm.app_user OWNER TO crm_owner;

COMMENT ON TABLE crm.app_user IS 'A person who may sign in to the console.';

COMMENT ON COLUMN crm.app_user.password_hash IS 'crypt(), Blowfish.';

COMMENT ON COLUMN crm.app_user.site IS 'The only site it may see; null: all.';

CREATE TABLE crm.banned_id (
    site text NOT NULL,
    id text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE crm.banned_id OWNER TO crm_owner;

COMMENT ON TABLE crm.banned_id IS 'Ids that name nobody, in lower case; site * is every site.';

CREATE TABLE crm.campaign (
    site text NOT NULL,
    key text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    slot text NOT NULL,
    state text NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    starts_at timestamp with time zone,
    ends_at timestamp with time zone,
    condition jsonb DEFAULT '{}'::jsonb NOT NULL,
    variants jsonb NOT NULL,
    dropped_at timestamp with time zone,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    first_review_by text,
    first_review_at timestamp with time zone,
    second_review_by text,
    second_review_at timestamp with time zone,
    terms jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT campaign_condition_object CHECK ((jsonb_typeof(condition) = 'object'::text)),
    CONSTRAINT campaign_key_form CHECK ((key ~ '^[a-z0-9][a-z0-9._-]{0,63}$'::text)),
    CONSTRAINT campaign_name_size CHECK ((char_length(name) <= 200)),
    CONSTRAINT campaign_priority_range CHECK (((priority >= 0) AND (priority <= 1000))),
    CONSTRAINT campaign_slot_form CHECK (crm.name_ok(slot)),
    CONSTRAINT campaign_state_known CHECK ((state = ANY (ARRAY['draft'::text, 'live'::text, 'paused'::text, 'ended'::text]))),
    CONSTRAINT campaign_terms_object CHECK ((jsonb_typeof(terms) = 'object'::text)),
    CONSTRAINT campaign_times_order CHECK ((starts_at < ends_at)),
    CONSTRAINT campaign_two_people CHECK (((second_review_by IS NULL) OR ((first_review_by IS NOT NULL) AND (first_review_by <> second_review_by)))),
    CONSTRAINT campaign_variants_array CHECK ((jsonb_typeof(variants) = 'array'::text))
);

ALTER TABLE crm.campaign OWNER TO crm_owner;

COMMENT ON TABLE crm.campaign IS 'What fills a slot, for whom and when; docs/campaigns.md.';

COMMENT ON COLUMN crm.campaign.condition IS 'when of the document.';

COMMENT ON COLUMN crm.campaign.dropped_at IS 'When its file was dropped: ended, and no longer exported.';

COMMENT ON COLUMN crm.campaign.terms IS 'times, namespace, holdout and goal of the document, those that it has.';

CREATE TABLE crm.campaign_version (
    site text NOT NULL,
    version bigint NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE crm.campaign_version OWNER TO crm_owner;

COMMENT ON TABLE crm.campaign_version IS 'Counts the changes of a site''s campaigns; version of the set.';

CREATE TABLE crm.consent (
    id bigint NOT NULL,
    site text NOT NULL,
    vid uuid NOT NULL,
    customer_id text,
    measure boolean NOT NULL,
    personalize boolean NOT NULL,
    at timestamp with time zone NOT NULL,
    source text NOT NULL
);

ALTER TABLE crm.consent OWNER TO crm_owner;

COMMENT ON TABLE crm.consent IS 'The proof: each change of what a visitor allowed; append-only.';

COMMENT ON COLUMN crm.consent.customer_id IS 'Who was logged in then, if anybody.';

COMMENT ON COLUMN crm.consent.source IS 'answer of the consent manager, gpc, dnt or default.';

ALTER TABLE crm.consent ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.consent_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.coviewed (
    site text NOT NULL,
    product_id text NOT NULL,
    rank integer NOT NULL,
    other_id text NOT NULL,
    score double precision NOT NULL
);

ALTER TABLE crm.coviewed OWNER TO crm_owner;

COMMENT ON TABLE crm.coviewed IS 'Products viewed in the same sessions, in force; best first.';

COMMENT ON COLUMN crm.coviewed.score IS 'Sessions with both / square root of (sessions with one * with the other).';

CREATE TABLE crm.customer (
    site text NOT NULL,
    customer_id text NOT NULL,
    name text,
    email text,
    country text,
    tier text,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    merged_into text,
    CONSTRAINT customer_country_size CHECK ((octet_length(country) <= 64)),
    CONSTRAINT customer_email_size CHECK ((octet_length(email) <= 320)),
    CONSTRAINT customer_id_form CHECK (crm.id_ok(customer_id)),
    CONSTRAINT customer_merged_other CHECK ((merged_into <> customer_id)),
    CONSTRAINT customer_name_size CHECK ((octet_length(name) <= 1000)),
    CONSTRAINT customer_tier_size CHECK ((octet_length(tier) <= 40))
);

ALTER TABLE crm.customer OWNER TO crm_owner;

COMMENT ON TABLE crm.customer IS 'One person or firm that the shop knows by an id of its own.';

COMMENT ON COLUMN crm.customer.customer_id IS 'The shop''s id; uid in events.';

COMMENT ON COLUMN crm.customer.tier IS 'Value tier, as the shop names it.';

COMMENT ON COLUMN crm.customer.registered_at IS 'When the customer registered with the shop, else when the row was made.';

COMMENT ON COLUMN crm.customer.merged_into IS 'The customer this one turned out to be; never one that is merged itself.';

CREATE TABLE crm.erasure (
    id bigint NOT NULL,
    site text NOT NULL,
    kind text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    who text NOT NULL,
    counts jsonb NOT NULL,
    CONSTRAINT erasure_kind_known CHECK ((kind = ANY (ARRAY['customer'::text, 'visitor'::text])))
);

ALTER TABLE crm.erasure OWNER TO crm_owner;

COMMENT ON TABLE crm.erasure IS 'Erasures done, with counts and without anything personal.';

ALTER TABLE crm.erasure ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.erasure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.event (
    site text NOT NULL,
    id uuid NOT NULL,
    rts timestamp with time zone NOT NULL,
    ts timestamp with time zone,
    type text NOT NULL,
    name text,
    vid uuid,
    sid uuid,
    sn integer,
    seq integer,
    uid text,
    src text NOT NULL,
    mid text,
    ctx jsonb,
    req jsonb,
    props jsonb,
    "dec" jsonb,
    extra jsonb
)
PARTITION BY RANGE (rts);

ALTER TABLE crm.event OWNER TO crm_owner;

COMMENT ON TABLE crm.event IS 'What happened; docs/events.md.';

COMMENT ON COLUMN crm.event.rts IS 'When nginx received it; the order.';

COMMENT ON COLUMN crm.event.ts IS 'The event''s own time; null: equal to rts.';

COMMENT ON COLUMN crm.event.extra IS 'Members that docs/events.md has not.';

CREATE VIEW crm.event_human AS
 SELECT e.site,
    e.id,
    e.rts,
    e.ts,
    e.type,
    e.name,
    e.vid,
    e.sid,
    e.sn,
    e.seq,
    e.uid,
    e.src,
    e.mid,
    e.ctx,
    e.req,
    e.props,
    e."dec",
    e.extra
   FROM crm.event e
  WHERE (NOT COALESCE((e.ctx ? 'bot'::text), false));

ALTER TABLE crm.event_human OWNER TO crm_owner;

COMMENT ON VIEW crm.event_human IS 'Events of people: those that carry no label of a robot.';

ALTER TABLE crm.history ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.identity (
    site text NOT NULL,
    vid uuid NOT NULL,
    customer_id text NOT NULL,
    at timestamp with time zone NOT NULL
)
WITH (fillfactor='80');

ALTER TABLE crm.identity OWNER TO crm_owner;

COMMENT ON TABLE crm.identity IS 'Which customer last identified itself in which browser; history keeps others.';

COMMENT ON COLUMN crm.identity.at IS 'When it last did.';

CREATE TABLE crm.load_batch (
    id bigint NOT NULL,
    site text NOT NULL,
    kind text NOT NULL,
    file text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    rows_in bigint,
    kept bigint,
    rejected bigint,
    ended_at timestamp with time zone,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    first_review_by text,
    first_review_at timestamp with time zone,
    second_review_by text,
    second_review_at timestamp with time zone,
    CONSTRAINT load_batch_counts CHECK ((rows_in = (kept + rejected))),
    CONSTRAINT load_batch_kind_known CHECK ((kind = ANY (ARRAY['customers'::text, 'products'::text, 'orders'::text, 'clicks'::text]))),
    CONSTRAINT load_batch_state_known CHECK ((state = ANY (ARRAY['running'::text, 'done'::text]))),
    CONSTRAINT load_batch_two_people CHECK (((second_review_by IS NULL) OR ((first_review_by IS NOT NULL) AND (first_review_by <> second_review_by))))
);

ALTER TABLE crm.load_batch OWNER TO crm_owner;

COMMENT ON TABLE crm.load_batch IS 'One file that was loaded.';

COMMENT ON COLUMN crm.load_batch.kept IS 'rows_in = kept + rejected, always.';

ALTER TABLE crm.load_batch ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.load_batch_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.login (
    site text NOT NULL,
    vid uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    customer_id text NOT NULL
);

ALTER TABLE crm.login OWNER TO crm_owner;

COMMENT ON TABLE crm.login IS 'Each time a browser became another customer''s: the history of crm.identity.';

CREATE TABLE crm.merge_log (
    id bigint NOT NULL,
    site text NOT NULL,
    outcome text NOT NULL,
    from_id text NOT NULL,
    into_id text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    who text NOT NULL,
    moved jsonb DEFAULT '{}'::jsonb NOT NULL,
    reverted_at timestamp with time zone,
    reverted_by text,
    CONSTRAINT merge_log_outcome_known CHECK ((outcome = ANY (ARRAY['merged'::text, 'refused'::text]))),
    CONSTRAINT merge_log_reverted CHECK ((((reverted_at IS NULL) = (reverted_by IS NULL)) AND ((reverted_at IS NULL) OR (outcome = 'merged'::text))))
);

ALTER TABLE crm.merge_log OWNER TO crm_owner;

COMMENT ON TABLE crm.merge_log IS 'Customers that people merged, and joins that were refused.';

COMMENT ON COLUMN crm.merge_log.moved IS 'Keys of the rows that changed hands, so that they can change back.';

ALTER TABLE crm.merge_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.merge_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.message (
    site text NOT NULL,
    mid text NOT NULL,
    day date NOT NULL
);

ALTER TABLE crm.message OWNER TO crm_owner;

COMMENT ON TABLE crm.message IS 'Message ids of client libraries that are in crm.event: the key against twice.';

COMMENT ON COLUMN crm.message.day IS 'Day (UTC) of the event''s rts.';

CREATE TABLE crm.model (
    site text NOT NULL,
    part text NOT NULL,
    run bigint NOT NULL,
    document text NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE crm.model OWNER TO crm_owner;

COMMENT ON TABLE crm.model IS 'Models in force, as nginx reads them.';

CREATE TABLE crm."order" (
    site text NOT NULL,
    order_id text NOT NULL,
    customer_id text,
    vid uuid,
    ordered_at timestamp with time zone NOT NULL,
    currency text,
    total numeric(18,2),
    country text,
    src text NOT NULL,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    payer_id text,
    recipient_id text,
    gift boolean DEFAULT false NOT NULL,
    CONSTRAINT order_country_size CHECK ((octet_length(country) <= 64)),
    CONSTRAINT order_currency_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT order_id_form CHECK (crm.id_ok(order_id)),
    CONSTRAINT order_payer_form CHECK (crm.id_ok(payer_id)),
    CONSTRAINT order_recipient_form CHECK (crm.id_ok(recipient_id)),
    CONSTRAINT order_src_known CHECK ((src = ANY (ARRAY['event'::text, 'import'::text])))
);

ALTER TABLE crm."order" OWNER TO crm_owner;

COMMENT ON TABLE crm."order" IS 'One purchase, or one return of goods.';

COMMENT ON COLUMN crm."order".customer_id IS 'The buyer.';

COMMENT ON COLUMN crm."order".vid IS 'The browser it was made in, if known.';

COMMENT ON COLUMN crm."order".total IS 'As the shop reported it, else the sum of the lines.';

COMMENT ON COLUMN crm."order".src IS 'event: told by an Order Completed; import: loaded from a file.';

COMMENT ON COLUMN crm."order".payer_id IS 'Who paid, if not the buyer; not necessarily a customer.';

COMMENT ON COLUMN crm."order".recipient_id IS 'Who gets it, if not the buyer; not necessarily a customer.';

COMMENT ON COLUMN crm."order".gift IS 'It was said to be a gift, or somebody else gets it.';

CREATE VIEW crm.order_fact AS
SELECT
    NULL::text AS site,
    NULL::text AS order_id,
    NULL::text AS customer_id,
    NULL::timestamp with time zone AS ordered_at,
    NULL::numeric AS amount;

ALTER TABLE crm.order_fact OWNER TO crm_owner;

COMMENT ON VIEW crm.order_fact IS 'What an order was worth: lines with quantity and price above 0, else total.';

CREATE TABLE crm.order_line (
    site text NOT NULL,
    order_id text NOT NULL,
    line integer NOT NULL,
    product_id text NOT NULL,
    quantity integer NOT NULL,
    price numeric NOT NULL,
    CONSTRAINT order_line_price_range CHECK (((price >= (0)::numeric) AND (price <= (1000000)::numeric))),
    CONSTRAINT order_line_quantity_range CHECK ((((quantity >= '-1000000'::integer) AND (quantity <= 1000000)) AND (quantity <> 0)))
);

ALTER TABLE crm.order_line OWNER TO crm_owner;

COMMENT ON TABLE crm.order_line IS 'One product of an order.';

COMMENT ON COLUMN crm.order_line.quantity IS 'Pieces; negative: returned.';

COMMENT ON COLUMN crm.order_line.price IS 'Of one piece.';

CREATE TABLE crm.part (
    part text NOT NULL,
    results text NOT NULL,
    apply text NOT NULL,
    step integer NOT NULL,
    CONSTRAINT part_name CHECK (crm.name_ok(part))
);

ALTER TABLE crm.part OWNER TO crm_owner;

COMMENT ON TABLE crm.part IS 'Kinds of results that runs write and publish.';

COMMENT ON COLUMN crm.part.results IS 'Table of the results; has a column run.';

COMMENT ON COLUMN crm.part.apply IS 'Function (site text) returns bigint that puts what is in force in its place.';

COMMENT ON COLUMN crm.part.step IS 'Order of these functions.';

CREATE VIEW crm.person_event AS
 SELECT e.site,
    e.id,
    e.rts,
    e.type,
    e.name,
    e.vid,
    e.sid,
    e.uid,
    e.props,
    e.ctx,
    COALESCE(c.merged_into, c.customer_id, l.customer_id) AS customer_id
   FROM ((crm.event e
     LEFT JOIN crm.customer c ON (((c.site = e.site) AND (c.customer_id = e.uid) AND ((e.src <> 'client'::text) OR (e.ctx @> '{"trusted": true}'::jsonb)))))
     LEFT JOIN LATERAL ( SELECT n.customer_id
           FROM crm.login n
          WHERE ((n.site = e.site) AND (n.vid = e.vid) AND (c.customer_id IS NULL) AND ((e.uid IS NULL) OR (e.src = 'client'::text)))
          ORDER BY (n.at <= e.rts) DESC,
                CASE
                    WHEN (n.at <= e.rts) THEN n.at
                    ELSE NULL::timestamp with time zone
                END DESC, n.at
         LIMIT 1) l ON (true));

ALTER TABLE crm.person_event OWNER TO crm_owner;

COMMENT ON VIEW crm.person_event IS 'Events with whose they are: as said, else who last logged in, else who then did.';

CREATE TABLE crm.popular (
    site text NOT NULL,
    rank integer NOT NULL,
    product_id text NOT NULL,
    score double precision NOT NULL
);

ALTER TABLE crm.popular OWNER TO crm_owner;

COMMENT ON TABLE crm.popular IS 'The most popular products in force.';

COMMENT ON COLUMN crm.popular.score IS 'Decayed views and orders, the most popular product''s being 1.';

CREATE TABLE crm.producer (
    producer text NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    events bigint DEFAULT 0 NOT NULL,
    gap bigint DEFAULT 0 NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    duplicates bigint DEFAULT 0 NOT NULL,
    CONSTRAINT producer_counts_range CHECK (((last_seq >= 0) AND (events >= 0) AND (gap >= 0))),
    CONSTRAINT producer_duplicates_range CHECK ((duplicates >= 0)),
    CONSTRAINT producer_form CHECK (crm.name_ok(producer))
)
WITH (fillfactor='50');

ALTER TABLE crm.producer OWNER TO crm_owner;

COMMENT ON TABLE crm.producer IS 'How far each journal file is imported; moves with the rows themselves.';

COMMENT ON COLUMN crm.producer.last_seq IS 'Last sequence committed.';

COMMENT ON COLUMN crm.producer.events IS 'Events imported.';

COMMENT ON COLUMN crm.producer.gap IS 'Sequences that never came: shed or lost by the producer.';

COMMENT ON COLUMN crm.producer.duplicates IS 'Events that a client library had sent before: not stored twice.';

CREATE TABLE crm.product (
    site text NOT NULL,
    product_id text NOT NULL,
    name text,
    category text,
    price numeric(12,2),
    currency text,
    url text,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    CONSTRAINT product_category_size CHECK ((octet_length(category) <= 1000)),
    CONSTRAINT product_currency_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT product_id_form CHECK (crm.id_ok(product_id)),
    CONSTRAINT product_name_size CHECK ((octet_length(name) <= 1000)),
    CONSTRAINT product_price_range CHECK (((price >= (0)::numeric) AND (price <= (1000000)::numeric))),
    CONSTRAINT product_url_size CHECK ((octet_length(url) <= 8192))
);

ALTER TABLE crm.product OWNER TO crm_owner;

COMMENT ON TABLE crm.product IS 'What the shop sells.';

CREATE TABLE crm.profile (
    site text NOT NULL,
    customer_id text NOT NULL,
    attributes jsonb NOT NULL,
    runs bigint[] NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT profile_attributes_object CHECK ((jsonb_typeof(attributes) = 'object'::text))
);

ALTER TABLE crm.profile OWNER TO crm_owner;

COMMENT ON TABLE crm.profile IS 'What mining found about a customer: customer.* of conditions and content.';

COMMENT ON COLUMN crm.profile.runs IS 'The runs in force when this profile last changed.';

CREATE TABLE crm.published (
    site text NOT NULL,
    part text NOT NULL,
    run bigint NOT NULL,
    published_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE crm.published OWNER TO crm_owner;

COMMENT ON TABLE crm.published IS 'Which run each part in force comes from.';

CREATE TABLE crm.reject (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    source text NOT NULL,
    line bigint,
    reason text NOT NULL,
    raw text,
    batch bigint,
    event text,
    replayed_at timestamp with time zone,
    CONSTRAINT reject_event_size CHECK ((octet_length(event) <= 131072))
);

ALTER TABLE crm.reject OWNER TO crm_owner;

COMMENT ON TABLE crm.reject IS 'Input that was refused, and why.';

COMMENT ON COLUMN crm.reject.source IS 'Where it came from: a file, import:<producer>, collect:<site>, absorb.';

COMMENT ON COLUMN crm.reject.line IS 'Line of the file, sequence of an event.';

COMMENT ON COLUMN crm.reject.raw IS 'The input, at most 4096 characters.';

COMMENT ON COLUMN crm.reject.event IS 'The whole record of a refused event: crm-mine rejects replay tries it again.';

COMMENT ON COLUMN crm.reject.replayed_at IS 'When it became an event after all.';

ALTER TABLE crm.reject ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.reject_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.result_coviewed (
    run bigint NOT NULL,
    product_id text NOT NULL,
    rank integer NOT NULL,
    other_id text NOT NULL,
    score double precision NOT NULL
);

ALTER TABLE crm.result_coviewed OWNER TO crm_owner;

COMMENT ON TABLE crm.result_coviewed IS 'Results of runs: products viewed together, not in force before published.';

CREATE TABLE crm.result_model (
    run bigint NOT NULL,
    part text NOT NULL,
    document text NOT NULL,
    CONSTRAINT result_model_size CHECK (((octet_length(document) >= 1) AND (octet_length(document) <= 16777216)))
);

ALTER TABLE crm.result_model OWNER TO crm_owner;

COMMENT ON TABLE crm.result_model IS 'Models that runs learned, not in force before they are published.';

CREATE TABLE crm.result_popular (
    run bigint NOT NULL,
    rank integer NOT NULL,
    product_id text NOT NULL,
    score double precision NOT NULL
);

ALTER TABLE crm.result_popular OWNER TO crm_owner;

COMMENT ON TABLE crm.result_popular IS 'Results of runs: popular products, not in force before published.';

CREATE TABLE crm.result_profile (
    run bigint NOT NULL,
    part text NOT NULL,
    customer_id text NOT NULL,
    attributes jsonb NOT NULL
);

ALTER TABLE crm.result_profile OWNER TO crm_owner;

COMMENT ON TABLE crm.result_profile IS 'Results of runs about customers, not in force before they are published.';

CREATE TABLE crm.run (
    id bigint NOT NULL,
    site text NOT NULL,
    task text NOT NULL,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    seed bigint,
    state text DEFAULT 'running'::text NOT NULL,
    parts text[] DEFAULT '{}'::text[] NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    rows_in bigint,
    rows_out bigint,
    quality jsonb,
    summary text,
    problem text,
    data jsonb,
    drivers jsonb,
    due_at timestamp with time zone,
    outcome jsonb,
    first_review_by text,
    first_review_at timestamp with time zone,
    second_review_by text,
    second_review_at timestamp with time zone,
    CONSTRAINT run_drivers_array CHECK ((jsonb_typeof(drivers) = 'array'::text)),
    CONSTRAINT run_params_object CHECK ((jsonb_typeof(params) = 'object'::text)),
    CONSTRAINT run_problem_size CHECK ((octet_length(problem) <= 1000)),
    CONSTRAINT run_rows_range CHECK (((rows_in >= 0) AND (rows_out >= 0))),
    CONSTRAINT run_state_known CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text, 'published'::text, 'withdrawn'::text, 'dropped'::text]))),
    CONSTRAINT run_task_form CHECK (crm.name_ok(task)),
    CONSTRAINT run_two_people CHECK (((second_review_by IS NULL) OR ((first_review_by IS NOT NULL) AND (first_review_by <> second_review_by))))
);

ALTER TABLE crm.run OWNER TO crm_owner;

COMMENT ON TABLE crm.run IS 'One run of one mining task.';

COMMENT ON COLUMN crm.run.params IS 'What it was asked; the functions read days (how far back, default all).';

COMMENT ON COLUMN crm.run.state IS 'running, done, failed; published: its results are or were in force; withdrawn: taken back by a person; dropped: its results are deleted.';

COMMENT ON COLUMN crm.run.parts IS 'Results it wrote; see crm.part.';

COMMENT ON COLUMN crm.run.quality IS 'Figures of merit, by task.';

COMMENT ON COLUMN crm.run.problem IS 'The question it answers, in words.';

COMMENT ON COLUMN crm.run.data IS 'What it looked at: filter in words, from, to; rows_in is how many.';

COMMENT ON COLUMN crm.run.drivers IS 'What its results rest on most, sentences, the strongest first.';

COMMENT ON COLUMN crm.run.due_at IS 'When what it foretold can be compared with what happened.';

COMMENT ON COLUMN crm.run.outcome IS 'What etl.mine_compare found then.';

ALTER TABLE crm.run ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME crm.run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE crm.site (
    key text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    currency text DEFAULT 'EUR'::text NOT NULL,
    reviews_needed integer DEFAULT 2 NOT NULL,
    retention_days integer,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    remark text,
    keep_contact boolean DEFAULT false NOT NULL,
    holdout double precision DEFAULT 0 NOT NULL,
    CONSTRAINT site_currency_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT site_holdout_share CHECK (((holdout >= (0)::double precision) AND (holdout <= (1)::double precision))),
    CONSTRAINT site_key_form CHECK (crm.id_ok(key)),
    CONSTRAINT site_name_size CHECK ((octet_length(name) <= 200)),
    CONSTRAINT site_retention_range CHECK (((retention_days >= 1) AND (retention_days <= 36500))),
    CONSTRAINT site_reviews_range CHECK (((reviews_needed >= 0) AND (reviews_needed <= 2)))
);

ALTER TABLE crm.site OWNER TO crm_owner;

COMMENT ON TABLE crm.site IS 'One shop or web site: the tenant.';

COMMENT ON COLUMN crm.site.key IS 'crm_site of nginx.conf.';

COMMENT ON COLUMN crm.site.currency IS 'ISO 4217 code in which amounts without a currency are meant.';

COMMENT ON COLUMN crm.site.reviews_needed IS 'How many different people must review a campaign before it is live, 0 to 2.';

COMMENT ON COLUMN crm.site.retention_days IS 'Days that events are kept; null: for ever.';

COMMENT ON COLUMN crm.site.keep_contact IS 'Whether e-mail and phone of identify events are kept as sent, not hashed.';

COMMENT ON COLUMN crm.site.holdout IS 'Share of visitors, 0 to 1, that see no campaign, to measure all by them.';

CREATE TABLE crm.suppressed (
    site text NOT NULL,
    kind text NOT NULL,
    hash bytea NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT suppressed_kind_known CHECK ((kind = ANY (ARRAY['vid'::text, 'uid'::text])))
);

ALTER TABLE crm.suppressed OWNER TO crm_owner;

COMMENT ON TABLE crm.suppressed IS 'SHA-256 of erased ids: what still arrives of them is dropped.';

COMMENT ON COLUMN crm.suppressed.at IS 'Of a uid: events received up to then are dropped; of a vid: all.';

CREATE TABLE crm.visitor (
    site text NOT NULL,
    vid uuid NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    events bigint NOT NULL,
    sessions integer NOT NULL,
    CONSTRAINT visitor_events_range CHECK ((events >= 0)),
    CONSTRAINT visitor_sessions_range CHECK ((sessions >= 0)),
    CONSTRAINT visitor_times_order CHECK ((first_at <= last_at))
)
WITH (fillfactor='80');

ALTER TABLE crm.visitor OWNER TO crm_owner;

COMMENT ON TABLE crm.visitor IS 'One browser, as its cookie names it; derived from events.';

COMMENT ON COLUMN crm.visitor.events IS 'Events imported of this visitor.';

COMMENT ON COLUMN crm.visitor.sessions IS 'Highest session number seen.';

CREATE VIEW mart.bot_traffic AS
 SELECT e.site,
    ((e.rts AT TIME ZONE 'UTC'::text))::date AS day,
    (e.ctx #>> '{bot,kind}'::text[]) AS kind,
    (e.ctx #>> '{bot,name}'::text[]) AS name,
    (e.ctx #>> '{bot,reason}'::text[]) AS reason,
    count(*) AS events,
    count(*) FILTER (WHERE (e.type = 'page'::text)) AS pages
   FROM crm.event e
  WHERE (e.ctx ? 'bot'::text)
  GROUP BY e.site, (((e.rts AT TIME ZONE 'UTC'::text))::date), (e.ctx #>> '{bot,kind}'::text[]), (e.ctx #>> '{bot,name}'::text[]), (e.ctx #>> '{bot,reason}'::text[]);

ALTER TABLE mart.bot_traffic OWNER TO crm_owner;

COMMENT ON VIEW mart.bot_traffic IS 'Robots per site and day (UTC): which ones, why they were labelled, pages.';

CREATE VIEW mart.campaign_exposure AS
 SELECT e.site,
    ((e.rts AT TIME ZONE 'UTC'::text))::date AS day,
    (d.value ->> 'campaign'::text) AS campaign,
    (d.value ->> 'slot'::text) AS slot,
    (d.value ->> 'variant'::text) AS variant,
    count(*) AS exposures,
    count(DISTINCT e.vid) AS visitors
   FROM (crm.event e
     CROSS JOIN LATERAL jsonb_array_elements(
        CASE
            WHEN (jsonb_typeof(e."dec") = 'array'::text) THEN e."dec"
            ELSE '[]'::jsonb
        END) d(value))
  WHERE (e."dec" IS NOT NULL)
  GROUP BY e.site, (((e.rts AT TIME ZONE 'UTC'::text))::date), (d.value ->> 'campaign'::text), (d.value ->> 'slot'::text), (d.value ->> 'variant'::text);

ALTER TABLE mart.campaign_exposure OWNER TO crm_owner;

COMMENT ON VIEW mart.campaign_exposure IS 'How often a variant really filled a slot, and for how many visitors.';

CREATE VIEW mart.consent_state AS
 SELECT c.site,
    ((c.at AT TIME ZONE 'UTC'::text))::date AS day,
    c.measure,
    c.personalize,
    c.source,
    count(*) AS visitors
   FROM ( SELECT DISTINCT ON (n.site, n.vid) n.site,
            n.at,
            n.measure,
            n.personalize,
            n.source
           FROM crm.consent n
          ORDER BY n.site, n.vid, n.at DESC, n.id DESC) c
  GROUP BY c.site, (((c.at AT TIME ZONE 'UTC'::text))::date), c.measure, c.personalize, c.source;

ALTER TABLE mart.consent_state OWNER TO crm_owner;

COMMENT ON VIEW mart.consent_state IS 'What visitors allow now, by the day they last chose.';

CREATE VIEW mart.daily_traffic AS
 SELECT e.site,
    ((e.rts AT TIME ZONE 'UTC'::text))::date AS day,
    count(*) FILTER (WHERE (NOT b.bot)) AS events,
    count(*) FILTER (WHERE ((e.type = 'page'::text) AND (NOT b.bot))) AS pages,
    count(DISTINCT e.vid) FILTER (WHERE (NOT b.bot)) AS visitors,
    count(DISTINCT e.sid) FILTER (WHERE (NOT b.bot)) AS sessions,
    count(*) FILTER (WHERE ((e.name = 'Product Viewed'::text) AND (NOT b.bot))) AS product_views,
    count(DISTINCT (e.props ->> 'order_id'::text)) FILTER (WHERE ((e.name = 'Order Completed'::text) AND (NOT b.bot))) AS orders,
    count(*) FILTER (WHERE b.bot) AS bot_events,
    count(*) FILTER (WHERE ((e.type = 'page'::text) AND b.bot)) AS bot_pages
   FROM (crm.event e
     CROSS JOIN LATERAL ( SELECT COALESCE((e.ctx ? 'bot'::text), false) AS bot) b)
  GROUP BY e.site, (((e.rts AT TIME ZONE 'UTC'::text))::date);

ALTER TABLE mart.daily_traffic OWNER TO crm_owner;

COMMENT ON VIEW mart.daily_traffic IS 'What people did per site and day (UTC), and beside it what robots did.';

CREATE VIEW mart.funnel AS
 SELECT s.site,
    s.day,
    count(*) AS sessions,
    count(*) FILTER (WHERE s.listed) AS product_list_viewed,
    count(*) FILTER (WHERE s.viewed) AS product_viewed,
    count(*) FILTER (WHERE s.added) AS product_added,
    count(*) FILTER (WHERE s.cart) AS cart_viewed,
    count(*) FILTER (WHERE s.checkout) AS checkout_started,
    count(*) FILTER (WHERE s.ordered) AS order_completed
   FROM ( SELECT e.site,
            e.sid,
            ((min(e.rts) AT TIME ZONE 'UTC'::text))::date AS day,
            COALESCE(bool_or((e.name = 'Product List Viewed'::text)), false) AS listed,
            COALESCE(bool_or((e.name = 'Product Viewed'::text)), false) AS viewed,
            COALESCE(bool_or((e.name = 'Product Added'::text)), false) AS added,
            COALESCE(bool_or((e.name = 'Cart Viewed'::text)), false) AS cart,
            COALESCE(bool_or((e.name = 'Checkout Started'::text)), false) AS checkout,
            COALESCE(bool_or((e.name = 'Order Completed'::text)), false) AS ordered
           FROM crm.event_human e
          WHERE (e.sid IS NOT NULL)
          GROUP BY e.site, e.sid) s
  GROUP BY s.site, s.day;

ALTER TABLE mart.funnel OWNER TO crm_owner;

COMMENT ON VIEW mart.funnel IS 'Per site and day (UTC): sessions, and how many reached each step of a purchase.';

CREATE VIEW mart.loss_ledger AS
 SELECT p.producer,
    p.last_seq,
    p.events,
    p.gap,
    (((p.last_seq - p.events) - p.gap) - p.duplicates) AS refused,
    p.modified_at,
    p.duplicates
   FROM crm.producer p
UNION ALL
 SELECT 'all'::text AS producer,
    COALESCE(sum(p.last_seq), (0)::numeric) AS last_seq,
    COALESCE(sum(p.events), (0)::numeric) AS events,
    COALESCE(sum(p.gap), (0)::numeric) AS gap,
    COALESCE(sum((((p.last_seq - p.events) - p.gap) - p.duplicates)), (0)::numeric) AS refused,
    max(p.modified_at) AS modified_at,
    COALESCE(sum(p.duplicates), (0)::numeric) AS duplicates
   FROM crm.producer p;

ALTER TABLE mart.loss_ledger OWNER TO crm_owner;

COMMENT ON VIEW mart.loss_ledger IS 'Per producer and over all: sequences = events kept + gap + refused + duplicates.';

CREATE VIEW mart.page_dwell AS
 WITH page AS (
         SELECT e.site,
            e.sid,
            e.vid,
            e.id,
            e.rts,
            (e.req ->> 'path'::text) AS path,
                CASE
                    WHEN (e.src = 'client'::text) THEN (e.props ->> 'page_id'::text)
                    ELSE NULL::text
                END AS page_id,
            lead(e.rts) OVER (PARTITION BY e.site, e.sid ORDER BY e.rts, e.seq) AS next_rts
           FROM crm.event_human e
          WHERE ((e.type = 'page'::text) AND (e.sid IS NOT NULL))
        ), report AS (
         SELECT e.site,
            e.sid,
            (e.props ->> 'page_id'::text) AS page_id,
            min((e.req ->> 'path'::text)) AS path,
            min((e.rts - ((n.open_ms)::double precision * '00:00:00.001'::interval))) AS began,
            max(n.visible_ms) AS visible_ms,
            max(n.engaged_ms) AS engaged_ms,
            max(n.scroll) AS scroll
           FROM (crm.event_human e
             CROSS JOIN LATERAL ( SELECT max(v.ms) FILTER (WHERE (v.key = 'open_ms'::text)) AS open_ms,
                    max(v.ms) FILTER (WHERE (v.key = 'visible_ms'::text)) AS visible_ms,
                    max(v.ms) FILTER (WHERE (v.key = 'engaged_ms'::text)) AS engaged_ms,
                    max(v.ms) FILTER (WHERE (v.key = 'scroll'::text)) AS scroll
                   FROM ( SELECT k.key,
                                CASE
                                    WHEN ((e.props ->> k.key) ~ '^[0-9]{1,9}([.][0-9]{1,9})?$'::text) THEN ((e.props ->> k.key))::numeric
                                    ELSE NULL::numeric
                                END AS ms
                           FROM unnest(ARRAY['open_ms'::text, 'visible_ms'::text, 'engaged_ms'::text, 'scroll'::text]) k(key)) v) n)
          WHERE ((e.name = 'Page Left'::text) AND (e.src = 'client'::text) AND (e.sid IS NOT NULL) AND (e.props ? 'page_id'::text))
          GROUP BY e.site, e.sid, (e.props ->> 'page_id'::text)
        ), matched AS (
         SELECT DISTINCT ON (r.site, r.sid, r.page_id) r.site,
            r.sid,
            r.page_id,
            r.path,
            r.began,
            r.visible_ms,
            r.engaged_ms,
            r.scroll,
            p_1.id
           FROM (report r
             JOIN page p_1 ON (((p_1.site = r.site) AND (p_1.sid = r.sid) AND ((p_1.page_id = r.page_id) OR ((p_1.page_id IS NULL) AND (p_1.path = r.path))))))
          ORDER BY r.site, r.sid, r.page_id, (p_1.page_id IS NULL), (abs(EXTRACT(epoch FROM (p_1.rts - r.began))))
        ), told AS (
         SELECT m.id,
            max(m.visible_ms) AS visible_ms,
            max(m.engaged_ms) AS engaged_ms,
            max(m.scroll) AS scroll
           FROM matched m
          GROUP BY m.id
        )
 SELECT p.site,
    p.sid,
    p.vid,
    p.id AS event_id,
    p.rts,
    p.path,
        CASE
            WHEN (d.seconds IS NOT NULL) THEN (LEAST(d.seconds, (1800)::numeric))::numeric(10,3)
            ELSE NULL::numeric
        END AS dwell_seconds,
        CASE
            WHEN (t.engaged_ms IS NOT NULL) THEN (LEAST((t.engaged_ms / 1000.0), (1800)::numeric))::numeric(10,3)
            ELSE NULL::numeric
        END AS engaged_seconds,
        CASE
            WHEN (t.scroll IS NOT NULL) THEN (LEAST(t.scroll, (100)::numeric))::integer
            ELSE NULL::integer
        END AS scroll_percent
   FROM ((page p
     LEFT JOIN told t ON ((t.id = p.id)))
     CROSS JOIN LATERAL ( SELECT COALESCE((t.visible_ms / 1000.0), EXTRACT(epoch FROM (p.next_rts - p.rts))) AS seconds) d);

ALTER TABLE mart.page_dwell OWNER TO crm_owner;

COMMENT ON VIEW mart.page_dwell IS 'Per page view: seconds it was in front, or up to the next page; null: unknown.';

COMMENT ON COLUMN mart.page_dwell.dwell_seconds IS 'From the page''s own report, else up to the session''s next page; 1,800 at most.';

COMMENT ON COLUMN mart.page_dwell.engaged_seconds IS 'In front, focused, and the shopper active within 30 seconds; null: no report.';

COMMENT ON COLUMN mart.page_dwell.scroll_percent IS 'The deepest point of the page that was seen, in percent of its height.';

CREATE VIEW mart.rfm_segments AS
 SELECT p.site,
    (p.attributes #>> '{rfm,segment}'::text[]) AS segment,
    count(*) AS customers,
    sum(((p.attributes #>> '{rfm,monetary}'::text[]))::numeric) AS revenue,
    round(avg(((p.attributes #>> '{rfm,recency}'::text[]))::numeric), 1) AS recency_days,
    round(avg(((p.attributes #>> '{rfm,frequency}'::text[]))::numeric), 1) AS frequency
   FROM crm.profile p
  WHERE (p.attributes ? 'rfm'::text)
  GROUP BY p.site, (p.attributes #>> '{rfm,segment}'::text[]);

ALTER TABLE mart.rfm_segments OWNER TO crm_owner;

COMMENT ON VIEW mart.rfm_segments IS 'The RFM segments in force: customers, revenue, mean recency and frequency.';

ALTER TABLE ONLY crm.alias
    ADD CONSTRAINT alias_pkey PRIMARY KEY (site, kind, value);

ALTER TABLE ONLY crm.app_user
    ADD CONSTRAINT app_user_pkey PRIMARY KEY (name);

ALTER TABLE ONLY crm.banned_id
    ADD CONSTRAINT banned_id_pkey PRIMARY KEY (site, id);

ALTER TABLE ONLY crm.campaign
    ADD CONSTRAINT campaign_pkey PRIMARY KEY (site, key);

ALTER TABLE ONLY crm.campaign_version
    ADD CONSTRAINT campaign_version_pkey PRIMARY KEY (site);

ALTER TABLE ONLY crm.consent
    ADD CONSTRAINT consent_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.coviewed
    ADD CONSTRAINT coviewed_pkey PRIMARY KEY (site, product_id, rank);

ALTER TABLE ONLY crm.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (site, customer_id);

ALTER TABLE ONLY crm.erasure
    ADD CONSTRAINT erasure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.event
    ADD CONSTRAINT event_id_rts_key UNIQUE (id, rts);

ALTER TABLE ONLY crm.history
    ADD CONSTRAINT history_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.identity
    ADD CONSTRAINT identity_pkey PRIMARY KEY (site, vid);

ALTER TABLE ONLY crm.load_batch
    ADD CONSTRAINT load_batch_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.login
    ADD CONSTRAINT login_pkey PRIMARY KEY (site, vid, at);

ALTER TABLE ONLY crm.merge_log
    ADD CONSTRAINT merge_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.message
    ADD CONSTRAINT message_pkey PRIMARY KEY (site, mid);

ALTER TABLE ONLY crm.model
    ADD CONSTRAINT model_pkey PRIMARY KEY (site, part);

ALTER TABLE ONLY crm.order_line
    ADD CONSTRAINT order_line_pkey PRIMARY KEY (site, order_id, line);

ALTER TABLE ONLY crm."order"
    ADD CONSTRAINT order_pkey PRIMARY KEY (site, order_id);

ALTER TABLE ONLY crm.part
    ADD CONSTRAINT part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY crm.popular
    ADD CONSTRAINT popular_pkey PRIMARY KEY (site, rank);

ALTER TABLE ONLY crm.producer
    ADD CONSTRAINT producer_pkey PRIMARY KEY (producer);

ALTER TABLE ONLY crm.product
    ADD CONSTRAINT product_pkey PRIMARY KEY (site, product_id);

ALTER TABLE ONLY crm.profile
    ADD CONSTRAINT profile_pkey PRIMARY KEY (site, customer_id);

ALTER TABLE ONLY crm.published
    ADD CONSTRAINT published_pkey PRIMARY KEY (site, part);

ALTER TABLE ONLY crm.reject
    ADD CONSTRAINT reject_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.result_coviewed
    ADD CONSTRAINT result_coviewed_pkey PRIMARY KEY (run, product_id, rank);

ALTER TABLE ONLY crm.result_model
    ADD CONSTRAINT result_model_pkey PRIMARY KEY (run, part);

ALTER TABLE ONLY crm.result_popular
    ADD CONSTRAINT result_popular_pkey PRIMARY KEY (run, rank);

ALTER TABLE ONLY crm.result_profile
    ADD CONSTRAINT result_profile_pkey PRIMARY KEY (run, part, customer_id);

ALTER TABLE ONLY crm.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);

ALTER TABLE ONLY crm.site
    ADD CONSTRAINT site_pkey PRIMARY KEY (key);

ALTER TABLE ONLY crm.suppressed
    ADD CONSTRAINT suppressed_pkey PRIMARY KEY (site, kind, hash);

ALTER TABLE ONLY crm.visitor
    ADD CONSTRAINT visitor_pkey PRIMARY KEY (site, vid);

CREATE INDEX alias_customer_idx ON crm.alias USING btree (site, customer_id);

CREATE INDEX consent_visitor_idx ON crm.consent USING btree (site, vid, at);

CREATE INDEX customer_merged_idx ON crm.customer USING btree (site, merged_into) WHERE (merged_into IS NOT NULL);

CREATE INDEX event_rts_idx ON ONLY crm.event USING brin (rts) WITH (pages_per_range='32');

CREATE INDEX history_key_idx ON crm.history USING btree (table_name, key, id);

CREATE INDEX identity_customer_idx ON crm.identity USING btree (site, customer_id);

CREATE INDEX login_customer_idx ON crm.login USING btree (site, customer_id);

CREATE INDEX merge_log_site_idx ON crm.merge_log USING btree (site, id);

CREATE INDEX message_day_idx ON crm.message USING brin (day) WITH (pages_per_range='32');

CREATE INDEX order_customer_idx ON crm."order" USING btree (site, customer_id);

CREATE INDEX order_payer_idx ON crm."order" USING btree (site, payer_id) WHERE (payer_id IS NOT NULL);

CREATE INDEX order_recipient_idx ON crm."order" USING btree (site, recipient_id) WHERE (recipient_id IS NOT NULL);

CREATE INDEX reject_batch_idx ON crm.reject USING btree (batch);

CREATE INDEX reject_event_idx ON crm.reject USING btree (id) WHERE ((event IS NOT NULL) AND (replayed_at IS NULL));

CREATE INDEX run_site_idx ON crm.run USING btree (site, task, id);

CREATE OR REPLACE VIEW crm.order_fact AS
 SELECT o.site,
    o.order_id,
    o.customer_id,
    o.ordered_at,
        CASE
            WHEN (count(l.line) = 0) THEN GREATEST(o.total, (0)::numeric)
            ELSE COALESCE(sum(((l.quantity)::numeric * l.price)) FILTER (WHERE ((l.quantity > 0) AND (l.price > (0)::numeric))), (0)::numeric)
        END AS amount
   FROM (crm."order" o
     LEFT JOIN crm.order_line l ON (((l.site = o.site) AND (l.order_id = o.order_id))))
  GROUP BY o.site, o.order_id;

CREATE TRIGGER alias_insert AFTER INSERT ON crm.customer FOR EACH ROW WHEN ((new.email IS NOT NULL)) EXECUTE FUNCTION crm.customer_alias();

CREATE TRIGGER alias_update AFTER UPDATE ON crm.customer FOR EACH ROW WHEN (((new.email IS DISTINCT FROM old.email) AND (new.email IS NOT NULL))) EXECUTE FUNCTION crm.customer_alias();

CREATE TRIGGER notify_delete AFTER DELETE ON crm.campaign REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION crm.campaign_changed();

CREATE TRIGGER notify_insert AFTER INSERT ON crm.campaign REFERENCING NEW TABLE AS now_rows FOR EACH STATEMENT EXECUTE FUNCTION crm.campaign_changed();

CREATE TRIGGER notify_insert AFTER INSERT ON crm.identity FOR EACH ROW EXECUTE FUNCTION crm.identity_changed();

CREATE TRIGGER notify_reviews AFTER UPDATE ON crm.site FOR EACH ROW WHEN (((old.reviews_needed IS DISTINCT FROM new.reviews_needed) OR (old.holdout IS DISTINCT FROM new.holdout))) EXECUTE FUNCTION crm.site_changed();

CREATE TRIGGER notify_update AFTER UPDATE ON crm.campaign REFERENCING OLD TABLE AS old_rows NEW TABLE AS now_rows FOR EACH STATEMENT EXECUTE FUNCTION crm.campaign_changed();

CREATE TRIGGER notify_update AFTER UPDATE ON crm.identity FOR EACH ROW WHEN ((old.customer_id IS DISTINCT FROM new.customer_id)) EXECUTE FUNCTION crm.identity_changed();

CREATE TRIGGER remember AFTER INSERT OR DELETE OR UPDATE ON crm.app_user FOR EACH ROW EXECUTE FUNCTION crm.remember('name');

CREATE TRIGGER remember AFTER INSERT OR DELETE OR UPDATE ON crm.campaign FOR EACH ROW EXECUTE FUNCTION crm.remember('site', 'key');

CREATE TRIGGER remember AFTER DELETE OR UPDATE ON crm.customer FOR EACH ROW EXECUTE FUNCTION crm.remember('site', 'customer_id');

CREATE TRIGGER remember AFTER INSERT OR DELETE OR UPDATE ON crm.load_batch FOR EACH ROW EXECUTE FUNCTION crm.remember('id');

CREATE TRIGGER remember AFTER DELETE OR UPDATE ON crm."order" FOR EACH ROW EXECUTE FUNCTION crm.remember('site', 'order_id');

CREATE TRIGGER remember AFTER DELETE OR UPDATE ON crm.product FOR EACH ROW EXECUTE FUNCTION crm.remember('site', 'product_id');

CREATE TRIGGER remember AFTER INSERT OR DELETE OR UPDATE ON crm.site FOR EACH ROW EXECUTE FUNCTION crm.remember('key');

CREATE TRIGGER remember_delete AFTER DELETE ON crm.identity FOR EACH ROW EXECUTE FUNCTION crm.remember('site', 'vid');

CREATE TRIGGER remember_update AFTER UPDATE ON crm.identity FOR EACH ROW WHEN ((old.customer_id IS DISTINCT FROM new.customer_id)) EXECUTE FUNCTION crm.remember('site', 'vid');

CREATE TRIGGER touch BEFORE UPDATE ON crm.app_user FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

CREATE TRIGGER touch BEFORE UPDATE ON crm.campaign FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

CREATE TRIGGER touch BEFORE UPDATE ON crm.customer FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

CREATE TRIGGER touch BEFORE UPDATE ON crm.load_batch FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

CREATE TRIGGER touch BEFORE UPDATE ON crm."order" FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

CREATE TRIGGER touch BEFORE UPDATE ON crm.product FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

CREATE TRIGGER touch BEFORE UPDATE ON crm.site FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION crm.touch();

ALTER TABLE ONLY crm.alias
    ADD CONSTRAINT alias_customer_fkey FOREIGN KEY (site, customer_id) REFERENCES crm.customer(site, customer_id);

ALTER TABLE ONLY crm.app_user
    ADD CONSTRAINT app_user_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.campaign
    ADD CONSTRAINT campaign_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.campaign_version
    ADD CONSTRAINT campaign_version_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key) ON DELETE CASCADE;

ALTER TABLE ONLY crm.consent
    ADD CONSTRAINT consent_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.coviewed
    ADD CONSTRAINT coviewed_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key) ON DELETE CASCADE;

ALTER TABLE ONLY crm.customer
    ADD CONSTRAINT customer_merged_fkey FOREIGN KEY (site, merged_into) REFERENCES crm.customer(site, customer_id);

ALTER TABLE ONLY crm.customer
    ADD CONSTRAINT customer_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.erasure
    ADD CONSTRAINT erasure_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.identity
    ADD CONSTRAINT identity_customer_fkey FOREIGN KEY (site, customer_id) REFERENCES crm.customer(site, customer_id);

ALTER TABLE ONLY crm.load_batch
    ADD CONSTRAINT load_batch_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.login
    ADD CONSTRAINT login_customer_fkey FOREIGN KEY (site, customer_id) REFERENCES crm.customer(site, customer_id);

ALTER TABLE ONLY crm.merge_log
    ADD CONSTRAINT merge_log_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.model
    ADD CONSTRAINT model_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key) ON DELETE CASCADE;

ALTER TABLE ONLY crm."order"
    ADD CONSTRAINT order_customer_fkey FOREIGN KEY (site, customer_id) REFERENCES crm.customer(site, customer_id);

ALTER TABLE ONLY crm.order_line
    ADD CONSTRAINT order_line_order_fkey FOREIGN KEY (site, order_id) REFERENCES crm."order"(site, order_id) ON DELETE CASCADE;

ALTER TABLE ONLY crm.order_line
    ADD CONSTRAINT order_line_product_fkey FOREIGN KEY (site, product_id) REFERENCES crm.product(site, product_id);

ALTER TABLE ONLY crm."order"
    ADD CONSTRAINT order_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.popular
    ADD CONSTRAINT popular_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key) ON DELETE CASCADE;

ALTER TABLE ONLY crm.product
    ADD CONSTRAINT product_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.profile
    ADD CONSTRAINT profile_customer_fkey FOREIGN KEY (site, customer_id) REFERENCES crm.customer(site, customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY crm.published
    ADD CONSTRAINT published_part_known FOREIGN KEY (part) REFERENCES crm.part(part);

ALTER TABLE ONLY crm.published
    ADD CONSTRAINT published_run_fkey FOREIGN KEY (run) REFERENCES crm.run(id);

ALTER TABLE ONLY crm.published
    ADD CONSTRAINT published_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key) ON DELETE CASCADE;

ALTER TABLE ONLY crm.reject
    ADD CONSTRAINT reject_batch_fkey FOREIGN KEY (batch) REFERENCES crm.load_batch(id) ON DELETE CASCADE;

ALTER TABLE ONLY crm.run
    ADD CONSTRAINT run_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

ALTER TABLE ONLY crm.visitor
    ADD CONSTRAINT visitor_site_fkey FOREIGN KEY (site) REFERENCES crm.site(key);

GRANT USAGE ON SCHEMA crm TO crm_etl;

GRANT USAGE ON SCHEMA edge TO crm_edge;

GRANT USAGE ON SCHEMA etl TO crm_etl;

GRANT USAGE ON SCHEMA mart TO crm_analyst;

REVOKE ALL ON FUNCTION crm.absorb_alias(site text, uid text, at timestamp with time zone, src text, props jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_consents(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_identify(site text, vid uuid, uid text, at timestamp with time zone, src text, props jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_identities(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_order(site text, order_id text, at timestamp with time zone, vid uuid, uid text, props jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_orders(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_records(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_suppressed(batch jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.absorb_visitors(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.alias_put(site text, kind text, value text, customer text, at timestamp with time zone, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.batch_site(batch bigint, kind text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_bump(site text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_check(doc jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_check_terms(doc jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_check_text(doc jsonb, member text, form text, rule text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_check_variants(variants jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_refuse(path text, fault text, value jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_review(site text, key text, reviewer text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_terms(doc jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_terms_compiled(terms jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.campaign_time(doc jsonb, member text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.contact_hash(kind text, value text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.count_of(n jsonb, lowest integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.customer_alias() FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.customer_move(site text, rows jsonb, from_id text, into_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.customer_now(site text, id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.customer_refresh(site text, customer text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.customer_rows(site text, customer text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.erase_orders(site text, customers text[], vids uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.event_day(day date) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.history_of(h crm.history, site text, customers text[], vids uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.id_banned(site text, id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.id_hash(site text, id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.id_ok(id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.identity_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.is_gift(said text, buyer text, recipient text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.list_of_objects(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.load_customers_apply(batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION crm.load_customers_apply(batch bigint) TO crm_etl;

REVOKE ALL ON FUNCTION crm.load_orders_apply(batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION crm.load_orders_apply(batch bigint) TO crm_etl;

REVOKE ALL ON FUNCTION crm.load_products_apply(batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION crm.load_products_apply(batch bigint) TO crm_etl;

REVOKE ALL ON FUNCTION crm.name_ok(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.order_pieces(products jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.order_pieces(products text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.person_check(site text, customer text, visitor uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.person_customers(site text, customer text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.person_visitors(site text, customer text, visitor uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.publish_apply(site text, parts text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.publish_check(site text, runs bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.publish_models(site text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.publish_products(site text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.publish_profiles(site text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.raw_names(raw text, id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.recs(site text, last_items jsonb, most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.refuse_merge(site text, from_id text, into_id text, reason text, who text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.remember() FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.rfm_segment(r integer, f integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.run_forget(runs bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.run_note(run bigint, part text, rows_in bigint, rows_out bigint, quality jsonb, summary text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.run_since(run bigint, as_of timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.run_site(run bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.site_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.site_check(site text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.staging_check(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.touch() FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.trait_alias(src text, key text, value text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.us_time(us jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.uuid_ok(id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION crm.zone_offsets(zone text) FROM PUBLIC;

REVOKE ALL ON FUNCTION edge.campaign_set(site text) FROM PUBLIC;
GRANT ALL ON FUNCTION edge.campaign_set(site text) TO crm_edge;

REVOKE ALL ON FUNCTION edge.model(site text, part text) FROM PUBLIC;
GRANT ALL ON FUNCTION edge.model(site text, part text) TO crm_edge;

REVOKE ALL ON FUNCTION edge.visitor(site text, vid uuid, uid text) FROM PUBLIC;
GRANT ALL ON FUNCTION edge.visitor(site text, vid uuid, uid text) TO crm_edge;

REVOKE ALL ON FUNCTION etl.absorb(batch jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.absorb(batch jsonb) TO crm_etl;

REVOKE ALL ON FUNCTION etl.advance(producer text, last_seq bigint, events integer, gap bigint, duplicates integer) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.advance(producer text, last_seq bigint, events integer, gap bigint, duplicates integer) TO crm_etl;

REVOKE ALL ON FUNCTION etl.campaign_apply(site text, doc jsonb, reviewer text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.campaign_apply(site text, doc jsonb, reviewer text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.campaign_drop(site text, key text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.campaign_drop(site text, key text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.campaign_export(site text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.campaign_export(site text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.churn_customers(run bigint, as_of timestamp with time zone, seen timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.churn_customers(run bigint, as_of timestamp with time zone, seen timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.claim(list jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.claim(list jsonb) TO crm_etl;

REVOKE ALL ON FUNCTION etl.clv_buyers(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.clv_buyers(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.drop_partitions(before date) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.drop_partitions(before date) TO crm_etl;

REVOKE ALL ON FUNCTION etl.ensure_partitions(first date, last date) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.ensure_partitions(first date, last date) TO crm_etl;

REVOKE ALL ON FUNCTION etl.erase(site text, customer text, visitor uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.erase(site text, customer text, visitor uuid) TO crm_etl;

REVOKE ALL ON FUNCTION etl.identity_find(site text, kind text, value text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.identity_find(site text, kind text, value text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.identity_log(site text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.identity_log(site text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.identity_merge(site text, from_id text, into_id text, reviewer text, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.identity_merge(site text, from_id text, into_id text, reviewer text, reason text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.identity_unmerge(site text, merge bigint, reviewer text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.identity_unmerge(site text, merge bigint, reviewer text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.intent_pages(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.intent_pages(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.load_begin(site text, kind text, file text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.load_begin(site text, kind text, file text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.load_customers(batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.load_customers(batch bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.load_end(batch bigint, rows_in bigint, kept bigint, rejected bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.load_end(batch bigint, rows_in bigint, kept bigint, rejected bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.load_orders(batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.load_orders(batch bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.load_products(batch bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.load_products(batch bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.mine_compare(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.mine_compare(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.mine_coviewed(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.mine_coviewed(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.mine_features(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.mine_features(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.mine_popular(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.mine_popular(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.mine_rfm(run bigint, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.mine_rfm(run bigint, as_of timestamp with time zone) TO crm_etl;

REVOKE ALL ON FUNCTION etl.model_put(run bigint, part text, document text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.model_put(run bigint, part text, document text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.person(site text, customer text, visitor uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.person(site text, customer text, visitor uuid) TO crm_etl;

REVOKE ALL ON FUNCTION etl.person_visitors(site text, customer text, visitor uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.person_visitors(site text, customer text, visitor uuid) TO crm_etl;

REVOKE ALL ON FUNCTION etl."position"(producer text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl."position"(producer text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.publish(site text, runs bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.publish(site text, runs bigint[]) TO crm_etl;

REVOKE ALL ON FUNCTION etl.reject(source text, line bigint, reason text, raw text, batch bigint, event text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.reject(source text, line bigint, reason text, raw text, batch bigint, event text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.reject_replayed(reject bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.reject_replayed(reject bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.rejects(after bigint, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.rejects(after bigint, most integer) TO crm_etl;

REVOKE ALL ON FUNCTION etl.result_put(run bigint, part text, rows jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.result_put(run bigint, part text, rows jsonb) TO crm_etl;

REVOKE ALL ON FUNCTION etl.rollback(run bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.rollback(run bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.run_begin(site text, task text, params jsonb, seed bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.run_begin(site text, task text, params jsonb, seed bigint) TO crm_etl;

REVOKE ALL ON FUNCTION etl.run_end(run bigint, rows_in bigint, rows_out bigint, quality jsonb, summary text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.run_end(run bigint, rows_in bigint, rows_out bigint, quality jsonb, summary text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.run_fail(run bigint, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.run_fail(run bigint, reason text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.run_lock(site text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.run_lock(site text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.run_review(run bigint, reviewer text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.run_review(run bigint, reviewer text) TO crm_etl;

REVOKE ALL ON FUNCTION etl.run_tell(run bigint, about jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.run_tell(run bigint, about jsonb) TO crm_etl;

REVOKE ALL ON FUNCTION etl.site_holdout(site text, share double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.site_holdout(site text, share double precision) TO crm_etl;

REVOKE ALL ON FUNCTION etl.site_set(key text, name text, currency text, reviews_needed integer, retention_days integer) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.site_set(key text, name text, currency text, reviews_needed integer, retention_days integer) TO crm_etl;

REVOKE ALL ON FUNCTION etl.user_set(name text, password text, role text, site text) FROM PUBLIC;
GRANT ALL ON FUNCTION etl.user_set(name text, password text, role text, site text) TO crm_etl;

REVOKE ALL ON FUNCTION crm.merged(jsonb) FROM PUBLIC;

GRANT INSERT ON TABLE crm.event TO crm_etl;

GRANT SELECT(site) ON TABLE crm.event TO crm_etl;

GRANT SELECT(id) ON TABLE crm.event TO crm_etl;

GRANT SELECT(rts) ON TABLE crm.event TO crm_etl;

GRANT SELECT(vid) ON TABLE crm.event TO crm_etl;

GRANT SELECT ON TABLE crm.producer TO crm_etl;

GRANT SELECT ON TABLE crm.run TO crm_etl;

GRANT SELECT ON TABLE crm.site TO crm_etl;

GRANT SELECT ON TABLE mart.bot_traffic TO crm_analyst;

GRANT SELECT ON TABLE mart.campaign_exposure TO crm_analyst;

GRANT SELECT ON TABLE mart.consent_state TO crm_analyst;

GRANT SELECT ON TABLE mart.daily_traffic TO crm_analyst;

GRANT SELECT ON TABLE mart.funnel TO crm_analyst;

GRANT SELECT ON TABLE mart.loss_ledger TO crm_analyst;

GRANT SELECT ON TABLE mart.page_dwell TO crm_analyst;

GRANT SELECT ON TABLE mart.rfm_segments TO crm_analyst;

ALTER DEFAULT PRIVILEGES FOR ROLE crm_owner IN SCHEMA edge GRANT ALL ON FUNCTIONS  TO crm_edge;

ALTER DEFAULT PRIVILEGES FOR ROLE crm_owner IN SCHEMA etl GRANT ALL ON FUNCTIONS  TO crm_etl;

ALTER DEFAULT PRIVILEGES FOR ROLE crm_owner IN SCHEMA mart GRANT SELECT ON TABLES  TO crm_analyst;

