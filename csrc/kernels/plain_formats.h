/* SPDX-License-Identifier: MIT */
/* The kernels of QK_ITEM_FORMATS, QK_PLAIN_FORMATS and QK_BLOCK_SET_FORMATS, after a lane header.
 */
#ifndef QK_PLAIN_FORMATS_H
#define QK_PLAIN_FORMATS_H

#include "lane_math.h"
#include "search.h"
#include "search_symmetric.h"
#include "search_affine.h"
#include "search_positive.h"

#include "floats.h"

#include "block32.h"
#include "q4_0.h"
#include "q4_1.h"
#include "q5_0.h"
#include "q5_1.h"
#include "q8_0.h"
#include "q1_0.h"
#include "q2_0.h"
#include "mxfp4.h"
#include "nvfp4.h"

#include "iq4.h"
#include "iq4_nl.h"
#include "iq4_xs.h"

#include "k_scales.h"
#include "q2_k.h"
#include "q3_k.h"
#include "q4_k.h"
#include "q5_k.h"
#include "q6_k.h"

#include "ternary.h"
#include "tq1_0.h"
#include "tq2_0.h"

#endif
