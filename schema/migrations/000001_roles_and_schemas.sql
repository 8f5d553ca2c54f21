/*
 * 000001_roles_and_schemas.sql - who may exist here, and the rooms they use.
 *
 * Roles belong to the whole cluster and survive a dropped database, so they
 * are made only when missing.  crm_owner owns every object and never logs in;
 * crm_edge (nginx) and crm_etl (crm-mine) log in by whatever pg_hba.conf asks
 * of them: they have no password here.  The others are groups for people.
 *
 * Every later file works as crm_owner, so that ownership needs no fixing.
 */

do $$
declare
    wanted record;
begin
    for wanted in
        select *
          from (values ('crm_owner', 'nologin'),
                       ('crm_edge', 'login'),
                       ('crm_etl', 'login'),
                       ('crm_admin', 'nologin'),
                       ('crm_marketer', 'nologin'),
                       ('crm_reviewer', 'nologin'),
                       ('crm_agent', 'nologin'),
                       ('crm_analyst', 'nologin'),
                       ('crm_partner', 'nologin')) as r (name, login)
    loop
        if not exists (select from pg_roles where rolname = wanted.name) then
            begin
                execute format('create role %I %s', wanted.name,
                               wanted.login);
            exception
                /* Another database of this cluster migrates right now. */
                when duplicate_object or unique_violation then
                    null;
            end;
        end if;
    end loop;

    if not pg_has_role(current_user, 'crm_owner', 'member') then
        execute format('grant crm_owner to %I', current_user);
    end if;

    /* The database is the product's own: nothing in it is for everybody. */
    execute format('revoke all on database %I from public',
                   current_database());
    execute format('grant connect on database %I to crm_owner, crm_edge,
                    crm_etl, crm_admin, crm_marketer, crm_reviewer, crm_agent,
                    crm_analyst, crm_partner', current_database());
    /* crm-mine stages files in temporary tables. */
    execute format('grant temporary on database %I to crm_etl, crm_owner',
                   current_database());
end
$$;

revoke create on schema public from public;

create schema crm authorization crm_owner;
create schema edge authorization crm_owner;
create schema etl authorization crm_owner;
create schema api authorization crm_owner;
create schema mart authorization crm_owner;

comment on schema crm is 'Private tables: every fact the product keeps.';
comment on schema edge is 'What nginx may call (role crm_edge).';
comment on schema etl is 'What crm-mine may call (role crm_etl).';
comment on schema api is 'What people and programs may call; empty so far.';
comment on schema mart is 'Read views for analysts (role crm_analyst).';

create extension if not exists pgcrypto with schema crm;

alter default privileges for role crm_owner
    revoke execute on functions from public;
alter default privileges for role crm_owner
    revoke usage on types from public;
