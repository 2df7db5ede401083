/* SPDX-License-Identifier: MIT */
/* What kernels may count on, as small kernels: `simt` runs those that must work, `simt NAME` one
 * that must be refused.  On a GPU the former must work as well. */
#include "simt.h"

#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define WHOLE 0xffffffffu

static void copy(void *to, const void *from, size_t bytes)
{
    EXPECT(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, NULL) == cudaSuccess);
    EXPECT(cudaStreamSynchronize(NULL) == cudaSuccess);
}

/* n ints on the device, each -1. */
static int *ints(size_t n)
{
    int *memory = NULL;
    EXPECT(cudaMalloc(&memory, n * sizeof *memory) == cudaSuccess);
    EXPECT(cudaMemsetAsync(memory, 0xff, n * sizeof *memory, NULL) == cudaSuccess);
    return memory;
}

/* Whether out [n] is expected(i), and frees it. */
template <class Function> static void compare(int *out, int n, Function expected)
{
    int *made = (int *)malloc((size_t)n * sizeof *made);
    copy(made, out, (size_t)n * sizeof *made);
    for (int i = 0; i < n; i++) {
        if (made[i] != expected(i)) {
            printf("item %d is %d; expected %d\n", i, made[i], expected(i));
            exit(1);
        }
    }
    free(made);
    EXPECT(cudaFree(out) == cudaSuccess);
}

/* ---- each thread by itself ---- */

static __global__ void number(int *out, dim3 grid)
{
    const unsigned block = (blockIdx.z * grid.y + blockIdx.y) * grid.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = (int)(block * 1000 + thread);
}

static void test_numbers()
{
    const dim3 grid(3, 2, 4), block(5, 3, 2);
    int *out = ints(24 * 30);
    EXPECT(QKC_LAUNCH(number, grid, block, NULL, out, grid) == cudaSuccess);
    compare(out, 24 * 30, [](int i) { return i / 30 * 1000 + i % 30; });
}

/* ---- lanes ---- */

static __global__ void shuffles(int *out)
{
    const int lane = (int)threadIdx.x;
    const int value = 100 + lane;
    int *own = out + lane * 8;
    own[0] = __shfl_sync(WHOLE, value, 7);
    own[1] = __shfl_sync(WHOLE, value, 7, 4);
    own[2] = __shfl_xor_sync(WHOLE, value, 16);
    own[3] = __shfl_up_sync(WHOLE, value, 3);
    own[4] = __shfl_down_sync(WHOLE, value, 3, 8);
    own[5] = (int)__shfl_xor_sync(WHOLE, value + 0.5, 1);
    own[6] = (int)__ballot_sync(WHOLE, lane % 3 == 0);
    own[7] = __any_sync(WHOLE, lane == 5) * 2 + __all_sync(WHOLE, lane < 31);
}

static int shuffled(int i)
{
    const int lane = i / 8, value = 100 + lane;
    switch (i % 8) {
    case 0:
        return 107;
    case 1:
        return 100 + lane / 4 * 4 + 3;
    case 2:
        return 100 + (lane ^ 16);
    case 3:
        return lane < 3 ? value : value - 3;
    case 4:
        return lane % 8 + 3 < 8 ? value + 3 : value;
    case 5:
        return 100 + (lane ^ 1);
    case 6:
        return 0x49249249;
    default:
        return 2;
    }
}

static void test_shuffles()
{
    int *out = ints(32 * 8);
    EXPECT(QKC_LAUNCH(shuffles, 1, 32, NULL, out) == cudaSuccess);
    compare(out, 32 * 8, shuffled);
}

/* Halves of a warp go ways of their own, each with its mask; 37 lanes are a warp and a part. */
static __global__ void halves(int *out)
{
    const int lane = (int)threadIdx.x % 32;
    const unsigned there = threadIdx.x < 32 ? WHOLE : 0x1f;
    int sum = lane;
    if (lane < 16) {
        const unsigned own = there & 0xffff;
        for (int i = 0; i < 5; i++) {
            sum += __shfl_sync(own, sum, 3);
        }
    } else {
        sum = __popc(__ballot_sync(0xffff0000, lane % 2));
        __syncwarp(0xffff0000);
    }
    __syncwarp(there);
    out[threadIdx.x] = __shfl_sync(there, sum, 4) * 1000 + sum;
}

static void test_halves()
{
    int *out = ints(37);
    EXPECT(QKC_LAUNCH(halves, 1, 37, NULL, out) == cudaSuccess);
    /* Lane 3 doubles what it has, 3, five times; the others gain 3, 6, 12, 24 and 48. */
    const auto sum = [](int lane) { return lane == 3 ? 96 : lane < 16 ? lane + 93 : 8; };
    compare(out, 37, [=](int i) { return sum(4) * 1000 + sum(i % 32); });
}

/* ---- blocks ---- */

/* Sums of what all threads have, in shared memory, by a tree. */
static __global__ void tree(int *out)
{
    __shared__ int sums[256];
    const int i = (int)threadIdx.x;
    sums[i] = i * (int)(blockIdx.x + 1);
    __syncthreads();
    for (int step = 128; step; step /= 2) {
        if (i < step) {
            sums[i] += sums[i + step];
        }
        __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = sums[0];
}

static void test_tree()
{
    int *out = ints(3 * 256);
    EXPECT(QKC_LAUNCH(tree, 3, 256, NULL, out) == cudaSuccess);
    compare(out, 3 * 256, [](int i) { return (i / 256 + 1) * 255 * 128; });
}

/* Threads that return early are not waited for, neither at barriers nor by their warp. */
static __global__ void leave_early(int *out)
{
    __shared__ int count;
    const int i = (int)threadIdx.x;
    if (i == 0) {
        count = 0;
    }
    __syncthreads();
    if (i % 3 == 1) {
        return;
    }
    const unsigned voted = __ballot_sync(WHOLE, 1);
    __syncwarp(WHOLE);
    atomicAdd(&count, 1);
    const int any = __syncthreads_or(i == 30), none = __syncthreads_or(i == 31);
    out[i] = count * 100 + __popc(voted) + (any && !none ? 0 : 5000);
}

static void test_early_return()
{
    int *out = ints(96);
    EXPECT(QKC_LAUNCH(leave_early, 1, 96, NULL, out) == cudaSuccess);
    compare(out, 96, [](int i) {
        const int per_warp[] = {21, 22, 21};
        return i % 3 == 1 ? -1 : 6400 + per_warp[i / 32];
    });
}

/* Warps at their own pace between barriers. */
static __global__ void paces(int *out)
{
    __shared__ int last[4];
    const int warp = (int)threadIdx.x / 32;
    int sum = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i <= warp * 5; i++) {
            sum = __shfl_xor_sync(WHOLE, sum + 1, 1);
        }
        if (threadIdx.x % 32 == 0) {
            last[warp] = sum;
        }
        __syncthreads();
        sum = last[(warp + 1) % 4];
        __syncthreads();
    }
    out[threadIdx.x] = sum;
}

static void test_paces()
{
    int *out = ints(128);
    EXPECT(QKC_LAUNCH(paces, 1, 128, NULL, out) == cudaSuccess);
    compare(out, 128, [](int i) {
        const int sums[] = {6 + 11 + 16, 11 + 16 + 1, 16 + 1 + 6, 1 + 6 + 11};
        return sums[i / 32];
    });
}

/* ---- launches and streams ---- */

static __global__ void add_one(int *out) { out[threadIdx.x] += 1; }

/* What was refused does not follow those after it. */
static void test_launches()
{
    int *out = ints(32);
    EXPECT(QKC_LAUNCH(add_one, 1, 1025, NULL, out) == cudaErrorInvalidConfiguration);
    EXPECT(QKC_LAUNCH(add_one, dim3(1, 65536), 32, NULL, out) == cudaErrorInvalidConfiguration);
    EXPECT(cudaSetDevice(99) == cudaErrorInvalidDevice);
    EXPECT(QKC_LAUNCH(add_one, 1, 32, NULL, out) == cudaSuccess);
    compare(out, 32, [](int) { return 0; });
}

/* What a stream was given comes before what another does after its event. */
static void test_streams()
{
    int *out = ints(32), made = 7;
    cudaStream_t first, second;
    cudaEvent_t event;
    EXPECT(cudaStreamSynchronize(NULL) == cudaSuccess);
    EXPECT(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking) == cudaSuccess);
    EXPECT(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking) == cudaSuccess);
    EXPECT(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
    EXPECT(QKC_LAUNCH(add_one, 1, 32, first, out) == cudaSuccess);
    EXPECT(cudaEventRecord(event, first) == cudaSuccess);
    EXPECT(QKC_LAUNCH(add_one, 1, 32, first, out) == cudaSuccess);
    EXPECT(cudaStreamWaitEvent(second, event, 0) == cudaSuccess);
    EXPECT(cudaMemcpyAsync(&made, out, sizeof made, cudaMemcpyDefault, second) == cudaSuccess);
    EXPECT(cudaStreamSynchronize(second) == cudaSuccess);
    EXPECT(made == 0 || made == 1);
    EXPECT(cudaEventDestroy(event) == cudaSuccess);
    EXPECT(cudaStreamDestroy(first) == cudaSuccess && cudaStreamDestroy(second) == cudaSuccess);
    compare(out, 32, [](int) { return 1; });
}

/* ---- tensor cores, and copies to shared memory ---- */

/* Matrices of bytes a [16][32] and b [32][8], the latter transposed. */
static __device__ __host__ int byte_of(int matrix, int row, int column, bool is_signed)
{
    const unsigned byte = (unsigned)(matrix * 91 + row * 67 + column * 29 + row * column) & 255;
    return is_signed && byte > 127 ? (int)byte - 256 : (int)byte;
}

static __device__ uint32_t word_of(int matrix, int row, int column)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word |= (uint32_t)byte_of(matrix, row, column + i, false) << 8 * i;
    }
    return word;
}

enum product { BY_8, BY_16, BY_16_IN_PARTS, BY_32, BY_32_IN_PARTS };

template <bool IS_SIGNED> static __global__ void multiply(int *out, product which)
{
    const int row = (int)threadIdx.x / 4, at = (int)threadIdx.x % 4;
    const uint32_t a[4] = {word_of(0, row, 4 * at), word_of(0, row + 8, 4 * at),
                           word_of(0, row, 16 + 4 * at), word_of(0, row + 8, 16 + 4 * at)};
    const uint32_t b[2] = {word_of(1, row, 4 * at), word_of(1, row, 16 + 4 * at)};
    int d[4] = {1, 2, 3, 4};
    if (which == BY_8) {
        qkc_mma_8<IS_SIGNED>(d, a[0], b[0], d);
    } else if (which == BY_16) {
        qkc_mma_16<IS_SIGNED>(d, a[0], a[1], b[0], d);
    } else if (which == BY_16_IN_PARTS) {
        qkc_mma_16_by_8<IS_SIGNED>(d, a[0], a[1], b[0], d);
    } else if (which == BY_32) {
        qkc_mma_32<IS_SIGNED>(d, a, b, d);
    } else {
        qkc_mma_32_by_8<IS_SIGNED>(d, a, b, d);
    }
    for (int i = 0; i < (which == BY_8 ? 2 : 4); i++) {
        out[(row + i / 2 * 8) * 8 + at * 2 + i % 2] = d[i];
    }
}

template <bool IS_SIGNED> static void test_products_of(product which)
{
    const int n_rows = which == BY_8 ? 8 : 16, n_columns = which < BY_32 ? 16 : 32;
    int *out = ints((size_t)n_rows * 8);
    EXPECT(QKC_LAUNCH(multiply<IS_SIGNED>, 1, 32, NULL, out, which) == cudaSuccess);
    compare(out, n_rows * 8, [=](int i) {
        const int row = i / 8, column = i % 8;
        int sum = 1 + column % 2 + row / 8 * 2;
        for (int k = 0; k < n_columns; k++) {
            sum += byte_of(0, row, k, IS_SIGNED) * byte_of(1, column, k, true);
        }
        return sum;
    });
}

static void test_products()
{
    for (product which : {BY_8, BY_16, BY_16_IN_PARTS, BY_32, BY_32_IN_PARTS}) {
        test_products_of<true>(which);
        test_products_of<false>(which);
    }
}

/* Each thread copies what the next one reads. */
static __global__ void copy_by_threads(int *out, const int *from)
{
    __shared__ int4 room[64];
    const unsigned own = threadIdx.x, next = (own + 1) % 64;
    qkc_start_copy(room + own, from + own * 4);
    qkc_finish_copies();
    __syncthreads();
    for (unsigned i = 0; i < 4; i++) {
        out[own * 4 + i] = ((const int *)(room + next))[i];
    }
}

static void test_copies()
{
    int numbers[256];
    for (int i = 0; i < 256; i++) {
        numbers[i] = i * 7;
    }
    int *from = ints(256), *out = ints(256);
    copy(from, numbers, sizeof numbers);
    EXPECT(QKC_LAUNCH(copy_by_threads, 1, 64, NULL, out, from) == cudaSuccess);
    compare(out, 256, [](int i) { return (i + 4) % 256 * 7; });
    EXPECT(cudaFree(from) == cudaSuccess);
}

/* ---- what is refused ---- */

static __global__ void without_own_lane(int *out)
{
    if (threadIdx.x == 5) {
        out[0] = __shfl_sync(WHOLE & ~32u, 1, 0);
    }
}
static __global__ void from_absent_lane(int *out)
{
    if (threadIdx.x < 8) {
        out[0] = __shfl_sync(0xff, 1, 9);
    }
}
static __global__ void from_ended_lane(int *out)
{
    if (threadIdx.x) {
        out[0] = __shfl_sync(WHOLE, 1, 0);
    }
}
static __global__ void two_barriers(int *out)
{
    if (threadIdx.x < 40) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    out[0] = 1;
}
static __global__ void two_things(int *out)
{
    if (threadIdx.x < 16) {
        out[0] = __shfl_sync(WHOLE, 1, 0);
    } else {
        __syncwarp(WHOLE);
    }
}
static __device__ void wait_for_all() { __syncthreads(); }
static __global__ void forever(int *out)
{
    if (threadIdx.x < 32 || threadIdx.x == 40) {
        wait_for_all();
    } else {
        __syncwarp(WHOLE);
    }
    out[0] = 1;
}
static __global__ void half_a_warp_multiplies(int *out)
{
    int d[2] = {};
    if (threadIdx.x % 32 >= 16) {
        return;
    }
    qkc_mma_8<true>(d, 1, 1, d);
    out[0] = d[0];
}
static __global__ void beyond_shared(int *out)
{
    __shared__ int some[32];
    some[threadIdx.x + blockDim.x] = 1;
    out[0] = some[threadIdx.x];
}

/* ---- races, of which the last two are right on a processor in any order ---- */

static __global__ void missing_barrier(int *out)
{
    __shared__ int all[64];
    all[threadIdx.x] = 1;
    out[threadIdx.x] = all[(threadIdx.x + 32) % 64];
}
static __global__ void written_too_early(int *out)
{
    __shared__ int all[64];
    int sum = 0;
    for (int i = 0; i < 3; i++) {
        all[threadIdx.x] = i;
        __syncthreads();
        sum += all[63 - threadIdx.x];
    }
    out[threadIdx.x] = sum;
}
static __global__ void other_bytes_of_a_word(int *out)
{
    __shared__ uint8_t all[64];
    all[threadIdx.x] = 1;
    __syncwarp(WHOLE);
    out[threadIdx.x] = all[threadIdx.x ^ 1];
    __syncthreads();
    all[threadIdx.x] = 2;
    out[threadIdx.x] = all[threadIdx.x ^ 1];
}
static __global__ void two_blocks(int *out) { out[threadIdx.x] = 1; }
static __global__ void after_a_shuffle(int *out)
{
    __shared__ int all[64];
    all[threadIdx.x] = 1;
    const int sum = __shfl_xor_sync(WHOLE, all[threadIdx.x], 1);
    out[threadIdx.x] = all[threadIdx.x ^ 1] + sum;
}

static const struct {
    const char *name;
    void (*kernel)(int *out);
} refused[] = {
    {"without own lane", without_own_lane},
    {"from absent lane", from_absent_lane},
    {"from ended lane", from_ended_lane},
    {"two barriers", two_barriers},
    {"two things", two_things},
    {"forever", forever},
    {"half a warp multiplies", half_a_warp_multiplies},
    {"beyond shared", beyond_shared},     /* by AddressSanitizer */
    {"missing barrier", missing_barrier}, /* these where accesses are looked at (races.h) */
    {"written too early", written_too_early},
    {"other bytes of a word", other_bytes_of_a_word},
    {"two blocks", two_blocks},
    {"after a shuffle", after_a_shuffle},
};

int main(int argc, char **argv)
{
    for (const auto &each : refused) {
        if (argc > 1 && !strcmp(argv[1], each.name)) {
            const unsigned n_blocks = each.kernel == two_blocks ? 2 : 1;
            EXPECT(QKC_LAUNCH(each.kernel, n_blocks, 64, NULL, ints(64)) == cudaSuccess);
            return 0;
        }
    }
    test_numbers();
    test_shuffles();
    test_halves();
    test_tree();
    test_early_return();
    test_paces();
    test_launches();
    test_streams();
    test_products();
    test_copies();
    return 0;
}
