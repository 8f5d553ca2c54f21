/*
 * result.c - turns a result of the core into words for log lines.
 *
 * The phrases name what happened, not what to do: the caller knows the
 * directive, key or peer and adds them.
 */

#include "tracker.h"


const char *
tracker_result_text(tracker_result_e rc)
{
    switch (rc) {
    case TRACKER_OK:
        return "ok";
    case TRACKER_DECLINED:
        return "nothing to do";
    case TRACKER_INVALID:
        return "damaged or out of bounds";
    case TRACKER_FULL:
        return "no room";
    case TRACKER_AGAIN:
        return "ends too early";
    case TRACKER_BUSY:
        return "held by another process";
    case TRACKER_IO:
        return "refused by the system";
    }

    return "unknown result";
}
