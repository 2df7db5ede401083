/* SPDX-License-Identifier: MIT */
/* Tensor cores and asynchronous copies on the processor; see ../ptx.h.  A copy is done when its
 * thread waits for it, and not before: what is read too early is wrong in tests, too. */
#ifndef QKC_HOST_PTX_H
#define QKC_HOST_PTX_H

#include "simt.h"

namespace qkc_host
{

/* Lets the lanes of a whole warp meet, each with something; the last one calls work(lanes). */
void work_together(void *own, void (*work)(void *const *lanes), site where);

/* One lane's part of d = a b + c, matrices of 8 or 16 rows and 16 or 32 columns. */
struct mma {
    int *d;
    uint32_t a[4], b[2];
    const int *c;
    int n_rows, n_cols;
    bool is_signed;
};

void multiply_matrices(mma own, site where);
void start_copy(void *shared, const void *global);
void finish_copies();

} // namespace qkc_host

#define QKC_SITE const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define QKC_HERE                                                                                   \
    qkc_host::site { file_, line_ }

template <bool IS_SIGNED>
inline void qkc_mma_8(int *d, uint32_t a, uint32_t b, const int *c, QKC_SITE)
{
    qkc_host::multiply_matrices({d, {a}, {b}, c, 8, 16, IS_SIGNED}, QKC_HERE);
}
template <bool IS_SIGNED>
inline void qkc_mma_16(int *d, uint32_t a0, uint32_t a1, uint32_t b, const int *c, QKC_SITE)
{
    qkc_host::multiply_matrices({d, {a0, a1}, {b}, c, 16, 16, IS_SIGNED}, QKC_HERE);
}
template <bool IS_SIGNED>
inline void qkc_mma_32(int *d, const uint32_t *a, const uint32_t *b, const int *c, QKC_SITE)
{
    const qkc_host::mma own = {d, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}, c, 16, 32, IS_SIGNED};
    qkc_host::multiply_matrices(own, QKC_HERE);
}

#undef QKC_SITE
#undef QKC_HERE

#include "../mma_parts.h"

inline void qkc_compute_after(unsigned &) {}
inline void qkc_start_copy(void *shared, const void *global)
{
    qkc_host::start_copy(shared, global);
}
inline void qkc_finish_copies() { qkc_host::finish_copies(); }

#endif
