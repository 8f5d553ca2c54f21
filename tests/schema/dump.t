#!/bin/sh
# The migrations give exactly schema/schema.expected.sql.
echo 1..1
if diff -u schema/schema.expected.sql "$CRM_SCHEMA_DUMP" > "$CRM_SCHEMA_DUMP.diff"
then
    echo 'ok 1 - the schema is the one that is kept'
else
    echo 'not ok 1 - the schema is the one that is kept'
    sed 's/^/# /' "$CRM_SCHEMA_DUMP.diff" | head -60
    echo '# if it is meant: schema/dump CONNINFO > schema/schema.expected.sql'
fi
