/*
 * random.h - numbers drawn from a seed, the same on every machine.
 *
 * splitmix64 (Steele, Lea and Flood, 2014): one 64-bit word of state, no bad
 * seeds, passes BigCrush.
 */

#ifndef RANDOM_H_INCLUDED_
#define RANDOM_H_INCLUDED_

#include <stdint.h>

static inline uint64_t
mining_random(uint64_t *state)
{
    uint64_t z;

    z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;

    return z ^ (z >> 31);
}


/* 0 <= x < 1 */
static inline double
mining_random_unit(uint64_t *state)
{
    return (double) (mining_random(state) >> 11) * 0x1p-53;
}


/* 0 <= x < n */
static inline uint64_t
mining_random_below(uint64_t *state, uint64_t n)
{
    return (uint64_t) (((unsigned __int128) mining_random(state) * n) >> 64);
}

#endif /* RANDOM_H_INCLUDED_ */
