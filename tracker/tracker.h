/*
 * tracker.h - all that other folders may use of the tracker core.
 *
 * The core turns bytes into trusted visitors, sessions and events, and keeps
 * the events in a memory-mapped journal until PostgreSQL has them.  It knows
 * no web server, no socket and no clock: time, randomness and bytes come in as
 * parameters.  Nothing here allocates; what must outlive a call belongs to the
 * caller.  Every function that can fail returns a tracker_result_e.
 */

#ifndef TRACKER_H_INCLUDED_
#define TRACKER_H_INCLUDED_

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)


typedef enum {
    TRACKER_OK = 0,
    TRACKER_DECLINED, /* nothing to do, never an error */
    TRACKER_INVALID,  /* the input is damaged, forged or out of bounds */
    TRACKER_FULL,     /* no room in the buffer or journal given */
    TRACKER_AGAIN,    /* the input ends too early: call again with more */
    TRACKER_BUSY,     /* another process holds it */
    TRACKER_IO        /* the system refused; errno tells why */
} tracker_result_e;

/* One short English phrase per result, static, for log lines. */
const char *tracker_result_text(tracker_result_e rc);


typedef struct {
    const char *data; /* not NUL-terminated; NULL: the value is absent */
    size_t      len;  /* bytes */
} tracker_str_t;


/* ---- uuid.c: identifiers ------------------------------------------------ */

#define TRACKER_UUID_SIZE 16
#define TRACKER_UUID_TEXT 36

/* A UUIDv7 (RFC 9562) of ms since 1970 UTC and ten random bytes. */
void tracker_uuid_v7(
    uint8_t uuid[TRACKER_UUID_SIZE], uint64_t now_ms, const uint8_t random[10]);
/* Writes 36 lower-case characters, no NUL. */
void tracker_uuid_text(
    char text[TRACKER_UUID_TEXT], const uint8_t uuid[TRACKER_UUID_SIZE]);
tracker_result_e tracker_uuid_parse(
    uint8_t uuid[TRACKER_UUID_SIZE], const char *text, size_t len);


/* ---- visitor.c: the signed first-party cookie --------------------------- */

/* 48 bytes (32 of state, 16 of MAC) in base64url without padding. */
#define TRACKER_COOKIE_LEN 64
#define TRACKER_KEYS_MAX   8
#define TRACKER_KEY_BYTES  32

typedef struct {
    SHA256_CTX inner; /* state after the HMAC inner pad, RFC 2104 */
    SHA256_CTX outer; /* state after the HMAC outer pad */
    uint8_t    id;    /* 0-255, unique in a key file */
} tracker_key_t;

typedef struct {
    tracker_key_t keys[TRACKER_KEYS_MAX]; /* keys[0] signs, all verify */
    unsigned      nkeys;
} tracker_keys_t;

typedef enum {
    TRACKER_VISITOR_RETURNED = 0x01, /* the cookie came back at least once */
    TRACKER_VISITOR_ASKED = 0x02,    /* its consent is on record */
    TRACKER_VISITOR_PERSONAL = 0x04  /* ... and allows to personalize */
} tracker_visitor_flag_e;

typedef struct {
    uint8_t  id[TRACKER_UUID_SIZE]; /* UUIDv7 */
    uint32_t session_started_s;     /* UTC, seconds since 1970 */
    uint32_t last_seen_s;           /* UTC; as of the last cookie sent */
    uint16_t session_number;        /* 1 is the first; saturates */
    uint16_t campaign;              /* hash of the session's; 0: none */
    uint8_t  flags;                 /* of tracker_visitor_flag_e */
    uint8_t  key_id;                /* the key that signed it */
} tracker_visitor_t;

/*
 * Reads a key file: a line per key, "<id 0-255> <64 hex digits>", "#" starts a
 * comment, the first key signs.  TRACKER_INVALID sets *line to the bad line
 * (from 1); a file without a key is invalid at line 0.
 */
tracker_result_e tracker_keys_parse(
    tracker_keys_t *keys, const char *text, size_t len, unsigned *line);

/* A visitor never seen before, in the first session, which starts now. */
void tracker_visitor_new(
    tracker_visitor_t *visitor, uint64_t now_ms, const uint8_t random[10]);

/* Signs with keys[0].  Writes TRACKER_COOKIE_LEN characters, no NUL. */
void tracker_visitor_encode(const tracker_keys_t *keys,
    const tracker_visitor_t *visitor, char cookie[TRACKER_COOKIE_LEN]);

/*
 * TRACKER_INVALID: wrong length, alphabet, version, key or MAC, or times later
 * than now_s + 300.  The MAC is compared in constant time.
 */
tracker_result_e tracker_visitor_decode(const tracker_keys_t *keys,
    const char *cookie, size_t len, uint32_t now_s, tracker_visitor_t *visitor);


/* ---- mac.c: other uses of the cookie's keys ----------------------------- */

#define TRACKER_MAC_SIZE SHA256_DIGEST_LENGTH

/* HMAC-SHA256 of the parts, apart from every other purpose (a plain word). */
void tracker_mac(const tracker_key_t *key, const char *purpose,
    const tracker_str_t *parts, unsigned nparts, uint8_t mac[TRACKER_MAC_SIZE]);


/* ---- link.c: a visitor handed over to another domain -------------------- */

#define TRACKER_LINK_LEN      72  /* characters of a token */
#define TRACKER_LINK_HOST_MAX 253 /* bytes of a host's name */

/* Signs with keys[0]; writes TRACKER_LINK_LEN characters, no NUL.  INVALID:
 * the host is no name of 1 to TRACKER_LINK_HOST_MAX bytes. */
tracker_result_e tracker_link_encode(const tracker_keys_t *keys,
    const tracker_visitor_t *visitor, tracker_str_t host, uint64_t expires_s,
    char token[TRACKER_LINK_LEN]);
/*
 * The visitor of a token made for `host`, last seen now.  DECLINED: it was
 * good, but has expired.  INVALID: anything else.
 */
tracker_result_e tracker_link_decode(const tracker_keys_t *keys,
    tracker_str_t token, tracker_str_t host, uint32_t now_s,
    tracker_visitor_t *visitor);


/* ---- consent.c: what a visitor allowed, and what is left otherwise ------ */

typedef enum {
    TRACKER_CONSENT_EQUALS = 0, /* WORD */
    TRACKER_CONSENT_CONTAINS,   /* ~TEXT */
    TRACKER_CONSENT_TCF         /* tcf:N */
} tracker_consent_e;

typedef struct {
    tracker_str_t     text;
    tracker_consent_e kind;
    unsigned          purpose; /* of TCF, 1-24 */
} tracker_consent_test_t;

/* Undoes %XX of at most size characters; returns their number. */
size_t tracker_unescape(char *buf, size_t size, tracker_str_t text);
/* Reads one test, which points into the text; INVALID: it is none. */
tracker_result_e tracker_consent_test(
    tracker_consent_test_t *test, tracker_str_t text);
/* 1 if the value (unescaped) passes the test. */
unsigned tracker_consent_fits(
    const tracker_consent_test_t *test, tracker_str_t value);
/* Keeps the first bits of an address in network order, the rest becomes 0. */
void tracker_address_cut(uint8_t *address, size_t size, unsigned bits);
/* "https://host" of a URL; absent if there is none, or a user's name in it. */
tracker_str_t tracker_url_origin(tracker_str_t url);
/* bot, mobile, tablet or desktop; absent for an empty one. */
tracker_str_t tracker_agent_class(tracker_str_t agent);
/* The primary language of Accept-Language, two or three letters. */
tracker_str_t tracker_language(tracker_str_t accept);
/* Copies a query (or URL) without the values of the named arguments; buf has
 * room for query.len bytes.  Returns the length. */
size_t tracker_query_hide(char *buf, tracker_str_t query,
    const tracker_str_t *names, unsigned nnames);


/* ---- session.c: one visit after another --------------------------------- */

typedef enum {
    TRACKER_SESSION_SAME = 0x00,    /* goes on, the cookie may stay as it is */
    TRACKER_SESSION_REFRESH = 0x01, /* goes on, but the cookie grows stale */
    TRACKER_SESSION_NEW = 0x02 /* silence or a campaign ended the last one */
} tracker_session_e;

/*
 * Moves the visitor to now_s.  A session ends after timeout_s of silence, or
 * when the request has a campaign (tracker_campaign_hash) that is not the
 * session's; a request without one (0) belongs to any session.
 * last_seen_s is moved (and REFRESH returned) only once it is older than
 * min(60, timeout_s / 30) seconds, so that few answers carry a cookie.
 */
tracker_session_e tracker_session_touch(tracker_visitor_t *visitor,
    uint32_t now_s, uint32_t timeout_s, uint16_t campaign);

/* A UUIDv7 that depends on visitor and session start alone. */
void tracker_session_id(
    uint8_t sid[TRACKER_UUID_SIZE], const tracker_visitor_t *visitor);


/* ---- agent.c: device, browser and system of a user agent ---------------- */

typedef enum {
    TRACKER_DEVICE_UNKNOWN = 0,
    TRACKER_DEVICE_DESKTOP,
    TRACKER_DEVICE_MOBILE,
    TRACKER_DEVICE_TABLET,
    TRACKER_DEVICE_TV,
    TRACKER_DEVICE_CONSOLE,
    TRACKER_DEVICE_BOT /* never told by tracker_agent_read */
} tracker_device_e;

typedef enum {
    TRACKER_BROWSER_UNKNOWN = 0,
    TRACKER_BROWSER_CHROME,
    TRACKER_BROWSER_SAFARI,
    TRACKER_BROWSER_FIREFOX,
    TRACKER_BROWSER_EDGE,
    TRACKER_BROWSER_OPERA,
    TRACKER_BROWSER_SAMSUNG,
    TRACKER_BROWSER_IE,
    TRACKER_BROWSER_YANDEX,
    TRACKER_BROWSER_VIVALDI,
    TRACKER_BROWSER_UC,
    TRACKER_BROWSER_DUCKDUCKGO,
    TRACKER_BROWSER_WHALE,
    TRACKER_BROWSER_MIUI,
    TRACKER_BROWSER_HUAWEI,
    TRACKER_BROWSER_FACEBOOK,
    TRACKER_BROWSER_INSTAGRAM,
    TRACKER_BROWSER_GOOGLE_APP,
    TRACKER_BROWSER_SILK,
    TRACKER_BROWSER_QQ,
    TRACKER_BROWSER_WECHAT,
    TRACKER_BROWSER_TIKTOK,
    TRACKER_BROWSER_PINTEREST,
    TRACKER_BROWSER_SNAPCHAT,
    TRACKER_BROWSER_ANDROID
} tracker_browser_e;

typedef enum {
    TRACKER_OS_UNKNOWN = 0,
    TRACKER_OS_WINDOWS,
    TRACKER_OS_MACOS,
    TRACKER_OS_IOS,
    TRACKER_OS_IPADOS,
    TRACKER_OS_ANDROID,
    TRACKER_OS_CHROMEOS,
    TRACKER_OS_LINUX, /* the last one that client hints name */
    TRACKER_OS_WINDOWS_PHONE,
    TRACKER_OS_TIZEN,
    TRACKER_OS_WEBOS,
    TRACKER_OS_KAIOS,
    TRACKER_OS_HARMONYOS,
    TRACKER_OS_BSD,
    TRACKER_OS_PLAYSTATION, /* from here on: consoles */
    TRACKER_OS_XBOX,
    TRACKER_OS_NINTENDO
} tracker_os_e;

#define TRACKER_AGENT_VERSION 8 /* bytes with NUL: "10.15" */

typedef struct {
    uint8_t  device;                            /* of tracker_device_e */
    uint8_t  browser;                           /* of tracker_browser_e */
    uint8_t  os;                                /* of tracker_os_e */
    uint16_t browser_version;                   /* major; 0: unknown */
    char     os_version[TRACKER_AGENT_VERSION]; /* "": unknown */
} tracker_agent_t;

/* Client hints as sent; absent when the browser has none. */
typedef struct {
    tracker_str_t mobile;           /* Sec-CH-UA-Mobile: ?1 */
    tracker_str_t platform;         /* Sec-CH-UA-Platform: "Android" */
    tracker_str_t platform_version; /* Sec-CH-UA-Platform-Version: "14.0.0" */
} tracker_hints_t;

/* Never fails: what is not known is UNKNOWN.  hints may be NULL. */
void tracker_agent_read(
    tracker_agent_t *agent, tracker_str_t ua, const tracker_hints_t *hints);
/* Static texts; of what is unknown "unknown" (device) or "". */
const char *tracker_device_text(uint8_t device);
const char *tracker_browser_text(uint8_t browser);
const char *tracker_os_text(uint8_t os);


/* ---- traffic.c: where a session came from ------------------------------- */

#define TRACKER_TRAFFIC_TEXT 64 /* bytes of the longest text kept */

typedef enum {
    TRACKER_TRAFFIC_UNKNOWN = 0,
    TRACKER_TRAFFIC_SEARCH,
    TRACKER_TRAFFIC_SOCIAL,
    TRACKER_TRAFFIC_MAIL,
    TRACKER_TRAFFIC_AI, /* an assistant */
    TRACKER_TRAFFIC_REFERRAL,
    TRACKER_TRAFFIC_INTERNAL, /* the shop itself */
    TRACKER_TRAFFIC_DIRECT
} tracker_traffic_e;

/* Of several in one query the first one here counts. */
typedef enum {
    TRACKER_CLICK_NONE = 0,
    TRACKER_CLICK_GCLID,
    TRACKER_CLICK_DCLID,
    TRACKER_CLICK_GBRAID,
    TRACKER_CLICK_WBRAID,
    TRACKER_CLICK_MSCLKID,
    TRACKER_CLICK_YCLID,
    TRACKER_CLICK_TTCLID,
    TRACKER_CLICK_LI_FAT_ID,
    TRACKER_CLICK_TWCLID,
    TRACKER_CLICK_FBCLID,
    TRACKER_CLICK_MC_CID
} tracker_click_e;

/* What a session remembers of it; texts are UTF-8 without controls. */
typedef struct {
    uint8_t class;    /* of tracker_traffic_e */
    uint8_t click_id; /* of tracker_click_e */
    uint8_t source_len;
    uint8_t medium_len;
    uint8_t campaign_len;
    char    source[24];
    char    medium[16];
    char    campaign[40];
} tracker_source_t;

typedef struct {
    tracker_source_t kept;
    uint8_t          term_len;
    uint8_t          content_len;
    char             term[TRACKER_TRAFFIC_TEXT];
    char             content[TRACKER_TRAFFIC_TEXT];
} tracker_traffic_t;

/* query without "?", referrer a URL, host our own name: all as sent. */
void tracker_traffic_read(tracker_traffic_t *traffic, tracker_str_t query,
    tracker_str_t referrer, tracker_str_t host);
/* Tells campaigns apart by utm_source, _medium, _campaign and click id;
 * 0: the query has none of them. */
uint16_t tracker_campaign_hash(tracker_str_t query);
/* Static texts; "" for what is unknown. */
const char *tracker_traffic_text(uint8_t class);
const char *tracker_click_text(uint8_t click);


/* ---- bots.c: which user agents are robots ------------------------------- */

#define TRACKER_BOT_NAME       32         /* bytes of a bot's name */
#define TRACKER_BOTS_BYTES_MAX (1u << 20) /* of a list */

typedef enum {
    TRACKER_BOT_OTHER = 0,
    TRACKER_BOT_SEARCH_ENGINE,
    TRACKER_BOT_AI_CRAWLER,
    TRACKER_BOT_SOCIAL_PREVIEW,
    TRACKER_BOT_SEO,
    TRACKER_BOT_MONITORING,
    TRACKER_BOT_HTTP_LIBRARY,
    TRACKER_BOT_FEED_READER,
    TRACKER_BOT_BROWSER_AUTOMATION,
    TRACKER_BOT_SCANNER,
    TRACKER_BOT_ADVERTISING,
    TRACKER_BOT_ARCHIVER,
    TRACKER_BOT_ACADEMIC
} tracker_bot_kind_e;

typedef struct {
    tracker_str_t name;   /* of the list, or a word of the user agent */
    const char   *reason; /* set by the caller: "agent" and so on */
    uint8_t       kind;   /* of tracker_bot_kind_e */
} tracker_bot_t;

typedef struct tracker_bots_s tracker_bots_t;

/*
 * Compiles a list (docs/bots.md).  INVALID sets *line to the bad line, from 1;
 * 0 is the list as a whole: empty or too large.  FULL: out of memory.
 */
tracker_result_e tracker_bots_compile(
    tracker_bots_t **bots, const char *text, size_t len, unsigned *line);
void     tracker_bots_free(tracker_bots_t *bots);
unsigned tracker_bots_count(const tracker_bots_t *bots);
/* OK: *bot has name and kind, valid as long as list and agent are.
 * DECLINED: it is none that the list knows.  One thread at a time. */
tracker_result_e tracker_bots_find(
    const tracker_bots_t *bots, tracker_str_t agent, tracker_bot_t *bot);
/* A static text. */
const char *tracker_bot_kind_text(uint8_t kind);


/* ---- ranges.c: where crawlers that say who they are come from ----------- */

typedef struct tracker_ranges_s tracker_ranges_t;

/* Same results as tracker_bots_compile; an empty list is a list. */
tracker_result_e tracker_ranges_compile(
    tracker_ranges_t **ranges, const char *text, size_t len, unsigned *line);
void tracker_ranges_free(tracker_ranges_t *ranges);
/* OK: the address is in a range of that name; INVALID: the name has ranges,
 * but not this one; DECLINED: the name has none.  IPv4 as ::ffff:a.b.c.d. */
tracker_result_e tracker_ranges_check(const tracker_ranges_t *ranges,
    tracker_str_t name, const uint8_t address[16]);


/* ---- enrich.c: what does not change within a session -------------------- */

#define TRACKER_ENRICH_TEXT 320 /* bytes */

/* Absent texts and an asn of 0 are unknown. */
typedef struct {
    tracker_str_t country; /* ISO 3166-1 alpha-2 */
    tracker_str_t region;  /* ISO 3166-2 without the country */
    tracker_str_t city;
    tracker_str_t as_name;
    uint32_t      asn;
} tracker_place_t;

/* Members of an event's ctx, ready to be copied; begins with a comma. */
typedef struct {
    uint32_t key;    /* the caller's: what it was made of */
    uint16_t len;    /* bytes of text */
    uint8_t  known;  /* 0: nothing was written yet */
    uint8_t  bot;    /* 1: labelled as a bot */
    uint8_t  device; /* of tracker_device_e */
    char     text[TRACKER_ENRICH_TEXT];
} tracker_enrich_t; /* plain data: copied as bytes into shared memory */

/* place and bot may be NULL; clears `key`. */
void tracker_enrich_write(tracker_enrich_t *enrich,
    const tracker_place_t *place, const tracker_agent_t *agent,
    const tracker_bot_t *bot);
/* The text of a member ("country", "city", "browser", ...), or absent. */
tracker_str_t tracker_enrich_find(
    const tracker_enrich_t *enrich, const char *name);


/* ---- json.c: writing JSON strings and reading top levels ---------------- */

/*
 * Appends the value as a quoted JSON string that PostgreSQL's jsonb takes:
 * quotes, backslashes and controls escaped; NUL and bytes that are not UTF-8
 * become U+FFFD and are added to *replaced (may be NULL).  Returns the new
 * end, or NULL when it would pass `end`.  Needs at most 2 + 6 * len bytes.
 */
char *tracker_json_string(
    char *p, const char *end, tracker_str_t value, unsigned *replaced);

/* Bytes of the character at p, 0 if it is no UTF-8 or p == end. */
size_t tracker_utf8_len(const char *p, const char *end);

typedef struct {
    tracker_str_t key;   /* raw, between the quotes */
    tracker_str_t value; /* raw JSON text, with quotes if a string */
    char          type;  /* one of: { [ " 0 t f n */
} tracker_json_member_t;

/*
 * Steps through the members of one JSON object, validating it strictly (RFC
 * 8259, UTF-8, depth <= 32, no NUL escape).  Start with *pos = 0; OK gives a
 * member and moves *pos, DECLINED is the end of a whole object, INVALID is
 * anything else.
 */
tracker_result_e tracker_json_next(
    tracker_str_t object, size_t *pos, tracker_json_member_t *member);

/*
 * The text of a JSON string value (raw, with quotes), unescaped into buf.
 * FULL when it does not fit; INVALID when it is no string.
 */
tracker_result_e tracker_json_text(
    tracker_str_t value, char *buf, size_t size, size_t *len);


/* ---- event.c: one finished request as one JSON object ------------------- */

#define TRACKER_EVENT_PROPS_MAX 32
#define TRACKER_EVENT_SLOTS_MAX 16
/* A record is refused beyond this; 8 KB URLs with every byte escaped fit. */
#define TRACKER_EVENT_MAX 131072 /* bytes */

typedef struct {
    tracker_str_t key;
    tracker_str_t value; /* always written as a string */
} tracker_prop_t;

typedef struct {
    tracker_str_t slot;
    tracker_str_t campaign;
    tracker_str_t variant;
    unsigned      aborted; /* 1: not all of it, the client went away */
} tracker_shown_t;         /* a decision whose bytes really left */

typedef struct {
    const uint8_t *id;  /* UUIDv7, never NULL */
    const uint8_t *vid; /* NULL: unknown */
    const uint8_t *sid; /* NULL: unknown */
    tracker_str_t  site;
    tracker_str_t  type;   /* "page" or "track" */
    tracker_str_t  name;   /* "Product Viewed", ...; "" for a plain page */
    tracker_str_t  src;    /* origin | upstream | client | import */
    tracker_str_t  uid;    /* customer id, absent if unknown */
    tracker_str_t  mid;    /* the client's own message id */
    uint64_t       ts_us;  /* the client's time, UTC; 0: as rts_us */
    uint64_t       rts_us; /* received, UTC, microseconds since 1970 */
    uint32_t       sn;     /* session number of the visitor, from 1 */
    uint32_t       seq;    /* position in the session as this node saw it */

    /* ctx */
    tracker_str_t ip;
    tracker_str_t ua;
    tracker_str_t lang;
    tracker_str_t ref;
    tracker_str_t consent; /* "mp", "m", "p" or ""; NULL: nobody was asked */
    tracker_str_t anon;    /* the client's own name of the visitor */
    tracker_str_t lib;     /* client library, and its version */
    tracker_str_t lib_version;
    unsigned      trusted; /* 1: a server's word, see crm_write_key */

    const tracker_enrich_t  *enrich;  /* NULL: nothing is known */
    const tracker_traffic_t *traffic; /* NULL: not a session's first event */

    /* req */
    tracker_str_t rid; /* the client's X-Request-Id, absent if none */
    tracker_str_t method;
    tracker_str_t host;
    tracker_str_t path;
    tracker_str_t query;
    uint32_t      status; /* 0: no answer of ours, neither are the next two */
    uint32_t      duration_ms;
    uint64_t      bytes; /* sent, headers included */

    const tracker_prop_t *props;
    unsigned              nprops;
    tracker_str_t         json; /* props as clean JSON; written if not absent */
    const tracker_shown_t *shown;
    unsigned               nshown;
} tracker_event_t;

/* An upper bound of what tracker_event_write needs, in bytes. */
size_t tracker_event_bound(const tracker_event_t *event);

/*
 * Writes the event as docs/events.md defines it: one line without a line feed.
 * Returns its length, or 0 when it would pass size.  *replaced counts bytes
 * that were not text (may be NULL).
 */
size_t tracker_event_write(
    char *buf, size_t size, const tracker_event_t *event, unsigned *replaced);


/* ---- live.c: what the running session has done so far ------------------- */

#define TRACKER_LIVE_ITEMS     8  /* last items viewed, newest first */
#define TRACKER_LIVE_ITEM_SIZE 32 /* bytes of an item or category id */
#define TRACKER_LIVE_TEXT_SIZE 64 /* bytes kept of entry and referrer */
#define TRACKER_LIVE_UID_SIZE  64 /* bytes of a customer id */
#define TRACKER_LIVE_JSON_MAX  4096

typedef struct {
    uint64_t last_us;    /* UTC, the newest event */
    uint32_t started_s;  /* UTC, equals the visitor's session_started_s */
    uint32_t sn;         /* session number */
    uint32_t seq;        /* events so far, saturates */
    uint32_t pages;      /* page events so far, saturates */
    uint32_t cart_items; /* Product Added less Product Removed, never < 0 */
    uint32_t orders;     /* Order Completed so far */
    double   cart_value; /* in the shop's currency, never < 0 */
    uint8_t  nitems;
    uint8_t  item_len[TRACKER_LIVE_ITEMS];
    uint8_t  category_len;
    uint8_t  entry_len;
    uint8_t  referrer_len;
    uint8_t  uid_len;        /* 0: not logged in */
    tracker_source_t source; /* of the session's first event */
    char             items[TRACKER_LIVE_ITEMS][TRACKER_LIVE_ITEM_SIZE];
    char category[TRACKER_LIVE_ITEM_SIZE]; /* of the last item viewed */
    char entry[TRACKER_LIVE_TEXT_SIZE];    /* path of the first page */
    char referrer[TRACKER_LIVE_TEXT_SIZE]; /* host of the first page's */
    char uid[TRACKER_LIVE_UID_SIZE];
} tracker_live_t; /* plain data: copied as bytes into shared memory */

/*
 * Adds an event: starts afresh (keeping uid) when the event's session differs,
 * counts, remembers product_id and category, keeps the cart by quantity and
 * price, takes a uid and where the session came from.  Sets event->seq to the
 * event's position.
 */
void tracker_live_add(
    tracker_live_t *live, tracker_event_t *event, uint32_t session_started_s);

/* The state as JSON for Redis; returns the length, 0 when size is too small. */
size_t tracker_live_write(char *buf, size_t size, const tracker_live_t *live);

/* Reads what tracker_live_write wrote; hostile bytes are INVALID. */
tracker_result_e tracker_live_read(tracker_live_t *live, tracker_str_t json);

/* The newer of both by last_us wins; seq, pages are the larger ones. */
void tracker_live_merge(tracker_live_t *live, const tracker_live_t *other);


/* ---- crc32c.c: the checksum of the journal ------------------------------ */

/* CRC-32C (Castagnoli) of data behind bytes whose CRC is crc (0: none). */
uint32_t tracker_crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the processor's instruction. */
uint32_t tracker_crc32c_table(uint32_t crc, const void *data, size_t len);


/* ---- journal.c: the ring file that survives every kill ------------------ */

#define TRACKER_PRODUCER_TEXT      16 /* hex digits, no NUL */
#define TRACKER_JOURNAL_SIZE_MIN   (1u << 20)
#define TRACKER_JOURNAL_RECORD_MAX TRACKER_EVENT_MAX

typedef struct tracker_journal_map_s tracker_journal_map_t;

typedef struct {
    tracker_journal_map_t *map;  /* header and ring, shared, pre-faulted */
    size_t                 size; /* bytes of the whole file */
    int                    fd;   /* holds the flock; -1 when closed */
} tracker_journal_t;

typedef struct {
    char     producer[TRACKER_PRODUCER_TEXT];
    uint64_t written;      /* sequence of the last record appended; 0: none */
    uint64_t sent;         /* last one accepted by Redis */
    uint64_t durable;      /* last one committed in PostgreSQL */
    uint64_t shed;         /* events refused because the ring was full */
    uint64_t damaged;      /* records that failed their CRC on recovery */
    uint64_t used_bytes;   /* between the reclaimed end and the written end */
    uint64_t total_bytes;  /* of the ring */
    uint64_t oldest_us;    /* UTC, when the oldest not durable was appended */
    uint64_t unsent_us;    /* UTC, when the oldest not sent was; or 0 */
    uint64_t unsent_bytes; /* of the ring that Redis has not got, at most */
} tracker_journal_stat_t;

typedef struct {
    uint64_t      seq;
    uint64_t      at_us; /* UTC, when it was appended */
    tracker_str_t data;  /* inside the ring: valid until it is reclaimed */
} tracker_record_t;

/*
 * Opens or creates the ring file, takes its flock, maps and pre-faults it and
 * recovers: whole records are kept, a torn tail is cut, damage is counted.
 * size is used for a new file only.  producer_seed names a new file's producer.
 * BUSY: another process holds it.  INVALID: not a journal, or its header is
 * damaged beyond use (the file is left as it is).  IO: errno.
 */
tracker_result_e tracker_journal_open(tracker_journal_t *journal,
    const char *path, size_t size, const uint8_t producer_seed[8]);
void             tracker_journal_close(tracker_journal_t *journal);

/*
 * Append in two steps: reserve gives max bytes to write into, commit publishes
 * the first len of them (0 gives the room back).  FULL: the ring has no room
 * even after giving up what Redis has (the caller calls _shed).  No system
 * call, no lock, no allocation.
 */
tracker_result_e tracker_journal_reserve(
    tracker_journal_t *journal, size_t max, char **data);
void tracker_journal_commit(
    tracker_journal_t *journal, size_t len, uint64_t now_us);
void tracker_journal_shed(tracker_journal_t *journal);

/*
 * The first record whose sequence is greater than `after` and still in the
 * ring; DECLINED when there is none.  Reading on from the last record returned
 * costs O(1).
 */
tracker_result_e tracker_journal_next(
    tracker_journal_t *journal, uint64_t after, tracker_record_t *record);

/* Cursors.  sent may go back (Redis lost data); durable never does. */
void tracker_journal_set_sent(tracker_journal_t *journal, uint64_t seq);
void tracker_journal_set_durable(tracker_journal_t *journal, uint64_t seq);

/*
 * Sequences up to seq are never used again, for a back end has seen them: after
 * power loss the file may be older than what Redis or PostgreSQL knows, which
 * would take new events for old ones.  INVALID: absurdly far (2^32) ahead.
 */
tracker_result_e tracker_journal_advance(
    tracker_journal_t *journal, uint64_t seq);

/* The last sequence there was when this process opened the file. */
uint64_t tracker_journal_opened(const tracker_journal_t *journal);

/* What one sync has to do: a snapshot that any thread may work on. */
typedef struct {
    tracker_journal_t journal;
    uint64_t          ring; /* bytes */
    uint64_t          from; /* positions: written since the last snapshot */
    uint64_t          to;
} tracker_journal_span_t;

/* Taken by the owner, once per sync; the interval is the caller's. */
void tracker_journal_span(
    tracker_journal_t *journal, tracker_journal_span_t *span);

/*
 * Starts writing the span to disk and makes the pages behind it writable, so
 * that appending meets no page fault.  May block: for a thread of its own.
 */
tracker_result_e tracker_journal_sync(const tracker_journal_span_t *span);

/* Works on an open journal; tracker_journal_peek on anybody's file. */
void tracker_journal_stat(
    const tracker_journal_t *journal, tracker_journal_stat_t *stat);
tracker_result_e tracker_journal_peek(
    const char *path, tracker_journal_stat_t *stat);


/* ---- resp.c: Redis on the wire (RESP2) ---------------------------------- */

typedef struct {
    char          type;    /* + - : $ * or N for null */
    int64_t       integer; /* of ':' and the number of elements of '*' */
    tracker_str_t text;    /* of + - $; points into the input; see below */
} tracker_reply_t;

/*
 * Reads one reply head or scalar at *pos.  An array gives '*' and is followed
 * by its elements.  AGAIN: incomplete, *pos unchanged.  INVALID: not RESP, or
 * a length beyond max_bytes.
 */
tracker_result_e tracker_resp_next(
    tracker_str_t input, size_t *pos, size_t max_bytes, tracker_reply_t *reply);

/*
 * Reads one whole reply of any nesting up to 4: `reply` is its first value and
 * `elements` up to *nelements scalars of a flat array.  The text of an array
 * is all of it, as it came.  Same results.
 */
tracker_result_e tracker_resp_reply(tracker_str_t input, size_t *pos,
    size_t max_bytes, tracker_reply_t *reply, tracker_reply_t *elements,
    unsigned *nelements);

/* Appends "*<n>\r\n" or "$<len>\r\n<data>\r\n"; NULL when it passes end. */
char *tracker_resp_array(char *p, const char *end, unsigned n);
char *tracker_resp_bulk(char *p, const char *end, tracker_str_t value);


/* ---- cluster.c: which node of a Redis Cluster has a key ----------------- */

#define TRACKER_CLUSTER_SLOTS 16384

/* The slot of a key, by its hash tag if it has one. */
unsigned tracker_cluster_slot(tracker_str_t key);

typedef struct {
    tracker_str_t reply; /* to CLUSTER SLOTS, one whole reply in RESP */
    size_t        pos;   /* 0: at its start */
    int64_t       left;  /* ranges to come */
} tracker_cluster_slots_t;

typedef struct {
    unsigned      first; /* slots first ... last */
    unsigned      last;
    tracker_str_t host; /* of their master; empty: the node that was asked */
    unsigned      port; /* 0: it has none, as with TLS only */
} tracker_cluster_range_t;

/* Steps through the ranges; DECLINED at the end, INVALID: no such reply. */
tracker_result_e tracker_cluster_next(
    tracker_cluster_slots_t *slots, tracker_cluster_range_t *range);

typedef struct {
    unsigned      ask; /* 1: for this command only, after ASKING */
    unsigned      slot;
    tracker_str_t host; /* empty: the node that was asked */
    unsigned      port;
} tracker_redirect_t;

/* Reads "MOVED 3999 127.0.0.1:6381" or "ASK ..."; DECLINED: it is neither. */
tracker_result_e tracker_cluster_redirect(
    tracker_str_t error, tracker_redirect_t *redirect);


#pragma GCC visibility pop

#include "clients.h"

#endif /* TRACKER_H_INCLUDED_ */
