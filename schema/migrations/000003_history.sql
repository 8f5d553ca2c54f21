/*
 * 000003_history.sql - who changed what: modified_at and the history.
 *
 * An insert needs no history where the row itself says when it came; for the
 * tables that people decide on it is kept as well.  An update keeps only the
 * members that changed, so that any past state can be rebuilt backwards from
 * the row.  Secrets never enter it.
 */

set local role crm_owner;

create table crm.history (
    id         bigint generated always as identity primary key,
    table_name text not null,
    key        jsonb not null,
    op         text not null,
    at         timestamptz not null default clock_timestamp(),
    who        text not null,
    login      text not null,
    old        jsonb,
    new        jsonb,
    constraint history_op_known check (op in ('insert', 'update', 'delete'))
);

create index history_key_idx on crm.history (table_name, key, id);

comment on table crm.history is 'Every change of a business row; append-only.';
comment on column crm.history.who is
'crm.actor of the transaction (a reviewer), else the login.';
comment on column crm.history.login is 'The role that had logged in.';
comment on column crm.history.old is 'Members that changed, before.';
comment on column crm.history.new is 'Members that changed, after.';


create function crm.touch() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    /* Not now(): two changes in one transaction are two changes. */
    new.modified_at := clock_timestamp();
    return new;
end
$$;

comment on function crm.touch is 'Trigger: sets modified_at.';


create function crm.remember() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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

comment on function crm.remember is
'Trigger: writes crm.history; its arguments name the key columns.';


/* Business tables: modified_at is ours, changes are remembered. */

do $$
declare
    t       record;
    arg_sql text;
begin
    for t in
        select *
          from (values ('site', array['key'], true),
                       ('customer', array['site', 'customer_id'], false),
                       ('product', array['site', 'product_id'], false),
                       ('order', array['site', 'order_id'], false),
                       ('campaign', array['site', 'key'], true),
                       ('load_batch', array['id'], true),
                       ('app_user', array['name'], true))
                   as b (name, key, inserts)
    loop
        execute format('create trigger touch before update on crm.%I
                        for each row when (old.* is distinct from new.*)
                        execute function crm.touch()', t.name);

        select string_agg(quote_literal(k), ', ')
          into arg_sql
          from unnest(t.key) as k;

        execute format('create trigger remember after %s update or delete
                        on crm.%I for each row
                        execute function crm.remember(%s)',
                       case when t.inserts then 'insert or' else '' end,
                       t.name, arg_sql);
    end loop;
end
$$;

/* at moves with every visit; only another customer is worth remembering. */

create trigger remember_update after update on crm.identity
    for each row when (old.customer_id is distinct from new.customer_id)
    execute function crm.remember('site', 'vid');

create trigger remember_delete after delete on crm.identity
    for each row execute function crm.remember('site', 'vid');

reset role;
