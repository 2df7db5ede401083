/* SPDX-License-Identifier: MIT */
/* Mapped files whose pages can no longer be read.  When a file is truncated while it is mapped, or
 * a disk fails, the next access to the page raises SIGBUS, which ends the process.  Here a page of
 * zeros takes its place, and the fault is counted, so that the caller can refuse what it computed.
 * Windows does not truncate mapped files; there nothing is done.
 *
 * The handler only walks a list whose nodes are never freed, and calls mmap, which is a plain
 * system call. */
#if !defined(_WIN32)
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS beside -std=c11 */
#endif

#include "quantkit.h"

#if defined(_WIN32)

qk_guard *qk_guard_begin(const void *start, size_t n_bytes)
{
    (void)start;
    (void)n_bytes;
    return NULL;
}
size_t qk_guard_faults(const qk_guard *guard)
{
    (void)guard;
    return 0;
}
void qk_guard_end(qk_guard *guard) { (void)guard; }

#else

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct qk_guard {
    _Atomic uintptr_t start;
    atomic_size_t n_bytes; /* 0: the node is free */
    atomic_size_t n_faults;
    struct qk_guard *next; /* set before the node is in the list */
};

static struct qk_guard *_Atomic guards;
static atomic_flag is_changing = ATOMIC_FLAG_INIT; /* held by qk_guard_begin and _end */
static struct sigaction previous;                  /* of SIGBUS, before on_bus_error */
static atomic_flag is_passed_on = ATOMIC_FLAG_INIT;
static uintptr_t page_bytes;

static struct qk_guard *guard_of(uintptr_t address)
{
    struct qk_guard *guard = atomic_load(&guards);
    while (guard != NULL && address - atomic_load(&guard->start) >= atomic_load(&guard->n_bytes)) {
        guard = guard->next;
    }
    return guard;
}

static int replace_page(uintptr_t address)
{
    void *page = (void *)(address & ~(page_bytes - 1));
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    return mmap(page, page_bytes, PROT_READ, flags, -1, 0) != MAP_FAILED;
}

static void end_process(int number)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigaction(number, &by_default, NULL);
    raise(number);
}

/* A fault that is not ours goes to the previous handler, and if that raises it again, to none. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    int is_none = !(previous.sa_flags & SA_SIGINFO) &&
                  (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN);
    if (is_none || atomic_flag_test_and_set(&is_passed_on)) {
        end_process(number);
        return;
    }
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else {
        previous.sa_handler(number);
    }
    atomic_flag_clear(&is_passed_on);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    struct qk_guard *guard = info->si_code > 0 ? guard_of(address) : NULL;
    if (guard != NULL && replace_page(address)) {
        atomic_fetch_add(&guard->n_faults, 1);
    } else {
        pass_on(number, info, context);
    }
    errno = saved;
}

/* Also again, if another handler was set since the last time.  With SA_NODEFER, a signal that the
 * previous handler raises comes at once. */
static int install(void)
{
    struct sigaction now, ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    ours.sa_sigaction = on_bus_error;
    if (sigaction(SIGBUS, NULL, &now) != 0) {
        return 0;
    }
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error) {
        return 1;
    }
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    previous = now;
    return sigaction(SIGBUS, &ours, NULL) == 0;
}

/* A free node of the list, or a new one. */
static struct qk_guard *free_node(void)
{
    struct qk_guard *guard = atomic_load(&guards);
    while (guard != NULL && atomic_load(&guard->n_bytes) != 0) {
        guard = guard->next;
    }
    if (guard != NULL) {
        return guard;
    }
    guard = calloc(1, sizeof *guard);
    if (guard != NULL) {
        guard->next = atomic_load(&guards);
        atomic_store(&guards, guard);
    }
    return guard;
}

qk_guard *qk_guard_begin(const void *start, size_t n_bytes)
{
    while (atomic_flag_test_and_set(&is_changing))
        ;
    struct qk_guard *guard = n_bytes && install() ? free_node() : NULL;
    if (guard != NULL) {
        atomic_store(&guard->n_faults, 0);
        atomic_store(&guard->start, (uintptr_t)start);
        atomic_store(&guard->n_bytes, n_bytes);
    }
    atomic_flag_clear(&is_changing);
    return guard;
}

size_t qk_guard_faults(const qk_guard *guard)
{
    return guard == NULL ? 0 : atomic_load(&guard->n_faults);
}

void qk_guard_end(qk_guard *guard)
{
    if (guard != NULL) {
        atomic_store(&guard->n_bytes, 0);
    }
}

#endif
