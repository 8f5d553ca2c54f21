/*
 * hide.h - values of named properties that are never kept as they came.
 */

#ifndef TRACKER_HIDE_H_INCLUDED_
#define TRACKER_HIDE_H_INCLUDED_

#include "tracker.h"

#pragma GCC visibility push(hidden)


#define TRACKER_HIDE_LEN 32 /* hex digits of a hashed value: 128 bits */

/* Owned by the caller, who keeps it as long as it is used. */
typedef struct {
    const tracker_key_t *key;
    const tracker_str_t *names; /* ASCII letters fit in any case */
    unsigned             nnames;
} tracker_hide_t;


/*
 * Copies clean JSON (see tracker_json_clean) into buf.  The value of a member
 * with one of the names, at any depth, becomes the hash of its text: of a
 * string unescaped, of anything else as it stands; null stays.  In all other
 * strings arguments of these names lose their value, as in
 * tracker_query_hide().  FULL when it does not fit into size bytes.
 */
tracker_result_e tracker_json_hide(const tracker_hide_t *hide,
    tracker_str_t json, char *buf, size_t size, size_t *len);

/*
 * The same for one property whose value is text; JSON in it is taken apart,
 * and replaced by the text "hidden" if it is an object or array that cannot
 * be.  The new value lies in buf, which has room for tracker_prop_hide_bound()
 * bytes; when that is 0 the property stays as it is and needs no hiding.
 */
void tracker_prop_hide(
    const tracker_hide_t *hide, tracker_prop_t *prop, char *buf, size_t size);
size_t tracker_prop_hide_bound(
    const tracker_hide_t *hide, const tracker_prop_t *prop);


#pragma GCC visibility pop

#endif /* TRACKER_HIDE_H_INCLUDED_ */
