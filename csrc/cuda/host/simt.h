/* SPDX-License-Identifier: MIT */
/* CUDA's execution model on the processor, for tests.
 *
 * The threads of a block are fibers of one system thread, which run until they wait: at barriers,
 * shuffles and votes.  Blocks come one after the other, and so do grids, of whatever thread.  What
 * CUDA leaves undefined ends the process with a message: barriers that not all threads reach,
 * shuffles from lanes that are not there, and so on.
 *
 * Environment variables, for tests:
 *   QKC_HOST_ORDER       of threads: "reversed", or a number that makes one
 *   QKC_HOST_DEVICES     how many devices there are; 1 without it
 *   QKC_HOST_CAPABILITY  their compute capability times 10; 90 without it
 *   QKC_HOST_MEMORY      bytes of memory of a device; 2^33 without it */
#ifndef QKC_HOST_SIMT_H
#define QKC_HOST_SIMT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <tuple>
#include <type_traits>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static /* one block runs at a time */
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#ifdef __clang__
#define QKC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QKC_UNROLL _Pragma("GCC unroll 16")
#endif
#define QKC_UNROLL_FOUR
#define QKC_ROLLED

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

#include "intrinsics.h"

namespace qkc_host
{

/* Where kernel code waits. */
struct site {
    const char *file;
    int line;
};

/* Waits for the block: whether one of its threads has a predicate that is true. */
bool vote_of_block(bool predicate, site where);
/* Waits for the lanes of the mask. */
void meet_lanes(unsigned mask, site where);
/* The lanes of the mask for which `predicate` is not 0. */
unsigned vote(unsigned mask, int predicate, site where);
/* What lane `source` gives. */
uint64_t exchange(unsigned mask, uint64_t value, int source, site where);
int lane();

/* Runs body(data) as every thread of a grid.  One grid runs at a time: see queue in runtime.h. */
void run_grid(dim3 grid, dim3 block, void (*body)(const void *), const void *data);
cudaError_t check_launch(dim3 grid, dim3 block);

template <class T> T shuffle(unsigned mask, T value, int source, site where)
{
    static_assert(sizeof value <= sizeof(uint64_t) && std::is_trivially_copyable<T>::value, "");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = exchange(mask, bits, source, where);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The first lane of this one's group of `width`. */
inline int group_start(int width) { return lane() / width * width; }

} // namespace qkc_host

#define QKC_SITE const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define QKC_HERE                                                                                   \
    qkc_host::site { file_, line_ }

inline void __syncthreads(QKC_SITE) { qkc_host::vote_of_block(false, QKC_HERE); }
inline int __syncthreads_or(int predicate, QKC_SITE)
{
    return qkc_host::vote_of_block(predicate != 0, QKC_HERE);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, QKC_SITE)
{
    qkc_host::meet_lanes(mask, QKC_HERE);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, QKC_SITE)
{
    return qkc_host::vote(mask, predicate, QKC_HERE);
}
inline int __any_sync(unsigned mask, int predicate, QKC_SITE)
{
    return qkc_host::vote(mask, predicate, QKC_HERE) != 0;
}
inline int __all_sync(unsigned mask, int predicate, QKC_SITE)
{
    return !qkc_host::vote(mask, !predicate, QKC_HERE);
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, QKC_SITE)
{
    source = qkc_host::group_start(width) + (source & (width - 1));
    return qkc_host::shuffle(mask, value, source, QKC_HERE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int step, int width = warpSize, QKC_SITE)
{
    const int source = qkc_host::lane() ^ step;
    const bool is_near = source < qkc_host::group_start(width) + width;
    return qkc_host::shuffle(mask, value, is_near ? source : qkc_host::lane(), QKC_HERE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned step, int width = warpSize, QKC_SITE)
{
    const int source = qkc_host::lane() - (int)step;
    const bool is_near = source >= qkc_host::group_start(width);
    return qkc_host::shuffle(mask, value, is_near ? source : qkc_host::lane(), QKC_HERE);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned step, int width = warpSize, QKC_SITE)
{
    const int source = qkc_host::lane() + (int)step;
    const bool is_near = source < qkc_host::group_start(width) + width;
    return qkc_host::shuffle(mask, value, is_near ? source : qkc_host::lane(), QKC_HERE);
}

#undef QKC_SITE
#undef QKC_HERE

template <class... Parameters, class... Arguments>
cudaError_t qkc_launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, void *stream,
                       Arguments... args)
{
    const cudaError_t error = qkc_host::check_launch(grid, block);
    if (error != cudaSuccess) {
        return error;
    }
    const std::tuple<Parameters...> parameters(args...);
    return qkc_host::queue(stream, [=] {
        const auto body = [&] { std::apply(kernel, parameters); };
        typedef decltype(body) Body;
        qkc_host::run_grid(grid, block, [](const void *data) { (*(const Body *)data)(); }, &body);
    });
}

#endif
