/*
 * 000008_etl_campaigns.sql - campaigns from files, and back.
 *
 * The rules are those of docs/campaigns.md.  The language of conditions is
 * checked by its compiler (crm-mine before it calls, nginx again); SQL checks
 * what must hold whoever writes: members, types, ranges.  A fault is SQLSTATE
 * CRM03 and its message begins with the path of the member.
 */

set local role crm_owner;

create function crm.campaign_refuse(path text, fault text, value jsonb)
returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%: %', $1, $2
        using errcode = 'CRM03',
              detail = format('found %s', coalesce(left($3::text, 200),
                                                   'nothing')),
              hint = 'docs/campaigns.md has the rules';
end
$$;

comment on function crm.campaign_refuse is
'Raises CRM03 for a member of a campaign''s document.';


create function crm.campaign_time(doc jsonb, member text)
returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
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
$$;

comment on function crm.campaign_time is
'Time in a member of a campaign''s document; null if there is none.';


create function crm.campaign_check_text(doc jsonb, member text, form text,
    rule text)
returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
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

comment on function crm.campaign_check_text is
'Refuses a member that is no string of the form.';


create function crm.campaign_check_variants(variants jsonb) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.campaign_check_variants is
'Refuses variants that break the rules.';


create function crm.campaign_check(doc jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
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
                     'end', 'when', 'variants', 'remark')
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

    perform crm.campaign_check_variants(doc -> 'variants');
end
$$;

comment on function crm.campaign_check is
'Refuses a campaign''s document that breaks the rules.';


create function crm.campaign_review(site text, key text, reviewer text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.campaign_review is
'Notes a reviewer of a campaign as it stands; the same person counts once.';


create function etl.campaign_apply(site text, doc jsonb, reviewer text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
            starts_at, ends_at, condition, variants, remark,
            first_review_by, first_review_at)
        values (p_site, wanted.key, wanted.name, wanted.slot, wanted.state,
            wanted.priority, wanted.starts_at, wanted.ends_at,
            wanted.condition, wanted.variants, wanted.remark, p_reviewer,
            case when p_reviewer is not null then now() end);
        return 'created';
    end if;

    if (current.name, current.slot, current.state, current.priority,
        current.starts_at, current.ends_at, current.condition,
        current.variants, current.remark, current.dropped_at)
       is distinct from
       (wanted.name, wanted.slot, wanted.state, wanted.priority,
        wanted.starts_at, wanted.ends_at, wanted.condition,
        wanted.variants, wanted.remark, null::timestamptz)
    then
        update crm.campaign as c
           set name = wanted.name, slot = wanted.slot, state = wanted.state,
               priority = wanted.priority, starts_at = wanted.starts_at,
               ends_at = wanted.ends_at, condition = wanted.condition,
               variants = wanted.variants, remark = wanted.remark,
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
$$;

comment on function etl.campaign_apply is
'Takes a campaign''s document in; the reviewer, if any, stands for it.';


create function etl.campaign_export(site text) returns setof jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
               || case when c.remark is null then '{}'
                       else jsonb_build_object('remark', c.remark) end
          from crm.campaign as c
         where c.site = $1 and c.dropped_at is null
         order by c.key collate "C";
end
$$;

comment on function etl.campaign_export is
'The documents of a site''s campaigns, in key order, without dropped ones.';


create function etl.campaign_drop(site text, key text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    update crm.campaign as c
       set state = 'ended', dropped_at = now()
     where c.site = $1 and c.key = $2 and c.dropped_at is null;

    return found;
end
$$;

comment on function etl.campaign_drop is
'Ends a campaign whose file is gone; false when there was none to end.';

reset role;
