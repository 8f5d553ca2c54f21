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


size_t
personalize_number_text(double number, char buf[PERSONALIZE_NUMBER_MAX])
{
    int digits, n;

    if (fabs(number) < PLAIN_MAX && number == trunc(number)) {
        /* + 0.0 makes a negative zero a plain one */
        n = snprintf(buf, PERSONALIZE_NUMBER_MAX, "%.0f", number + 0.0);
        return (size_t) n;
    }

    n = 0;

    for (digits = 15; digits <= 17; digits++) {
        n = snprintf(buf, PERSONALIZE_NUMBER_MAX, "%.*g", digits, number);
        if (strtod(buf, NULL) == number) {
            break;
        }
    }

    return (size_t) n;
}
