/* SPDX-License-Identifier: MIT */
/* Calibrated rounding, on the lanes and kernels that were included before. */
#include <math.h>

#include "formats.h"
#include "layouts.h"

#include "group.h"
#include "scales.h"
#include "fit.h"
#include "unit.h"
#include "superblock.h"

#include "iq4_nl.h"
#include "q4_0.h"
#include "q4_1.h"
#include "q8_0.h"

#include "iq4_xs.h"
#include "q2_k.h"
#include "q3_k.h"
#include "q4_k.h"
#include "q6_k.h"

#include "plan.h"
#include "feedback.h"
#include "driver.h"
