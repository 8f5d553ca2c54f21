/*
 * number.c - numbers out of texts and into texts.
 *
 * Only JSON's form counts as a number (plus leading zeros, which query
 * arguments have): no spaces, no hexadecimal, no "inf".  Uses the C library's
 * conversions, exact in both directions, which expect the "C" locale; under
 * another one a fraction would not read as a number.
 */

#include "set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>


/* Longer texts are no numbers that anyone compares; keeps the copy small. */
#define PARSE_MAX 63

/* Integers below this are exact in a double and print without exponent. */
#define PLAIN_MAX 1e15


static size_t
skip_digits(const char *p, size_t len, size_t i)
{
    while (i < len && p[i] >= '0' && p[i] <= '9') {
        i++;
    }

    return i;
}


static int
has_number_form(const char *p, size_t len)
{
    size_t i, from;

    from = len > 0 && p[0] == '-';
    i = skip_digits(p, len, from);
    if (i == from) {
        return 0;
    }

    if (i < len && p[i] == '.') {
        from = i + 1;
        i = skip_digits(p, len, from);
        if (i == from) {
            return 0;
        }
    }

    if (i < len && (p[i] == 'e' || p[i] == 'E')) {
        from = i + 1;
        if (from < len && (p[from] == '-' || p[from] == '+')) {
            from++;
        }
        i = skip_digits(p, len, from);
        if (i == from) {
            return 0;
        }
    }

    return i == len;
}


int
personalize_number_parse(personalize_str_t text, double *number)
{
    char  buf[PARSE_MAX + 1];
    char *end;

    if (text.len > PARSE_MAX || !has_number_form(text.data, text.len)) {
        return 0;
    }

    memcpy(buf, text.data, text.len);
    buf[text.len] = '\0';
    *number = strtod(buf, &end);

    return end == buf + text.len && isfinite(*number);
}


/* The shortest digits that read back, without a point; *point: its place. */
static int
shortest(double number, char digits[18], int *point)
{
    int  n, exponent;
    char buf[PERSONALIZE_NUMBER_MAX];

    for (n = 0; n < 17; n++) {
        (void) snprintf(buf, sizeof(buf), "%.*e", n, number);
        if (strtod(buf, NULL) == number) {
            break;
        }
    }

    n = n < 17 ? n + 1 : 17;
    exponent = atoi(strchr(buf, 'e') + 1);
    digits[0] = buf[0];
    memcpy(digits + 1, buf + 2, (size_t) n - 1);
    *point = exponent + 1;

    return n;
}


size_t
personalize_number_text(double number, char buf[PERSONALIZE_NUMBER_MAX])
{
    int   n, point;
    char  digits[18];
    char *p = buf;

    if (fabs(number) < PLAIN_MAX && number == trunc(number)) {
        /* + 0.0 makes a negative zero a plain one */
        n = snprintf(buf, PERSONALIZE_NUMBER_MAX, "%.0f", number + 0.0);
        return (size_t) n;
    }

    if (number < 0) {
        *p++ = '-';
        number = -number;
    }

    n = shortest(number, digits, &point);

    if (point > 21 || point < -5) {
        p += sprintf(p, "%c", digits[0]);
        if (n > 1) {
            p += sprintf(p, ".%.*s", n - 1, digits + 1);
        }
        p += sprintf(p, "e%+d", point - 1);

    } else if (point <= 0) {
        p += sprintf(p, "0.%.*s%.*s", -point, "00000", n, digits);

    } else if (point >= n) {
        p += sprintf(
            p, "%.*s%.*s", n, digits, point - n, "000000000000000000000");

    } else {
        p += sprintf(p, "%.*s.%.*s", point, digits, n - point, digits + point);
    }

    return (size_t) (p - buf);
}
