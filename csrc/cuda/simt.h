/* SPDX-License-Identifier: MIT */
/* The execution model of kernels: CUDA under nvcc, else the same on the processor (host/simt.h), so
 * that tests run kernels where there is no GPU.  Nothing else here knows which it is. */
#ifndef QKC_SIMT_H
#define QKC_SIMT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__

#include <cuda_runtime.h>

/* Before a loop whose variables are to be in registers. */
#define QKC_UNROLL _Pragma("unroll")
/* Before one with a short body, which is to be unrolled in part. */
#define QKC_UNROLL_FOUR _Pragma("unroll 4")
/* Before one that would need too many registers if it were unrolled. */
#define QKC_ROLLED _Pragma("unroll 1")

/* Queues a grid on a stream; args are converted to the kernel's parameters. */
template <class... Parameters, class... Arguments>
cudaError_t qkc_launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, void *stream,
                       Arguments... args)
{
    cudaLaunchConfig_t how = {};
    how.gridDim = grid;
    how.blockDim = block;
    how.stream = (cudaStream_t)stream;
    return cudaLaunchKernelEx(&how, kernel, args...);
}

#include "ptx.h"

#else

#include "host/simt.h"
#include "host/ptx.h"

#endif

/* A cudaError_t: what is wrong with the launch, or went wrong in a kernel before; not what an
 * earlier call was refused for, which cudaGetLastError would give here, too.  Shared memory is what
 * the kernel declares. */
#define QKC_LAUNCH(kernel, grid, block, stream, ...)                                               \
    qkc_launch(kernel, grid, block, stream, __VA_ARGS__)

#endif
