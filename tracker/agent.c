/*
 * agent.c - tells device, browser and system from a user agent.
 *
 * One pass over the words of the header: each word is looked up by its first
 * letter and length, and the word of the highest rank decides, because every
 * browser also claims to be those before it ("Chrome/126 Safari/537 Edg/126"
 * is Edge).  Client hints, where a browser sends them, know better than its
 * frozen user agent and are read last.  No regular expressions: a header of
 * 150 bytes takes less than the 300 ns that this may cost.
 *
 * What an Apple tablet in desktop mode is cannot be seen: it counts as a Mac.
 */

#include "tracker.h"

#include <string.h>


#define AGENT_BYTES_MAX 512 /* of the header; more than any browser sends */

typedef enum {
    AGENT_NOTHING = 0,
    AGENT_BROWSER,
    AGENT_OS,
    AGENT_DEVICE,
    AGENT_SAFARI_VERSION, /* "Version/17.4" */
    AGENT_APPLE_VERSION,  /* "OS 17_5", "OS X 10_15_7" */
    AGENT_WINDOWS_NT,
    AGENT_WINDOWS_PHONE,
    AGENT_TRIDENT_VERSION /* "rv:11.0" */
} agent_kind_e;

typedef struct {
    uint8_t kind; /* of agent_kind_e */
    uint8_t what; /* of tracker_browser_e, tracker_os_e, tracker_device_e */
    uint8_t rank; /* the higher one wins; of equal ones the first */
} agent_word_t;

typedef struct {
    tracker_agent_t *agent;
    uint8_t          browser_rank;
    uint8_t          os_rank;
    uint16_t         safari; /* major version, 0: not told */
    unsigned         mobile : 1;
    unsigned         tablet : 1;
    unsigned         tv : 1;
    unsigned         console : 1;
} agent_scan_t;


static const char *const agent_devices[] = {
    "unknown", "desktop", "mobile", "tablet", "tv", "console", "bot"};

static const char *const agent_browsers[] = {"", "Chrome", "Safari", "Firefox",
    "Edge", "Opera", "Samsung Internet", "Internet Explorer", "Yandex Browser",
    "Vivaldi", "UC Browser", "DuckDuckGo", "Whale", "MIUI Browser",
    "Huawei Browser", "Facebook", "Instagram", "Google App", "Silk",
    "QQ Browser", "WeChat", "TikTok", "Pinterest", "Snapchat", "Android"};

static const char *const agent_systems[] = {"", "Windows", "macOS", "iOS",
    "iPadOS", "Android", "ChromeOS", "Linux", "Windows Phone", "Tizen", "webOS",
    "KaiOS", "HarmonyOS", "BSD", "PlayStation", "Xbox", "Nintendo"};


const char *
tracker_device_text(uint8_t device)
{
    return agent_devices[device <= TRACKER_DEVICE_BOT ? device : 0];
}


const char *
tracker_browser_text(uint8_t browser)
{
    return agent_browsers[browser <= TRACKER_BROWSER_ANDROID ? browser : 0];
}


const char *
tracker_os_text(uint8_t os)
{
    return agent_systems[os <= TRACKER_OS_NINTENDO ? os : 0];
}


#define agent_is(text)                                                         \
    (len == sizeof(text) - 1 && memcmp(word, text, sizeof(text) - 1) == 0)

#define agent_word(text, kind, what, rank)                                     \
    if (agent_is(text)) {                                                      \
        return (agent_word_t){AGENT_##kind, TRACKER_##kind##_##what, rank};    \
    }

#define agent_special(text, kind)                                              \
    if (agent_is(text)) {                                                      \
        return (agent_word_t){AGENT_##kind, 0, 0};                             \
    }


/* Words from A to L. */
static agent_word_t
agent_find_low(const char *word, size_t len)
{
    switch (word[0]) {

    case 'A':
        agent_word("Android", OS, ANDROID, 4);
        agent_word("AppleTV", DEVICE, TV, 0);

        /* Fire TV: AFTMM, AFTKA and so on */
        if (len >= 4 && len <= 7 && memcmp(word, "AFT", 3) == 0) {
            return (agent_word_t){AGENT_DEVICE, TRACKER_DEVICE_TV, 0};
        }
        break;

    case 'B':
        agent_word("BRAVIA", DEVICE, TV, 0);
        agent_word("BytedanceWebview", BROWSER, TIKTOK, 6);
        break;

    case 'C':
        agent_word("Chrome", BROWSER, CHROME, 3);
        agent_word("CriOS", BROWSER, CHROME, 4);
        agent_word("Chromium", BROWSER, CHROME, 3);
        agent_word("CrOS", OS, CHROMEOS, 3);
        agent_word("CrKey", DEVICE, TV, 0);
        break;

    case 'D':
        agent_word("DuckDuckGo", BROWSER, DUCKDUCKGO, 5);
        agent_word("Ddg", BROWSER, DUCKDUCKGO, 5);
        break;

    case 'E':
        agent_word("Edg", BROWSER, EDGE, 5);
        agent_word("Edge", BROWSER, EDGE, 5);
        agent_word("EdgA", BROWSER, EDGE, 5);
        agent_word("EdgiOS", BROWSER, EDGE, 5);
        break;

    case 'F':
        agent_word("Firefox", BROWSER, FIREFOX, 3);
        agent_word("FxiOS", BROWSER, FIREFOX, 4);
        agent_word("FBAV", BROWSER, FACEBOOK, 6);
        agent_word("FBAN", BROWSER, FACEBOOK, 6);
        agent_word("FreeBSD", OS, BSD, 2);
        break;

    case 'G':
        agent_word("GSA", BROWSER, GOOGLE_APP, 5);
        agent_word("GoogleTV", DEVICE, TV, 0);
        break;

    case 'H':
        agent_word("HeadlessChrome", BROWSER, CHROME, 3);
        agent_word("HuaweiBrowser", BROWSER, HUAWEI, 5);
        agent_word("HarmonyOS", OS, HARMONYOS, 5);
        agent_word("HbbTV", DEVICE, TV, 0);
        break;

    case 'I':
        agent_word("Instagram", BROWSER, INSTAGRAM, 7);
        break;

    case 'K':
        agent_word("KAIOS", OS, KAIOS, 5);
        break;

    case 'L':
        agent_word("Linux", OS, LINUX, 1);
        break;
    }

    return (agent_word_t){AGENT_NOTHING, 0, 0};
}


/* Words from M on, and small letters. */
static agent_word_t
agent_find_high(const char *word, size_t len)
{
    switch (word[0]) {

    case 'M':
        agent_word("Mobile", DEVICE, MOBILE, 0);
        agent_word("Macintosh", OS, MACOS, 2);
        agent_word("MSIE", BROWSER, IE, 3);
        agent_word("MicroMessenger", BROWSER, WECHAT, 6);
        agent_word("MiuiBrowser", BROWSER, MIUI, 5);
        agent_word("MQQBrowser", BROWSER, QQ, 5);
        break;

    case 'N':
        agent_special("NT", WINDOWS_NT);
        agent_word("Nintendo", OS, NINTENDO, 6);
        agent_word("NetCast", OS, WEBOS, 5);
        break;

    case 'O':
        agent_special("OS", APPLE_VERSION);
        agent_word("OPR", BROWSER, OPERA, 5);
        agent_word("OPT", BROWSER, OPERA, 5);
        agent_word("OPiOS", BROWSER, OPERA, 5);
        agent_word("Opera", BROWSER, OPERA, 4);
        agent_word("OpenBSD", OS, BSD, 2);
        break;

    case 'P':
        agent_special("Phone", WINDOWS_PHONE);
        agent_word("PlayStation", OS, PLAYSTATION, 6);
        agent_word("Pinterest", BROWSER, PINTEREST, 6);
        break;

    case 'Q':
        agent_word("QQBrowser", BROWSER, QQ, 5);
        break;

    case 'S':
        agent_word("Safari", BROWSER, SAFARI, 1);
        agent_word("SamsungBrowser", BROWSER, SAMSUNG, 5);
        agent_word("Silk", BROWSER, SILK, 5);
        agent_word("Snapchat", BROWSER, SNAPCHAT, 6);
        agent_word("SmartTV", DEVICE, TV, 0);
        agent_word("SMART-TV", DEVICE, TV, 0);
        break;

    case 'T':
        agent_word("Trident", BROWSER, IE, 3);
        agent_word("Tablet", DEVICE, TABLET, 0);
        agent_word("TV", DEVICE, TV, 0);
        agent_word("Tizen", OS, TIZEN, 5);
        agent_word("TikTok", BROWSER, TIKTOK, 6);
        break;

    case 'U':
        agent_word("UCBrowser", BROWSER, UC, 5);
        agent_word("Ubuntu", OS, LINUX, 1);
        break;

    case 'V':
        agent_special("Version", SAFARI_VERSION);
        agent_word("Vivaldi", BROWSER, VIVALDI, 5);
        break;

    case 'W':
        agent_word("Windows", OS, WINDOWS, 2);
        agent_word("Web0S", OS, WEBOS, 5);
        agent_word("Whale", BROWSER, WHALE, 5);
        break;

    case 'X':
        agent_word("X11", OS, LINUX, 1);
        agent_word("Xbox", OS, XBOX, 6);
        break;

    case 'Y':
        agent_word("YaBrowser", BROWSER, YANDEX, 5);
        break;

    case 'i':
        agent_word("iPhone", OS, IOS, 3);
        agent_word("iPod", OS, IOS, 3);
        agent_word("iPad", OS, IPADOS, 3);
        break;

    case 'm':
        agent_word("musical_ly", BROWSER, TIKTOK, 6);
        break;

    case 'r':
        agent_special("rv", TRIDENT_VERSION);
        break;

    case 'w':
        agent_word("webOS", OS, WEBOS, 5);
        break;
    }

    return (agent_word_t){AGENT_NOTHING, 0, 0};
}


/* The digits at p; 0 when there are none. */
static uint16_t
agent_major(const char *p, const char *end)
{
    uint32_t n;

    for (n = 0; p < end && *p >= '0' && *p <= '9' && n < 6000; p++) {
        n = n * 10 + (uint32_t) (*p - '0');
    }

    return (uint16_t) n;
}


/* "17_5_1" is kept as "17.5": major and minor, and a whole field or none. */
static void
agent_version(tracker_agent_t *agent, const char *p, const char *end)
{
    char     text[TRACKER_AGENT_VERSION];
    unsigned n, dots;

    memset(text, 0, sizeof(text));
    dots = 0;

    for (n = 0; p < end && n < sizeof(text) - 1; p++) {
        if (*p >= '0' && *p <= '9') {
            text[n++] = *p;

        } else if ((*p == '.' || *p == '_') && n > 0 && dots == 0) {
            dots = 1;
            text[n++] = '.';

        } else {
            break;
        }
    }

    if (n > 0 && text[n - 1] == '.') {
        n--;
    }

    /* "14.0" is 14, as everybody calls it */
    if (n > 2 && text[n - 1] == '0' && text[n - 2] == '.') {
        n -= 2;
    }

    if (n > 0) {
        memcpy(agent->os_version, text, n);
        agent->os_version[n] = '\0';
    }
}


/* Windows counts its kernels; people count editions. */
static void
agent_windows(tracker_agent_t *agent, const char *p, const char *end)
{
    unsigned                 i;
    static const char *const editions[][2] = {{"10.0", "10"}, {"6.3", "8.1"},
        {"6.2", "8"}, {"6.1", "7"}, {"6.0", "Vista"}, {"5.1", "XP"}};

    for (i = 0; i < sizeof(editions) / sizeof(editions[0]); i++) {
        if ((size_t) (end - p) >= strlen(editions[i][0])
            && memcmp(p, editions[i][0], strlen(editions[i][0])) == 0)
        {
            memcpy(
                agent->os_version, editions[i][1], strlen(editions[i][1]) + 1);
            return;
        }
    }
}


static void
agent_take_os(agent_scan_t *scan, const agent_word_t *word, const char *p,
    const char *end)
{
    if (word->rank <= scan->os_rank) {
        return;
    }

    scan->os_rank = word->rank;
    scan->agent->os = word->what;
    scan->agent->os_version[0] = '\0';

    if ((word->what == TRACKER_OS_ANDROID || word->what == TRACKER_OS_TIZEN
            || word->what == TRACKER_OS_KAIOS
            || word->what == TRACKER_OS_HARMONYOS)
        && p < end && (*p == ' ' || *p == '/'))
    {
        agent_version(scan->agent, p + 1, end);
    }

    scan->console |= word->what >= TRACKER_OS_PLAYSTATION;
    scan->tv |= word->what == TRACKER_OS_WEBOS;
    scan->tablet |= word->what == TRACKER_OS_IPADOS;
    scan->mobile |= word->what == TRACKER_OS_IOS;
}


static void
agent_take_device(agent_scan_t *scan, uint8_t device)
{
    scan->mobile |= device == TRACKER_DEVICE_MOBILE;
    scan->tablet |= device == TRACKER_DEVICE_TABLET;
    scan->tv |= device == TRACKER_DEVICE_TV;
}


/* p is behind the word, where its version begins if it has one. */
static void
agent_take(agent_scan_t *scan, const agent_word_t *word, const char *p,
    const char *end)
{
    tracker_agent_t *agent = scan->agent;

    switch (word->kind) {

    case AGENT_BROWSER:
        if (word->rank > scan->browser_rank) {
            scan->browser_rank = word->rank;
            agent->browser = word->what;
            agent->browser_version = p < end && (*p == '/' || *p == ' ')
                                         ? agent_major(p + 1, end)
                                         : 0;
        }
        break;

    case AGENT_OS:
        agent_take_os(scan, word, p, end);
        break;

    case AGENT_DEVICE:
        agent_take_device(scan, word->what);
        break;

    case AGENT_SAFARI_VERSION:
        if (p < end && *p == '/') {
            scan->safari = agent_major(p + 1, end);
        }
        break;

    case AGENT_APPLE_VERSION:
        if (end - p > 3 && p[0] == ' ' && p[1] == 'X' && p[2] == ' ') {
            p += 2;
        }
        if (agent->os >= TRACKER_OS_MACOS && agent->os <= TRACKER_OS_IPADOS
            && agent->os_version[0] == '\0' && p < end && *p == ' ')
        {
            agent_version(agent, p + 1, end);
        }
        break;

    case AGENT_WINDOWS_NT:
        if (agent->os == TRACKER_OS_WINDOWS && p < end && *p == ' ') {
            agent_windows(agent, p + 1, end);
        }
        break;

    case AGENT_WINDOWS_PHONE:
        if (agent->os == TRACKER_OS_WINDOWS) {
            agent->os = TRACKER_OS_WINDOWS_PHONE;
            scan->os_rank = 7;
            scan->mobile = 1;
        }
        break;

    case AGENT_TRIDENT_VERSION:
        if (agent->browser == TRACKER_BROWSER_IE && p < end && *p == ':') {
            agent->browser_version = agent_major(p + 1, end);
        }
        break;

    default:
        break;
    }
}


static inline unsigned
agent_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}


static void
agent_scan(agent_scan_t *scan, const char *p, const char *end)
{
    const char  *start;
    agent_word_t word;

    while (p < end) {
        if (!agent_letter(*p)) {
            /* what begins with a digit is no word: "15E148", "x86_64" */
            while (p < end && *p >= '0' && *p <= '9') {
                p++;
                while (p < end && agent_letter(*p)) {
                    p++;
                }
            }
            if (p < end && !agent_letter(*p)) {
                p++;
            }
            continue;
        }

        for (start = p++; p < end
                          && (agent_letter(*p) || (*p >= '0' && *p <= '9')
                              || *p == '-' || *p == '_');
             p++)
        { /* void */
        }

        word = start[0] <= 'L' ? agent_find_low(start, (size_t) (p - start))
                               : agent_find_high(start, (size_t) (p - start));

        if (word.kind != AGENT_NOTHING) {
            agent_take(scan, &word, p, end);
        }
    }
}


static void
agent_settle(agent_scan_t *scan)
{
    tracker_agent_t *agent = scan->agent;

    if (agent->browser == TRACKER_BROWSER_SAFARI) {
        agent->browser_version = scan->safari;

        /* the browser of old Androids calls itself Safari */
        if (agent->os == TRACKER_OS_ANDROID) {
            agent->browser = TRACKER_BROWSER_ANDROID;
        }
    }

    /* a Mac is not mobile: it is an iPad that says otherwise */
    if (agent->os == TRACKER_OS_MACOS && scan->mobile) {
        agent->os = TRACKER_OS_IPADOS;
        agent->os_version[0] = '\0';
        scan->tablet = 1;
    }

    if (scan->console) {
        agent->device = TRACKER_DEVICE_CONSOLE;
    } else if (scan->tv) {
        agent->device = TRACKER_DEVICE_TV;
    } else if (scan->tablet
               || (agent->os == TRACKER_OS_ANDROID && !scan->mobile)) {
        agent->device = TRACKER_DEVICE_TABLET;
    } else if (scan->mobile) {
        agent->device = TRACKER_DEVICE_MOBILE;
    } else if (agent->os == TRACKER_OS_TIZEN) {
        agent->device = TRACKER_DEVICE_TV;
    } else if (agent->os != TRACKER_OS_UNKNOWN) {
        agent->device = TRACKER_DEVICE_DESKTOP;
    }
}


/* ---- client hints ---- */

/* A structured-field string without its quotes; absent if it is none. */
static tracker_str_t
agent_unquote(tracker_str_t hint)
{
    tracker_str_t absent = {NULL, 0};

    if (hint.data == NULL || hint.len < 2 || hint.data[0] != '"'
        || hint.data[hint.len - 1] != '"')
    {
        return absent;
    }

    hint.data++;
    hint.len -= 2;

    return hint;
}


static uint8_t
agent_platform(tracker_str_t hint)
{
    uint8_t       os;
    tracker_str_t name;

    name = agent_unquote(hint);

    if (name.len == 9 && memcmp(name.data, "Chrome OS", 9) == 0) {
        return TRACKER_OS_CHROMEOS;
    }

    for (os = TRACKER_OS_WINDOWS; os <= TRACKER_OS_LINUX && name.len > 0; os++)
    {
        if (name.len == strlen(agent_systems[os])
            && memcmp(name.data, agent_systems[os], name.len) == 0)
        {
            return os;
        }
    }

    return TRACKER_OS_UNKNOWN;
}


static void
agent_hints(tracker_agent_t *agent, const tracker_hints_t *hints)
{
    uint8_t       os;
    uint16_t      major;
    tracker_str_t version;

    os = agent_platform(hints->platform);

    if (os != TRACKER_OS_UNKNOWN && os != agent->os) {
        agent->os = os;
        agent->os_version[0] = '\0';
    }

    if (hints->mobile.len == 2 && hints->mobile.data[1] == '1') {
        if (agent->device <= TRACKER_DEVICE_DESKTOP) {
            agent->device = TRACKER_DEVICE_MOBILE;
        }

    } else if (agent->device == TRACKER_DEVICE_UNKNOWN
               && os != TRACKER_OS_UNKNOWN) {
        agent->device = os == TRACKER_OS_ANDROID ? TRACKER_DEVICE_TABLET
                                                 : TRACKER_DEVICE_DESKTOP;
    }

    version = agent_unquote(hints->platform_version);
    if (version.len == 0 || os == TRACKER_OS_UNKNOWN) {
        return;
    }

    if (os != TRACKER_OS_WINDOWS) {
        agent_version(agent, version.data, version.data + version.len);
        return;
    }

    /* of Windows the hint counts API contracts: 13 and more is Windows 11 */
    major = agent_major(version.data, version.data + version.len);
    if (major > 0) {
        memcpy(agent->os_version, major >= 13 ? "11" : "10", 3);
    }
}


void
tracker_agent_read(
    tracker_agent_t *agent, tracker_str_t ua, const tracker_hints_t *hints)
{
    size_t       len;
    agent_scan_t scan;

    memset(agent, 0, sizeof(*agent));
    memset(&scan, 0, sizeof(scan));
    scan.agent = agent;

    if (ua.data != NULL) {
        len = ua.len < AGENT_BYTES_MAX ? ua.len : AGENT_BYTES_MAX;
        agent_scan(&scan, ua.data, ua.data + len);
        agent_settle(&scan);
    }

    if (hints != NULL) {
        agent_hints(agent, hints);
    }
}
