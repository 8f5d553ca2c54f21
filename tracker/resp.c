/*
 * resp.c - reads what Redis says and writes what it is told (RESP2).
 *
 * The reader keeps no state: an incomplete reply is read again from its start
 * when more has come, so its cost is bounded by max_bytes, and so is what the
 * caller has to keep.  Lengths are believed only up to max_bytes.
 */

#include "tracker.h"

#include <string.h>


#define RESP_DEPTH      4  /* arrays in arrays; XINFO STREAM needs 3 */
#define RESP_NUMBER_MAX 20 /* characters of a 64-bit number with its sign */
#define RESP_HEAD_MAX   32 /* bytes of "$<number>\r\n" and the like, generous */

typedef struct {
    const char *data;
    size_t      len;
    size_t      pos;
    size_t      max_bytes;
} resp_input_t;


/* The rest of a line, without CRLF, which is passed. */
static tracker_result_e
resp_line(resp_input_t *in, size_t max, tracker_str_t *line)
{
    size_t      left;
    const char *start, *cr;

    start = in->data + in->pos;
    left = in->len - in->pos;
    cr = left > 0 ? memchr(start, '\r', left) : NULL;

    if (cr == NULL) {
        return left > max ? TRACKER_INVALID : TRACKER_AGAIN;
    }

    line->data = start;
    line->len = (size_t) (cr - start);

    if (line->len > max) {
        return TRACKER_INVALID;
    }

    if (line->len + 1 == left) {
        return TRACKER_AGAIN;
    }

    if (cr[1] != '\n') {
        return TRACKER_INVALID;
    }

    in->pos += line->len + 2;

    return TRACKER_OK;
}


static tracker_result_e
resp_number(tracker_str_t text, int64_t *number)
{
    size_t   i;
    int64_t  n;
    unsigned negative;

    negative = text.len > 0 && text.data[0] == '-';
    i = negative;
    n = 0;

    if (i == text.len || text.len > RESP_NUMBER_MAX) {
        return TRACKER_INVALID;
    }

    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9'
            || __builtin_mul_overflow(n, 10, &n)
            || (negative ? __builtin_sub_overflow(n, text.data[i] - '0', &n)
                         : __builtin_add_overflow(n, text.data[i] - '0', &n)))
        {
            return TRACKER_INVALID;
        }
    }

    *number = n;

    return TRACKER_OK;
}


/* What follows "$<number>\r\n". */
static tracker_result_e
resp_bulk(resp_input_t *in, size_t len, tracker_reply_t *reply)
{
    size_t      left;
    const char *p;

    p = in->data + in->pos;
    left = in->len - in->pos;

    if ((left > len && p[len] != '\r')
        || (left > len + 1 && p[len + 1] != '\n')) {
        return TRACKER_INVALID;
    }

    if (left < len + 2) {
        return TRACKER_AGAIN;
    }

    reply->text.data = p;
    reply->text.len = len;
    in->pos += len + 2;

    return TRACKER_OK;
}


/* A number, and what it counts. */
static tracker_result_e
resp_counted(resp_input_t *in, tracker_reply_t *reply)
{
    int64_t          n;
    tracker_str_t    line;
    tracker_result_e rc;

    rc = resp_line(in, RESP_HEAD_MAX, &line);
    if (rc != TRACKER_OK) {
        return rc;
    }

    if (resp_number(line, &n) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    if (reply->type == ':') {
        reply->integer = n;
        return TRACKER_OK;
    }

    if (n == -1) {
        reply->type = 'N';
        return TRACKER_OK;
    }

    if (n < 0 || (uint64_t) n > in->max_bytes) {
        return TRACKER_INVALID;
    }

    if (reply->type == '*') {
        reply->integer = n;
        return TRACKER_OK;
    }

    return resp_bulk(in, (size_t) n, reply);
}


static tracker_result_e
resp_value(resp_input_t *in, tracker_reply_t *reply)
{
    memset(reply, 0, sizeof(*reply));

    if (in->pos >= in->len) {
        return TRACKER_AGAIN;
    }

    reply->type = in->data[in->pos++];

    switch (reply->type) {
    case '+':
    case '-':
        return resp_line(in, in->max_bytes, &reply->text);
    case ':':
    case '$':
    case '*':
        return resp_counted(in, reply);
    default:
        return TRACKER_INVALID;
    }
}


tracker_result_e
tracker_resp_next(
    tracker_str_t input, size_t *pos, size_t max_bytes, tracker_reply_t *reply)
{
    resp_input_t     in = {input.data, input.len, *pos, max_bytes};
    tracker_result_e rc;

    rc = resp_value(&in, reply);
    if (rc == TRACKER_OK) {
        *pos = in.pos;
    }

    return rc;
}


/*
 * Element n of the outermost array is elements[n], as far as there is room;
 * an array among them is its head alone, and what is inside is passed over.
 * All texts together may not pass max_bytes, nor may all counts.
 */
tracker_result_e
tracker_resp_reply(tracker_str_t input, size_t *pos, size_t max_bytes,
    tracker_reply_t *reply, tracker_reply_t *elements, unsigned *nelements)
{
    size_t           bytes, count;
    int64_t          left[RESP_DEPTH + 1];
    unsigned         room, depth;
    resp_input_t     in = {input.data, input.len, *pos, max_bytes};
    tracker_reply_t  value;
    tracker_result_e rc;

    room = *nelements;
    *nelements = 0;

    rc = resp_value(&in, reply);
    value = *reply;
    depth = 0;
    left[0] = 0;
    bytes = 0;
    count = 0;

    while (rc == TRACKER_OK) {
        bytes += value.text.len;

        if (value.type == '*') {
            count += (size_t) value.integer;
            if (depth == RESP_DEPTH) {
                rc = TRACKER_INVALID;
                break;
            }
            left[++depth] = value.integer;
        }

        if (bytes > max_bytes || count > max_bytes) {
            rc = TRACKER_INVALID;
            break;
        }

        while (depth > 0 && left[depth] == 0) {
            depth--;
        }

        if (depth == 0) {
            if (reply->type == '*') {
                reply->text.data = input.data + *pos;
                reply->text.len = in.pos - *pos;
            }
            *pos = in.pos;
            return TRACKER_OK;
        }

        left[depth]--;
        rc = resp_value(&in, &value);

        if (rc == TRACKER_OK && depth == 1 && *nelements < room) {
            elements[(*nelements)++] = value;
        }
    }

    *nelements = 0;

    return rc;
}


/* "<type><n>\r\n" */
static char *
resp_head(char *p, const char *end, char type, uint64_t n)
{
    char   digits[RESP_HEAD_MAX];
    size_t i;

    i = RESP_HEAD_MAX;
    digits[--i] = '\n';
    digits[--i] = '\r';

    do {
        digits[--i] = (char) ('0' + n % 10);
        n /= 10;
    } while (n > 0);

    digits[--i] = type;

    if ((size_t) (end - p) < RESP_HEAD_MAX - i) {
        return NULL;
    }

    memcpy(p, digits + i, RESP_HEAD_MAX - i);

    return p + (RESP_HEAD_MAX - i);
}


char *
tracker_resp_array(char *p, const char *end, unsigned n)
{
    return resp_head(p, end, '*', n);
}


char *
tracker_resp_bulk(char *p, const char *end, tracker_str_t value)
{
    size_t len;

    len = value.data != NULL ? value.len : 0;
    p = resp_head(p, end, '$', len);

    if (p == NULL || (size_t) (end - p) < 2 || (size_t) (end - p) - 2 < len) {
        return NULL;
    }

    if (len > 0) {
        memcpy(p, value.data, len);
    }

    memcpy(p + len, "\r\n", 2);

    return p + len + 2;
}
