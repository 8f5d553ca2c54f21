/*
 * clients.h - what client libraries, forms and the shop itself say.
 *
 * A part of tracker.h, which includes it.
 */

#ifndef TRACKER_CLIENTS_H_INCLUDED_
#define TRACKER_CLIENTS_H_INCLUDED_

#pragma GCC visibility push(hidden)


/* ---- split.c: cuts the body of a client library into events ------------- */

typedef enum {
    TRACKER_PIECE_EVENT = 0, /* an element of the list */
    TRACKER_PIECE_MEMBER     /* another member of the object around it */
} tracker_piece_e;

typedef struct {
    tracker_piece_e kind;
    size_t          key; /* of MEMBER: offset and bytes between its quotes */
    size_t          key_len;
    size_t          value; /* offset in the text */
    size_t          len;   /* bytes of the value */
} tracker_piece_t;

typedef struct {
    const char *list; /* name of the member that holds events: "batch" */
    size_t      list_len;
    size_t      pos;    /* bytes looked at */
    size_t      object; /* offset of the opening brace */
    size_t      key;
    size_t      key_len;
    size_t      value;
    unsigned    depth; /* brackets open inside the value */
    uint8_t     state; /* of split.c */
    uint8_t     string;
    uint8_t     escape;
    uint8_t     listed; /* the list was seen */
} tracker_split_t;

void tracker_split_init(tracker_split_t *split, const char *list);
/*
 * The next piece of the text, which holds all bytes so far and may have moved
 * or grown since the last call.  AGAIN: it ends too early.  DECLINED: the
 * object is whole and nothing but blanks follows as yet.  INVALID: it is no
 * such object.  Only the frame is checked; the pieces are for others to judge.
 */
tracker_result_e tracker_split_next(
    tracker_split_t *split, tracker_str_t text, tracker_piece_t *piece);
/* 1: there was no list, so the object itself is the event. */
int tracker_split_single(const tracker_split_t *split);


/* ---- clean.c: JSON of strangers as JSON that PostgreSQL takes ----------- */

#define TRACKER_CLEAN_DEPTH 30 /* an event's own brackets; tracker_json_next */

/*
 * Copies one JSON value without blanks.  NUL, lone surrogates and bytes that
 * are not UTF-8 become U+FFFD (added to *replaced); numbers that no column
 * holds become strings.  INVALID: no JSON.  DECLINED: deeper than
 * TRACKER_CLEAN_DEPTH.  FULL: it does not fit, 3 bytes per byte always do.
 */
tracker_result_e tracker_json_clean(tracker_str_t text, char *buf, size_t size,
    size_t *len, unsigned *replaced);


/* ---- hit.c, segment.c, snowplow.c: an event of a client library --------- */

#define TRACKER_HIT_MAX   65536        /* bytes of one event's text */
#define TRACKER_HIT_ROOM  (512 * 1024) /* bytes of work space, see below */
#define TRACKER_HIT_PROPS 4            /* that a session looks at */
#define TRACKER_MID_MAX   100          /* bytes of a message id */
#define TRACKER_NAME_MAX  200          /* bytes of an event's name */

typedef struct {
    /* what the client said; site, id, vid, rts_us and so on are the caller's */
    tracker_event_t event;
    tracker_prop_t  props[TRACKER_HIT_PROPS];
    tracker_str_t   session;  /* the client's own name of the session */
    tracker_str_t   app;      /* Snowplow's aid: a write key, or anything */
    int64_t         time_us;  /* when it happened by the client's clock; 0: - */
    int64_t         sent_us;  /* when it left by the same clock; 0: unknown */
    const char     *reason;   /* of INVALID: what is wrong, static */
    unsigned        replaced; /* characters that were no text */

    /* where unescaped and cleaned texts lie: the caller's, of ROOM bytes */
    char *room;
    char *end;
} tracker_hit_t;

/*
 * Reads one event into *hit, which points into `json` and `room` from then on.
 * INVALID: it cannot be an event, hit->reason tells why.  DECLINED: it is no
 * JSON at all.  `type` is what the path said, or "".
 */
tracker_result_e tracker_segment_read(
    tracker_hit_t *hit, char *room, tracker_str_t json, tracker_str_t type);
tracker_result_e tracker_snowplow_read(
    tracker_hit_t *hit, char *room, tracker_str_t json);
/* A query string as the JSON object that the POST form would have held. */
tracker_result_e tracker_snowplow_query(
    tracker_str_t query, char *buf, size_t size, size_t *len);

/*
 * Sets event.ts_us: the client's time, moved by how much its clock was wrong
 * when it sent (sent_us of the batch, 0: the event's own), if it is sane.
 */
void tracker_hit_time(tracker_hit_t *hit, int64_t sent_us, uint64_t rts_us);
/* ISO 8601 as libraries write it, or ms since 1970; 0: neither. */
int64_t tracker_hit_iso(tracker_str_t text);

/*
 * A visitor's id for a client without our cookie: UUIDv8 of a digest, so that
 * nobody can choose it.  kind: "anon", "user", "session".
 */
void tracker_hit_uuid(uint8_t uuid[TRACKER_UUID_SIZE], tracker_str_t site,
    const char *kind, tracker_str_t value);

/* What was refused, as a record of the journal; see docs/events.md. */
typedef struct {
    const tracker_hit_t *hit;      /* id, site, rts_us, vid, sid, trusted */
    tracker_str_t        protocol; /* segment, snowplow */
    tracker_str_t        type;     /* what the path said */
    tracker_str_t        raw;      /* the text, cut to TRACKER_HIT_MAX */
    const char          *reason;
    uint64_t             size; /* bytes of the whole text */
    int64_t              sent_us;
} tracker_refusal_t;

size_t tracker_refusal_write(
    char *buf, size_t size, const tracker_refusal_t *refusal);


/* ---- voice.c: what the shop says in X-CRM-Event and X-CRM-Identify ------ */

#define TRACKER_VOICE_MAX 8192 /* bytes of one header's value */

typedef struct {
    tracker_str_t  name; /* of the event, or the customer's id; may be absent */
    tracker_prop_t props[TRACKER_EVENT_PROPS_MAX];
    unsigned       nprops;
} tracker_voice_t;

/*
 * Read one header.  Texts point into the value or into buf, for which the
 * value's own length is enough.  INVALID: a fault, nothing in *voice counts;
 * an event has a name, an identification an id or a property.  An id is not
 * checked any further.
 */
tracker_result_e tracker_voice_event(
    tracker_str_t value, char *buf, size_t size, tracker_voice_t *voice);
tracker_result_e tracker_voice_identify(
    tracker_str_t value, char *buf, size_t size, tracker_voice_t *voice);


/* ---- extract.c: single values out of forms and JSON --------------------- */

#define TRACKER_PATH_STEPS    8  /* of one path */
#define TRACKER_EXTRACT_PATHS 16 /* looked for in one text */

typedef struct {
    tracker_str_t key;   /* of an object; absent: index counts */
    uint32_t      index; /* of an array, from 0 */
} tracker_step_t;

typedef struct {
    tracker_step_t steps[TRACKER_PATH_STEPS];
    unsigned       nsteps;
} tracker_path_t;

/*
 * The first field of that name in an application/x-www-form-urlencoded body,
 * decoded into buf.  DECLINED: there is none.  FULL: it is longer than size.
 */
tracker_result_e tracker_form_value(tracker_str_t form, tracker_str_t field,
    char *buf, size_t size, size_t *len);

/* Reads "$.cart.items[0].id" or the same without "$."; steps point into text.
 * INVALID: no path, or more than TRACKER_PATH_STEPS steps. */
tracker_result_e tracker_path_parse(tracker_path_t *path, tracker_str_t text);

/*
 * Finds in one pass over a JSON text what n paths point to.  values[i] is the
 * raw JSON of a string, number or truth value, or absent.  INVALID: not JSON,
 * or deeper than 32; all values are absent then.
 */
tracker_result_e tracker_json_extract(tracker_str_t json,
    const tracker_path_t *paths, unsigned n, tracker_str_t *values);


#pragma GCC visibility pop

#endif /* TRACKER_CLIENTS_H_INCLUDED_ */
