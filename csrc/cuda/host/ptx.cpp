/* SPDX-License-Identifier: MIT */
#include "ptx.h"

#include <vector>

namespace qkc_host
{

/* ---- products of matrices ---- */

struct matrices {
    int a[16][32], b[8][32]; /* b transposed */
};

static int byte_of(uint32_t word, int i, bool is_signed)
{
    const unsigned byte = word >> 8 * i & 255;
    return is_signed ? (int8_t)byte : (int)byte;
}

/* Puts a lane's bytes where they belong. */
static void gather(const mma &own, int lane, matrices &all)
{
    const int row = lane / 4, column = lane % 4 * 4;
    for (int i = 0; i < 4; i++) {
        for (int part = 0; part < own.n_cols / 16; part++) {
            const int at = column + 16 * part + i;
            for (int half = 0; half < own.n_rows / 8; half++) {
                all.a[row + 8 * half][at] = byte_of(own.a[2 * part + half], i, own.is_signed);
            }
            all.b[row][at] = byte_of(own.b[part], i, true);
        }
    }
}

static int dot(const int *a, const int *b, int n, int sum)
{
    for (int i = 0; i < n; i++) {
        sum = (int)((unsigned)sum + (unsigned)(a[i] * b[i]));
    }
    return sum;
}

static void multiply(void *const *lanes)
{
    matrices all;
    for (int lane = 0; lane < warpSize; lane++) {
        gather(*(const mma *)lanes[lane], lane, all);
    }
    for (int lane = 0; lane < warpSize; lane++) {
        const mma &own = *(const mma *)lanes[lane];
        for (int i = 0; i < own.n_rows / 4; i++) {
            const int *row = all.a[lane / 4 + i / 2 * 8], *column = all.b[lane % 4 * 2 + i % 2];
            own.d[i] = dot(row, column, own.n_cols, own.c[i]);
        }
    }
}

void multiply_matrices(mma own, site where) { work_together(&own, multiply, where); }

/* ---- copies ---- */

struct copy {
    void *to;
    const void *from;
};

static std::vector<copy> started[1024]; /* by thread of the block */

static std::vector<copy> &of_thread()
{
    const unsigned row = threadIdx.z * blockDim.y + threadIdx.y;
    return started[row * blockDim.x + threadIdx.x];
}

void start_copy(void *shared, const void *global) { of_thread().push_back({shared, global}); }

void finish_copies()
{
    for (const copy &each : of_thread()) {
        memcpy(each.to, each.from, 16);
    }
    of_thread().clear();
}

} // namespace qkc_host
