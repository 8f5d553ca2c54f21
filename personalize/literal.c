/*
 * literal.c - texts of a page beside which a slot is, where nobody may put a
 * marker.
 *
 * Of each text the byte that is rarest in html is looked for by memchr, and the
 * rest is compared around it: of "</body>" that is the "b", since a page is
 * full of "<".
 *
 * No text may be contained in another one: whichever comes first in the page is
 * then the only one that begins there, however the page is cut into chunks.
 */

#include "personalize.h"

#include <string.h>


#define MARKER_OPEN  "<!--crm:slot "
#define MARKER_CLOSE "<!--/crm:slot"


/* How common a byte is in html: 0 hardly ever, 9 all the time. */
static unsigned
commonness(unsigned char ch)
{
    static const char order[] = "esaitnrold<>/=\"cpu- hmf";
    const char       *at;

    if (ch == ' ' || ch == '\n') {
        return 100;
    }

    at = ch != '\0' ? strchr(order, ch) : NULL;
    if (at != NULL) {
        return (unsigned) (90 - (at - order));
    }

    if (ch >= 'a' && ch <= 'z') {
        return 30;
    }

    return ch >= '0' && ch <= '9' ? 40 : 10;
}


static int
contains(personalize_str_t text, const char *part, size_t len)
{
    return memmem(text.data, text.len, part, len) != NULL;
}


const char *
personalize_literal_add(
    personalize_literals_t *literals, personalize_str_t text)
{
    size_t                 i;
    personalize_str_t      other;
    personalize_literal_t *literal;

    if (text.len == 0) {
        return "is empty";
    }

    if (text.len > PERSONALIZE_LITERAL_MAX) {
        return "is longer than 255 bytes";
    }

    if (literals->n == PERSONALIZE_LITERALS_MAX) {
        return "is one more than the 16 texts that are looked for";
    }

    if (contains(text, MARKER_OPEN, sizeof(MARKER_OPEN) - 2)
        || contains(text, MARKER_CLOSE, sizeof(MARKER_CLOSE) - 1)
        || (text.len < sizeof(MARKER_OPEN)
            && memcmp(text.data, MARKER_OPEN, text.len) == 0)
        || (text.len < sizeof(MARKER_CLOSE)
            && memcmp(text.data, MARKER_CLOSE, text.len) == 0))
    {
        return "cannot be told from a marker";
    }

    for (i = 0; i < literals->n; i++) {
        other = literals->item[i].text;
        if (contains(text, other.data, other.len)
            || contains(other, text.data, text.len))
        {
            return "is in another text, or has another one in it";
        }
    }

    literal = &literals->item[literals->n++];
    literal->text = text;
    literal->key = 0;

    for (i = 1; i < text.len; i++) {
        if (commonness((unsigned char) text.data[i])
            < commonness((unsigned char) text.data[literal->key]))
        {
            literal->key = i;
        }
    }

    return NULL;
}


const char *
personalize_literal_find(const personalize_literals_t *literals, unsigned n,
    const char *p, const char *end)
{
    const char                  *hit;
    const personalize_literal_t *literal = &literals->item[n];
    size_t                       key = literal->key, len = literal->text.len;

    while ((size_t) (end - p) >= len) {
        hit = memchr(
            p + key, literal->text.data[key], (size_t) (end - p) - (len - 1));
        if (hit == NULL) {
            return NULL;
        }

        p = hit - key;
        if (memcmp(p, literal->text.data, len) == 0) {
            return p;
        }
        p++;
    }

    return NULL;
}
