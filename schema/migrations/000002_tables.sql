/*
 * 000002_tables.sql - the private tables.
 *
 * Business tables (what people decide or are told) carry registered_at,
 * modified_at, remark and a history; campaign and load_batch are reviewed too.
 * Tables that machines derive (visitor, profile, popular, ...) carry none of
 * that: they can be made again.  Tenancy is the column site, everywhere first
 * in the key.
 *
 * Ids of shops and visitors are texts of 1 to 64 bytes without control
 * characters, as docs/loading.md has them.
 */

set local role crm_owner;

/* Plain expressions, inlined by the planner: no table, nothing to escalate. */

create function crm.id_ok(id text) returns boolean
language sql immutable parallel safe
return octet_length(id) between 1 and 64 and id !~ '[\x01-\x1f\x7f]';

comment on function crm.id_ok is
'True for an id of 1 to 64 bytes without control characters.';

create function crm.name_ok(name text) returns boolean
language sql immutable parallel safe
return name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';

comment on function crm.name_ok is
'True for a name that may stand in configuration: [A-Za-z0-9._-], 1 to 64.';


create table crm.site (
    key            text primary key,
    name           text not null default '',
    currency       text not null default 'EUR',
    reviews_needed int not null default 2,
    retention_days int,
    registered_at  timestamptz not null default now(),
    modified_at    timestamptz not null default now(),
    remark         text,
    constraint site_key_form check (crm.id_ok(key)),
    constraint site_name_size check (octet_length(name) <= 200),
    constraint site_currency_iso check (currency ~ '^[A-Z]{3}$'),
    constraint site_reviews_range check (reviews_needed between 0 and 2),
    constraint site_retention_range
        check (retention_days between 1 and 36500)
);

comment on table crm.site is 'One shop or web site: the tenant.';
comment on column crm.site.key is 'crm_site of nginx.conf.';
comment on column crm.site.currency is
'ISO 4217 code in which amounts without a currency are meant.';
comment on column crm.site.reviews_needed is
'How many different people must review a campaign before it is live, 0 to 2.';
comment on column crm.site.retention_days is
'Days that events are kept; null: for ever.';


create table crm.visitor (
    site     text not null references crm.site,
    vid      uuid not null,
    first_at timestamptz not null,
    last_at  timestamptz not null,
    events   bigint not null,
    sessions int not null,
    primary key (site, vid),
    constraint visitor_times_order check (first_at <= last_at),
    constraint visitor_events_range check (events >= 0),
    constraint visitor_sessions_range check (sessions >= 0)
) with (fillfactor = 80);

comment on table crm.visitor is
'One browser, as its cookie names it; derived from events.';
comment on column crm.visitor.events is 'Events imported of this visitor.';
comment on column crm.visitor.sessions is 'Highest session number seen.';


create table crm.customer (
    site          text not null references crm.site,
    customer_id   text not null,
    name          text,
    email         text,
    country       text,
    tier          text,
    registered_at timestamptz not null default now(),
    modified_at   timestamptz not null default now(),
    remark        text,
    primary key (site, customer_id),
    constraint customer_id_form check (crm.id_ok(customer_id)),
    constraint customer_name_size check (octet_length(name) <= 1000),
    constraint customer_email_size check (octet_length(email) <= 320),
    constraint customer_country_size check (octet_length(country) <= 64),
    constraint customer_tier_size check (octet_length(tier) <= 40)
);

comment on table crm.customer is
'One person or firm that the shop knows by an id of its own.';
comment on column crm.customer.customer_id is 'The shop''s id; uid in events.';
comment on column crm.customer.tier is 'Value tier, as the shop names it.';
comment on column crm.customer.registered_at is
'When the customer registered with the shop, else when the row was made.';


create table crm.identity (
    site        text not null,
    vid         uuid not null,
    customer_id text not null,
    at          timestamptz not null,
    primary key (site, vid),
    constraint identity_customer_fkey
        foreign key (site, customer_id) references crm.customer
) with (fillfactor = 80);

create index identity_customer_idx on crm.identity (site, customer_id);

comment on table crm.identity is
'Which customer last identified itself in which browser; history keeps others.';
comment on column crm.identity.at is 'When it last did.';


create table crm.product (
    site          text not null references crm.site,
    product_id    text not null,
    name          text,
    category      text,
    price         numeric(12,2),
    currency      text,
    url           text,
    registered_at timestamptz not null default now(),
    modified_at   timestamptz not null default now(),
    remark        text,
    primary key (site, product_id),
    constraint product_id_form check (crm.id_ok(product_id)),
    constraint product_name_size check (octet_length(name) <= 1000),
    constraint product_category_size check (octet_length(category) <= 1000),
    constraint product_price_range check (price between 0 and 1000000),
    constraint product_currency_iso check (currency ~ '^[A-Z]{3}$'),
    constraint product_url_size check (octet_length(url) <= 8192)
);

comment on table crm.product is 'What the shop sells.';


create table crm."order" (
    site          text not null references crm.site,
    order_id      text not null,
    customer_id   text,
    vid           uuid,
    ordered_at    timestamptz not null,
    currency      text,
    total         numeric(18,2),
    country       text,
    src           text not null,
    registered_at timestamptz not null default now(),
    modified_at   timestamptz not null default now(),
    remark        text,
    primary key (site, order_id),
    constraint order_customer_fkey
        foreign key (site, customer_id) references crm.customer,
    constraint order_id_form check (crm.id_ok(order_id)),
    constraint order_currency_iso check (currency ~ '^[A-Z]{3}$'),
    constraint order_country_size check (octet_length(country) <= 64),
    constraint order_src_known check (src in ('event', 'import'))
);

create index order_customer_idx on crm."order" (site, customer_id);

comment on table crm."order" is 'One purchase, or one return of goods.';
comment on column crm."order".vid is 'The browser it was made in, if known.';
comment on column crm."order".total is
'As the shop reported it, else the sum of the lines.';
comment on column crm."order".src is
'event: told by an Order Completed; import: loaded from a file.';


create table crm.order_line (
    site       text not null,
    order_id   text not null,
    line       int not null,
    product_id text not null,
    quantity   int not null,
    price      numeric not null,
    primary key (site, order_id, line),
    constraint order_line_order_fkey foreign key (site, order_id)
        references crm."order" on delete cascade,
    constraint order_line_product_fkey
        foreign key (site, product_id) references crm.product,
    constraint order_line_quantity_range
        check (quantity between -1000000 and 1000000 and quantity <> 0),
    constraint order_line_price_range check (price between 0 and 1000000)
);

comment on table crm.order_line is 'One product of an order.';
comment on column crm.order_line.quantity is 'Pieces; negative: returned.';
comment on column crm.order_line.price is 'Of one piece.';


create table crm.campaign (
    site             text not null references crm.site,
    key              text not null,
    name             text not null default '',
    slot             text not null,
    state            text not null,
    priority         int not null default 0,
    starts_at        timestamptz,
    ends_at          timestamptz,
    condition        jsonb not null default '{}',
    variants         jsonb not null,
    dropped_at       timestamptz,
    registered_at    timestamptz not null default now(),
    modified_at      timestamptz not null default now(),
    remark           text,
    first_review_by  text,
    first_review_at  timestamptz,
    second_review_by text,
    second_review_at timestamptz,
    primary key (site, key),
    constraint campaign_key_form check (key ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    constraint campaign_name_size check (char_length(name) <= 200),
    constraint campaign_slot_form check (crm.name_ok(slot)),
    constraint campaign_state_known
        check (state in ('draft', 'live', 'paused', 'ended')),
    constraint campaign_priority_range check (priority between 0 and 1000),
    constraint campaign_times_order check (starts_at < ends_at),
    constraint campaign_condition_object
        check (jsonb_typeof(condition) = 'object'),
    constraint campaign_variants_array
        check (jsonb_typeof(variants) = 'array'),
    constraint campaign_two_people
        check (second_review_by is null
               or (first_review_by is not null
                   and first_review_by <> second_review_by))
);

comment on table crm.campaign is
'What fills a slot, for whom and when; docs/campaigns.md.';
comment on column crm.campaign.condition is 'when of the document.';
comment on column crm.campaign.dropped_at is
'When its file was dropped: ended, and no longer exported.';


create table crm.campaign_version (
    site        text primary key references crm.site on delete cascade,
    version     bigint not null,
    modified_at timestamptz not null default now()
);

comment on table crm.campaign_version is
'Counts the changes of a site''s campaigns; version of the set.';


create table crm.run (
    id         bigint generated always as identity primary key,
    site       text not null references crm.site,
    task       text not null,
    params     jsonb not null default '{}',
    seed       bigint,
    state      text not null default 'running',
    parts      text[] not null default '{}',
    started_at timestamptz not null default clock_timestamp(),
    ended_at   timestamptz,
    rows_in    bigint,
    rows_out   bigint,
    quality    jsonb,
    summary    text,
    constraint run_task_form check (crm.name_ok(task)),
    constraint run_params_object check (jsonb_typeof(params) = 'object'),
    constraint run_state_known
        check (state in ('running', 'done', 'failed', 'published')),
    constraint run_rows_range check (rows_in >= 0 and rows_out >= 0)
);

create index run_site_idx on crm.run (site, task, id);

comment on table crm.run is 'One run of one mining task.';
comment on column crm.run.params is
'What it was asked; the functions read days (how far back, default all).';
comment on column crm.run.state is
'running, done, failed; published: its results are or were in force.';
comment on column crm.run.parts is
'Results it wrote: features, rfm, popular, coviewed.';
comment on column crm.run.quality is 'Figures of merit, by task.';


create table crm.published (
    site         text not null references crm.site on delete cascade,
    part         text not null,
    run          bigint not null references crm.run,
    published_at timestamptz not null default now(),
    primary key (site, part),
    constraint published_part_known
        check (part in ('features', 'rfm', 'popular', 'coviewed'))
);

comment on table crm.published is 'Which run each part in force comes from.';


/* No foreign keys: rows are many, written once and dropped with their run. */

create table crm.result_profile (
    run         bigint not null,
    part        text not null,
    customer_id text not null,
    attributes  jsonb not null,
    primary key (run, part, customer_id)
);

comment on table crm.result_profile is
'Results of runs about customers, not in force before they are published.';

create table crm.result_popular (
    run        bigint not null,
    rank       int not null,
    product_id text not null,
    score      double precision not null,
    primary key (run, rank)
);

comment on table crm.result_popular is
'Results of runs: popular products, not in force before published.';

create table crm.result_coviewed (
    run        bigint not null,
    product_id text not null,
    rank       int not null,
    other_id   text not null,
    score      double precision not null,
    primary key (run, product_id, rank)
);

comment on table crm.result_coviewed is
'Results of runs: products viewed together, not in force before published.';


create table crm.profile (
    site        text not null,
    customer_id text not null,
    attributes  jsonb not null,
    runs        bigint[] not null,
    modified_at timestamptz not null default now(),
    primary key (site, customer_id),
    constraint profile_customer_fkey foreign key (site, customer_id)
        references crm.customer on delete cascade,
    constraint profile_attributes_object
        check (jsonb_typeof(attributes) = 'object')
);

comment on table crm.profile is
'What mining found about a customer: customer.* of conditions and content.';
comment on column crm.profile.runs is
'The runs in force when this profile last changed.';

create table crm.popular (
    site       text not null references crm.site on delete cascade,
    rank       int not null,
    product_id text not null,
    score      double precision not null,
    primary key (site, rank)
);

comment on table crm.popular is 'The most popular products in force.';
comment on column crm.popular.score is
'Decayed views and orders, the most popular product''s being 1.';

create table crm.coviewed (
    site       text not null references crm.site on delete cascade,
    product_id text not null,
    rank       int not null,
    other_id   text not null,
    score      double precision not null,
    primary key (site, product_id, rank)
);

comment on table crm.coviewed is
'Products viewed in the same sessions, in force; best first.';
comment on column crm.coviewed.score is
'Sessions with both / square root of (sessions with one * with the other).';


create table crm.load_batch (
    id               bigint generated always as identity primary key,
    site             text not null references crm.site,
    kind             text not null,
    file             text not null,
    state            text not null default 'running',
    rows_in          bigint,
    kept             bigint,
    rejected         bigint,
    ended_at         timestamptz,
    registered_at    timestamptz not null default now(),
    modified_at      timestamptz not null default now(),
    remark           text,
    first_review_by  text,
    first_review_at  timestamptz,
    second_review_by text,
    second_review_at timestamptz,
    constraint load_batch_kind_known
        check (kind in ('customers', 'products', 'orders', 'clicks')),
    constraint load_batch_state_known check (state in ('running', 'done')),
    constraint load_batch_counts check (rows_in = kept + rejected),
    constraint load_batch_two_people
        check (second_review_by is null
               or (first_review_by is not null
                   and first_review_by <> second_review_by))
);

comment on table crm.load_batch is 'One file that was loaded.';
comment on column crm.load_batch.kept is 'rows_in = kept + rejected, always.';

create table crm.reject (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default now(),
    source text not null,
    line   bigint,
    reason text not null,
    raw    text,
    batch  bigint references crm.load_batch on delete cascade
);

create index reject_batch_idx on crm.reject (batch);

comment on table crm.reject is 'Input that was refused, and why.';
comment on column crm.reject.source is
'Where it came from: a file, import:<producer>, absorb.';
comment on column crm.reject.line is 'Line of the file, sequence of an event.';
comment on column crm.reject.raw is 'The input, at most 4096 characters.';


create table crm.producer (
    producer    text primary key,
    last_seq    bigint not null default 0,
    events      bigint not null default 0,
    gap         bigint not null default 0,
    modified_at timestamptz not null default now(),
    constraint producer_form check (crm.name_ok(producer)),
    constraint producer_counts_range
        check (last_seq >= 0 and events >= 0 and gap >= 0)
) with (fillfactor = 50);

comment on table crm.producer is
'How far each journal file is imported; moves with the rows themselves.';
comment on column crm.producer.last_seq is 'Last sequence committed.';
comment on column crm.producer.events is 'Events imported.';
comment on column crm.producer.gap is
'Sequences that never came: shed or lost by the producer.';


create table crm.app_user (
    name          text primary key,
    password_hash text not null,
    role          text not null,
    site          text references crm.site,
    registered_at timestamptz not null default now(),
    modified_at   timestamptz not null default now(),
    remark        text,
    constraint app_user_name_form check (crm.id_ok(name)),
    constraint app_user_role_known
        check (role in ('admin', 'marketer', 'reviewer', 'agent', 'analyst',
                        'partner'))
);

comment on table crm.app_user is 'A person who may sign in to the console.';
comment on column crm.app_user.password_hash is 'crypt(), Blowfish.';
comment on column crm.app_user.site is 'The only site it may see; null: all.';

reset role;
