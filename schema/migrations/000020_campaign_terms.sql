/*
 * 000020_campaign_terms.sql - hours, namespaces, hold-outs, goals of campaigns.
 *
 * They are kept as the document has them, in one column: the document's rules
 * may grow without the table.  nginx knows no time zones, so a set carries the
 * offsets of a campaign's zone for as long as a set may be left alone.
 */

set local role crm_owner;

alter table crm.campaign
    add column terms jsonb not null default '{}'
        constraint campaign_terms_object check (jsonb_typeof(terms) = 'object');
comment on column crm.campaign.terms is
'times, namespace, holdout and goal of the document, those that it has.';

alter table crm.site
    add column holdout double precision not null default 0
        constraint site_holdout_share check (holdout between 0 and 1);
comment on column crm.site.holdout is
'Share of visitors, 0 to 1, that see no campaign, to measure all by them.';


create function crm.campaign_terms(doc jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_object_agg(m.key, m.value), '{}')
      from jsonb_each(doc) as m
     where m.key in ('times', 'namespace', 'holdout', 'goal')
$$;

comment on function crm.campaign_terms is
'The members of a campaign''s document that the column terms keeps.';


create function crm.zone_offsets(zone text) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
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

comment on function crm.zone_offsets is
'A zone''s seconds ahead of UTC, from yesterday on for 800 days, by change.';


create function crm.campaign_terms_compiled(terms jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select terms - 'goal'
           || case when terms -> 'times' ? 'zone'
                   then jsonb_build_object('times', terms -> 'times'
                        || jsonb_build_object('offsets',
                               crm.zone_offsets(terms #>> '{times,zone}')))
                   else '{}' end
$$;

comment on function crm.campaign_terms_compiled is
'The terms of a campaign as nginx takes them: with the zone''s offsets.';


create function crm.campaign_check_terms(doc jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.campaign_check_terms is
'Refuses times, hold-out and goal that break the rules.';


create or replace function crm.campaign_check(doc jsonb) returns void
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
$$;


create or replace function etl.campaign_apply(site text, doc jsonb, reviewer text)
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
$$;


create or replace function etl.campaign_export(site text) returns setof jsonb
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
               || c.terms
               || case when c.remark is null then '{}'
                       else jsonb_build_object('remark', c.remark) end
          from crm.campaign as c
         where c.site = $1 and c.dropped_at is null
         order by c.key collate "C";
end
$$;


create or replace function edge.campaign_set(site text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;


create function etl.site_holdout(site text, share double precision)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform crm.site_check($1);
    if $2 is null or $2 not between 0 and 1 then
        raise exception 'hold-out % is no share', $2
            using errcode = 'CRM02', hint = 'give a number from 0 to 1';
    end if;
    update crm.site as s set holdout = $2 where s.key = $1;
end
$$;

comment on function etl.site_holdout is
'Sets the share of visitors, 0 to 1, that see no campaign of the site.';

drop trigger notify_reviews on crm.site;
create trigger notify_reviews after update on crm.site
    for each row when (old.reviews_needed is distinct from new.reviews_needed
                       or old.holdout is distinct from new.holdout)
    execute function crm.site_changed();
comment on function crm.site_changed is
'Trigger: another number of reviews or hold-out makes other decisions.';

reset role;
