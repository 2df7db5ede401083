/* SPDX-License-Identifier: MIT */
/* The C core without Python, for builds that Python cannot load: other processors under
 * emulation, other compilers, sanitizers.  tests/native_build.py compiles and calls it.
 *
 *     run_rows list                                           the backends
 *     run_rows BACKEND quantize TYPE ROWS COLS IN OUT [IMPORTANCE]
 *     run_rows BACKEND dequantize TYPE ROWS COLS IN OUT
 *     run_rows BACKEND matmul TYPE PRECISION M N_ROWS COLS X WEIGHTS OUT
 *     run_rows BACKEND activate FUNCTION N X OUT
 *     run_rows BACKEND norm CENTERED ROWS COLS X OUT
 *     run_rows BACKEND likelihood ROWS COLS LOGITS OUT        OUT: f32, of the first token
 *     run_rows BACKEND recur N HEADS KEY_HEADS KEY_SIZE VALUE_SIZE DECAY_SIZE IN OUT
 *                                                             IN: q, k, v, decay, beta
 *     run_rows BACKEND scan N CHANNELS STATES IN OUT          IN: x, dt, a, b, c, d
 *     run_rows BACKEND wkv7 N HEADS KEY_SIZE VALUE_SIZE IN OUT
 *                                                     IN: r, decay, k, v, removed, renewed
 *     run_rows BACKEND convolve N CHANNELS TAPS IN OUT        IN: x, weight, bias
 *     run_rows BACKEND solve TYPE ROWS COLS IN OUT            IN: f64 R [cols][cols], f32 rows,
 *                                                     a plan's orders; OUT: rows, f64 errors
 *     run_rows BACKEND op NAME CALLS IN OUT                   IN: a, b, c of each call
 *
 * BACKEND is a name and TYPE a GGUF type number; files hold little-endian f32 or int32 arrays, or
 * a type's blocks.  Exit status: 0, 1 with a line on stderr, 2 if the core refuses. */
#include "quantkit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *which)
{
    fprintf(stderr, "run_rows: %s: %s\n", what, which);
    exit(1);
}

static size_t number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || !*text) {
        die("not a number", text);
    }
    return (size_t)n;
}

/* Exactly `size` bytes, so that a sanitizer sees any access beyond them. */
static void *allocate(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p) {
        die("no memory", "for an array");
    }
    return p;
}

static void *read_file(const char *path, size_t size)
{
    void *data = allocate(size);
    FILE *f = fopen(path, "rb");
    if (!f || fread(data, 1, size, f) != size || fgetc(f) != EOF) {
        die("cannot be read, or has another size than the shape says", path);
    }
    fclose(f);
    return data;
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) {
        die("cannot be written", path);
    }
}

static int find_backend(const char *name)
{
    for (int i = 0; i < qk_backend_count(); i++) {
        if (!strcmp(name, qk_backend_name(i))) {
            return i;
        }
    }
    die("no such backend", name);
    return -1;
}

/* NAME LANES OPS of each backend; OPS is "none" where this machine cannot run it. */
static int list(void)
{
    for (int i = 0; i < qk_backend_count(); i++) {
        const char *ops = qk_backend_ops_name(i);
        printf("%s %d %s\n", qk_backend_name(i), qk_backend_lanes(i), ops ? ops : "none");
    }
    return 0;
}

static int convert(int backend, int is_quantize, char **argv, const char *importance_path)
{
    int type = (int)number(argv[0]);
    size_t rows = number(argv[1]), cols = number(argv[2]), size, bytes, bad;
    if (qk_type_layout(type, &size, &bytes) != QK_OK) {
        die("no such type", argv[0]);
    }
    size_t n_f32 = rows * cols * sizeof(float), n_blocks = rows * cols / size * bytes;
    void *in = read_file(argv[3], is_quantize ? n_f32 : n_blocks);
    void *out = allocate(is_quantize ? n_blocks : n_f32);
    float *importance = NULL;
    if (importance_path) {
        importance = read_file(importance_path, cols * sizeof(float));
    }
    qk_status status = is_quantize
                           ? qk_quantize_rows(backend, type, in, importance, rows, cols, out, &bad)
                           : qk_dequantize_rows(backend, type, in, rows, cols, out);
    if (status == QK_OK) {
        write_file(argv[4], out, is_quantize ? n_blocks : n_f32);
    }
    free(importance);
    free(out);
    free(in);
    return status == QK_OK ? 0 : 2;
}

static int multiply(int backend, char **argv)
{
    int type = (int)number(argv[0]);
    size_t m = number(argv[2]), rows = number(argv[3]), cols = number(argv[4]);
    size_t size, bytes, packed_bytes, workspace_bytes;
    qk_packing packing;
    if (qk_type_layout(type, &size, &bytes) != QK_OK ||
        qk_packing_for(type, (int)number(argv[1]), &packing) != QK_OK ||
        qk_packed_bytes(backend, (int)packing, m, cols, &packed_bytes) != QK_OK ||
        qk_matmul_workspace(backend, &workspace_bytes) != QK_OK) {
        return 2;
    }
    float *x = read_file(argv[5], m * cols * sizeof *x);
    uint8_t *weights = read_file(argv[6], rows * cols / size * bytes);
    void *packed = allocate(packed_bytes), *workspace = allocate(workspace_bytes);
    float *y = allocate(m * rows * sizeof *y);
    qk_status status = qk_pack_activations(backend, (int)packing, x, m, cols, packed);
    if (status == QK_OK) {
        status = qk_matmul(backend, type, (int)packing, packed, m, weights, rows, cols, y, rows,
                           workspace);
    }
    if (status == QK_OK) {
        write_file(argv[7], y, m * rows * sizeof *y);
    }
    free(y);
    free(workspace);
    free(packed);
    free(weights);
    free(x);
    return status == QK_OK ? 0 : 2;
}

static int activate(int backend, char **argv)
{
    size_t n = number(argv[1]);
    float *x = read_file(argv[2], n * sizeof *x);
    qk_status status = qk_activate(backend, (int)number(argv[0]), x, NULL, n, x);
    if (status == QK_OK) {
        write_file(argv[3], x, n * sizeof *x);
    }
    free(x);
    return status == QK_OK ? 0 : 2;
}

static int norm(int backend, char **argv)
{
    qk_norm what = {.n_rows = number(argv[1]), .width = number(argv[2]), .n_heads = 1};
    what.centered = (int)number(argv[0]);
    what.epsilon = 1e-5f;
    size_t size = what.n_rows * what.width * sizeof(float);
    float *x = read_file(argv[3], size), *y = allocate(size);
    qk_status status = qk_norm_rows(backend, &what, x, y);
    if (status == QK_OK) {
        write_file(argv[4], y, size);
    }
    free(y);
    free(x);
    return status == QK_OK ? 0 : 2;
}

static int recur(int backend, char **argv)
{
    qk_recurrence what = {.n = number(argv[0]), .scale = 0.3f};
    what.n_heads = number(argv[1]);
    what.n_key_heads = number(argv[2]);
    what.key_size = number(argv[3]);
    what.value_size = number(argv[4]);
    what.decay_size = number(argv[5]);
    const size_t heads = what.n * what.n_heads, n_out = heads * what.value_size;
    const size_t n_keys = what.n * what.n_key_heads * what.key_size;
    const size_t n_decays = heads * what.decay_size;
    float *q = read_file(argv[6], (2 * n_keys + n_out + n_decays + heads) * sizeof *q);
    float *out = allocate(n_out * sizeof *out), *v = q + 2 * n_keys;
    what.beta = v + n_out + n_decays;
    size_t bytes = 0;
    qk_status status = qk_recurrence_workspace(backend, &what, &bytes);
    void *workspace = allocate(bytes);
    if (status == QK_OK) {
        status = qk_recur(backend, &what, q, q + n_keys, v, v + n_out, out, workspace);
    }
    if (status == QK_OK) {
        write_file(argv[7], out, n_out * sizeof *out);
    }
    free(workspace);
    free(out);
    free(q);
    return status == QK_OK ? 0 : 2;
}

static int scan(int backend, char **argv)
{
    const qk_scan what = {number(argv[0]), number(argv[1]), number(argv[2])};
    const size_t n = what.n * what.n_channels, n_rates = what.n_channels * what.n_states;
    const size_t n_states = what.n * what.n_states;
    float *x = read_file(argv[3], (2 * n + n_rates + 2 * n_states + what.n_channels) * sizeof *x);
    float *y = allocate(n * sizeof *y), *a = x + 2 * n, *b = a + n_rates;
    const qk_scan_inputs in = {x, x + n, a, b, b + n_states, b + 2 * n_states};
    size_t bytes = 0;
    qk_status status = qk_scan_workspace(backend, &what, &bytes);
    void *workspace = allocate(bytes);
    if (status == QK_OK) {
        status = qk_selective_scan(backend, &what, &in, y, workspace);
    }
    if (status == QK_OK) {
        write_file(argv[4], y, n * sizeof *y);
    }
    free(workspace);
    free(y);
    free(x);
    return status == QK_OK ? 0 : 2;
}

static int mix_wkv(int backend, char **argv)
{
    const qk_wkv what = {number(argv[0]), number(argv[1]), number(argv[2]), number(argv[3])};
    const size_t n_keys = what.n * what.n_heads * what.key_size;
    const size_t n_values = what.n * what.n_heads * what.value_size;
    float *r = read_file(argv[4], (5 * n_keys + n_values) * sizeof *r);
    float *out = allocate(n_values * sizeof *out), *k = r + 2 * n_keys, *v = k + n_keys;
    const qk_wkv_inputs in = {r, r + n_keys, k, v, v + n_values, v + n_values + n_keys};
    size_t bytes = 0;
    qk_status status = qk_wkv_workspace(backend, &what, &bytes);
    void *workspace = allocate(bytes);
    if (status == QK_OK) {
        status = qk_wkv7(backend, &what, &in, out, workspace);
    }
    if (status == QK_OK) {
        write_file(argv[5], out, n_values * sizeof *out);
    }
    free(workspace);
    free(out);
    free(r);
    return status == QK_OK ? 0 : 2;
}

static int convolve(int backend, char **argv)
{
    qk_convolution what = {.n = number(argv[0]), .n_channels = number(argv[1])};
    what.n_taps = number(argv[2]);
    const size_t n = what.n * what.n_channels, n_weights = what.n_taps * what.n_channels;
    float *x = read_file(argv[3], (n + n_weights + what.n_channels) * sizeof *x);
    float *y = allocate(n * sizeof *y);
    what.weight = x + n;
    what.bias = what.weight + n_weights;
    qk_status status = qk_short_convolution(backend, &what, x, y);
    if (status == QK_OK) {
        write_file(argv[4], y, n * sizeof *y);
    }
    free(y);
    free(x);
    return status == QK_OK ? 0 : 2;
}

/* -log softmax of each row's first token. */
static int likelihood(int backend, char **argv)
{
    size_t rows = number(argv[0]), cols = number(argv[1]);
    float *logits = read_file(argv[2], rows * cols * sizeof *logits);
    qk_softmax *softmax = allocate(rows * sizeof *softmax);
    int64_t *targets = allocate(rows * sizeof *targets);
    float *out = allocate(rows * sizeof *out);
    for (size_t i = 0; i < rows; i++) {
        softmax[i] = (qk_softmax){.highest = -INFINITY};
        targets[i] = 0;
    }
    qk_tile tile = {rows, cols, cols, 0, targets};
    qk_status status = qk_add_logits(backend, &tile, logits, softmax);
    for (size_t i = 0; i < rows; i++) {
        const qk_softmax *row = softmax + i;
        out[i] = (float)(log(row->total) + (double)row->highest - (double)row->wanted);
    }
    if (status == QK_OK) {
        write_file(argv[3], out, rows * sizeof *out);
    }
    free(out);
    free(targets);
    free(softmax);
    free(logits);
    return status == QK_OK ? 0 : 2;
}

/* Calibrated rounding, from the factor of H to the rows and their errors. */
static int solve(int backend, char **argv)
{
    int type = (int)number(argv[0]);
    size_t rows = number(argv[1]), cols = number(argv[2]);
    size_t unit, group, floats, work_size, size, bytes, workspace_bytes;
    if (qk_solver_layout(type, &unit, &group) != QK_OK ||
        qk_solver_floats(type, &floats, &work_size) != QK_OK ||
        qk_type_layout(type, &size, &bytes) != QK_OK ||
        qk_solver_workspace(backend, cols, &workspace_bytes) != QK_OK) {
        return 2;
    }
    const size_t n_units = cols / unit, n_groups = cols / group;
    const size_t n_r = cols * cols * sizeof(double), n_x = rows * cols * sizeof(float);
    const size_t n_order = n_units * sizeof(int32_t), n_out = rows * n_units * bytes;
    uint8_t *in = read_file(argv[3], n_r + n_x + n_order + n_groups);
    double *r = allocate(n_r), *work = allocate(work_size * sizeof *work);
    float *x = allocate(n_x), *units = allocate(n_units * floats * sizeof *units);
    float *feedback = allocate(cols * cols * sizeof *feedback);
    int32_t *unit_order = allocate(n_order);
    uint8_t *workspace = allocate(workspace_bytes);
    uint8_t *out = allocate(n_out + rows * sizeof(double));
    double *errors = allocate(rows * sizeof *errors);
    memcpy(r, in, n_r);
    memcpy(x, in + n_r, n_x);
    memcpy(unit_order, in + n_r + n_x, n_order);
    qk_solver_plan plan = {cols, unit_order, in + n_r + n_x + n_order, units, feedback};
    qk_status status = qk_make_units(backend, type, r, cols, 0, n_units, work, units, feedback);
    if (status == QK_OK) {
        status = qk_solve_rows(backend, type, &plan, x, rows, workspace, out, errors);
    }
    if (status == QK_OK) {
        memcpy(out + n_out, errors, rows * sizeof *errors);
        write_file(argv[4], out, n_out + rows * sizeof *errors);
    }
    free(errors);
    free(out);
    free(workspace);
    free(unit_order);
    free(feedback);
    free(units);
    free(x);
    free(work);
    free(r);
    free(in);
    return status == QK_OK ? 0 : 2;
}

static int run_op(int backend, char **argv)
{
    size_t calls = number(argv[1]);
    size_t n = (size_t)(qk_backend_lanes(backend) * qk_backend_lanes(backend));
    int op = 0;
    while (op < qk_lane_op_count() && strcmp(argv[0], qk_lane_op_name(op))) {
        op++;
    }
    if (op == qk_lane_op_count()) {
        die("no such op", argv[0]);
    }
    int32_t *in = read_file(argv[2], calls * 3 * n * sizeof *in);
    int32_t *out = allocate(calls * n * sizeof *out);
    memset(out, 0, calls * n * sizeof *out);
    for (size_t i = 0; i < calls; i++) {
        const int32_t *a = in + i * 3 * n;
        qk_lane_op(backend, op, a, a + n, a + 2 * n, out + i * n);
    }
    write_file(argv[3], out, calls * n * sizeof *out);
    free(out);
    free(in);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "list")) {
        return list();
    }
    if (argc == 7 && !strcmp(argv[2], "op")) {
        return run_op(find_backend(argv[1]), argv + 3);
    }
    if (argc == 8 && !strcmp(argv[2], "solve")) {
        return solve(find_backend(argv[1]), argv + 3);
    }
    if (argc == 11 && !strcmp(argv[2], "matmul")) {
        return multiply(find_backend(argv[1]), argv + 3);
    }
    if (argc == 7 && !strcmp(argv[2], "activate")) {
        return activate(find_backend(argv[1]), argv + 3);
    }
    if (argc == 8 && !strcmp(argv[2], "norm")) {
        return norm(find_backend(argv[1]), argv + 3);
    }
    if (argc == 11 && !strcmp(argv[2], "recur")) {
        return recur(find_backend(argv[1]), argv + 3);
    }
    if (argc == 9 && !strcmp(argv[2], "wkv7")) {
        return mix_wkv(find_backend(argv[1]), argv + 3);
    }
    if (argc == 8 && !strcmp(argv[2], "scan")) {
        return scan(find_backend(argv[1]), argv + 3);
    }
    if (argc == 8 && !strcmp(argv[2], "convolve")) {
        return convolve(find_backend(argv[1]), argv + 3);
    }
    if (argc == 7 && !strcmp(argv[2], "likelihood")) {
        return likelihood(find_backend(argv[1]), argv + 3);
    }
    if ((argc == 8 || argc == 9) && !strcmp(argv[2], "quantize")) {
        return convert(find_backend(argv[1]), 1, argv + 3, argc == 9 ? argv[8] : NULL);
    }
    if (argc == 8 && !strcmp(argv[2], "dequantize")) {
        return convert(find_backend(argv[1]), 0, argv + 3, NULL);
    }
    die("usage", "see the top of run_rows.c");
    return 1;
}
