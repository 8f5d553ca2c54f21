/*
 * 000007_etl_load.sql - files: batches, and upserts from staging tables.
 *
 * crm-mine checks the rows and copies them into pg_temp.load_<kind>, a table
 * of the caller.  etl.load_<kind> runs as the caller, only to let crm_owner
 * read that table; the work is done by crm.load_<kind>_apply as crm_owner.
 * A staging table could carry code of its maker (a view, a policy, a type);
 * crm.staging_check refuses all of that.
 *
 * Equal keys in one table: the later row wins.  A value the file does not have
 * (null) leaves what is known.  The same file again changes nothing.
 */

set local role crm_owner;

create function crm.site_check(site text) returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from crm.site as s where s.key = $1) then
        raise exception 'site "%" is unknown', $1
            using errcode = 'CRM01',
                  hint = 'make it first: select etl.site_set(''KEY'')';
    end if;
end
$$;

comment on function crm.site_check is 'Refuses a site that is not in crm.site.';


create function etl.site_set(key text, name text default null,
    currency text default null, reviews_needed int default null,
    retention_days int default null)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function etl.site_set is
'Makes a site, or changes the settings that are not null.';


create function etl.user_set(name text, password text, role text,
    site text default null)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function etl.user_set is
'Makes a user of the console or changes password, role and site.';


create function etl.load_begin(site text, kind text, file text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function etl.load_begin is 'A file begins to be loaded.';


create function crm.batch_site(batch bigint, kind text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.batch_site is
'Site of a running batch; refuses any other batch.';


create function etl.load_end(
    batch bigint, rows_in bigint, kept bigint, rejected bigint)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function etl.load_end is
'A file is loaded; its counts must add up.';


create function crm.staging_check(name text) returns regclass
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.staging_check is
'Refuses a staging table that is missing or could carry code.';


create function crm.load_customers_apply(batch bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.load_customers_apply is
'etl.load_customers, as crm_owner.';


create function crm.load_products_apply(batch bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function crm.load_products_apply is
'etl.load_products, as crm_owner.';


create function crm.load_orders_apply(batch bigint) returns bigint
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
                                  currency, country, total, src)
    select p_site, l.order_id, max(l.customer_id),
           max(l.ordered_at), max(l.currency), max(l.country),
           sum(l.quantity * l.price), 'import'
      from (select distinct on (s.order_id::text, s.line)
                   s.order_id::text as order_id,
                   s.customer_id::text as customer_id,
                   s.ordered_at::timestamptz as ordered_at,
                   s.currency::text as currency, s.country::text as country,
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
           src = 'import'
     where o.src = 'event'
        or excluded.ordered_at > o.ordered_at
        or (o.customer_id, o.currency, o.country)
           is distinct from (coalesce(excluded.customer_id, o.customer_id),
                             coalesce(excluded.currency, o.currency),
                             coalesce(excluded.country, o.country));

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

comment on function crm.load_orders_apply is 'etl.load_orders, as crm_owner.';


create function etl.load_customers(batch bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('pg_temp.load_customers') is not null then
        grant select on pg_temp.load_customers to crm_owner;
    end if;
    return crm.load_customers_apply(batch);
end
$$;

comment on function etl.load_customers is
'Upserts customers from pg_temp.load_customers; returns the rows kept.';


create function etl.load_products(batch bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('pg_temp.load_products') is not null then
        grant select on pg_temp.load_products to crm_owner;
    end if;
    return crm.load_products_apply(batch);
end
$$;

comment on function etl.load_products is
'Upserts products from pg_temp.load_products; returns the rows kept.';


create function etl.load_orders(batch bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('pg_temp.load_orders') is not null then
        grant select on pg_temp.load_orders to crm_owner;
    end if;
    return crm.load_orders_apply(batch);
end
$$;

comment on function etl.load_orders is
'Upserts orders and lines from pg_temp.load_orders; returns the rows kept.';

reset role;
