/* SPDX-License-Identifier: MIT */
/* Calls of recurrent layers. */
#ifndef QK_FUZZ_RECURRENT_H
#define QK_FUZZ_RECURRENT_H

#include "tasks.h"

static void convolve(input *in)
{
    call c = {.name = "convolve"};
    const int backend = take_backend(in, &c);
    qk_convolution what = {.n = take_size(in, 9), .n_channels = take_size(in, 90)};
    what.n_taps = take_size(in, 8);
    add_floats(&c, (wide)what.n * what.n_channels, READ);
    add_floats(&c, (wide)what.n_taps * what.n_channels, READ);
    add_optional(&c, what.n_channels, in);
    add_floats(&c, (wide)what.n * what.n_channels, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        what.weight = (const float *)c.arrays[1].data;
        what.bias = (const float *)c.arrays[2].data;
        done(&c,
             qk_short_convolution(backend, &what, (const float *)c.arrays[0].data,
                                  (float *)c.arrays[3].data),
             QK_OK);
        free_arrays(&c);
    }
}

/* Rows of `each` items: 64 bits each, and their product with n need not fit. */
static wide rows_of(size_t n, wide each)
{
    return n ? (each > PTRDIFF_MAX ? (wide)PTRDIFF_MAX : each) * n : 0;
}

static void recur(input *in)
{
    call c = {.name = "recur"};
    size_t workspace_bytes = 0;
    const int backend = take_backend(in, &c);
    qk_recurrence what = {.n = take_size(in, 90), .n_key_heads = take_size(in, 4)};
    const size_t group = take_size(in, 4);
    what.n_heads = group < 4 ? what.n_key_heads * group : group;
    what.key_size = take_size(in, 50);
    what.value_size = take_size(in, 50);
    what.decay_size = take_byte(in) & 1 ? what.key_size : take_byte(in) % 16 == 1 ? 2 : 1;
    what.scale = (float)(int8_t)take_byte(in) * 0.1f;
    c.is_wrong |= !what.n_key_heads || !what.n_heads || what.n_heads % what.n_key_heads ||
                  !what.key_size || !what.value_size ||
                  (what.decay_size != 1 && what.decay_size != what.key_size);
    add_floats(&c, rows_of(what.n, (wide)what.n_key_heads * what.key_size), READ);
    add_floats(&c, rows_of(what.n, (wide)what.n_key_heads * what.key_size), READ);
    add_floats(&c, rows_of(what.n, (wide)what.n_heads * what.value_size), READ);
    add_floats(&c, rows_of(what.n, (wide)what.n_heads * what.decay_size), READ);
    add_optional(&c, (wide)what.n * what.n_heads, in);
    add_floats(&c, rows_of(what.n, (wide)what.n_heads * what.value_size), WRITTEN);
    const wide state = (wide)what.key_size * what.value_size;
    const qk_status sized = qk_recurrence_workspace(backend, &what, &workspace_bytes);
    expect(!c.is_wrong || sized != QK_OK, &c, "a workspace of wrong sizes");
    expect(c.is_wrong || sized == QK_OK || state > MOST_BYTES, &c, "no workspace");
    c.is_wrong |= sized != QK_OK;
    add_array(&c, workspace_bytes, 1, 1, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        what.beta = (const float *)c.arrays[4].data;
        done(&c,
             qk_recur(backend, &what, (const float *)c.arrays[0].data,
                      (const float *)c.arrays[1].data, (const float *)c.arrays[2].data,
                      (const float *)c.arrays[3].data, (float *)c.arrays[5].data, c.arrays[6].data),
             QK_OK);
        free_arrays(&c);
    }
}

static void scan(input *in)
{
    call c = {.name = "scan"};
    size_t workspace_bytes = 0;
    const int backend = take_backend(in, &c);
    const qk_scan what = {take_size(in, 20), take_size(in, 150), take_size(in, 20)};
    const wide n = (wide)what.n * what.n_channels, states = (wide)what.n * what.n_states;
    const wide sizes[] = {n,      n,      (wide)what.n_channels * what.n_states,
                          states, states, what.n_channels};
    for (int i = 0; i < 6; i++) {
        add_floats(&c, sizes[i], READ);
    }
    add_floats(&c, n, WRITTEN);
    c.is_wrong |= !what.n_states;
    const qk_status sized = qk_scan_workspace(backend, &what, &workspace_bytes);
    expect(!c.is_wrong || sized != QK_OK, &c, "a workspace of wrong sizes");
    expect(c.is_wrong || sized == QK_OK || what.n_states > MOST_BYTES, &c, "no workspace");
    c.is_wrong |= sized != QK_OK;
    add_array(&c, workspace_bytes, 1, 1, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        const float *x[6];
        for (int i = 0; i < 6; i++) {
            x[i] = (const float *)c.arrays[i].data;
        }
        const qk_scan_inputs given = {x[0], x[1], x[2], x[3], x[4], x[5]};
        done(&c,
             qk_selective_scan(backend, &what, &given, (float *)c.arrays[6].data, c.arrays[7].data),
             QK_OK);
        free_arrays(&c);
    }
}

static void mix_wkv(input *in)
{
    call c = {.name = "wkv7"};
    size_t workspace_bytes = 0;
    const int backend = take_backend(in, &c);
    const qk_wkv what = {take_size(in, 20), take_size(in, 4), take_size(in, 50), take_size(in, 50)};
    const wide keys = rows_of(what.n, (wide)what.n_heads * what.key_size);
    const wide values = rows_of(what.n, (wide)what.n_heads * what.value_size);
    const wide sizes[] = {keys, keys, keys, values, keys, keys};
    for (int i = 0; i < 6; i++) {
        add_floats(&c, sizes[i], READ);
    }
    add_floats(&c, values, WRITTEN);
    c.is_wrong |= !what.n_heads || !what.key_size || !what.value_size;
    const qk_status sized = qk_wkv_workspace(backend, &what, &workspace_bytes);
    expect(!c.is_wrong || sized != QK_OK, &c, "a workspace of wrong sizes");
    expect(c.is_wrong || sized == QK_OK || what.key_size > MOST_BYTES, &c, "no workspace");
    c.is_wrong |= sized != QK_OK;
    add_array(&c, workspace_bytes, 1, 1, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        const float *x[6];
        for (int i = 0; i < 6; i++) {
            x[i] = (const float *)c.arrays[i].data;
        }
        const qk_wkv_inputs given = {x[0], x[1], x[2], x[3], x[4], x[5]};
        done(&c, qk_wkv7(backend, &what, &given, (float *)c.arrays[6].data, c.arrays[7].data),
             QK_OK);
        free_arrays(&c);
    }
}
/* The layers whose states are scanned position by position. */
static void scan_states(input *in)
{
    if (take_byte(in) & 1) {
        mix_wkv(in);
    } else {
        scan(in);
    }
}

#endif
