/* SPDX-License-Identifier: MIT */
/* The kernels of QK_CODEBOOK_FORMATS, after a lane header. */
#ifndef QK_CODEBOOK_FORMATS_H
#define QK_CODEBOOK_FORMATS_H

#include "lane_math.h"
#include "search.h"
#include "search_positive.h"

#include "codebook_entries.h"
#include "codebook.h"
#include "codebook_block.h"
#include "iq1.h"
#include "iq1_s.h"
#include "iq1_m.h"
#include "iq2_xxs.h"
#include "iq2_xs.h"
#include "iq2_s.h"
#include "iq3_xxs.h"
#include "iq3_s.h"

#endif
