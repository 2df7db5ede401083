/* SPDX-License-Identifier: MIT */
/* Blocks of threads that are fibers.  A fiber runs one thread after the other, until one waits;
 * then another fiber goes on.  So kernels that never wait run as a plain loop. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <utility>
#include <vector>

#include "fiber.h"
#include "ptx.h"
#include "races.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace qkc_host
{

enum op { NOTHING, BARRIER, MEET, VOTE, EXCHANGE, TOGETHER };

struct thread {
    fiber *on;    /* while it waits */
    op waits_for; /* and the rest says how */
    site where;
    unsigned mask;
    uint64_t value;
    int source;
    void (*work)(void *const *lanes);
    uint64_t result;
};

struct warp {
    unsigned
        there; /* lanes that have threads, also those that have not begun, but not ended ones */
    unsigned in_warp_op; /* lanes that wait for others */
    unsigned ready;      /* lanes that waited, for lanes or for the block, and may go on */
};

const unsigned MOST_THREADS = 1024;

static struct {
    thread threads[MOST_THREADS];
    warp warps[MOST_THREADS / warpSize];
    unsigned n_threads, n_warps;
    unsigned n_begun, n_left, n_in_barrier;
    unsigned current;
    unsigned order[MOST_THREADS]; /* in which threads begin */
    bool is_reversed;
    uint64_t random; /* 0: threads go on in a fixed order */
    fiber main, *running, *before;
    void (*body)(const void *);
    const void *data;
} block;

/* Fibers that no thread is on. */
static std::vector<fiber *> idle;

int lane() { return (int)(block.current % warpSize); }

static unsigned bit_of(unsigned thread) { return 1u << thread % warpSize; }
static warp *warp_of(unsigned thread) { return block.warps + thread / warpSize; }

void fail(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "kernel, block (%u, %u, %u), thread %u: ", blockIdx.x, blockIdx.y, blockIdx.z,
            block.current);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

/* ---- which thread runs ---- */

/* The next of a series (Marsaglia's xorshift64), below n. */
static unsigned random_below(unsigned n)
{
    block.random ^= block.random << 13;
    block.random ^= block.random >> 7;
    block.random ^= block.random << 17;
    return (unsigned)((block.random >> 32) % n);
}

static void choose_order()
{
    for (unsigned i = 0; i < block.n_threads; i++) {
        block.order[i] = block.is_reversed ? block.n_threads - 1 - i : i;
    }
    for (unsigned i = block.n_threads; block.random && i > 1; i--) {
        std::swap(block.order[i - 1], block.order[random_below(i)]);
    }
}

static void make_current(unsigned number)
{
    block.current = number;
    threadIdx = {number, 0, 0};
    if (number >= blockDim.x) {
        threadIdx.x = number % blockDim.x;
        threadIdx.y = number / blockDim.x % blockDim.y;
        threadIdx.z = number / blockDim.x / blockDim.y;
    }
    accesses_are_of(number, block.running->stack, block.running->stack_bytes);
}

/* Any thread that may go on; MOST_THREADS if there is none. */
static unsigned any_ready()
{
    const unsigned start = random_below(block.n_threads);
    for (unsigned i = 0; i < block.n_threads; i++) {
        const unsigned number = (start + i) % block.n_threads;
        if (warp_of(number)->ready & bit_of(number)) {
            return number;
        }
    }
    return MOST_THREADS;
}

/* The nearest after the current one. */
static unsigned next_ready()
{
    if (block.random) {
        return any_ready();
    }
    const unsigned own = block.current / warpSize, place = block.current % warpSize;
    const unsigned after = block.is_reversed ? (1u << place) - 1 : ~0u << place << 1;
    for (unsigned i = 0; i <= block.n_warps; i++) {
        const unsigned step = block.is_reversed ? block.n_warps - i % block.n_warps : i;
        const unsigned number = (own + step) % block.n_warps;
        const unsigned ready = block.warps[number].ready & (i ? ~0u : after);
        if (ready) {
            const int lane = block.is_reversed ? 31 - __builtin_clz(ready) : __builtin_ctz(ready);
            return number * warpSize + (unsigned)lane;
        }
    }
    return MOST_THREADS;
}

static void leave(fiber *next, bool is_over)
{
    fiber *own = block.running;
    if (next == own) {
        return;
    }
    block.before = own;
    block.running = next;
    switch_to(own, next, is_over);
}

static void go_on_with(unsigned number, bool is_over)
{
    warp_of(number)->ready &= ~bit_of(number);
    fiber *next = block.threads[number].on;
    make_current(number);
    leave(next, is_over);
}

static void run_threads();

static fiber *idle_fiber()
{
    if (idle.empty()) {
        idle.push_back(new_fiber());
    }
    fiber *found = idle.back();
    idle.pop_back();
    begin(found, run_threads);
    return found;
}

[[noreturn]] static void report_deadlock()
{
    for (unsigned i = 0; i < block.n_threads; i++) {
        const thread *t = block.threads + i;
        if (t->waits_for == BARRIER) {
            fprintf(stderr, "thread %u waits at a barrier, %s:%d\n", i, t->where.file,
                    t->where.line);
        } else if (t->waits_for != NOTHING) {
            fprintf(stderr, "thread %u waits for lanes %08x, %s:%d\n", i, t->mask, t->where.file,
                    t->where.line);
        }
    }
    fail("all threads wait for each other");
}

/* Until another thread has let the current one go on. */
static void wait()
{
    const unsigned own = block.current, ready = next_ready();
    const bool may_begin = block.n_begun < block.n_threads;
    block.threads[own].on = block.running;
    if (ready < MOST_THREADS && !(may_begin && block.random && random_below(2))) {
        go_on_with(ready, false);
    } else if (may_begin) {
        leave(idle_fiber(), false);
    } else {
        report_deadlock();
    }
    make_current(own);
}

/* Until the current thread, which waits for something, may go on. */
static void wait_unless_ready(const thread *own)
{
    if (own->waits_for == NOTHING) {
        warp_of(block.current)->ready &= ~bit_of(block.current);
    } else {
        wait();
    }
}

/* ---- barriers ---- */

/* Lets the threads of a barrier go on, each with whether one has a value. */
static void open_barrier()
{
    uint64_t any = 0;
    for (unsigned i = 0; i < block.n_threads; i++) {
        any |= block.threads[i].waits_for == BARRIER ? block.threads[i].value : 0;
    }
    for (unsigned i = 0; i < block.n_threads; i++) {
        thread *t = block.threads + i;
        if (t->waits_for == BARRIER) {
            t->waits_for = NOTHING;
            t->result = any;
            warp_of(i)->ready |= bit_of(i);
        }
    }
    block.n_in_barrier = 0;
    order_block();
}

static void open_barrier_if_complete()
{
    if (block.n_in_barrier && block.n_in_barrier >= block.n_left) {
        open_barrier();
    }
}

bool vote_of_block(bool predicate, site where)
{
    static site first;
    thread *own = block.threads + block.current;
    if (!block.n_in_barrier) {
        first = where;
    } else if (first.line != where.line || strcmp(first.file, where.file)) {
        fail("it waits at the barrier at %s:%d, others at that at %s:%d", where.file, where.line,
             first.file, first.line);
    }
    own->waits_for = BARRIER;
    own->where = where;
    own->value = predicate;
    block.n_in_barrier++;
    open_barrier_if_complete();
    wait_unless_ready(own);
    return own->result != 0;
}

/* ---- what lanes of a warp do together ---- */

/* Does what a whole warp has met for. */
static void do_work(const thread *threads, unsigned group)
{
    void *lanes[warpSize];
    const thread *one = threads + __builtin_ctz(group);
    if (group != ~0u) {
        fail("only lanes %08x of a warp are there, %s:%d", group, one->where.file, one->where.line);
    }
    for (int i = 0; i < warpSize; i++) {
        lanes[i] = (void *)(uintptr_t)threads[i].value;
    }
    one->work(lanes);
}

/* Gives the lanes of a complete group their results. */
static void finish_group(warp *w, thread *threads, unsigned group)
{
    unsigned votes = 0;
    if (threads[__builtin_ctz(group)].waits_for == TOGETHER) {
        do_work(threads, group);
    }
    for (unsigned left = group; left; left &= left - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(left);
        votes |= threads[lane].value ? 1u << lane : 0;
    }
    for (unsigned left = group; left; left &= left - 1) {
        thread *t = threads + __builtin_ctz(left);
        if (t->waits_for != EXCHANGE) {
            t->result = votes;
        } else if (group >> t->source & 1) {
            t->result = threads[t->source].value;
        } else {
            fail("a lane reads lane %d, which takes no part in the shuffle, %s:%d", t->source,
                 t->where.file, t->where.line);
        }
        t->waits_for = NOTHING;
    }
    w->in_warp_op &= ~group;
    w->ready |= group;
}

/* The first thread of a warp. */
static unsigned first_of(const thread *threads) { return (unsigned)(threads - block.threads); }

/* Lets the group of `lane` go on, if all lanes of its mask that have not ended are there. */
static void finish_if_complete(warp *w, thread *threads, unsigned lane)
{
    const thread *one = threads + lane;
    const unsigned group = one->mask & w->there;
    if ((w->in_warp_op & group) != group) {
        return;
    }
    for (unsigned left = group; left; left &= left - 1) {
        const thread *t = threads + __builtin_ctz(left);
        if (t->mask != one->mask) {
            return;
        }
        if (t->waits_for != one->waits_for || (t->waits_for == TOGETHER && t->work != one->work)) {
            fail("lanes of %08x do different things together, %s:%d and %s:%d", one->mask,
                 one->where.file, one->where.line, t->where.file, t->where.line);
        }
    }
    if (one->waits_for == MEET) {
        order_lanes(first_of(threads), group);
    }
    finish_group(w, threads, group);
}

static uint64_t meet(op what, unsigned mask, uint64_t value, int source, site where)
{
    const unsigned own = block.current, bit = bit_of(own);
    warp *w = warp_of(own);
    thread *threads = block.threads + own / warpSize * warpSize, *t = block.threads + own;
    if (!(mask & bit)) {
        fail("the mask %08x is without its own lane, %s:%d", mask, where.file, where.line);
    }
    t->waits_for = what;
    t->mask = mask;
    t->value = value;
    t->source = source;
    t->where = where;
    w->in_warp_op |= bit;
    finish_if_complete(w, threads, own % warpSize);
    wait_unless_ready(t);
    return t->result;
}

void meet_lanes(unsigned mask, site where) { meet(MEET, mask, 0, 0, where); }

unsigned vote(unsigned mask, int predicate, site where)
{
    return (unsigned)meet(VOTE, mask, predicate != 0, 0, where);
}

uint64_t exchange(unsigned mask, uint64_t value, int source, site where)
{
    return meet(EXCHANGE, mask, value, source, where);
}

void work_together(void *own, void (*work)(void *const *lanes), site where)
{
    block.threads[block.current].work = work;
    meet(TOGETHER, ~0u, (uintptr_t)own, 0, where);
}

/* ---- threads, blocks and grids ---- */

static void end_current()
{
    const unsigned own = block.current;
    warp *w = warp_of(own);
    w->there &= ~bit_of(own);
    block.n_left--;
    open_barrier_if_complete();
    for (unsigned lane = 0; w->in_warp_op && lane < warpSize; lane++) {
        if (w->in_warp_op >> lane & 1) {
            finish_if_complete(w, block.threads + own / warpSize * warpSize, lane);
        }
    }
}

/* What fibers do: never returns. */
static void run_threads()
{
    entered(block.running, block.before);
    unsigned ready = MOST_THREADS;
    while (ready == MOST_THREADS && block.n_begun < block.n_threads) {
        const unsigned number = block.n_begun++;
        make_current(block.order[number]);
        block.body(block.data);
        end_current();
        ready = next_ready();
    }
    idle.push_back(block.running);
    if (ready < MOST_THREADS) {
        go_on_with(ready, true);
    } else if (block.n_left) {
        report_deadlock();
    }
    leave(&block.main, true);
}

static void run_block()
{
    for (unsigned i = 0; i < block.n_warps; i++) {
        const unsigned n = block.n_threads - i * warpSize;
        block.warps[i] = {};
        block.warps[i].there = n < warpSize ? (1u << n) - 1 : ~0u;
    }
    for (unsigned i = 0; i < block.n_threads; i++) {
        block.threads[i].waits_for = NOTHING;
    }
    block.n_begun = block.n_in_barrier = 0;
    block.n_left = block.n_threads;
    block.running = &block.main;
    choose_order();
    begin_accesses_of_block(block.n_threads);
    leave(idle_fiber(), false);
    accesses_are_of_none();
}

cudaError_t check_launch(dim3 grid, dim3 threads)
{
    const uint64_t n_threads = (uint64_t)threads.x * threads.y * threads.z;
    const bool fits = n_threads && threads.x <= 1024 && threads.y <= 1024 && threads.z <= 64 &&
                      n_threads <= MOST_THREADS && grid.x && grid.y && grid.z &&
                      grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
    return fits ? cudaSuccess : cudaErrorInvalidConfiguration;
}

void run_grid(dim3 grid, dim3 threads, void (*body)(const void *), const void *data)
{
    const char *order = getenv("QKC_HOST_ORDER");
    gridDim = grid;
    blockDim = threads;
    block.n_threads = threads.x * threads.y * threads.z;
    block.n_warps = (block.n_threads + warpSize - 1) / warpSize;
    block.is_reversed = order && !strcmp(order, "reversed");
    block.random = order ? strtoull(order, NULL, 10) : 0;
    forget_accesses();
    block.body = body;
    block.data = data;
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++) {
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++) {
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
                run_block();
            }
        }
    }
}

} // namespace qkc_host
