/* SPDX-License-Identifier: MIT */
/* The codebook types that are quantized with the lanes that were included before.
 *
 * Parameters: a lane header included first; QKC_WARPS, of a thread block; QKC_BOOK_IS_HERE(type);
 * QKC_QUANTIZE_BOOKS, the function that queues their kernels. */
#define QK_NEIGHBOUR_TABLES "neighbours.cuh"
#include "../kernels/codebook_formats.h"

#include "quantize.cuh"

#define QKC_ONE(NAME, name, id, size, bytes, use)                                                  \
    QKC_FORMAT(name, id, size, bytes, use, 1, QKC_WARPS)
QK_CODEBOOK_FORMATS(QKC_ONE)

/* Compiles the kernel of a type that is here. */
template <class F> int qkc_queue_book(const qkc_rows *rows, cudaStream_t stream)
{
    if constexpr (QKC_BOOK_IS_HERE(F::type)) {
        return qkc_queue_quantize<F>(rows, stream);
    } else {
        return QKC_UNKNOWN_TYPE;
    }
}

int QKC_QUANTIZE_BOOKS(int type, const qkc_rows *rows, cudaStream_t stream)
{
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id:                                                                                       \
        return qkc_queue_book<name##_format>(rows, stream);
        QK_CODEBOOK_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
}
