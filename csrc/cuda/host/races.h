/* SPDX-License-Identifier: MIT */
/* Accesses of memory by threads of a grid that nothing orders: a race on a GPU, in whatever order
 * fibers run.  Only barriers and __syncwarp order accesses; votes and shuffles do not.
 *
 * Kernels tell of their accesses where they are compiled with -fsanitize=thread, of which only the
 * calls are used (races.cpp), and these files with QKC_RACES. */
#ifndef QKC_HOST_RACES_H
#define QKC_HOST_RACES_H

#include <stddef.h>

namespace qkc_host
{

/* Ends the process with a message about the thread that runs. */
[[noreturn]] void fail(const char *format, ...);

#ifdef QKC_RACES

/* What was before a grid is in order with it. */
void forget_accesses();
void begin_accesses_of_block(unsigned n_threads);
/* The thread that accesses come from, and its stack, which is its own. */
void accesses_are_of(unsigned thread, const void *stack, size_t stack_bytes);
void accesses_are_of_none();
/* All threads of the block have waited for each other, or some lanes of a warp. */
void order_block();
void order_lanes(unsigned first_thread, unsigned lanes);

#else

inline void forget_accesses() {}
inline void begin_accesses_of_block(unsigned) {}
inline void accesses_are_of(unsigned, const void *, size_t) {}
inline void accesses_are_of_none() {}
inline void order_block() {}
inline void order_lanes(unsigned, unsigned) {}

#endif

} // namespace qkc_host

#endif
