/* SPDX-License-Identifier: MIT */
/* The arrays of one call of the core, and what must come of it.
 *
 * A call that quantkit.h allows gets arrays of exactly the bytes that it documents, each an
 * allocation of its own, so that a sanitizer sees any access beyond.  Any other call gets memory
 * that cannot be touched, and must return a status. */
#ifndef QK_FUZZ_CALLS_H
#define QK_FUZZ_CALLS_H

#include "input.h"
#include "quantkit.h"

#include <sys/mman.h>

#define MOST_ARRAYS 8
#define MOST_BYTES ((wide)1 << 22) /* of the arrays of a call that is made */
#define UNTOUCHED 0xA5

__extension__ typedef unsigned __int128 wide; /* sizes, without overflow */

typedef enum use { READ, OPTIONAL, WRITTEN, UPDATED } use; /* UPDATED: read, then written */

typedef struct array {
    uint8_t *data;
    wide bytes;
    size_t alignment;
    use use;
    int in_place; /* it may be the same array as one that is read */
    int same_as;  /* the array that it is, or -1 */
    uint64_t checksum;
} array;

typedef struct call {
    const char *name;
    int is_wrong; /* against what quantkit.h documents */
    int n;
    array arrays[MOST_ARRAYS];
} call;

static inline void expect(int truth, const call *c, const char *what)
{
    if (!truth) {
        fprintf(stderr, "%s: %s\n", c->name, what);
        abort();
    }
}

static inline array *add_array(call *c, wide items, size_t item, size_t alignment, use use)
{
    expect(c->n < MOST_ARRAYS, c, "too many arrays");
    array *a = c->arrays + c->n++;
    const wide most = (wide)1 << 64; /* more than memory has; times a size it does not overflow */
    const wide bytes = (items < most ? items : most) * item;
    *a = (array){.bytes = bytes, .alignment = alignment, .use = use, .same_as = -1};
    return a;
}

static inline void add_floats(call *c, wide items, use use)
{
    add_array(c, items, sizeof(float), sizeof(float), use);
}

/* Floats that may be missing. */
static inline void add_optional(call *c, wide items, input *in)
{
    add_floats(c, take_byte(in) & 1 ? items : 0, OPTIONAL);
}

static inline uint64_t checksum_of(const array *a)
{
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < (size_t)a->bytes; i++) {
        sum = (sum ^ a->data[i]) * 1099511628211u;
    }
    return sum;
}

/* Memory that cannot be touched, a part of it for each array. */
static inline uint8_t *untouchable(int i)
{
    static uint8_t *memory;
    const size_t part = (size_t)1 << 26;
    if (!memory) {
        memory = mmap(NULL, part * MOST_ARRAYS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            abort();
        }
    }
    return memory + part * (size_t)i;
}

/* Makes one pointer wrong, where that is a fault of the call. */
static inline void spoil_pointer(call *c, input *in)
{
    array *a = c->arrays + take_byte(in) % c->n;
    const array *other = c->arrays + take_byte(in) % c->n;
    const uint8_t kind = take_byte(in) % 3;
    if (!a->bytes || a->bytes > MOST_BYTES) {
        return;
    }
    if (kind == 0 && a->use != OPTIONAL) {
        a->data = NULL;
        c->is_wrong = 1;
    } else if (kind == 1 && a->alignment > 1) {
        a->data++;
        c->is_wrong = 1;
    } else if (kind == 2 && a->use >= WRITTEN && a != other && a->same_as < 0 &&
               other->same_as < 0 && other->bytes && other->bytes <= MOST_BYTES) {
        const size_t most = (size_t)other->bytes - 1;
        const size_t far = take_word(in) % (most / a->alignment + 1) * a->alignment;
        if (far || !a->in_place) {
            a->data = other->data + far;
            c->is_wrong = 1;
        }
    }
}

/* Whether to make the call: not if it is allowed and takes much memory. */
static inline int prepare(call *c, input *in)
{
    wide total = 0;
    for (int i = 0; i < c->n; i++) {
        array *a = c->arrays + i;
        c->is_wrong |= a->bytes > PTRDIFF_MAX;
        total += a->bytes;
        a->data = a->same_as >= 0 ? c->arrays[a->same_as].data : untouchable(i);
        a->data = a->use == OPTIONAL && !a->bytes ? NULL : a->data;
    }
    if (c->n && take_byte(in) % 8 == 1) {
        spoil_pointer(c, in);
    }
    if (c->is_wrong || total > MOST_BYTES) {
        return c->is_wrong;
    }
    for (int i = 0; i < c->n; i++) {
        array *a = c->arrays + i;
        if (a->same_as >= 0) {
            a->data = c->arrays[a->same_as].data;
        } else if (a->data) {
            a->data = malloc((size_t)a->bytes);
            expect(a->data || !a->bytes, c, "no memory");
            memset(a->data, UNTOUCHED, (size_t)a->bytes);
        }
    }
    return 1;
}

/* Fills the arrays that are read, and remembers them. */
static inline void fill_arrays(call *c, input *in)
{
    for (int i = 0; !c->is_wrong && i < c->n; i++) {
        array *a = c->arrays + i;
        if (a->use != WRITTEN && a->data) {
            fill(in, a->data, (size_t)a->bytes);
        }
    }
    for (int i = 0; !c->is_wrong && i < c->n; i++) {
        c->arrays[i].checksum = checksum_of(c->arrays + i);
    }
}

/* Checks what came of a call.  `refused`: a status that the numbers, not the sizes, may give. */
static inline void finish(call *c, qk_status status, qk_status refused)
{
    if (c->is_wrong) {
        expect(status != QK_OK, c, "a wrong call was made");
        return;
    }
    expect(status == QK_OK || status == refused, c, "a right call was refused");
    for (int i = 0; i < c->n; i++) {
        int is_written = c->arrays[i].use >= WRITTEN && status == QK_OK;
        for (int j = 0; j < c->n; j++) {
            is_written |= c->arrays[j].same_as == i;
        }
        expect(is_written || checksum_of(c->arrays + i) == c->arrays[i].checksum, c,
               "an array changed that is only read, or whose call was refused");
    }
}

static inline void free_arrays(call *c)
{
    for (int i = 0; !c->is_wrong && i < c->n; i++) {
        if (c->arrays[i].same_as < 0) {
            free(c->arrays[i].data);
        }
    }
}

#endif
