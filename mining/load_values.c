/*
 * load_values.c - what a column of a loaded file may hold (docs/loading.md).
 *
 * strptime, strtod and strtol were not used: they take blanks, signs, hex,
 * locales and dates such as 31 February.
 */

#include <string.h>

#include "mining.h"


#define VALUES_PRICE_MAX    1000000
#define VALUES_QUANTITY_MAX 1000000
#define VALUES_FRACTION_MAX 6 /* digits */


/* n digits at *pos as a number. */
static int
values_digits(tracker_str_t text, size_t *pos, unsigned n, int *number)
{
    char c;

    *number = 0;
    while (n-- > 0) {
        if (*pos >= text.len) {
            return 0;
        }
        c = text.data[(*pos)++];
        if (c < '0' || c > '9') {
            return 0;
        }
        *number = *number * 10 + (c - '0');
    }

    return 1;
}


static int
values_char(tracker_str_t text, size_t *pos, const char *any)
{
    if (*pos < text.len && strchr(any, text.data[*pos]) != NULL
        && text.data[*pos] != '\0')
    {
        (*pos)++;
        return 1;
    }

    return 0;
}


/* Days since 1970 of a date in the Gregorian calendar; 0 is a bad date. */
static int
values_day(int year, int month, int day, int64_t *days)
{
    int        leap, y;
    static int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static int before[] = {
        0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};

    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month < 1 || month > 12 || day < 1
        || day > lengths[month - 1] + (month == 2 && leap))
    {
        return 0;
    }

    y = year - 1;
    *days = 365LL * (year - 1970) + (y / 4 - y / 100 + y / 400)
            - (1969 / 4 - 1969 / 100 + 1969 / 400) + before[month - 1]
            + (month > 2 && leap) + day - 1;

    return 1;
}


/* A time of day behind a date: "HH:MM[:SS[.f]]" and a zone, all optional. */
static int
values_clock(tracker_str_t text, size_t *pos, int64_t *us)
{
    int     hour, minute, second, sign;
    int64_t scale;

    if (!values_digits(text, pos, 2, &hour) || !values_char(text, pos, ":")
        || !values_digits(text, pos, 2, &minute) || hour > 23 || minute > 59)
    {
        return 0;
    }
    *us = (hour * 60LL + minute) * 60 * MINING_US_PER_S;

    if (values_char(text, pos, ":")) {
        if (!values_digits(text, pos, 2, &second) || second > 59) {
            return 0;
        }
        *us += second * MINING_US_PER_S;

        if (values_char(text, pos, ".")) {
            scale = MINING_US_PER_S / 10;
            if (!values_char(text, pos, "0123456789")) {
                return 0;
            }
            do {
                *us += scale * (text.data[*pos - 1] - '0');
                scale /= 10;
            } while (values_char(text, pos, "0123456789"));
        }
    }

    if (values_char(text, pos, "Zz")) {
        return 1;
    }

    if (values_char(text, pos, "+-")) {
        sign = text.data[*pos - 1] == '-' ? 1 : -1;
        if (!values_digits(text, pos, 2, &hour) || !values_char(text, pos, ":")
            || !values_digits(text, pos, 2, &minute) || hour > 23
            || minute > 59)
        {
            return 0;
        }
        *us += sign * (hour * 60LL + minute) * 60 * MINING_US_PER_S;
    }

    return 1;
}


mining_result_e
mining_time(tracker_str_t text, int64_t *us)
{
    int     year, month, day;
    size_t  pos;
    int64_t days, clock;

    pos = 0;
    clock = 0;

    if (!values_digits(text, &pos, 4, &year) || !values_char(text, &pos, "-")
        || !values_digits(text, &pos, 2, &month)
        || !values_char(text, &pos, "-") || !values_digits(text, &pos, 2, &day)
        || !values_day(year, month, day, &days))
    {
        return MINING_INVALID;
    }

    if (pos < text.len
        && (!values_char(text, &pos, " Tt")
            || !values_clock(text, &pos, &clock)))
    {
        return MINING_INVALID;
    }

    if (pos != text.len) {
        return MINING_INVALID;
    }

    *us = days * MINING_US_PER_DAY + clock;

    return MINING_OK;
}


mining_result_e
mining_csv_time(tracker_str_t text, int64_t *us)
{
    if (mining_time(text, us) != MINING_OK
        || *us < MINING_FIRST_DAY * MINING_US_PER_DAY
        || *us > mining_now_us() + MINING_US_PER_DAY)
    {
        return MINING_INVALID;
    }

    return MINING_OK;
}


mining_result_e
mining_csv_price(tracker_str_t text)
{
    size_t  i, fraction;
    int64_t whole;

    whole = 0;
    for (i = 0; i < text.len && text.data[i] != '.'; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i == 7) {
            return MINING_INVALID;
        }
        whole = whole * 10 + (text.data[i] - '0');
    }

    if (i == 0 || whole > VALUES_PRICE_MAX) {
        return MINING_INVALID;
    }
    if (i == text.len) {
        return MINING_OK;
    }

    fraction = text.len - i - 1;
    if (fraction == 0 || fraction > VALUES_FRACTION_MAX) {
        return MINING_INVALID;
    }

    for (i++; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9'
            || (whole == VALUES_PRICE_MAX && text.data[i] != '0'))
        {
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}


mining_result_e
mining_csv_quantity(tracker_str_t text, int32_t *quantity)
{
    size_t i, negative;

    negative = text.len > 0 && text.data[0] == '-';
    if (text.len == negative || text.len > 7 + negative) {
        return MINING_INVALID;
    }

    *quantity = 0;
    for (i = negative; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return MINING_INVALID;
        }
        *quantity = *quantity * 10 + (text.data[i] - '0');
    }

    if (*quantity == 0 || *quantity > VALUES_QUANTITY_MAX) {
        return MINING_INVALID;
    }

    if (negative) {
        *quantity = -*quantity;
    }

    return MINING_OK;
}


/* The length of one character in UTF-8, 0 when it is none. */
static size_t
values_character(const unsigned char *p, size_t left)
{
    size_t   len, i;
    uint32_t code, least;

    if (p[0] < 0x80) {
        return 1;
    }

    len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < len) {
        return 0;
    }

    code = p[0] & (0x7fu >> len);
    for (i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3f);
    }

    least = len == 2 ? 0x80 : len == 3 ? 0x800 : 0x10000;

    return code >= least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
               ? len
               : 0;
}


mining_result_e
mining_csv_utf8(tracker_str_t text)
{
    size_t i, n;

    for (i = 0; i < text.len; i += n) {
        n = values_character(
            (const unsigned char *) text.data + i, text.len - i);
        if (n == 0) {
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}


mining_result_e
mining_csv_id(tracker_str_t text)
{
    size_t        i;
    unsigned char c;

    if (text.len < 1 || text.len > MINING_ID_MAX) {
        return MINING_INVALID;
    }

    for (i = 0; i < text.len; i++) {
        c = (unsigned char) text.data[i];
        if (c < 0x20 || c == 0x7f) {
            return MINING_INVALID;
        }
    }

    return mining_csv_utf8(text);
}
