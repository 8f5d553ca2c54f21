/*
 * greeting.c - how a customer is addressed, and whether it is its birthday.
 *
 *     en   Dear Ms Miller · Dear Anna · Dear Anna Miller
 *     zh   尊敬的王女士   · 亲爱的安娜 · 尊敬的王安娜
 *
 * The form of address is what the shop keeps: one of the usual words, in any
 * case, or any other text, which is taken as it is.  Of a customer with
 * a form and a family name those are used, else the given name, else the whole
 * name; without any there is no greeting, and the content says what then.
 *
 * A birthday is a date, YYYY-MM-DD, or --MM-DD and MM-DD without the year; that
 * of 29 February is kept on the 28th in other years.
 */

#include "personalize.h"

#include <string.h>


typedef struct {
    char  *buf;
    size_t size;
    size_t len; /* grows past size, where nothing is written */
} text_t;

static const struct {
    const char *form;
    const char *en;
    const char *zh;
} forms[] = {
    {"mr", "Mr", "先生"},
    {"mrs", "Mrs", "女士"},
    {"ms", "Ms", "女士"},
    {"miss", "Miss", "小姐"},
    {"mx", "Mx", NULL},
    {"dr", "Dr", "博士"},
    {"prof", "Professor", "教授"},
    {"先生", "Mr", "先生"},
    {"女士", "Ms", "女士"},
    {"小姐", "Miss", "小姐"},
    {"博士", "Dr", "博士"},
    {"教授", "Professor", "教授"},
};


static void
put(text_t *text, const char *data, size_t len)
{
    if (len > 0 && text->len <= text->size && len <= text->size - text->len) {
        memcpy(text->buf + text->len, data, len);
    }

    text->len += len;
}


static char
lower(char ch)
{
    return ch >= 'A' && ch <= 'Z' ? (char) (ch + ('a' - 'A')) : ch;
}


/* Letters' case does not count, nor the dot of "Mr.". */
static int
is_form(personalize_str_t form, const char *word)
{
    size_t i;

    if (form.len > 0 && form.data[form.len - 1] == '.') {
        form.len--;
    }

    for (i = 0; i < form.len; i++) {
        if (lower(form.data[i]) != word[i] || word[i] == '\0') {
            return 0;
        }
    }

    return word[i] == '\0';
}


/* The form in that language; as it came if it is no usual one. */
static personalize_str_t
form_in(personalize_str_t form, int chinese)
{
    size_t      i;
    const char *word;

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (is_form(form, forms[i].form)) {
            word = chinese ? forms[i].zh : forms[i].en;
            form.data = word;
            form.len = word != NULL ? strlen(word) : 0;
            break;
        }
    }

    return form;
}


static void
greet(text_t *text, const char *dear, personalize_str_t first,
    const char *between, personalize_str_t second)
{
    put(text, dear, strlen(dear));
    put(text, first.data, first.len);
    put(text, between, strlen(between));
    put(text, second.data, second.len);
}


size_t
personalize_greeting(const personalize_person_t *person, char *buf, size_t size)
{
    int               chinese;
    text_t            text = {buf, size, 0};
    personalize_str_t form, none = {"", 0};

    chinese = person->language.len >= 2
              && lower(person->language.data[0]) == 'z'
              && lower(person->language.data[1]) == 'h';
    form = form_in(person->form, chinese);

    if (form.len > 0 && person->family_name.len > 0) {
        if (chinese) {
            greet(&text, "尊敬的", person->family_name, "", form);
        } else {
            greet(&text, "Dear ", form, " ", person->family_name);
        }

    } else if (person->given_name.len > 0) {
        greet(
            &text, chinese ? "亲爱的" : "Dear ", person->given_name, "", none);

    } else if (person->name.len > 0) {
        greet(&text, chinese ? "尊敬的" : "Dear ", person->name, "", none);
    }

    return text.len <= size ? text.len : 0;
}


/* Two digits of a date, or -1. */
static int
two(const char *p)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9') {
        return -1;
    }

    return (p[0] - '0') * 10 + (p[1] - '0');
}


/* The civil date of a day since 1970, years counted from March. */
static void
civil(int64_t day, int64_t *year, int *month, int *mday)
{
    int64_t era, doe, yoe, doy, mp;

    day += 719468;
    era = (day >= 0 ? day : day - 146096) / 146097;
    doe = day - era * 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    *mday = (int) (doy - (153 * mp + 2) / 5 + 1);
    *month = (int) (mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}


int
personalize_is_birthday(personalize_str_t date, int64_t now_s)
{
    int         month, mday, m, d;
    int64_t     year;
    const char *p;

    if (date.len < 5 || (date.len > 5 && date.len != 7 && date.len < 10)) {
        return 0;
    }

    /* a time of day may follow the date */
    p = date.data + (date.len == 5 ? 0 : date.len == 7 ? 2 : 5);
    m = two(p);
    d = two(p + 3);

    if (p[2] != '-' || m < 1 || m > 12 || d < 1 || d > 31
        || (date.len > 10 && date.data[10] >= '0' && date.data[10] <= '9'))
    {
        return 0;
    }

    civil((now_s - (now_s < 0 ? 86399 : 0)) / 86400, &year, &month, &mday);

    if (m == 2 && d == 29
        && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
    {
        d = 28;
    }

    return m == month && d == mday;
}
