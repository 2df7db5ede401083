/* SPDX-License-Identifier: MIT */
/* Calls every function of the core with sizes, types and pointers that a fuzzer chooses: right ones
 * under sanitizers, and wrong ones on memory that cannot be touched (calls.h).
 *
 * With -DQK_LIBFUZZER it is a target of libFuzzer.  Without, a program of its own:
 *
 *     fuzz_core SECONDS SEED [FILE ...]
 *
 * runs the inputs in files, then random ones for so long, and prints how many calls were made and
 * how many refused.  A fault ends it with a message and the input in hexadecimal. */
#include "recurrent.h"

#include <signal.h>
#include <time.h>

/* The type numbers of GGUF, built in or not. */
static int take_type(input *in) { return take_choice(in, 44); }

/* Columns for rows of a type: mostly whole blocks.  Gives the bytes of a row. */
static size_t take_columns(input *in, call *c, int type, wide *row_bytes)
{
    size_t size = 1, bytes = 1;
    c->is_wrong |= qk_type_layout(type, &size, &bytes) != QK_OK;
    size_t n = take_size(in, 5);
    n = n < 5 ? n * size : n;
    n += take_byte(in) % 16 == 1;
    if (size == 1) {
        n += take_byte(in) % 64;
    }
    c->is_wrong |= n % size != 0;
    *row_bytes = (wide)(n / size) * bytes;
    return n;
}

/* The bytes are those of the last backend, the definition. */
static void expect_same_bytes(const call *c, int type, size_t rows, size_t cols)
{
    const array *out = c->arrays + 2;
    size_t bad;
    uint8_t *other = malloc((size_t)out->bytes + 1);
    const qk_status status =
        qk_quantize_rows(qk_backend_count() - 1, type, (const float *)c->arrays[0].data,
                         (const float *)c->arrays[1].data, rows, cols, other, &bad);
    expect(status == QK_OK, c, "the definition refuses what another backend takes");
    expect(!memcmp(other, out->data, (size_t)out->bytes), c, "backends give different bytes");
    free(other);
}

static void quantize(input *in)
{
    call c = {.name = "quantize"};
    wide row_bytes;
    const int backend = take_backend(in, &c), type = take_type(in);
    const size_t rows = take_size(in, 20), cols = take_columns(in, &c, type, &row_bytes);
    add_floats(&c, (wide)rows * cols, READ);
    add_optional(&c, cols, in);
    add_array(&c, rows * row_bytes, 1, 1, WRITTEN);
    add_array(&c, 1, sizeof(size_t), sizeof(size_t), WRITTEN);
    if (!prepare(&c, in)) {
        return;
    }
    fill_arrays(&c, in);
    const qk_status status = qk_quantize_rows(backend, type, (const float *)c.arrays[0].data,
                                              (const float *)c.arrays[1].data, rows, cols,
                                              c.arrays[2].data, (size_t *)c.arrays[3].data);
    if (!c.is_wrong && (status == QK_NOT_FINITE || status == QK_BAD_IMPORTANCE)) {
        n_refused++; /* rows before the weight may be written, and the index is */
        expect(*(size_t *)c.arrays[3].data < (status == QK_NOT_FINITE ? rows * cols : cols), &c,
               "the bad index is none");
    } else {
        done(&c, status, QK_NEEDS_IMPORTANCE);
    }
    if (!c.is_wrong && status == QK_OK) {
        expect_same_bytes(&c, type, rows, cols);
    }
    free_arrays(&c);
}

static void dequantize(input *in)
{
    call c = {.name = "dequantize"};
    wide row_bytes;
    const int backend = take_backend(in, &c), type = take_type(in);
    const size_t rows = take_size(in, 20), cols = take_columns(in, &c, type, &row_bytes);
    add_array(&c, rows * row_bytes, 1, 1, READ);
    add_floats(&c, (wide)rows * cols, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        done(&c,
             qk_dequantize_rows(backend, type, c.arrays[0].data, rows, cols,
                                (float *)c.arrays[1].data),
             QK_OK);
        free_arrays(&c);
    }
}

/* Packs activations, then multiplies them. */
static void multiply(input *in)
{
    call p = {.name = "pack"};
    wide row_bytes;
    qk_packing of_type = QK_PACKED_F32;
    size_t packed_bytes = 0, workspace_bytes = 0;
    const int backend = take_backend(in, &p), type = take_type(in);
    const size_t m = take_size(in, 40), cols = take_columns(in, &p, type, &row_bytes);
    p.is_wrong |= qk_packing_for(type, take_choice(in, 3), &of_type) != QK_OK;
    int packing = (int)of_type;
    if (take_byte(in) % 16 == 1) { /* of another type, or none; of several types it may be right */
        packing = take_choice(in, 4);
        if (packing != (int)of_type) {
            p.is_wrong = 1;
        }
    }
    const qk_status sized = qk_packed_bytes(backend, packing, m, cols, &packed_bytes);
    const qk_status worked = qk_matmul_workspace(backend, &workspace_bytes);
    expect(p.is_wrong || worked == QK_OK, &p, "no workspace");
    expect(p.is_wrong || sized == QK_OK || (wide)m * cols > MOST_BYTES || cols > MOST_BYTES, &p,
           "no packed bytes");
    add_floats(&p, (wide)m * cols, READ);
    add_array(&p, packed_bytes, 1, 4, WRITTEN);
    const int is_right = sized == QK_OK && !p.is_wrong;
    if (!is_right) {
        return; /* pack alone may allow what the product does not */
    }
    if (!prepare(&p, in)) {
        return;
    }
    fill_arrays(&p, in);
    done(&p,
         qk_pack_activations(backend, packing, (const float *)p.arrays[0].data, m, cols,
                             p.arrays[1].data),
         QK_OK);
    if (p.is_wrong) {
        return;
    }
    call c = {.name = "multiply"};
    const size_t n_rows = take_size(in, 70), more = take_size(in, 9);
    const size_t stride = take_byte(in) % 16 == 1 ? n_rows - 1 : n_rows + (more < 9 ? more : 0);
    c.is_wrong = stride < n_rows;
    add_array(&c, packed_bytes, 1, 4, READ);
    add_array(&c, n_rows * row_bytes, 1, 1, READ);
    add_floats(&c, m && n_rows ? (wide)(m - 1) * stride + n_rows : 0, WRITTEN);
    add_array(&c, workspace_bytes, 1, 1, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        if (!c.is_wrong && packed_bytes) {
            memcpy(c.arrays[0].data, p.arrays[1].data, packed_bytes);
            c.arrays[0].checksum = checksum_of(c.arrays);
        }
        done(&c,
             qk_matmul(backend, type, packing, c.arrays[0].data, m, c.arrays[1].data, n_rows, cols,
                       (float *)c.arrays[2].data, stride, c.arrays[3].data),
             QK_OK);
        free_arrays(&c);
    }
    free_arrays(&p);
}

static void attend(input *in)
{
    call c = {.name = "attend"};
    size_t workspace_bytes = 0;
    const int backend = take_backend(in, &c);
    qk_attention what = {.n = take_size(in, 90), .n_kv_heads = take_size(in, 5)};
    const size_t group = take_size(in, 4);
    what.n_heads = group < 4 ? what.n_kv_heads * group : group;
    what.n_keys = take_byte(in) & 3 ? what.n : take_size(in, 90);
    what.n_masks = take_byte(in) & 1 ? take_size(in, 5) : 0;
    what.key_size = take_size(in, 70);
    what.value_size = take_size(in, 70);
    what.window = take_size(in, 100);
    what.scale = (float)(int8_t)take_byte(in) * 0.1f;
    what.cap = (float)(int8_t)take_byte(in);
    c.is_wrong |= !what.n_kv_heads || !what.n_heads || what.n_heads % what.n_kv_heads ||
                  !what.key_size || !what.value_size;
    c.is_wrong |= what.n_masks
                      ? !what.n_keys || (what.n_masks != 1 && what.n_masks != what.n_kv_heads)
                      : what.n_keys != what.n;
    const wide sizes[] = {(wide)what.n_heads * what.key_size, (wide)what.n_kv_heads * what.key_size,
                          (wide)what.n_kv_heads * what.value_size,
                          (wide)what.n_heads * what.value_size};
    wide largest = what.n > 1 ? what.n : 1;
    largest = what.n_keys > largest ? what.n_keys : largest;
    for (int i = 0; i < 4; i++) { /* 64 bits each: their products need not fit */
        const wide each = sizes[i] > PTRDIFF_MAX ? (wide)PTRDIFF_MAX : sizes[i];
        const size_t n = i == 1 || i == 2 ? what.n_keys : what.n;
        add_floats(&c, n ? each * n : 0, i < 3 ? READ : WRITTEN);
        largest = each > largest ? each : largest;
    }
    add_optional(&c, what.n_heads, in);
    add_optional(&c, what.n_heads, in);
    const wide of_queries = (wide)what.n_keys * (what.n < PTRDIFF_MAX ? what.n : PTRDIFF_MAX);
    add_array(&c, what.n_masks && what.n ? of_queries * what.n_masks : 0, 1, 1, READ);
    const qk_status sized = qk_attention_workspace(backend, &what, &workspace_bytes);
    expect(!c.is_wrong || sized != QK_OK, &c, "a workspace of wrong sizes");
    expect(c.is_wrong || sized == QK_OK || largest > MOST_BYTES, &c, "no workspace");
    c.is_wrong |= sized != QK_OK;
    add_array(&c, workspace_bytes, 1, 1, WRITTEN);
    if (!prepare(&c, in)) {
        return;
    }
    fill_arrays(&c, in);
    what.slopes = (const float *)c.arrays[4].data;
    what.sinks = (const float *)c.arrays[5].data;
    what.mask = what.n_masks ? c.arrays[6].data : NULL;
    done(&c,
         qk_attend(backend, &what, (const float *)c.arrays[0].data, (const float *)c.arrays[1].data,
                   (const float *)c.arrays[2].data, (float *)c.arrays[3].data, c.arrays[7].data),
         QK_OK);
    free_arrays(&c);
}

static void index_scores(input *in)
{
    call c = {.name = "index scores"};
    size_t workspace_bytes = 0;
    const int backend = take_backend(in, &c);
    qk_index what = {.n = take_size(in, 90), .n_keys = take_size(in, 300)};
    what.n_heads = take_size(in, 5);
    what.size = take_size(in, 70);
    what.rectified = take_byte(in) & 1;
    c.is_wrong |= !what.n_keys || !what.n_heads || !what.size;
    const size_t rows[] = {what.n, what.n_keys, what.n, what.n};
    const wide columns[] = {(wide)what.n_heads * what.size, what.size, what.n_heads, what.n_keys};
    for (int i = 0; i < 4; i++) {
        const wide each = columns[i] > PTRDIFF_MAX ? (wide)PTRDIFF_MAX : columns[i];
        add_floats(&c, rows[i] ? each * rows[i] : 0, i < 3 ? READ : WRITTEN);
    }
    const qk_status sized = qk_index_workspace(backend, &what, &workspace_bytes);
    expect(!c.is_wrong || sized != QK_OK, &c, "a workspace of wrong sizes");
    c.is_wrong |= sized != QK_OK;
    add_array(&c, workspace_bytes, 1, 1, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        done(&c,
             qk_index_scores(backend, &what, (const float *)c.arrays[0].data,
                             (const float *)c.arrays[1].data, (const float *)c.arrays[2].data,
                             (float *)c.arrays[3].data, c.arrays[4].data),
             QK_OK);
        free_arrays(&c);
    }
}

static void norm(input *in)
{
    call c = {.name = "norm"};
    const int backend = take_backend(in, &c);
    qk_norm what = {.n_heads = take_size(in, 5), .width = take_size(in, 90)};
    const size_t each = take_size(in, 6);
    what.n_rows = each < 6 ? what.n_heads * each : each;
    what.n_rows += take_byte(in) % 16 == 1;
    what.centered = take_byte(in) & 1;
    what.epsilon = 1e-5f;
    c.is_wrong |= !what.n_heads || what.n_rows % what.n_heads;
    add_floats(&c, (wide)what.n_rows * what.width, READ);
    add_optional(&c, (wide)what.n_heads * what.width, in);
    add_optional(&c, (wide)what.n_heads * what.width, in);
    add_floats(&c, (wide)what.n_rows * what.width, WRITTEN);
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        what.weight = (const float *)c.arrays[1].data;
        what.bias = (const float *)c.arrays[2].data;
        done(&c,
             qk_norm_rows(backend, &what, (const float *)c.arrays[0].data,
                          (float *)c.arrays[3].data),
             QK_OK);
        free_arrays(&c);
    }
}

static void map(input *in)
{
    call c = {.name = "activate"};
    const uint8_t which = take_byte(in) % 4;
    const int backend = take_backend(in, &c), function = take_choice(in, 9);
    const size_t n = take_size(in, 200);
    const float cap = (float)(int8_t)take_byte(in);
    add_floats(&c, n, READ);
    if (which == 1) {
        add_floats(&c, n, READ);
    } else if (which != 2) {
        add_optional(&c, n, in);
    } else {
        add_floats(&c, 0, OPTIONAL);
    }
    add_floats(&c, n, WRITTEN);
    c.arrays[2].in_place = 1;
    if (take_byte(in) & 1) {
        c.arrays[2].same_as = 0;
    }
    c.is_wrong |= which != 1 && which != 2 && (function < 0 || function > 8);
    if (!prepare(&c, in)) {
        return;
    }
    fill_arrays(&c, in);
    const float *x = (const float *)c.arrays[0].data, *up = (const float *)c.arrays[1].data;
    float *out = (float *)c.arrays[2].data;
    const qk_status status = which == 1   ? qk_swiglu_clamped(backend, x, up, n, out)
                             : which == 2 ? qk_soft_cap(backend, x, cap, n, out)
                                          : qk_activate(backend, function, x, up, n, out);
    done(&c, status, QK_OK);
    free_arrays(&c);
}

static void rotate(input *in)
{
    call c = {.name = "rotate"};
    const int backend = take_backend(in, &c);
    qk_rotation what = {.n = take_size(in, 9), .n_heads = take_size(in, 5)};
    what.n_pairs = take_size(in, 40);
    what.interleaved = take_byte(in) & 1;
    const wide size = (wide)2 * what.n_pairs;
    const size_t more = take_size(in, 7), between = take_size(in, 7);
    const int is_plain = size < MOST_BYTES && what.n < 9 && what.n_heads < 5;
    int is_apart = 1;
    if (is_plain && take_byte(in) & 1) { /* heads in positions */
        what.head_stride = (size_t)size + more % 7;
        what.stride = what.head_stride * what.n_heads + between % 7;
    } else if (is_plain && take_byte(in) & 1) { /* positions in heads */
        what.stride = (size_t)size + more % 7;
        what.head_stride = what.stride * what.n + between % 7;
    } else {
        what.stride = more;
        what.head_stride = between;
        is_apart = 0; /* or not: then nothing is expected but that memory is respected */
    }
    wide extent = 0;
    if (what.n && what.n_heads && size) {
        const wide steps[] = {(wide)(what.n - 1) * what.stride,
                              (wide)(what.n_heads - 1) * what.head_stride};
        const wide most = (wide)PTRDIFF_MAX;
        extent = size + (steps[0] > most ? most : steps[0]) + (steps[1] > most ? most : steps[1]);
    }
    add_floats(&c, (wide)what.n * (size > PTRDIFF_MAX ? (wide)PTRDIFF_MAX : size), READ);
    add_floats(&c, extent, UPDATED);
    if (!extent) {
        c.arrays[0].bytes = 0;
    }
    if (prepare(&c, in)) {
        fill_arrays(&c, in);
        done(&c,
             qk_rotate(backend, &what, (const float *)c.arrays[0].data, (float *)c.arrays[1].data),
             is_apart ? QK_OK : QK_BAD_SHAPE);
        free_arrays(&c);
    }
}

static void softmax(input *in)
{
    static const int64_t firsts[] = {0, 0, 0, 1, 7, -1, INT64_MIN, INT64_MAX, INT64_MAX - 40};
    call c = {.name = "softmax"};
    const int is_pair = take_byte(in) & 1, backend = take_backend(in, &c);
    qk_tile tile = {.n_rows = take_size(in, 9), .n_cols = take_size(in, 90)};
    tile.first = PICK(in, firsts);
    const size_t more = take_size(in, 9);
    tile.stride = take_byte(in) % 16 == 1 ? tile.n_cols - 1 : tile.n_cols + (more < 9 ? more : 0);
    c.is_wrong |= !tile.n_cols || tile.stride < tile.n_cols || tile.first < 0 ||
                  tile.n_cols > (wide)(INT64_MAX - tile.first);
    const wide rows = tile.n_rows;
    const wide extent = rows ? (rows - 1) * tile.stride + tile.n_cols : 0;
    add_array(&c, rows, sizeof(int64_t), sizeof(int64_t), READ);
    add_floats(&c, extent, READ);
    add_array(&c, rows, sizeof(qk_softmax), sizeof(int64_t), UPDATED);
    if (is_pair) {
        add_floats(&c, extent, READ);
        add_array(&c, rows, sizeof(qk_softmax), sizeof(int64_t), UPDATED);
        add_array(&c, rows, sizeof(double), sizeof(double), UPDATED);
    }
    if (!prepare(&c, in)) {
        return;
    }
    fill_arrays(&c, in);
    tile.targets = (const int64_t *)c.arrays[0].data;
    const float *logits = (const float *)c.arrays[1].data;
    qk_softmax *state = (qk_softmax *)c.arrays[2].data;
    done(&c,
         is_pair ? qk_compare_logits(backend, &tile, logits, (const float *)c.arrays[3].data, state,
                                     (qk_softmax *)c.arrays[4].data, (double *)c.arrays[5].data)
                 : qk_add_logits(backend, &tile, logits, state),
         QK_OK);
    free_arrays(&c);
}

/* Wrong ones only: what the numbers may be differs from op to op (lane.h), and tests run those. */
static void lane_op(input *in)
{
    call c = {.name = "lane op"};
    const int backend = take_backend(in, &c), op = take_choice(in, qk_lane_op_count());
    c.is_wrong |= op < 0 || op >= qk_lane_op_count();
    for (int i = 0; i < 4; i++) {
        add_array(&c, 256, sizeof(int32_t), sizeof(int32_t), i < 3 ? READ : WRITTEN);
    }
    if (c.is_wrong && prepare(&c, in)) {
        done(&c,
             qk_lane_op(backend, op, (const int32_t *)c.arrays[0].data,
                        (const int32_t *)c.arrays[1].data, (const int32_t *)c.arrays[2].data,
                        (int32_t *)c.arrays[3].data),
             QK_OK);
    }
}

/* Questions that take numbers only. */
static void ask(input *in)
{
    const int number = take_choice(in, 50);
    size_t sizes[2];
    qk_packing packing;
    (void)qk_backend_name(number);
    (void)qk_backend_ops_name(number);
    (void)qk_backend_lanes(number);
    (void)qk_backend_lacks(number);
    (void)qk_backend_usable(number);
    (void)qk_cpu_feature_name(number);
    (void)qk_lane_op_name(number);
    (void)qk_type_layout(number, sizes, sizes + 1);
    (void)qk_type_uses_importance(number);
    (void)qk_type_needs_importance(number);
    (void)qk_packing_for(number, take_choice(in, 3), &packing);
    (void)qk_packing_for(number, 0, NULL);
    (void)qk_packed_bytes(number, 0, 1, 1, NULL);
    (void)qk_matmul_workspace(number, NULL);
    (void)qk_attention_workspace(number, NULL, sizes);
    (void)qk_index_workspace(number, NULL, sizes);
    (void)qk_recurrence_workspace(number, NULL, sizes);
    (void)qk_recur(number, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    (void)qk_scan_workspace(number, NULL, sizes);
    (void)qk_selective_scan(number, NULL, NULL, NULL, NULL);
    (void)qk_wkv_workspace(number, NULL, sizes);
    (void)qk_wkv7(number, NULL, NULL, NULL, NULL);
    (void)qk_short_convolution(number, NULL, NULL, NULL);
    (void)qk_norm_rows(number, NULL, NULL, NULL);
    (void)qk_rotate(number, NULL, NULL, NULL);
    (void)qk_add_logits(number, NULL, NULL, NULL);
    (void)qk_compare_logits(number, NULL, NULL, NULL, NULL, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tasks[])(input *) = {
        quantize, dequantize, multiply, multiply,     attend,   norm,  map,        rotate,
        softmax,  lane_op,    ask,      index_scores, convolve, recur, scan_states};
    input in = {data, size};
    PICK(&in, tasks)(&in);
    return 0;
}

#ifndef QK_LIBFUZZER

static const uint8_t *current;
static size_t current_size;

static void show_input(int signal)
{
    (void)signal;
    fprintf(stderr, "input: ");
    for (size_t i = 0; i < current_size; i++) {
        fprintf(stderr, "%02x", current[i]);
    }
    fprintf(stderr, "\n");
}

static void run(const uint8_t *data, size_t size)
{
    current = data;
    current_size = size;
    LLVMFuzzerTestOneInput(data, size);
}

static void run_file(const char *path)
{
    uint8_t data[4096];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    run(data, fread(data, 1, sizeof data, f));
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "fuzz_core SECONDS SEED [FILE ...]\n");
        return 1;
    }
    const time_t end = time(NULL) + strtol(argv[1], NULL, 10);
    uint64_t state = strtoull(argv[2], NULL, 10) * 2862933555777941757u + 3037000493u;
    signal(SIGABRT, show_input);
    for (int i = 3; i < argc; i++) {
        run_file(argv[i]);
    }
    unsigned long n = (unsigned long)argc - 3;
    for (; time(NULL) < end; n++) {
        uint8_t data[64];
        for (size_t i = 0; i < sizeof data; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            data[i] = (uint8_t)(state >> 24);
        }
        run(data, sizeof data);
    }
    printf("%lu inputs, %lu calls made, %lu refused\n", n, n_made, n_refused);
    return 0;
}

#endif
