/* SPDX-License-Identifier: MIT */
/* Products of activations and weights in blocks: see csrc/ops/kernel_int.h.  Tensor cores sum
 * integers, and the sums are multiplied by scales in the order that is told there.  So results are
 * the bits of a processor with fused multiply-adds, if it sums as many columns as share a scale:
 * AVX2, and AVX-512 without VNNI, sum 16 for Q5_1 and Q5_K in 8 bits.
 *
 * Weights become codes first (unpack.cu).  A block then takes X_ROWS activations and W_ROWS weights
 * through the columns, which are brought to shared memory two groups of 32 at a time, while those
 * before are multiplied.  A warp has 32 of either: products of 16 by 8, two by four of them. */
#include "codes.cuh"
#include "math.cuh"

extern "C" {
#include "../../formats/layouts.h"
}

#define WARP_ROWS 32 /* of activations, and of weights */
#define TILES_DOWN 2 /* products of 16 rows of activations */
#define TILES_ACROSS 4
#define SUMS 4         /* of a lane in a product */
#define STAGE_GROUPS 2 /* groups of columns that are brought in at a time */
#define SUPERBLOCK_GROUPS (QK_SUPERBLOCK / QK_GROUP)

/* Sums start with it, so that as bits they are floats, larger by TO_INTEGER: they are less than
 * 32 * 127 * 128 in size, and floats up to 2^22 are so held exactly. */
#define TO_INTEGER QKC_TO_INTEGER
#define TO_INTEGER_BITS 0x4b400000

/* What a kernel is compiled for.  Of 32 columns: one or two scales of weights, minimums; groups of
 * columns that share a scale of activations, 1 or 8; bytes of a code of activations. */
template <int SCALES_, bool HAS_MIN_, int X_GROUPS_, int PLANES_> struct product_shape {
    static constexpr int SCALES = SCALES_, X_GROUPS = X_GROUPS_, PLANES = PLANES_;
    static constexpr bool HAS_MIN = HAS_MIN_;
    static constexpr bool HAS_OWN_SCALE = SCALES == 1 && X_GROUPS == 1; /* every integer sum */
    static constexpr int N_X = HAS_MIN ? 1 + SCALES : 1;                /* items that are read */
    static constexpr int N_W = HAS_MIN ? 2 * SCALES : SCALES;
    static constexpr int X_ROWS = MOST_X_ROWS / PLANES;
    static constexpr int WARPS_ACROSS = W_ROWS / WARP_ROWS;
    static constexpr int BLOCKS = PLANES == 1 ? 2 : 3; /* of a multiprocessor, at least */
    static constexpr int THREADS = X_ROWS / WARP_ROWS * WARPS_ACROSS * QKC_WARP;
};

/* Some groups of columns of a block's rows. */
template <class S> struct alignas(CODES_ALIGNMENT) product_stage {
    uint32_t x[STAGE_GROUPS][S::PLANES][S::X_ROWS / 16][QKC_WARP][X_WORDS];
    uint32_t w[STAGE_GROUPS][W_ROWS / 8][QKC_WARP][W_WORDS];
    float x_items[STAGE_GROUPS][S::N_X][S::X_ROWS];
    float w_items[STAGE_GROUPS][S::N_W][W_ROWS];
};

struct product {
    const uint8_t *x, *w; /* codes and items, as codes.cuh has them */
    const float *x_items, *w_items;
    unsigned x_rows, w_rows, n_groups; /* with rows of zeros */
    unsigned m, n;                     /* rows of x and of w without them */
    float *y;
    size_t y_stride;
    unsigned n_x_tiles, n_tiles;
};

/* The number of a tile in the rows of x, and of w. */
struct tile_place {
    unsigned x, w;
};

/* What a lane has of its warp's sums, as tensor cores have them: of rows lane / 4 and 8 beyond, two
 * each in columns lane % 4 * 2 and the next one. */
typedef float lane_sums[TILES_DOWN][TILES_ACROSS][SUMS];

/* ---- bringing in ---- */

/* BYTES bytes to shared memory, by THREADS threads. */
template <int BYTES, int THREADS> QKC_INLINE void bring_in(void *shared, const void *from)
{
    QKC_UNROLL
    for (int first = 0; first < BYTES; first += THREADS * CODES_ALIGNMENT) {
        const int at = first + (int)threadIdx.x * CODES_ALIGNMENT;
        if (first + THREADS * CODES_ALIGNMENT <= BYTES || at < BYTES) {
            qkc_start_copy((char *)shared + at, (const char *)from + at);
        }
    }
}

/* The item of activations that a kernel has as number i. */
template <class S> QKC_INLINE unsigned x_item(unsigned i)
{
    const unsigned sums = S::SCALES == 1 ? X_SUM : X_FIRST_SUM;
    return i == 0 ? (unsigned)X_SCALE : sums + i - 1;
}

QKC_INLINE size_t wide_product(unsigned a, unsigned b) { return (size_t)a * b; }

template <class S>
QKC_INLINE void bring_in_group(const product &p, tile_place tile, unsigned group, unsigned at,
                               product_stage<S> &to)
{
    const size_t x_row = wide_product(group, p.x_rows) + tile.x * S::X_ROWS;
    const size_t w_row = wide_product(group, p.w_rows) + tile.w * W_ROWS;
    QKC_UNROLL
    for (unsigned i = 0; i < S::PLANES; i++) {
        const size_t row = x_row + wide_product(i * p.n_groups, p.x_rows);
        bring_in<sizeof to.x[at][i], S::THREADS>(to.x[at][i], p.x + row * QK_GROUP);
    }
    bring_in<sizeof to.w[at], S::THREADS>(to.w[at], p.w + w_row * QK_GROUP);
    QKC_UNROLL
    for (unsigned i = 0; i < S::N_X; i++) {
        const size_t first = wide_product(group * X_ITEMS + x_item<S>(i), p.x_rows);
        const float *items = p.x_items + first + tile.x * S::X_ROWS;
        bring_in<sizeof to.x_items[at][i], S::THREADS>(to.x_items[at][i], items);
    }
    QKC_UNROLL
    for (unsigned i = 0; i < S::N_W; i++) {
        const size_t first = wide_product(group * S::N_W + i, p.w_rows);
        const float *items = p.w_items + first + tile.w * W_ROWS;
        bring_in<sizeof to.w_items[at][i], S::THREADS>(to.w_items[at][i], items);
    }
}

/* The groups from `group` on, as many as there are. */
template <class S>
QKC_INLINE void bring_in_stage(const product &p, tile_place tile, unsigned group,
                               product_stage<S> &to)
{
    qkc_compute_after(tile.x);
    qkc_compute_after(tile.w);
    QKC_ROLLED
    for (unsigned i = 0; i < STAGE_GROUPS && group + i < p.n_groups; i++) {
        bring_in_group(p, tile, group + i, i, to);
    }
}

/* ---- multiplying ---- */

/* A lane's part of 16 rows of activations and 32 columns, as tensor cores have it; and of its two
 * rows the items. */
template <class S> struct x_part {
    uint32_t words[S::PLANES][4];
    float items[S::N_X][2];
};

/* Of 8 rows of weights; the items are those of its two columns of the result. */
template <class S> struct w_part {
    uint32_t words[2];
    float items[S::N_W][2];
};

/* Of the rows from `first` on. */
template <class S>
QKC_INLINE x_part<S> x_part_of(const product_stage<S> &stage, unsigned group, int first, int lane)
{
    x_part<S> part;
    QKC_UNROLL
    for (int i = 0; i < S::PLANES; i++) {
        const uint4 words = *(const uint4 *)stage.x[group][i][first / 16][lane];
        part.words[i][0] = words.x;
        part.words[i][1] = words.y;
        part.words[i][2] = words.z;
        part.words[i][3] = words.w;
    }
    QKC_UNROLL
    for (int i = 0; i < S::N_X; i++) {
        part.items[i][0] = stage.x_items[group][i][first + lane / 4];
        part.items[i][1] = stage.x_items[group][i][first + lane / 4 + 8];
    }
    return part;
}

template <class S>
QKC_INLINE w_part<S> w_part_of(const product_stage<S> &stage, unsigned group, int first, int lane)
{
    w_part<S> part;
    const uint2 words = *(const uint2 *)stage.w[group][first / 8][lane];
    part.words[0] = words.x;
    part.words[1] = words.y;
    QKC_UNROLL
    for (int i = 0; i < S::N_W; i++) {
        const float2 items = *(const float2 *)&stage.w_items[group][i][first + lane % 4 * 2];
        part.items[i][0] = items.x;
        part.items[i][1] = items.y;
    }
    return part;
}

/* d = a b + c, of all 32 columns, or of 16 if they have scales of their own. */
template <class S, bool IS_SIGNED>
QKC_INLINE void multiply_codes(int *d, const uint32_t *x, const uint32_t *w, int scale,
                               const int *c)
{
    if (S::SCALES == 1) {
        qkc_mma_32<IS_SIGNED>(d, x, w, c);
    } else {
        qkc_mma_16<IS_SIGNED>(d, x[2 * scale], x[2 * scale + 1], w[scale], c);
    }
}

/* The integer sums of the columns that share scale number `scale`, as floats. */
template <class S>
QKC_INLINE void sum_integers(const x_part<S> &x, const w_part<S> &w, int scale, float (&sum)[SUMS])
{
    int d[SUMS];
    if (S::PLANES == 1) {
        const int c[SUMS] = {TO_INTEGER_BITS, TO_INTEGER_BITS, TO_INTEGER_BITS, TO_INTEGER_BITS};
        multiply_codes<S, true>(d, x.words[0], w.words, scale, c);
        QKC_UNROLL
        for (int i = 0; i < SUMS; i++) {
            sum[i] = __int_as_float(d[i]) - TO_INTEGER;
        }
        return;
    }
    const int zeros[SUMS] = {0, 0, 0, 0};
    multiply_codes<S, true>(d, x.words[0], w.words, scale, zeros);
    QKC_UNROLL
    for (int i = 0; i < SUMS; i++) {
        d[i] *= 256; /* |d| is at most 32 * 128 * 128 */
    }
    multiply_codes<S, false>(d, x.words[S::PLANES - 1], w.words, scale, d);
    QKC_UNROLL
    for (int i = 0; i < SUMS; i++) {
        sum[i] = (float)d[i];
    }
}

/* Adds integer sums of 32 columns to the sum of an element; `part` is that of the columns so far
 * which share a scale of activations.  x and w: the element's items. */
template <class S>
QKC_INLINE void add_scaled(const float *integers, const float *x, const float *w, float &sum,
                           float &part)
{
    if (S::HAS_OWN_SCALE) {
        sum = fmaf(integers[0], w[0] * x[0], sum);
    } else {
        part = S::X_GROUPS == 1 ? 0.0f : part;
        QKC_UNROLL
        for (int i = 0; i < S::SCALES; i++) {
            part = fmaf(integers[i], w[i], part);
        }
        sum = S::X_GROUPS == 1 ? fmaf(part, x[0], sum) : sum;
    }
    if (S::HAS_MIN) {
        float &to = S::X_GROUPS == 1 ? sum : part;
        QKC_UNROLL
        for (int i = 0; i < S::SCALES; i++) {
            to = fmaf(w[S::SCALES + i], x[1 + i], to);
        }
    }
}

/* Adds the products of 16 rows of activations and 8 of weights. */
template <class S>
QKC_INLINE void add_products(const x_part<S> &x, const w_part<S> &w, float (&sums)[SUMS],
                             float (&parts)[SUMS])
{
    float integers[S::SCALES][SUMS];
    QKC_UNROLL
    for (int i = 0; i < S::SCALES; i++) {
        sum_integers(x, w, i, integers[i]);
    }
    QKC_UNROLL
    for (int e = 0; e < SUMS; e++) {
        float own[S::SCALES], own_x[S::N_X], own_w[S::N_W];
        QKC_UNROLL
        for (int i = 0; i < S::SCALES; i++) {
            own[i] = integers[i][e];
        }
        QKC_UNROLL
        for (int i = 0; i < S::N_X; i++) {
            own_x[i] = x.items[i][e / 2];
        }
        QKC_UNROLL
        for (int i = 0; i < S::N_W; i++) {
            own_w[i] = w.items[i][e % 2];
        }
        add_scaled<S>(own, own_x, own_w, sums[e], parts[e]);
    }
}

/* A lane, and the first rows of its warp in a block's tile. */
struct lane_place {
    int x_row, w_row, lane;
};

template <class S> QKC_INLINE lane_place own_place()
{
    const int warp = (int)threadIdx.x / QKC_WARP, lane = (int)threadIdx.x % QKC_WARP;
    return {warp / S::WARPS_ACROSS * WARP_ROWS, warp % S::WARPS_ACROSS * WARP_ROWS, lane};
}

template <class S>
QKC_INLINE void add_group(const product_stage<S> &stage, unsigned group, const lane_place &own,
                          lane_sums &sums, lane_sums &parts)
{
    x_part<S> x[TILES_DOWN];
    QKC_UNROLL
    for (int i = 0; i < TILES_DOWN; i++) {
        x[i] = x_part_of(stage, group, own.x_row + 16 * i, own.lane);
    }
    QKC_UNROLL
    for (int j = 0; j < TILES_ACROSS; j++) {
        const w_part<S> w = w_part_of(stage, group, own.w_row + 8 * j, own.lane);
        QKC_UNROLL
        for (int i = 0; i < TILES_DOWN; i++) {
            add_products(x[i], w, sums[i][j], parts[i][j]);
        }
    }
}

/* Adds the sums of a superblock, times its scale of activations. */
template <class S>
QKC_INLINE void add_superblock(const product_stage<S> &stage, unsigned group, const lane_place &own,
                               lane_sums &sums, lane_sums &parts)
{
    QKC_UNROLL
    for (int i = 0; i < TILES_DOWN * TILES_ACROSS * SUMS; i++) {
        const int e = i % SUMS, tile = i / SUMS / TILES_ACROSS, across = i / SUMS % TILES_ACROSS;
        const int row = own.x_row + 16 * tile + own.lane / 4 + e / 2 * 8;
        float &sum = sums[tile][across][e], &part = parts[tile][across][e];
        sum = fmaf(part, stage.x_items[group][0][row], sum);
        part = 0;
    }
}

/* Stores sums, or adds them to those of the columns before, and begins anew. */
template <class S>
QKC_INLINE void put_sums(const product &p, tile_place tile, const lane_place &own, bool is_first,
                         lane_sums &sums)
{
    const unsigned first_row = tile.x * S::X_ROWS + (unsigned)(own.x_row + own.lane / 4);
    const unsigned first_column = tile.w * W_ROWS + (unsigned)(own.w_row + own.lane % 4 * 2);
    QKC_UNROLL
    for (int i = 0; i < TILES_DOWN * 2; i++) {
        unsigned row = first_row + 8 * (unsigned)i;
        qkc_compute_after(row);
        float *y = p.y + row * p.y_stride + first_column;
        QKC_UNROLL
        for (int j = 0; j < TILES_ACROSS * 2; j++) {
            const unsigned column = (unsigned)(j / 2 * 8 + j % 2);
            float &sum = sums[i / 2][j / 2][i % 2 * 2 + j % 2];
            if (row < p.m && first_column + column < p.n) {
                y[column] = is_first ? sum : y[column] + sum;
            }
            sum = 0;
        }
    }
}

/* What a block does: a tile of the result. */
template <class S>
QKC_INLINE void multiply_tile(const product &p, tile_place tile, product_stage<S> (&stages)[2])
{
    const unsigned step = QK_K_STEP / QK_GROUP;
    const lane_place own = own_place<S>();
    const bool is_used = tile.x * S::X_ROWS + (unsigned)own.x_row < p.m &&
                         tile.w * W_ROWS + (unsigned)own.w_row < p.n;
    lane_sums sums = {}, parts = {};
    bring_in_stage(p, tile, 0, stages[0]);
    unsigned number = 0;
    QKC_ROLLED
    for (unsigned first = 0; first < p.n_groups; first += STAGE_GROUPS, number = 1 - number) {
        qkc_finish_copies();
        __syncthreads(); /* the stage is there, and all are done with the other one */
        bring_in_stage(p, tile, first + STAGE_GROUPS, stages[1 - number]);
        QKC_ROLLED
        for (unsigned at = 0; at < STAGE_GROUPS && first + at < p.n_groups && is_used; at++) {
            const unsigned next = first + at + 1;
            add_group(stages[number], at, own, sums, parts);
            if (S::X_GROUPS > 1 && next % SUPERBLOCK_GROUPS == 0) {
                add_superblock(stages[number], at, own, sums, parts);
            }
            if (next % step == 0 && next < p.n_groups) {
                put_sums<S>(p, tile, own, next <= step, sums);
            }
        }
    }
    put_sums<S>(p, tile, own, p.n_groups <= step, sums);
    __syncthreads(); /* before the next tile */
}

template <class S>
static __global__ void __launch_bounds__(S::THREADS, S::BLOCKS) product_kernel(product p)
{
    __shared__ product_stage<S> stages[2];
    for (unsigned i = blockIdx.x; i < p.n_tiles; i += gridDim.x) {
        multiply_tile(p, {i % p.n_x_tiles, i / p.n_x_tiles}, stages);
    }
}

/* ---- which kernel ---- */

template <class S> static int queue_product(product p, void *stream)
{
    p.n_x_tiles = (unsigned)qkc_parts(p.m, S::X_ROWS);
    p.n_tiles = p.n_x_tiles * (unsigned)qkc_parts(p.n, W_ROWS);
    return QKC_LAUNCH(product_kernel<S>, qkc_grid(p.n_tiles), S::THREADS, stream, p);
}

template <int X_GROUPS, int PLANES>
static int queue_shape(const weight_shape &shape, const product &p, void *stream)
{
    if (shape.n_scales == 1) {
        return shape.has_min ? queue_product<product_shape<1, true, X_GROUPS, PLANES>>(p, stream)
                             : queue_product<product_shape<1, false, X_GROUPS, PLANES>>(p, stream);
    }
    return shape.has_min ? queue_product<product_shape<2, true, X_GROUPS, PLANES>>(p, stream)
                         : queue_product<product_shape<2, false, X_GROUPS, PLANES>>(p, stream);
}

static int queue_packing(int packing, const weight_shape &shape, const product &p, void *stream)
{
    switch (packing) {
    case QK_PACKED_I16:
        return queue_shape<1, 2>(shape, p, stream);
    case QK_PACKED_Q8_0:
        return queue_shape<1, 1>(shape, p, stream);
    default:
        return queue_shape<SUPERBLOCK_GROUPS, 1>(shape, p, stream);
    }
}

/* ---- checks ---- */

#define MOST_INDEX (INT32_MAX / X_ITEMS) /* of rows, of groups: indices have 32 bits */

static size_t unpacked_rows(size_t n_rows) { return qk_rounded_up(n_rows, W_ROWS); }

/* Gives the shape of a type, the bytes of a row in blocks, and those of all rows as codes. */
static int check_weights(int type, size_t n_rows, size_t n_cols, weight_shape *shape,
                         size_t *row_bytes, size_t *n_bytes)
{
    const qk_layout *layout = qk_find_layout(type);
    const int status = qkc_weight_shape(type, shape);
    if (status || !layout) {
        return QKC_UNKNOWN_TYPE;
    }
    *row_bytes = qk_times(n_cols / layout->block_size, layout->block_bytes);
    *n_bytes = codes_bytes(unpacked_rows(n_rows), n_cols, 1, shape->n_items);
    return n_cols % layout->block_size || *n_bytes > QK_MOST_BYTES ? QKC_BAD_SHAPE : 0;
}

int qkc_matmul_workspace(int type, size_t n_rows, size_t n_cols, size_t *bytes)
{
    weight_shape shape;
    size_t row_bytes, n_bytes;
    const int status = check_weights(type, n_rows, n_cols, &shape, &row_bytes, &n_bytes);
    if (status) {
        return status;
    }
    if (!bytes) {
        return QKC_BAD_ARRAY;
    }
    *bytes = n_bytes;
    return 0;
}

int qkc_matmul(int type, int packing, const void *packed, size_t m, const uint8_t *weights,
               size_t n_rows, size_t n_cols, float *y, size_t y_stride, void *workspace,
               void *stream)
{
    weight_shape shape;
    size_t n_packed, row_bytes, n_bytes;
    int status = qkc_packed_bytes(packing, m, n_cols, &n_packed);
    status = status ? status : check_weights(type, n_rows, n_cols, &shape, &row_bytes, &n_bytes);
    if (status) {
        return status;
    }
    const int of_type = QK_Q8_PACKING(qk_find_layout(type)->block_size);
    if (packing != QK_PACKED_I16 && packing != of_type) {
        return QKC_UNKNOWN_PACKING;
    }
    const qk_array arrays[] = {
        {packed, n_packed, CODES_ALIGNMENT, QK_READ},
        QK_READ_BYTES(weights, qk_times(n_rows, row_bytes)),
        QK_WRITTEN_FLOATS(y, n_rows ? qk_extent(m, y_stride, n_rows) : 0),
        {workspace, n_bytes, CODES_ALIGNMENT, QK_WRITTEN},
    };
    status = y_stride < n_rows ? QKC_BAD_SHAPE : QKC_CHECK_ARRAYS(arrays);
    if (status || !m || !n_rows) {
        return status;
    }
    const codes x = packed_codes(packed, packing, m, n_cols);
    const codes w = codes_at(workspace, unpacked_rows(n_rows), n_cols, 1);
    const size_t most_tiles = qk_times(x.rows / W_ROWS, w.rows / W_ROWS);
    if (x.rows > MOST_INDEX || w.rows > MOST_INDEX || x.n_groups > MOST_INDEX ||
        most_tiles > INT32_MAX) {
        return QKC_BAD_SHAPE;
    }
    if (n_cols) {
        status = qkc_unpack_weights(type, weights, n_rows, &w, stream);
    }
    const product p = {
        x.bytes,
        w.bytes,
        x.items,
        w.items,
        (unsigned)x.rows,
        (unsigned)w.rows,
        (unsigned)x.n_groups,
        (unsigned)m,
        (unsigned)n_rows,
        y,
        y_stride,
        0,
        0,
    };
    return status ? status : queue_packing(packing, shape, p, stream);
}
