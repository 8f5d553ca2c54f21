/*
 * event.c - one line of JSON as the columns of crm.event.
 *
 * A line is validated and cut in one pass; texts without escapes and the
 * objects ctx, req, props, dec are pointed at, not copied, and nothing is
 * allocated.  What the line says beyond the known members is kept: unknown
 * members, second ones of a name, and optional ones of a wrong type or length
 * go to `extra` under their own name.  Only without id, site, type, src or rts
 * there is no event.
 */

#include <string.h>

#include "mining.h"


#define EVENT_AHEAD_US (40 * MINING_US_PER_DAY) /* as etl.ensure_partitions */
#define EVENT_TS_MAX   253402300799999999LL     /* the year 9999 */


typedef enum {
    EVENT_TEXT,
    EVENT_UUID,
    EVENT_INTEGER,
    EVENT_OBJECT,
    EVENT_ARRAY
} event_kind_e;

typedef struct {
    const char    *name;
    size_t         len;
    mining_event_e column;
    event_kind_e   kind;
    int64_t        max; /* bytes of TEXT, value of INTEGER */
} event_member_t;


/* In the order of docs/events.md: a search goes on where the last ended. */
static const event_member_t event_members[] = {
    {"id", 2, MINING_EVENT_ID, EVENT_UUID, 0},
    {"site", 4, MINING_EVENT_SITE, EVENT_TEXT, MINING_ID_MAX},
    {"type", 4, MINING_EVENT_TYPE, EVENT_TEXT, 32},
    {"name", 4, MINING_EVENT_NAME, EVENT_TEXT, MINING_EVENT_NAME_MAX},
    {"ts", 2, MINING_EVENT_TS, EVENT_INTEGER, EVENT_TS_MAX},
    {"rts", 3, MINING_EVENT_RTS, EVENT_INTEGER, EVENT_TS_MAX},
    {"vid", 3, MINING_EVENT_VID, EVENT_UUID, 0},
    {"sid", 3, MINING_EVENT_SID, EVENT_UUID, 0},
    {"sn", 2, MINING_EVENT_SN, EVENT_INTEGER, INT32_MAX},
    {"seq", 3, MINING_EVENT_SEQ, EVENT_INTEGER, INT32_MAX},
    {"uid", 3, MINING_EVENT_UID, EVENT_TEXT, MINING_ID_MAX},
    {"src", 3, MINING_EVENT_SRC, EVENT_TEXT, 32},
    {"mid", 3, MINING_EVENT_MID, EVENT_TEXT, MINING_EVENT_NAME_MAX},
    {"ctx", 3, MINING_EVENT_CTX, EVENT_OBJECT, 0},
    {"req", 3, MINING_EVENT_REQ, EVENT_OBJECT, 0},
    {"props", 5, MINING_EVENT_PROPS, EVENT_OBJECT, 0},
    {"dec", 3, MINING_EVENT_DEC, EVENT_ARRAY, 0},
};

#define EVENT_MEMBERS (sizeof(event_members) / sizeof(event_members[0]))

const char mining_event_copy_columns[] =
    "site, id, rts, ts, type, name, vid, sid, sn, seq, uid, src, mid, ctx,"
    " req, props, dec, extra";


static const event_member_t *
event_find(tracker_str_t key, unsigned *hint)
{
    unsigned              i, n;
    const event_member_t *member;

    for (n = 0; n < EVENT_MEMBERS; n++) {
        i = (*hint + n) % EVENT_MEMBERS;
        member = &event_members[i];

        if (member->len == key.len
            && memcmp(member->name, key.data, key.len) == 0) {
            *hint = i + 1;
            return member;
        }
    }

    return NULL;
}


static int
event_integer(tracker_str_t value, int64_t max, int64_t *number)
{
    size_t i;

    if (value.len == 0 || value.len > 18) {
        return 0;
    }

    *number = 0;
    for (i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return 0;
        }
        *number = *number * 10 + (value.data[i] - '0');
    }

    return *number <= max;
}


static int
event_text(
    mining_event_t *event, const event_member_t *member, tracker_str_t value)
{
    size_t         len;
    tracker_str_t *column;

    column = &event->columns[member->column];

    if (memchr(value.data, '\\', value.len) == NULL) {
        column->data = value.data + 1;
        column->len = value.len - 2;

    } else {
        if (tracker_json_text(value, event->text + event->ntext,
                sizeof(event->text) - event->ntext, &len)
            != TRACKER_OK)
        {
            return 0;
        }
        column->data = event->text + event->ntext;
        column->len = len;
        event->ntext += len;
    }

    if (column->len == 0 || column->len > (size_t) member->max) {
        column->data = NULL;
        return 0;
    }

    return 1;
}


static int
event_uuid(mining_event_t *event, mining_event_e column, tracker_str_t value)
{
    uint8_t *uuid;

    uuid = column == MINING_EVENT_ID    ? event->id
           : column == MINING_EVENT_VID ? event->vid
                                        : event->sid;

    return value.len == TRACKER_UUID_TEXT + 2
           && tracker_uuid_parse(uuid, value.data + 1, TRACKER_UUID_TEXT)
                  == TRACKER_OK;
}


static void
event_number(mining_event_t *event, mining_event_e column, int64_t number)
{
    switch (column) {
    case MINING_EVENT_RTS:
        event->rts = number;
        break;
    case MINING_EVENT_TS:
        event->ts = number;
        break;
    case MINING_EVENT_SN:
        event->sn = (int32_t) number;
        break;
    default:
        event->seq = (int32_t) number;
        break;
    }
}


/* 1 when the member found its column. */
static int
event_put(mining_event_t *event, const event_member_t *known,
    const tracker_json_member_t *member)
{
    static const char types[] = {'"', '"', '0', '{', '['};
    int64_t           number;

    if (event->columns[known->column].data != NULL
        || member->type != types[known->kind])
    {
        return 0;
    }

    switch (known->kind) {
    case EVENT_TEXT:
        return event_text(event, known, member->value);

    case EVENT_UUID:
        if (!event_uuid(event, known->column, member->value)) {
            return 0;
        }
        break;

    case EVENT_INTEGER:
        if (!event_integer(member->value, known->max, &number)) {
            return 0;
        }
        event_number(event, known->column, number);
        break;

    case EVENT_OBJECT:
    case EVENT_ARRAY:
        break;
    }

    event->columns[known->column] = member->value;

    return 1;
}


static const char *
event_fault(const mining_event_t *event, int64_t now_us)
{
    const tracker_str_t *columns = event->columns;

    if (columns[MINING_EVENT_ID].data == NULL) {
        return "id is missing or no UUID";
    }
    if (columns[MINING_EVENT_SITE].data == NULL) {
        return "site is missing or no text of 1 to 64 bytes";
    }
    if (columns[MINING_EVENT_TYPE].data == NULL) {
        return "type is missing or no text of 1 to 32 bytes";
    }
    if (columns[MINING_EVENT_SRC].data == NULL) {
        return "src is missing or no text of 1 to 32 bytes";
    }
    if (columns[MINING_EVENT_RTS].data == NULL) {
        return "rts is missing or no integer of us since 1970";
    }
    if (event->rts < MINING_FIRST_DAY * MINING_US_PER_DAY) {
        return "rts is before 1990: us since 1970 are expected";
    }
    if (event->rts / MINING_US_PER_DAY
        > (now_us + EVENT_AHEAD_US) / MINING_US_PER_DAY)
    {
        return "rts is more than 40 days ahead: us since 1970 are expected";
    }

    return NULL;
}


mining_result_e
mining_event_slice(mining_event_t *event, tracker_str_t line, int64_t now_us,
    const char **reason)
{
    size_t                pos;
    unsigned              hint;
    tracker_result_e      rc;
    const event_member_t *known;
    tracker_json_member_t member;

    memset(event->columns, 0, sizeof(event->columns));
    event->nextra = 0;
    event->ntext = 0;
    *reason = NULL;

    pos = 0;
    hint = 0;

    while ((rc = tracker_json_next(line, &pos, &member)) == TRACKER_OK) {

        known = event_find(member.key, &hint);
        if (known != NULL && event_put(event, known, &member)) {
            continue;
        }

        if (event->nextra == MINING_EVENT_MEMBERS_MAX) {
            *reason = "more than 64 unknown members";
            return MINING_INVALID;
        }
        event->extra[event->nextra++] = member;
    }

    if (rc != TRACKER_DECLINED) {
        *reason = "not a JSON object in UTF-8";
        return MINING_INVALID;
    }

    *reason = event_fault(event, now_us);

    return *reason == NULL ? MINING_OK : MINING_INVALID;
}


static void
event_extra(mining_copy_t *copy, const mining_event_t *event)
{
    size_t                       mark;
    unsigned                     i;
    const tracker_json_member_t *member;

    if (event->nextra == 0) {
        mining_copy_null(copy);
        return;
    }

    mark = mining_copy_open(copy);
    mining_copy_append(copy, "\001{", 2);
    for (i = 0; i < event->nextra; i++) {
        member = &event->extra[i];
        mining_copy_append(copy, ",", i == 0 ? 0 : 1);
        mining_copy_append(copy, "\"", 1);
        mining_copy_append(copy, member->key.data, member->key.len);
        mining_copy_append(copy, "\":", 2);
        mining_copy_append(copy, member->value.data, member->value.len);
    }
    mining_copy_append(copy, "}", 1);
    mining_copy_close(copy, mark);
}


void
mining_event_row(mining_copy_t *copy, const mining_event_t *event)
{
    unsigned             i;
    const tracker_str_t *column;

    mining_copy_row(copy, MINING_EVENT_COLUMNS);

    for (i = 0; i < MINING_EVENT_EXTRA; i++) {
        column = &event->columns[i];
        if (column->data == NULL) {
            mining_copy_null(copy);
            continue;
        }

        switch (i) {
        case MINING_EVENT_ID:
            mining_copy_uuid(copy, event->id);
            break;
        case MINING_EVENT_VID:
            mining_copy_uuid(copy, event->vid);
            break;
        case MINING_EVENT_SID:
            mining_copy_uuid(copy, event->sid);
            break;
        case MINING_EVENT_RTS:
            mining_copy_time(copy, event->rts);
            break;
        case MINING_EVENT_TS:
            mining_copy_time(copy, event->ts);
            break;
        case MINING_EVENT_SN:
            mining_copy_int4(copy, event->sn);
            break;
        case MINING_EVENT_SEQ:
            mining_copy_int4(copy, event->seq);
            break;
        case MINING_EVENT_CTX:
        case MINING_EVENT_REQ:
        case MINING_EVENT_PROPS:
        case MINING_EVENT_DEC:
            mining_copy_json(copy, column->data, column->len);
            break;
        default:
            mining_copy_text(copy, column->data, column->len);
            break;
        }
    }

    event_extra(copy, event);
}


tracker_json_member_t
mining_event_member(tracker_str_t object, const char *name)
{
    size_t                pos, len;
    tracker_json_member_t member;

    pos = 0;
    len = strlen(name);

    while (object.data != NULL
           && tracker_json_next(object, &pos, &member) == TRACKER_OK)
    {
        if (member.key.len == len && memcmp(member.key.data, name, len) == 0) {
            return member;
        }
    }

    memset(&member, 0, sizeof(member));

    return member;
}
