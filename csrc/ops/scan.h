/* SPDX-License-Identifier: MIT */
/* What recurrent layers do to each channel by itself: a convolution over the last positions, and
 * the selective scan of Mamba (arXiv:2312.00752).  The lanes are channels. */
#ifndef QK_SCAN_H
#define QK_SCAN_H

#include "vmath.h"

static void short_convolution(const qk_convolution *what, const float *x, float *y)
{
    const size_t n_channels = what->n_channels;
    for (size_t i = 0; i < what->n; i++, x += n_channels, y += n_channels) {
        const size_t n_taps = i + 1 < what->n_taps ? i + 1 : what->n_taps;
        const float *weight = what->weight + (what->n_taps - n_taps) * n_channels;
        const float *first = x - (n_taps - 1) * n_channels;
        for (size_t c = 0; c < n_channels; c += WIDTH) {
            const size_t left = n_channels - c;
            vf32 sum = what->bias ? load_up_to(what->bias + c, left, 0.0f) : vf32_zero();
            for (size_t t = 0; t < n_taps; t++) {
                const vf32 w = load_up_to(weight + t * n_channels + c, left, 0.0f);
                sum = vf32_fma(load_up_to(first + t * n_channels + c, left, 0.0f), w, sum);
            }
            store_up_to(y + c, left, sum);
        }
    }
}

/* Channels whose states are held at once. */
#define SCAN_CHANNELS 64

/* What one call works in: rates and states, [n_states][SCAN_CHANNELS] each. */
static size_t scan_workspace(const qk_scan *what)
{
    const size_t floats = qk_times(what->n_states, 2 * SCAN_CHANNELS);
    return qk_plus(qk_times(floats, sizeof(float)), ALIGNMENT);
}

/* One position of n <= SCAN_CHANNELS channels: x, dt, d and y of these, b and c [n_states]. */
static void scan_position(const qk_scan *what, const float *rates, float *states, size_t n,
                          const qk_scan_inputs *in, float *y)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        const size_t left = n - i;
        const vf32 x = load_up_to(in->x + i, left, 0.0f), dt = load_up_to(in->dt + i, left, 0.0f);
        const vf32 added = vf32_mul(x, dt);
        vf32 sum = vf32_mul(x, load_up_to(in->d + i, left, 0.0f));
        for (size_t s = 0; s < what->n_states; s++) {
            float *state = states + s * SCAN_CHANNELS + i;
            const vf32 rate = vf32_load(rates + s * SCAN_CHANNELS + i);
            const vf32 kept = vf32_mul(vf32_exp(vf32_mul(dt, rate)), vf32_load(state));
            const vf32 now = vf32_fma(added, vf32_set1(in->b[s]), kept);
            vf32_store(state, now);
            sum = vf32_fma(now, vf32_set1(in->c[s]), sum);
        }
        store_up_to(y + i, left, sum);
    }
}

static void selective_scan(const qk_scan *what, const qk_scan_inputs *in, float *y, void *workspace)
{
    const uintptr_t start = ((uintptr_t)workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t n_channels = what->n_channels, n_states = what->n_states;
    float *rates = (float *)start, *states = rates + n_states * SCAN_CHANNELS;
    for (size_t first = 0; first < n_channels; first += SCAN_CHANNELS) {
        const size_t left = n_channels - first;
        const size_t n = left < SCAN_CHANNELS ? left : SCAN_CHANNELS;
        memset(rates, 0, 2 * n_states * SCAN_CHANNELS * sizeof *rates);
        transpose_floats(in->a + first * n_states, n_states, n, n_states, rates, SCAN_CHANNELS);
        for (size_t i = 0; i < what->n; i++) {
            const size_t at = i * n_channels + first;
            const qk_scan_inputs here = {
                .x = in->x + at,
                .dt = in->dt + at,
                .b = in->b + i * n_states,
                .c = in->c + i * n_states,
                .d = in->d + first,
            };
            scan_position(what, rates, states, n, &here, y + at);
        }
    }
}

#endif
