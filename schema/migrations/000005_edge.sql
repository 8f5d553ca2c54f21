/*
 * 000005_edge.sql - what nginx asks, and how it learns of changes.
 *
 * Both functions answer from primary keys and are called on cold paths of a
 * request's budget.  Triggers, not the functions that change campaigns, tell
 * nginx: what an administrator changes by hand is live within a second too.
 */

set local role crm_owner;

create function edge.campaign_set(site text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site alias for $1;
begin
    return jsonb_build_object(
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
                       'variants', c.variants) order by c.key collate "C")
              from crm.campaign as c join crm.site as s on s.key = c.site
             where c.site = p_site
               and c.state = 'live'
               and c.dropped_at is null
               and (c.first_review_by is not null)::int
                   + (c.second_review_by is not null)::int
                   >= s.reviews_needed), '[]'))::text;
end
$$;

comment on function edge.campaign_set is
'The site''s campaigns that are live and reviewed, as docs/campaigns.md has it.';


create function edge.visitor(site text, vid uuid, uid text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    p_site    alias for $1;
    p_vid     alias for $2;
    p_uid     alias for $3;
    size_max  constant int := 1200;  /* bytes of a cell of the visitor zone */
    customer  text := nullif(p_uid, '');
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

comment on function edge.visitor is
'Attributes of the customer uid, or of the one the visitor is identified as.';


create function crm.campaign_bump(site text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.campaign_bump is
'Counts a change of the site''s campaigns and tells nginx at commit.';


create function crm.campaign_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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

comment on function crm.campaign_changed is
'Trigger: a statement changed campaigns.';

create trigger notify_insert after insert on crm.campaign
    referencing new table as now_rows
    for each statement execute function crm.campaign_changed();

create trigger notify_update after update on crm.campaign
    referencing old table as old_rows new table as now_rows
    for each statement execute function crm.campaign_changed();

create trigger notify_delete after delete on crm.campaign
    referencing old table as old_rows
    for each statement execute function crm.campaign_changed();


create function crm.site_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform crm.campaign_bump(new.key);
    return null;
end
$$;

comment on function crm.site_changed is
'Trigger: another number of reviews makes other campaigns live.';

create trigger notify_reviews after update on crm.site
    for each row when (old.reviews_needed is distinct from new.reviews_needed)
    execute function crm.site_changed();


create function crm.identity_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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

comment on function crm.identity_changed is
'Trigger: tells nginx that a visitor is another customer now.';

create trigger notify_insert after insert on crm.identity
    for each row execute function crm.identity_changed();

create trigger notify_update after update on crm.identity
    for each row when (old.customer_id is distinct from new.customer_id)
    execute function crm.identity_changed();

reset role;
