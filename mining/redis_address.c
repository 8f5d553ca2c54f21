/*
 * redis_address.c - where Redis is, as people write it.
 *
 * User and password may hold any character as %XX.  Nothing that is not sure to
 * be no password is ever shown.
 */

#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define ADDRESS_PORT     6379
#define ADDRESS_PORT_MAX 65535

static const char address_form[] =
    "the address is not HOST:PORT, redis://[USER:PASSWORD@]HOST:PORT/DB, "
    "cluster:[USER:PASSWORD@]HOST:PORT,HOST:PORT or unix:PATH";

static const char address_tls[] =
    "rediss:// needs a hiredis with TLS, and crm-mine is built without: reach "
    "Redis over a tunnel (stunnel, an SSH or VPN link) and name its local end "
    "as redis://";


static int
address_hex(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found;

    found = c != '\0' ? strchr(digits, c | 0x20) : NULL;

    return found != NULL ? (int) (found - digits) : -1;
}


/* Copies text up to end with %XX undone; 0: too long or no such sequence. */
static int
address_decode(char *to, size_t size, const char *text, const char *end)
{
    int    high, low;
    size_t n;

    for (n = 0; text < end; text++) {
        if (n + 1 >= size) {
            return 0;
        }

        if (*text != '%') {
            to[n++] = *text;
            continue;
        }

        high = end - text > 2 ? address_hex(text[1]) : -1;
        low = end - text > 2 ? address_hex(text[2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            return 0;
        }

        to[n++] = (char) (high * 16 + low);
        text += 2;
    }

    to[n] = '\0';

    return 1;
}


/* "[USER]:PASSWORD@" in front of hosts; returns where the hosts start. */
static const char *
address_user(mining_redis_address_t *address, const char *text)
{
    const char *at, *colon;

    at = strrchr(text, '@');
    if (at == NULL) {
        return text;
    }

    colon = memchr(text, ':', (size_t) (at - text));
    if (colon == NULL
        || !address_decode(address->user, sizeof(address->user), text, colon)
        || !address_decode(
            address->password, sizeof(address->password), colon + 1, at)
        || address->password[0] == '\0')
    {
        return NULL;
    }

    return at + 1;
}


static int
address_host(mining_redis_address_t *address, const char *text, size_t len)
{
    char              *colon, *end;
    long               port;
    mining_endpoint_t *seed;

    if (len == 0 || len >= MINING_REDIS_HOST
        || address->nseeds == MINING_REDIS_NODES)
    {
        return 0;
    }

    seed = &address->seeds[address->nseeds++];
    memcpy(seed->host, text, len);
    seed->host[len] = '\0';
    seed->port = ADDRESS_PORT;

    colon = strrchr(seed->host, ':');
    if (colon != NULL) {
        *colon++ = '\0';
        port = strtol(colon, &end, 10);
        if (end == colon || *end != '\0' || port < 1 || port > ADDRESS_PORT_MAX)
        {
            return 0;
        }
        seed->port = (int) port;
    }

    return seed->host[0] != '\0';
}


/* "HOST:PORT[,HOST:PORT ...][/DB]" */
static int
address_hosts(mining_redis_address_t *address, const char *text)
{
    size_t      len;
    const char *slash;

    slash = strchr(text, '/');
    if (slash != NULL) {
        if (address->cluster || strlen(slash + 1) >= sizeof(address->db)
            || strspn(slash + 1, "0123456789") != strlen(slash + 1))
        {
            return 0;
        }
        memcpy(address->db, slash + 1, strlen(slash + 1) + 1);
    }

    for (;;) {
        len = strcspn(text, ",/");
        if (!address_host(address, text, len)) {
            return 0;
        }
        if (text[len] != ',') {
            return address->cluster || address->nseeds == 1;
        }
        text += len + 1;
    }
}


mining_result_e
mining_redis_parse(
    mining_redis_address_t *address, const char *text, const char **fault)
{
    memset(address, 0, sizeof(*address));
    *fault = address_form;

    if (strncmp(text, "rediss:", 7) == 0) {
        *fault = address_tls;
        return MINING_INVALID;
    }

    if (strncmp(text, "unix:", 5) == 0) {
        if (text[5] == '\0' || strlen(text + 5) >= sizeof(address->unix_path)) {
            return MINING_INVALID;
        }
        memcpy(address->unix_path, text + 5, strlen(text + 5) + 1);
        return MINING_OK;
    }

    if (strncmp(text, "cluster:", 8) == 0) {
        address->cluster = 1;
        text += 8;
    } else if (strncmp(text, "redis://", 8) == 0) {
        text += 8;
    }

    text = address_user(address, text);

    return text != NULL && address_hosts(address, text) ? MINING_OK
                                                        : MINING_INVALID;
}


void
mining_redis_shown(char *shown, size_t size, const char *text)
{
    const char *at;

    at = strncmp(text, "unix:", 5) != 0 ? strrchr(text, '@') : NULL;

    (void) snprintf(shown, size, "%s", at != NULL ? at + 1 : text);
}
