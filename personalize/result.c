/*
 * result.c - the results of the personalize core in words.
 */

#include "personalize.h"


const char *
personalize_result_text(personalize_result_e rc)
{
    switch (rc) {
    case PERSONALIZE_OK:
        return "ok";
    case PERSONALIZE_DECLINED:
        return "no campaign fits";
    case PERSONALIZE_INVALID:
        return "input refused";
    case PERSONALIZE_FULL:
        return "buffer too small";
    case PERSONALIZE_NOMEM:
        return "out of memory";
    }

    return "unknown result";
}
