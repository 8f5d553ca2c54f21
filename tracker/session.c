/*
 * session.c - groups the requests of one visitor into sessions.
 *
 * A session has ended once timeout_s of silence have passed: at exactly that
 * second the session's copy in Redis has expired as well.  It also ends when a
 * campaign that is not the session's brings the visitor back.  All that is
 * needed travels in the cookie, so any node decides alike.  The cookie's
 * last_seen_s lags by up to the refresh interval, so a session may end that
 * much early: the price of leaving most answers without a cookie.
 *
 * Pure: the caller owns the memory and the clock.
 */

#include "tracker.h"

#include <string.h>


#define SESSION_REFRESH_MAX_S 60
#define SESSION_REFRESH_PARTS 30 /* of the timeout, when that is shorter */


static void
session_start(tracker_visitor_t *visitor, uint32_t now_s, uint16_t campaign)
{
    /* a session is told apart by its start: never the same second twice */
    visitor->session_started_s = now_s > visitor->session_started_s
                                     ? now_s
                                     : visitor->session_started_s + 1;
    visitor->last_seen_s = now_s;
    visitor->campaign = campaign;

    if (visitor->session_number < UINT16_MAX) {
        visitor->session_number++;
    }
}


tracker_session_e
tracker_session_touch(tracker_visitor_t *visitor, uint32_t now_s,
    uint32_t timeout_s, uint16_t campaign)
{
    uint32_t silence_s, refresh_s;

    /* The cookie of a node whose clock is ahead is no reason to start anew. */
    silence_s = now_s > visitor->last_seen_s ? now_s - visitor->last_seen_s : 0;

    if ((silence_s > 0 && silence_s >= timeout_s)
        || (campaign != 0 && campaign != visitor->campaign))
    {
        session_start(visitor, now_s, campaign);
        return TRACKER_SESSION_NEW;
    }

    refresh_s = timeout_s / SESSION_REFRESH_PARTS;
    if (refresh_s > SESSION_REFRESH_MAX_S) {
        refresh_s = SESSION_REFRESH_MAX_S;
    }

    if (silence_s > refresh_s) {
        visitor->last_seen_s = now_s;
        return TRACKER_SESSION_REFRESH;
    }

    return TRACKER_SESSION_SAME;
}


/* A bijection of 64 bits that leaves no visible order (splitmix64's end). */
static uint64_t
session_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;

    return x ^ (x >> 31);
}


/*
 * For one visitor and second the id is always the same; as the mixer loses
 * nothing of the visitor's random half, two visitors share one no more often
 * than two random ids would.
 */
void
tracker_session_id(
    uint8_t sid[TRACKER_UUID_SIZE], const tracker_visitor_t *visitor)
{
    uint8_t  random[10];
    uint64_t high, low;

    memcpy(&high, visitor->id, 8);
    memcpy(&low, visitor->id + 8, 8);

    high = session_mix(high + visitor->session_started_s);
    low = session_mix(low ^ high);

    memcpy(random, &high, 2);
    memcpy(random + 2, &low, 8);

    tracker_uuid_v7(sid, (uint64_t) visitor->session_started_s * 1000, random);
}
