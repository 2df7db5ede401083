/* SPDX-License-Identifier: MIT */
/* Functions of each number of an array, and rotations of pairs. */
#include "checks.h"
#include "math.cuh"

/* ---- functions of a number, and of two ---- */

struct exp_of {
    __device__ float operator()(float x) const { return qkc_exp(x); }
};
struct tanh_of {
    __device__ float operator()(float x) const { return qkc_tanh(x); }
};
struct erf_of {
    __device__ float operator()(float x) const { return qkc_erf(x); }
};
struct sigmoid_of {
    __device__ float operator()(float x) const { return qkc_times_sigmoid(1.0f, x); }
};
struct silu_of {
    __device__ float operator()(float x) const { return qkc_times_sigmoid(x, x); }
};
struct gelu_of {
    __device__ float operator()(float x) const { return qkc_gelu(x); }
};
struct gelu_tanh_of {
    __device__ float operator()(float x) const { return qkc_gelu_tanh(x); }
};
struct relu_of {
    __device__ float operator()(float x) const { return qkc_relu(x); }
};
struct softplus_of {
    __device__ float operator()(float x) const { return qkc_softplus(x); }
};
struct soft_cap_of {
    float cap;
    __device__ float operator()(float x) const { return cap * qkc_tanh(x / cap); }
};

/* A function times another number. */
template <class Function> struct product_of {
    Function function;
    __device__ float operator()(float x, float up) const { return function(x) * up; }
};
struct swiglu_clamped_of {
    __device__ float operator()(float gate, float up) const
    {
        gate = 7.0f < gate ? 7.0f : gate;
        up = 7.0f < up ? 7.0f : up;
        up = (up < -7.0f ? -7.0f : up) + 1.0f;
        return qkc_times_sigmoid(gate, 1.702f * gate) * up;
    }
};

/* ---- kernels ---- */

/* The arrays may be the same. */
template <class Function>
static __global__ void map_kernel(Function function, const float *x, size_t n, float *out)
{
    const size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        out[i] = function(x[i]);
    }
}

template <class Function>
static __global__ void map_fours_kernel(Function function, const float4 *x, size_t n, float4 *out)
{
    const size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const float4 a = x[i];
        out[i] = make_float4(function(a.x), function(a.y), function(a.z), function(a.w));
    }
}

template <class Function>
static __global__ void map_two_kernel(Function function, const float *x, const float *up, size_t n,
                                      float *out)
{
    const size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        out[i] = function(x[i], up[i]);
    }
}

template <class Function>
static __global__ void map_two_fours_kernel(Function function, const float4 *x, const float4 *up,
                                            size_t n, float4 *out)
{
    const size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const float4 a = x[i], b = up[i];
        out[i] = make_float4(function(a.x, b.x), function(a.y, b.y), function(a.z, b.z),
                             function(a.w, b.w));
    }
}

static bool are_fours(size_t n, const void *a, const void *b, const void *c)
{
    return (n % 4 | (uintptr_t)a % 16 | (uintptr_t)b % 16 | (uintptr_t)c % 16) == 0;
}

template <class Function>
static int map(Function function, const float *x, size_t n, float *out, void *stream)
{
    if (!n) {
        return QKC_OK;
    }
    if (are_fours(n, x, out, NULL)) {
        return QKC_LAUNCH(map_fours_kernel<Function>, qkc_grid(qkc_parts(n / 4, QKC_THREADS)),
                          QKC_THREADS, stream, function, (const float4 *)x, n / 4, (float4 *)out);
    }
    return QKC_LAUNCH(map_kernel<Function>, qkc_grid(qkc_parts(n, QKC_THREADS)), QKC_THREADS,
                      stream, function, x, n, out);
}

template <class Function>
static int map_two(Function function, const float *x, const float *up, size_t n, float *out,
                   void *stream)
{
    if (!n) {
        return QKC_OK;
    }
    if (are_fours(n, x, up, out)) {
        return QKC_LAUNCH(map_two_fours_kernel<Function>, qkc_grid(qkc_parts(n / 4, QKC_THREADS)),
                          QKC_THREADS, stream, function, (const float4 *)x, (const float4 *)up,
                          n / 4, (float4 *)out);
    }
    return QKC_LAUNCH(map_two_kernel<Function>, qkc_grid(qkc_parts(n, QKC_THREADS)), QKC_THREADS,
                      stream, function, x, up, n, out);
}

/* ---- the API ---- */

/* What functions of n numbers ask of their arguments. */
static int check_map(const float *x, const float *up, size_t n, float *out)
{
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, n),
        QK_OPTIONAL_FLOATS(up, n),
        QK_ARRAY(out, n, float, QK_WRITTEN_IN_PLACE),
    };
    return QKC_CHECK_ARRAYS(arrays);
}

/* f(x), times `up` if that is not NULL. */
template <class Function>
static int activate(Function function, const float *x, const float *up, size_t n, float *out,
                    void *stream)
{
    return up ? map_two(product_of<Function>{function}, x, up, n, out, stream)
              : map(function, x, n, out, stream);
}

int qkc_activate(int function, const float *x, const float *up, size_t n, float *out, void *stream)
{
    const int status = check_map(x, up, n, out);
    if (status) {
        return status;
    }
    switch (function) {
    case QK_EXP:
        return activate(exp_of(), x, up, n, out, stream);
    case QK_TANH:
        return activate(tanh_of(), x, up, n, out, stream);
    case QK_ERF:
        return activate(erf_of(), x, up, n, out, stream);
    case QK_SIGMOID:
        return activate(sigmoid_of(), x, up, n, out, stream);
    case QK_SILU:
        return activate(silu_of(), x, up, n, out, stream);
    case QK_GELU:
        return activate(gelu_of(), x, up, n, out, stream);
    case QK_GELU_TANH:
        return activate(gelu_tanh_of(), x, up, n, out, stream);
    case QK_RELU:
        return activate(relu_of(), x, up, n, out, stream);
    case QK_SOFTPLUS:
        return activate(softplus_of(), x, up, n, out, stream);
    }
    return QKC_UNKNOWN_FUNCTION;
}

int qkc_swiglu_clamped(const float *gate, const float *up, size_t n, float *out, void *stream)
{
    const int status = n && !up ? QKC_BAD_ARRAY : check_map(gate, up, n, out);
    return status ? status : map_two(swiglu_clamped_of(), gate, up, n, out, stream);
}

int qkc_soft_cap(const float *x, float cap, size_t n, float *out, void *stream)
{
    const int status = check_map(x, NULL, n, out);
    return status ? status : map(soft_cap_of{cap}, x, n, out, stream);
}
