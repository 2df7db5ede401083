/* SPDX-License-Identifier: MIT */
/* What the tasks of the fuzzer share: the backend of a call, and the count of calls. */
#ifndef QK_FUZZ_TASKS_H
#define QK_FUZZ_TASKS_H

#include "calls.h"

#define PICK(in, choices) choices[take_byte(in) % (sizeof(choices) / sizeof *(choices))]

static unsigned long n_made, n_refused;

/* A backend of this machine, on a machine that may lack a feature; now and then no backend. */
static int take_backend(input *in, call *c)
{
    const uint8_t lacking = take_byte(in);
    int usable[16], n = 0;
    qk_disable_cpu_features(lacking % 2 ? (uint32_t)1 << lacking / 2 % 32 : 0);
    for (int i = 0; i < qk_backend_count(); i++) {
        if (qk_backend_usable(i)) {
            usable[n++] = i;
        }
    }
    const int choice = take_choice(in, n);
    if (choice < 0 || choice >= n) {
        c->is_wrong = 1;
        return choice == n ? qk_backend_count() : choice;
    }
    return usable[choice];
}

static void done(call *c, qk_status status, qk_status refused)
{
    finish(c, status, refused);
    n_refused += status != QK_OK;
    n_made += status == QK_OK;
}

#endif
