/*
 * traits.c - takes e-mail and phone out of an identify event's properties.
 *
 * What the shop or a client tells about a customer is kept as an event like
 * any other, but a raw address of a person is nothing the warehouse needs: the
 * member "email" becomes "email_sha256", "phone" becomes "phone_sha256", as
 * crm.contact_hash computes them.  Everything else is copied as it stands.
 */

#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#include "mining.h"


#define TRAITS_CONTACT_MAX 1024 /* bytes of an address, unescaped */
#define TRAITS_HASH_TEXT   64

/* SHA-256 of the e-mail in lower case and trimmed, or of a number's digits. */
static void
traits_hash(
    const char *text, size_t len, int email, char hex[TRAITS_HASH_TEXT + 1])
{
    char    plain[TRAITS_CONTACT_MAX];
    size_t  i, n;
    uint8_t digest[SHA256_DIGEST_LENGTH];

    while (email && len > 0 && text[0] == ' ') {
        text++;
        len--;
    }
    while (email && len > 0 && text[len - 1] == ' ') {
        len--;
    }

    for (i = 0, n = 0; i < len; i++) {
        if (email && text[i] >= 'A' && text[i] <= 'Z') {
            plain[n++] = (char) (text[i] | 0x20);
        } else if (email || (text[i] >= '0' && text[i] <= '9')) {
            plain[n++] = text[i];
        }
    }

    (void) SHA256((const uint8_t *) plain, n, digest);
    hex[0] = '\0';
    for (i = 0; i < sizeof(digest); i++) {
        mining_text(hex, TRAITS_HASH_TEXT + 1, "%02x", digest[i]);
    }
}


static void
traits_contact(
    mining_copy_t *out, const tracker_json_member_t *member, int email)
{
    char   text[TRAITS_CONTACT_MAX], hex[TRAITS_HASH_TEXT + 1];
    size_t len;

    mining_copy_append(
        out, email ? "\"email_sha256\":" : "\"phone_sha256\":", 15);

    /* what is no text, or too long for an address, says nothing */
    if (tracker_json_text(member->value, text, sizeof(text), &len)
        != TRACKER_OK) {
        mining_copy_append(out, "null", 4);
        return;
    }

    traits_hash(text, len, email, hex);
    mining_copy_append(out, "\"", 1);
    mining_copy_append(out, hex, TRAITS_HASH_TEXT);
    mining_copy_append(out, "\"", 1);
}


/* The key may be written with escapes, which PostgreSQL undoes as well. */
static int
traits_named(tracker_str_t key, const char *name)
{
    char          text[16];
    size_t        len;
    tracker_str_t quoted;

    quoted.data = key.data - 1;
    quoted.len = key.len + 2;

    return tracker_json_text(quoted, text, sizeof(text), &len) == TRACKER_OK
           && len == strlen(name) && strncasecmp(text, name, len) == 0;
}


tracker_str_t
mining_traits_clean(mining_copy_t *out, tracker_str_t props)
{
    int                   any;
    size_t                pos;
    tracker_str_t         clean;
    tracker_json_member_t member;

    out->len = 0;
    out->failed = 0;
    any = 0;
    pos = 0;

    mining_copy_append(out, "{", 1);

    while (tracker_json_next(props, &pos, &member) == TRACKER_OK) {
        mining_copy_append(out, ",", any ? 1 : 0);
        any = 1;

        if (traits_named(member.key, "email")
            || traits_named(member.key, "phone")) {
            traits_contact(out, &member, traits_named(member.key, "email"));
            continue;
        }

        mining_copy_append(out, "\"", 1);
        mining_copy_append(out, member.key.data, member.key.len);
        mining_copy_append(out, "\":", 2);
        mining_copy_append(out, member.value.data, member.value.len);
    }

    mining_copy_append(out, "}", 1);

    clean.data = out->failed ? NULL : out->data;
    clean.len = out->failed ? 0 : out->len;

    return clean;
}
