#!/bin/bash
# docs/schema.md has a line for every table and function, with its comment.
echo 1..1
missing=$(psql -qXAt <<'SQL' | while IFS= read -r line; do
select format('| `%s.%s` | %s |', n.nspname, c.relname, obj_description(c.oid))
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
 where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
   and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
 order by 1;
select format('| `%s.%s(%s)` | %s | %s |', n.nspname, p.proname,
              pg_get_function_identity_arguments(p.oid),
              case when p.prorettype = 'trigger'::regtype then 'trigger'
                   when p.proretset then 'rows'
                   else format_type(p.prorettype, null) end,
              obj_description(p.oid, 'pg_proc'))
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
 where n.nspname in ('crm', 'edge', 'etl', 'api', 'mart')
   and p.proowner = 'crm_owner'::regrole
 order by 1;
SQL
    grep -qxF -- "$line" docs/schema.md || echo "# missing: $line"
done)
if [ -z "$missing" ]; then
    echo 'ok 1 - docs/schema.md is complete'
else
    echo 'not ok 1 - docs/schema.md is complete'
    echo "$missing"
fi
