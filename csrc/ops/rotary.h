/* SPDX-License-Identifier: MIT */
/* Rotary position embedding: pairs of components times exp(i * angle).
 *
 * Pairs that are neighbours have no vectors in simd.h: the loops are plain, and compilers make
 * vectors of them. */
#ifndef QK_ROTARY_H
#define QK_ROTARY_H

#include <stddef.h>

/* turns: [n_pairs][2], cosine and sine.  Pairs are (0, 1), (2, 3) and so on. */
static void turn_neighbours(float *x, const float *QK_RESTRICT turns, size_t n_pairs)
{
    for (size_t i = 0; i < 2 * n_pairs; i += 2) {
        const float a = x[i], b = x[i + 1];
        x[i] = a * turns[i] - b * turns[i + 1];
        x[i + 1] = a * turns[i + 1] + b * turns[i];
    }
}

/* Pairs are (0, n_pairs), (1, n_pairs + 1) and so on. */
static void turn_halves(float *QK_RESTRICT first, float *QK_RESTRICT second,
                        const float *QK_RESTRICT turns, size_t n_pairs)
{
    for (size_t i = 0; i < n_pairs; i++) {
        const float a = first[i], b = second[i];
        first[i] = a * turns[2 * i] - b * turns[2 * i + 1];
        second[i] = a * turns[2 * i + 1] + b * turns[2 * i];
    }
}

static void rotate(const qk_rotation *what, const float *turns, float *x)
{
    for (size_t i = 0; i < what->n; i++) { /* no pointer goes beyond the last position */
        const float *of_position = turns + i * 2 * what->n_pairs;
        for (size_t head = 0; head < what->n_heads; head++) {
            float *of_head = x + i * what->stride + head * what->head_stride;
            if (what->interleaved) {
                turn_neighbours(of_head, of_position, what->n_pairs);
            } else {
                turn_halves(of_head, of_head + what->n_pairs, of_position, what->n_pairs);
            }
        }
    }
}

#endif
