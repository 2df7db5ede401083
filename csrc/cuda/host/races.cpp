/* SPDX-License-Identifier: MIT */
/* See races.h.  Of each word of memory those accesses are kept that later ones may race with. */
#include "races.h"

#ifdef QKC_RACES

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

/* Where the linker puts variables that nothing initializes: all of __shared__ (simt.h). */
extern "C" __attribute__((visibility("hidden"))) char __bss_start, _end;

namespace qkc_host
{
namespace
{

const unsigned LANES = 32, MOST_THREADS = 1024;
const unsigned SEVERAL = MOST_THREADS;        /* threads, of several warps */
const uint64_t SEVERAL_BLOCKS = ~(uint64_t)0; /* that such threads are of */

/* When and where a thread read or wrote bytes of a word. */
struct access {
    uint64_t block;
    unsigned epoch, clock, thread;
    unsigned bytes; /* a bit for each of the word's four */
    bool is_write;
    const void *place; /* in the code */
};

/* A thread's time: how often it has waited for lanes, and what it knows of theirs. */
struct thread_time {
    unsigned clock;
    unsigned seen[LANES];
};

struct {
    uint64_t block;
    unsigned epoch;  /* barriers of the block so far */
    unsigned thread; /* SEVERAL: none runs */
    uintptr_t stack;
    size_t stack_bytes;
    thread_time times[MOST_THREADS];
} now = {0, 0, SEVERAL, 0, 0, {}};

std::unordered_map<uintptr_t, std::vector<access>> words;

bool is_shared(uintptr_t word)
{
    return word * 4 >= (uintptr_t)&__bss_start && word * 4 < (uintptr_t)&_end;
}

/* Every block has shared memory of its own. */
bool comes_before(const access &a, uintptr_t word)
{
    if (a.block != now.block) {
        return is_shared(word);
    }
    if (a.epoch < now.epoch || a.thread == now.thread) {
        return true;
    }
    return a.thread / LANES == now.thread / LANES &&
           now.times[now.thread].seen[a.thread % LANES] >= a.clock;
}

void describe(const char *what, const access &a, char *text, size_t size)
{
    Dl_info found = {};
    dladdr(a.place, &found);
    snprintf(text, size, "%s of thread %u at %s+0x%zx", what, a.thread,
             found.dli_fname ? found.dli_fname : "?",
             (size_t)((const char *)a.place - (const char *)found.dli_fbase));
}

[[noreturn]] void report(const access &a, const access &b)
{
    char first[512], second[512];
    describe(a.is_write ? "a write" : "a read", a, first, sizeof first);
    describe(b.is_write ? "a write" : "a read", b, second, sizeof second);
    now.thread = SEVERAL;
    fail("nothing orders %s and %s", first, second);
}

/* Readers of several warps are one entry: no __syncwarp can order all of them before a write. */
void join_readers(std::vector<access> &of_word, access own)
{
    bool is_alone = true;
    for (const access &each : of_word) {
        if (each.is_write ||
            (each.block == own.block && each.thread / LANES == own.thread / LANES)) {
            continue;
        }
        is_alone = false;
    }
    if (!is_alone) {
        for (const access &each : of_word) {
            if (!each.is_write) {
                own.block = each.block == own.block ? own.block : SEVERAL_BLOCKS;
                own.epoch = std::max(own.epoch, each.epoch);
                own.bytes |= each.bytes;
            }
        }
        own.thread = SEVERAL;
        of_word.erase(std::remove_if(of_word.begin(), of_word.end(),
                                     [](const access &each) { return !each.is_write; }),
                      of_word.end());
    }
    of_word.push_back(own);
}

void note_word(uintptr_t word, unsigned bytes, bool is_write, const void *place)
{
    std::vector<access> &of_word = words[word];
    const access own = {now.block, now.epoch, now.times[now.thread].clock, now.thread, bytes,
                        is_write,  place};
    size_t kept = 0;
    for (const access &each : of_word) {
        const bool is_before = comes_before(each, word);
        if (!is_before && (each.bytes & bytes) && (each.is_write || is_write)) {
            report(each, own);
        }
        /* What races with an access before this one, too, races with this one. */
        const bool is_covered = !(each.bytes & ~bytes) && (is_write || !each.is_write);
        const bool is_of_past = is_before && (is_covered || each.block != now.block);
        if (!is_of_past) {
            of_word[kept++] = each;
        }
    }
    of_word.resize(kept);
    if (is_write) {
        of_word.push_back(own);
    } else {
        join_readers(of_word, own);
    }
}

void note(const void *memory, size_t size, bool is_write, const void *place)
{
    const uintptr_t at = (uintptr_t)memory;
    if (now.thread == SEVERAL || at - now.stack < now.stack_bytes) {
        return;
    }
    for (uintptr_t word = at / 4; word <= (at + size - 1) / 4; word++) {
        unsigned bytes = 0;
        for (unsigned i = 0; i < 4; i++) {
            bytes |= word * 4 + i - at < size ? 1u << i : 0;
        }
        note_word(word, bytes, is_write, place);
    }
}

} // namespace

void forget_accesses() { words.clear(); }

void begin_accesses_of_block(unsigned n_threads)
{
    now.block++;
    now.epoch = 0;
    for (unsigned i = 0; i < n_threads; i++) {
        now.times[i] = {1, {}};
    }
}

void accesses_are_of(unsigned thread, const void *stack, size_t stack_bytes)
{
    now.thread = thread;
    now.stack = (uintptr_t)stack;
    now.stack_bytes = stack_bytes;
}

void accesses_are_of_none() { now.thread = SEVERAL; }

void order_block() { now.epoch++; }

void order_lanes(unsigned first_thread, unsigned lanes)
{
    unsigned seen[LANES] = {};
    thread_time *times = now.times + first_thread;
    for (unsigned i = 0; i < LANES; i++) {
        if (lanes >> i & 1) {
            times[i].seen[i] = times[i].clock++;
            for (unsigned j = 0; j < LANES; j++) {
                seen[j] = std::max(seen[j], times[i].seen[j]);
            }
        }
    }
    for (unsigned i = 0; i < LANES; i++) {
        if (lanes >> i & 1) {
            memcpy(times[i].seen, seen, sizeof seen);
        }
    }
}

} // namespace qkc_host

/* ---- what the compiler calls ---- */

#define QKC_ACCESS(name, size, is_write)                                                           \
    extern "C" void __tsan_##name(void *p)                                                         \
    {                                                                                              \
        qkc_host::note(p, size, is_write, __builtin_return_address(0));                            \
    }
#define QKC_ACCESSES(size)                                                                         \
    QKC_ACCESS(read##size, size, false)                                                            \
    QKC_ACCESS(write##size, size, true)                                                            \
    QKC_ACCESS(unaligned_read##size, size, false)                                                  \
    QKC_ACCESS(unaligned_write##size, size, true)
QKC_ACCESSES(1)
QKC_ACCESSES(2)
QKC_ACCESSES(4)
QKC_ACCESSES(8)
QKC_ACCESSES(16)

extern "C" void __tsan_read_range(void *p, size_t size)
{
    qkc_host::note(p, size, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void *p, size_t size)
{
    qkc_host::note(p, size, true, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void **, void *) {}
extern "C" void __tsan_vptr_read(void **) {}

#endif
