/*
 * traffic.c - tells where a session came from: campaign, click id, referrer.
 *
 * utm parameters say most, click ids of advertisers next, then the host that
 * referred.  Hosts are looked up in a sorted table, from the most special name
 * to the most general ("mail.google.com" is mail, "google.co.uk" is search);
 * an entry that ends in "." fits below any top-level domain.
 *
 * The campaign's hash is taken from the query as it was sent.  It is kept in
 * the visitor's cookie, so that every node sees alike that a visitor came back
 * by another campaign, which begins a new session.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif

#include "tracker.h"

#include <string.h>
#include <strings.h>


#define TRAFFIC_QUERY_MAX  4096 /* bytes looked at; URLs are rarely longer */
#define TRAFFIC_PARAMS_MAX 64
#define TRAFFIC_HOST_MAX   128 /* bytes */

typedef struct {
    const char *host;
    const char *source;
    uint8_t class; /* of tracker_traffic_e */
} traffic_host_t;

#define SEARCH TRACKER_TRAFFIC_SEARCH
#define SOCIAL TRACKER_TRAFFIC_SOCIAL
#define MAIL   TRACKER_TRAFFIC_MAIL
#define AI     TRACKER_TRAFFIC_AI

/* Sorted by host, bytewise. */
static const traffic_host_t traffic_hosts[] = {
    {"aol.", "aol", SEARCH},
    {"ask.com", "ask", SEARCH},
    {"baidu.com", "baidu", SEARCH},
    {"bard.google.com", "gemini", AI},
    {"bing.com", "bing", SEARCH},
    {"brave.com", "brave", SEARCH},
    {"bsky.app", "bluesky", SOCIAL},
    {"chat.deepseek.com", "deepseek", AI},
    {"chat.mistral.ai", "mistral", AI},
    {"chat.openai.com", "chatgpt", AI},
    {"chat.qwen.ai", "qwen", AI},
    {"chatgpt.com", "chatgpt", AI},
    {"claude.ai", "claude", AI},
    {"com.google.android.gm", "gmail", MAIL},
    {"com.google.android.googlequicksearchbox", "google", SEARCH},
    {"com.linkedin.android", "linkedin", SOCIAL},
    {"com.slack", "slack", SOCIAL},
    {"copilot.cloud.microsoft", "copilot", AI},
    {"copilot.microsoft.com", "copilot", AI},
    {"daum.net", "daum", SEARCH},
    {"discord.com", "discord", SOCIAL},
    {"duckduckgo.com", "duckduckgo", SEARCH},
    {"ecosia.org", "ecosia", SEARCH},
    {"facebook.com", "facebook", SOCIAL},
    {"fb.com", "facebook", SOCIAL},
    {"gemini.google.com", "gemini", AI},
    {"google.", "google", SEARCH},
    {"grok.com", "grok", AI},
    {"instagram.com", "instagram", SOCIAL},
    {"kagi.com", "kagi", SEARCH},
    {"kimi.com", "kimi", AI},
    {"linkedin.com", "linkedin", SOCIAL},
    {"lnkd.in", "linkedin", SOCIAL},
    {"m.me", "facebook", SOCIAL},
    {"mail.aol.com", "aol", MAIL},
    {"mail.google.com", "gmail", MAIL},
    {"mail.ru", "mail.ru", MAIL},
    {"mail.yahoo.com", "yahoo", MAIL},
    {"mail.yandex.ru", "yandex", MAIL},
    {"mastodon.social", "mastodon", SOCIAL},
    {"meta.ai", "meta-ai", AI},
    {"mojeek.com", "mojeek", SEARCH},
    {"naver.com", "naver", SEARCH},
    {"news.ycombinator.com", "hackernews", SOCIAL},
    {"odnoklassniki.ru", "ok", SOCIAL},
    {"ok.ru", "ok", SOCIAL},
    {"outlook.live.com", "outlook", MAIL},
    {"outlook.office.com", "outlook", MAIL},
    {"outlook.office365.com", "outlook", MAIL},
    {"perplexity.ai", "perplexity", AI},
    {"phind.com", "phind", AI},
    {"pinterest.", "pinterest", SOCIAL},
    {"poe.com", "poe", AI},
    {"quora.com", "quora", SOCIAL},
    {"qwant.com", "qwant", SEARCH},
    {"reddit.com", "reddit", SOCIAL},
    {"search.brave.com", "brave", SEARCH},
    {"seznam.cz", "seznam", SEARCH},
    {"snapchat.com", "snapchat", SOCIAL},
    {"so.com", "so", SEARCH},
    {"sogou.com", "sogou", SEARCH},
    {"startpage.com", "startpage", SEARCH},
    {"swisscows.com", "swisscows", SEARCH},
    {"t.co", "twitter", SOCIAL},
    {"t.me", "telegram", SOCIAL},
    {"telegram.org", "telegram", SOCIAL},
    {"threads.com", "threads", SOCIAL},
    {"threads.net", "threads", SOCIAL},
    {"tiktok.com", "tiktok", SOCIAL},
    {"tumblr.com", "tumblr", SOCIAL},
    {"twitter.com", "twitter", SOCIAL},
    {"vimeo.com", "vimeo", SOCIAL},
    {"vk.com", "vk", SOCIAL},
    {"web.telegram.org", "telegram", SOCIAL},
    {"web.whatsapp.com", "whatsapp", SOCIAL},
    {"weibo.com", "weibo", SOCIAL},
    {"whatsapp.com", "whatsapp", SOCIAL},
    {"x.com", "twitter", SOCIAL},
    {"xing.com", "xing", SOCIAL},
    {"ya.ru", "yandex", SEARCH},
    {"yahoo.", "yahoo", SEARCH},
    {"yandex.", "yandex", SEARCH},
    {"you.com", "you", AI},
    {"youtu.be", "youtube", SOCIAL},
    {"youtube.com", "youtube", SOCIAL},
    {"zhihu.com", "zhihu", SOCIAL},
};

#define TRAFFIC_HOSTS (sizeof(traffic_hosts) / sizeof(traffic_hosts[0]))

/* In the order of tracker_click_e; medium NULL: it need not have been paid. */
static const struct {
    const char *name;
    const char *source;
    const char *medium;
    uint8_t class;
} traffic_clicks[] = {
    {"", NULL, NULL, 0},
    {"gclid", "google", "cpc", SEARCH},
    {"dclid", "google", "display", SEARCH},
    {"gbraid", "google", "cpc", SEARCH},
    {"wbraid", "google", "cpc", SEARCH},
    {"msclkid", "bing", "cpc", SEARCH},
    {"yclid", "yandex", "cpc", SEARCH},
    {"ttclid", "tiktok", "cpc", SOCIAL},
    {"li_fat_id", "linkedin", "cpc", SOCIAL},
    {"twclid", "twitter", "cpc", SOCIAL},
    {"fbclid", "facebook", NULL, SOCIAL},
    {"mc_cid", "mailchimp", "email", MAIL},
};

#define TRAFFIC_CLICKS (sizeof(traffic_clicks) / sizeof(traffic_clicks[0]))

#undef SEARCH
#undef SOCIAL
#undef MAIL
#undef AI

static const char *const traffic_classes[] = {
    "", "search", "social", "mail", "ai", "referral", "internal", "direct"};

static const char *const traffic_utm[] = {
    "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"};

typedef enum {
    UTM_SOURCE = 0,
    UTM_MEDIUM,
    UTM_CAMPAIGN,
    UTM_TERM,
    UTM_CONTENT,
    UTM_NAMES
} traffic_utm_e;

#define UTM_HASHED UTM_TERM /* those before it make the campaign */

/* What a query says, as sent. */
typedef struct {
    tracker_str_t utm[UTM_NAMES];
    tracker_str_t click; /* value of the click id */
    uint8_t       click_id;
    uint8_t       any; /* something of it was found */
} traffic_query_t;


const char *
tracker_traffic_text(uint8_t class)
{
    return traffic_classes[class <= TRACKER_TRAFFIC_DIRECT ? class : 0];
}


const char *
tracker_click_text(uint8_t click)
{
    return traffic_clicks[click < TRAFFIC_CLICKS ? click : 0].name;
}


/* ---- the query ---- */

static inline unsigned
traffic_named(const char *name, const char *p, size_t len)
{
    return strlen(name) == len && memcmp(name, p, len) == 0;
}


static void
traffic_param(
    traffic_query_t *query, const char *name, size_t len, tracker_str_t value)
{
    unsigned i;

    if (len > 4 && memcmp(name, "utm_", 4) == 0) {
        for (i = 0; i < UTM_NAMES; i++) {
            if (query->utm[i].data == NULL
                && traffic_named(traffic_utm[i], name, len)) {
                query->utm[i] = value;
                query->any = 1;
            }
        }
        return;
    }

    for (i = 1; i < TRAFFIC_CLICKS; i++) {
        if (traffic_named(traffic_clicks[i].name, name, len)
            && (query->click_id == TRACKER_CLICK_NONE || i < query->click_id))
        {
            query->click_id = (uint8_t) i;
            query->click = value;
            query->any = 1;
        }
    }
}


static void
traffic_query(traffic_query_t *query, tracker_str_t text)
{
    size_t        len;
    unsigned      n;
    const char   *p, *end, *stop;
    tracker_str_t value;

    memset(query, 0, sizeof(*query));

    if (text.data == NULL) {
        return;
    }

    p = text.data;
    end = p + (text.len < TRAFFIC_QUERY_MAX ? text.len : TRAFFIC_QUERY_MAX);

    for (n = 0; p < end && n < TRAFFIC_PARAMS_MAX; p = stop + 1, n++) {
        stop = memchr(p, '&', (size_t) (end - p));
        if (stop == NULL) {
            stop = end;
        }

        value.data = memchr(p, '=', (size_t) (stop - p));
        len = value.data != NULL ? (size_t) (value.data - p) : 0;

        /* the shortest name is five letters, the longest twelve */
        if (len < 5 || len > 12 || value.data + 1 == stop) {
            continue;
        }

        value.data++;
        value.len = (size_t) (stop - value.data);
        traffic_param(query, p, len, value);
    }
}


uint16_t
tracker_campaign_hash(tracker_str_t text)
{
    uint32_t        crc;
    unsigned        i;
    traffic_query_t query;

    if (text.data == NULL || text.len < 7) {
        return 0;
    }

    traffic_query(&query, text);

    if (!query.any) {
        return 0;
    }

    crc = query.click_id;

    for (i = 0; i < UTM_HASHED; i++) {
        crc = tracker_crc32c(crc, &i, 1);
        if (query.utm[i].data != NULL) {
            crc = tracker_crc32c(crc, query.utm[i].data, query.utm[i].len);
        }
    }

    if (query.click.data != NULL) {
        crc = tracker_crc32c(crc, query.click.data, query.click.len);
    }

    crc = (crc ^ crc >> 16) & 0xffff;

    return crc != 0 ? (uint16_t) crc : 1; /* 0 says: no campaign */
}


static int
traffic_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/*
 * Decodes a value and keeps whole characters; what is no text becomes '?'.
 * Decoding needs no more room than it has, so a quarter of it may be lost to
 * escapes without harm: a name of a campaign is short.
 */
static uint8_t
traffic_text(char *field, size_t size, tracker_str_t value)
{
    char        text[TRACKER_TRAFFIC_TEXT * 3];
    int         high, low;
    size_t      i, n, len, step;
    const char *p;

    n = 0;
    p = value.data;

    for (i = 0; p != NULL && i < value.len && n < sizeof(text); i++) {
        if (p[i] == '%' && value.len - i > 2) {
            high = traffic_hex(p[i + 1]);
            low = traffic_hex(p[i + 2]);
            if (high >= 0 && low >= 0) {
                text[n++] = (char) (high << 4 | low);
                i += 2;
                continue;
            }
        }
        text[n++] = (char) (p[i] == '+' ? ' ' : p[i]);
    }

    len = 0;

    for (i = 0; i < n; i += step) {
        step = tracker_utf8_len(text + i, text + n);

        if (step == 0 || (unsigned char) text[i] < 0x20) {
            step = 1;
            text[i] = '?';
        }

        if (step > size - len) {
            break;
        }

        memcpy(field + len, text + i, step);
        len += step;
    }

    return (uint8_t) len;
}


static uint8_t
traffic_copy(char *field, size_t size, const char *text)
{
    size_t len;

    len = strlen(text);
    len = len < size ? len : size;
    memcpy(field, text, len);

    return (uint8_t) len;
}


/* ---- the referrer ---- */

/* The host of a URL in small letters; its length, 0 for none. */
static size_t
traffic_host(char host[TRAFFIC_HOST_MAX], tracker_str_t url)
{
    char        c;
    size_t      n;
    const char *p, *end, *at;

    if (url.data == NULL) {
        return 0;
    }

    p = memmem(url.data, url.len, "://", 3);
    if (p == NULL) {
        return 0;
    }

    p += 3;
    end = url.data + url.len;

    for (at = p; at < end && *at != '/' && *at != '?' && *at != '#'; at++) {
        if (*at == '@') {
            p = at + 1;
        }
    }

    for (n = 0; p + n < at && p[n] != ':' && n < TRAFFIC_HOST_MAX; n++) {
        c = p[n];

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c | 0x20);
        }

        /* no host name has other characters */
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.'
                || c == '-' || c == '_'))
        {
            return 0;
        }

        host[n] = c;
    }

    return n;
}


static const traffic_host_t *
traffic_find(const char *host, size_t len)
{
    int      order;
    size_t   low, high, middle;
    unsigned longer;

    for (low = 0, high = TRAFFIC_HOSTS; low < high; /* void */) {
        middle = (low + high) / 2;
        order = strncmp(traffic_hosts[middle].host, host, len);
        longer = order == 0 && traffic_hosts[middle].host[len] != '\0';

        if (order == 0 && !longer) {
            return &traffic_hosts[middle];
        }

        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return NULL;
}


/* "de", "com", "co.uk" and "com.au" are what may follow a name. */
static unsigned
traffic_tld(const char *p, size_t len)
{
    const char *dot;

    if (len < 2 || len > 6) {
        return 0;
    }

    dot = memchr(p, '.', len);

    return dot == NULL
               ? len <= 3
               : dot - p >= 2 && dot - p <= 3 && len - (size_t) (dot - p) == 3;
}


static const traffic_host_t *
traffic_known(const char *host, size_t len)
{
    const char           *p, *end, *dot;
    const traffic_host_t *known;

    for (p = host, end = host + len; p < end; p = dot + 1) {
        known = traffic_find(p, (size_t) (end - p));
        if (known != NULL) {
            return known;
        }

        dot = memchr(p, '.', (size_t) (end - p));
        if (dot == NULL) {
            return NULL;
        }

        if (traffic_tld(dot + 1, (size_t) (end - dot - 1))) {
            known = traffic_find(p, (size_t) (dot + 1 - p));
            if (known != NULL) {
                return known;
            }
        }
    }

    return NULL;
}


/* A host without "www." */
static void
traffic_bare(const char **host, size_t *len)
{
    if (*len > 4 && memcmp(*host, "www.", 4) == 0) {
        *host += 4;
        *len -= 4;
    }
}


static void
traffic_referrer(
    tracker_source_t *kept, tracker_str_t referrer, tracker_str_t own)
{
    char                  host[TRAFFIC_HOST_MAX], mine[TRAFFIC_HOST_MAX];
    size_t                len, mine_len, i;
    const char           *p, *q;
    const traffic_host_t *known;

    len = traffic_host(host, referrer);
    if (len == 0) {
        kept->class = TRACKER_TRAFFIC_DIRECT;
        return;
    }

    for (i = 0; i < own.len && i < sizeof(mine) && own.data[i] != ':'; i++) {
        mine[i] = own.data[i] >= 'A' && own.data[i] <= 'Z'
                      ? (char) (own.data[i] | 0x20)
                      : own.data[i];
    }

    p = host;
    q = mine;
    mine_len = i;
    traffic_bare(&p, &len);
    traffic_bare(&q, &mine_len);

    if (len == mine_len && memcmp(p, q, len) == 0) {
        kept->class = TRACKER_TRAFFIC_INTERNAL;
        return;
    }

    known = traffic_known(p, len);

    if (known != NULL) {
        kept->class = known->class;
        kept->source_len =
            traffic_copy(kept->source, sizeof(kept->source), known->source);
        return;
    }

    kept->class = TRACKER_TRAFFIC_REFERRAL;
    kept->source_len =
        (uint8_t) (len < sizeof(kept->source) ? len : sizeof(kept->source));
    memcpy(kept->source, p, kept->source_len);
}


/* ---- both ---- */

static const struct {
    const char *medium;
    uint8_t class;
} traffic_mediums[] = {
    {"email", TRACKER_TRAFFIC_MAIL},
    {"e-mail", TRACKER_TRAFFIC_MAIL},
    {"mail", TRACKER_TRAFFIC_MAIL},
    {"newsletter", TRACKER_TRAFFIC_MAIL},
    {"cpc", TRACKER_TRAFFIC_SEARCH},
    {"ppc", TRACKER_TRAFFIC_SEARCH},
    {"sem", TRACKER_TRAFFIC_SEARCH},
    {"paidsearch", TRACKER_TRAFFIC_SEARCH},
    {"paid_search", TRACKER_TRAFFIC_SEARCH},
    {"organic", TRACKER_TRAFFIC_SEARCH},
    {"social", TRACKER_TRAFFIC_SOCIAL},
    {"social-media", TRACKER_TRAFFIC_SOCIAL},
    {"paidsocial", TRACKER_TRAFFIC_SOCIAL},
    {"paid_social", TRACKER_TRAFFIC_SOCIAL},
    {"paid-social", TRACKER_TRAFFIC_SOCIAL},
};


/* The class of utm_source: a host, or the name of a source we know. */
static uint8_t
traffic_source_class(const tracker_source_t *kept)
{
    char                  name[sizeof(kept->source)];
    size_t                i;
    const traffic_host_t *known;

    for (i = 0; i < kept->source_len; i++) {
        name[i] = kept->source[i] >= 'A' && kept->source[i] <= 'Z'
                      ? (char) (kept->source[i] | 0x20)
                      : kept->source[i];
    }

    known = traffic_known(name, kept->source_len);
    if (known != NULL) {
        return known->class;
    }

    for (i = 0; i < TRAFFIC_HOSTS; i++) {
        if (traffic_named(traffic_hosts[i].source, name, kept->source_len)) {
            return traffic_hosts[i].class;
        }
    }

    return TRACKER_TRAFFIC_UNKNOWN;
}


static uint8_t
traffic_class(const tracker_source_t *kept, uint8_t referred)
{
    size_t i;
    uint8_t class;

    class = traffic_source_class(kept);

    /* a paid click of a social network is social, "cpc" or not */
    if (class != TRACKER_TRAFFIC_UNKNOWN) {
        return class;
    }

    for (i = 0; i < sizeof(traffic_mediums) / sizeof(traffic_mediums[0]); i++) {
        if (strlen(traffic_mediums[i].medium) == kept->medium_len
            && strncasecmp(
                   traffic_mediums[i].medium, kept->medium, kept->medium_len)
                   == 0)
        {
            return traffic_mediums[i].class;
        }
    }

    if (kept->click_id != TRACKER_CLICK_NONE) {
        return traffic_clicks[kept->click_id].class;
    }

    return referred != TRACKER_TRAFFIC_DIRECT
                   && referred != TRACKER_TRAFFIC_INTERNAL
               ? referred
               : TRACKER_TRAFFIC_REFERRAL;
}


/* What the click id says where utm says nothing. */
static void
traffic_click(tracker_source_t *kept, const traffic_query_t *query)
{
    unsigned id;

    id = query->click_id;
    kept->click_id = (uint8_t) id;

    if (id == TRACKER_CLICK_NONE) {
        return;
    }

    if (query->utm[UTM_SOURCE].data == NULL) {
        kept->source_len = traffic_copy(
            kept->source, sizeof(kept->source), traffic_clicks[id].source);
    }

    if (query->utm[UTM_MEDIUM].data == NULL
        && traffic_clicks[id].medium != NULL) {
        kept->medium_len = traffic_copy(
            kept->medium, sizeof(kept->medium), traffic_clicks[id].medium);
    }

    if (id == TRACKER_CLICK_MC_CID && query->utm[UTM_CAMPAIGN].data == NULL) {
        kept->campaign_len =
            traffic_text(kept->campaign, sizeof(kept->campaign), query->click);
    }
}


void
tracker_traffic_read(tracker_traffic_t *traffic, tracker_str_t text,
    tracker_str_t referrer, tracker_str_t host)
{
    traffic_query_t   query;
    tracker_source_t *kept = &traffic->kept;

    memset(traffic, 0, sizeof(*traffic));
    traffic_referrer(kept, referrer, host);
    traffic_query(&query, text);

    if (!query.any) {
        return;
    }

    if (query.utm[UTM_SOURCE].data != NULL) {
        kept->source_len = traffic_text(
            kept->source, sizeof(kept->source), query.utm[UTM_SOURCE]);
    }

    kept->medium_len =
        traffic_text(kept->medium, sizeof(kept->medium), query.utm[UTM_MEDIUM]);
    kept->campaign_len = traffic_text(
        kept->campaign, sizeof(kept->campaign), query.utm[UTM_CAMPAIGN]);
    traffic->term_len =
        traffic_text(traffic->term, sizeof(traffic->term), query.utm[UTM_TERM]);
    traffic->content_len = traffic_text(
        traffic->content, sizeof(traffic->content), query.utm[UTM_CONTENT]);

    traffic_click(kept, &query);
    kept->class = traffic_class(kept, kept->class);
}
