#!/bin/bash
# Several importers make the same days at once, while one writes events.
PSQL='psql -qXAt -v ON_ERROR_STOP=1'
out=$(mktemp -d /tmp/crm_partitions.XXXXXX)
trap 'rm -rf "$out"' EXIT
echo 1..4

# ok CONDITION-STATUS NUMBER NAME
ok() {
    [ "$1" -eq 0 ] && echo "ok $2 - $3" || echo "not ok $2 - $3"
}

$PSQL -c "select etl.ensure_partitions('2020-01-01', '2020-01-01')" > "$out/0"

# An import that stays open until its standard input ends.
mkfifo "$out/fifo"
$PSQL -U crm_etl < "$out/fifo" > "$out/import" 2>&1 &
import=$!
exec 3> "$out/fifo"
echo "begin;
insert into crm.event (site, id, rts, type, src)
values ('t', gen_random_uuid(), '2020-01-01', 'page', 'origin');
select 'open';" >&3
for _ in $(seq 200); do
    grep -q open "$out/import" && break
    sleep 0.05
done
grep -q open "$out/import"
ok $? 1 'an import is open'

pids=()
for i in 1 2 3 4; do
    $PSQL -U crm_etl > "$out/$i" 2>&1 \
        -c "select etl.ensure_partitions('2020-01-01', '2020-03-01')" &
    pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
done
[ $failed -eq 0 ] || sed 's/^/# /' "$out"/[1-4]
ok $failed 2 'four sessions make days, and wait for no import'
[ $(($(cat "$out"/[1-4] | paste -sd+))) -eq 60 ]
ok $? 3 'each day is made once'

echo 'commit;' >&3
exec 3>&-
wait $import && [ "$($PSQL -c 'select count(*) from crm.event')" = 1 ]
ok $? 4 'the import commits'
