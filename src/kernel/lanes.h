/*
 * lanes.h
 *		What the compute code is written in: agents side by side, and the
 *		vectors of one instruction set.
 *
 * The compute code (lanes_*.h) is written once and compiled several times: for
 * each instruction set with LANES agents side by side, as many as a register
 * has numbers, and with one.  A file that is such a compilation defines
 *
 *		WIDTH	doubles of a register: 8 AVX-512, 4 AVX2, 2 SSE2, 1 plain C
 *		LANES	agents side by side: WIDTH or 1
 *
 * and includes this file first.  A Vector is one number of each agent.
 *
 * All compilations for one instruction set give an agent the same bits: each
 * number of each lane comes from the same operations in the same order, sums
 * above all, and no lane looks at another.  So there must be no operation
 * across lanes but tests that skip work whose result is known exactly.
 */
#ifndef FA_KERNEL_LANES_H
#define FA_KERNEL_LANES_H

#include "step.h"

#include <math.h>
#include <string.h>

#if WIDTH > 1
#include <immintrin.h>
#endif

/*
 * The instruction set holds for all functions that follow, up to the end of
 * the file that includes this one.
 */
#if WIDTH == 8 && defined(__clang__)
#pragma clang attribute push(                                               \
	__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), \
	apply_to = function)
#elif WIDTH == 4 && defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), \
							 apply_to = function)
#elif WIDTH == 8
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#pragma GCC target("prefer-vector-width=512")
#elif WIDTH == 4
#pragma GCC target("avx2,fma")
#endif

/*
 * Wide: WIDTH doubles, the unit of the functions of arrays (lanes_math.h).
 * wide_above(a, b, x, y): x where a > b, y elsewhere (also for NaN).
 * wide_any_above: is a > b anywhere?  wide_load_some, wide_store_some: the
 * first n of them, 1 to WIDTH; the rest of memory is not touched.
 * wide_multiply_add(a, b, c): a * b + c,
 * rounded once where the instruction set can; written so, and not left to the
 * compiler, it is the same in all compilations for the set.
 */
#if WIDTH == 8
typedef __m512d Wide;
extern Wide		_ZGVeN8v_log(Wide x);
extern Wide		_ZGVeN8v_exp(Wide x);
#define wide_log				   _ZGVeN8v_log
#define wide_exp				   _ZGVeN8v_exp
#define wide_load				   _mm512_loadu_pd
#define wide_store				   _mm512_storeu_pd
#define wide_splat(x)			   _mm512_set1_pd(x)
#define wide_multiply_add(a, b, c) _mm512_fmadd_pd(a, b, c)
#define wide_above(a, b, x, y) \
	_mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), y, x)
#define wide_any_above(a, b) (_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ) != 0)
#define wide_load_some(from, n) \
	_mm512_maskz_loadu_pd((__mmask8) ((1u << (n)) - 1), from)
#define wide_store_some(to, x, n) \
	_mm512_mask_storeu_pd(to, (__mmask8) ((1u << (n)) - 1), x)
#elif WIDTH == 4
typedef __m256d		 Wide;
extern Wide			 _ZGVdN4v_log(Wide x);
extern Wide			 _ZGVdN4v_exp(Wide x);
#define wide_log				   _ZGVdN4v_log
#define wide_exp				   _ZGVdN4v_exp
#define wide_load				   _mm256_loadu_pd
#define wide_store				   _mm256_storeu_pd
#define wide_splat(x)			   _mm256_set1_pd(x)
#define wide_multiply_add(a, b, c) _mm256_fmadd_pd(a, b, c)
#define wide_above(a, b, x, y) \
	_mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_GT_OQ))
#define wide_any_above(a, b) \
	(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ)) != 0)
#define wide_mask(n)			  _mm256_loadu_si256((const __m256i *) (mask_of + 4 - (n)))
#define wide_load_some(from, n)	  _mm256_maskload_pd(from, wide_mask(n))
#define wide_store_some(to, x, n) _mm256_maskstore_pd(to, wide_mask(n), x)
static const int64_t mask_of[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
#elif WIDTH == 2
typedef __m128d Wide;
extern Wide		_ZGVbN2v_log(Wide x);
extern Wide		_ZGVbN2v_exp(Wide x);
#define wide_log				   _ZGVbN2v_log
#define wide_exp				   _ZGVbN2v_exp
#define wide_load				   _mm_loadu_pd
#define wide_store				   _mm_storeu_pd
#define wide_splat(x)			   _mm_set1_pd(x)
#define wide_multiply_add(a, b, c) ((a) * (b) + (c))
#define wide_above(a, b, x, y)                   \
	_mm_or_pd(_mm_and_pd(_mm_cmpgt_pd(a, b), x), \
			  _mm_andnot_pd(_mm_cmpgt_pd(a, b), y))
#define wide_any_above(a, b) (_mm_movemask_pd(_mm_cmpgt_pd(a, b)) != 0)
#define wide_load_some(from, n) \
	((n) == 2 ? _mm_loadu_pd(from) : _mm_load_sd(from))
#define wide_store_some(to, x, n) \
	((n) == 2 ? _mm_storeu_pd(to, x) : _mm_store_sd(to, x))
#else
typedef double Wide;
#define wide_log(x)				   log(x)
#define wide_exp(x)				   exp(x)
#define wide_load(from)			   (*(from))
#define wide_store(to, x)		   (*(to) = (x))
#define wide_splat(x)			   (x)
#define wide_multiply_add(a, b, c) ((a) * (b) + (c))
#define wide_above(a, b, x, y)	   ((a) > (b) ? (x) : (y))
#define wide_any_above(a, b)	   ((a) > (b))
#define wide_load_some(from, n)	   ((void) (n), *(from))
#define wide_store_some(to, x, n)  (*(to) = (x))
#endif

/*
 * Vector: LANES doubles, one of each agent, with the same functions.
 */
#if LANES == 1
typedef double Vector;
#define splat(x)		  (x)
#define above(a, b, x, y) ((a) > (b) ? (x) : (y))
#define any_above(a, b)	  ((a) > (b))
#if WIDTH >= 4
#define multiply_add(a, b, c) __builtin_fma(a, b, c)
#else
#define multiply_add(a, b, c) ((a) * (b) + (c))
#endif
#else
typedef Wide		 Vector;
#define splat(x)			  wide_splat(x)
#define above(a, b, x, y)	  wide_above(a, b, x, y)
#define any_above(a, b)		  wide_any_above(a, b)
#define multiply_add(a, b, c) wide_multiply_add(a, b, c)
#endif

#if LANES == 1
#define lanes_load(from)   (*(from))
#define lanes_store(to, x) (*(to) = (x))
#else
#define lanes_load	wide_load
#define lanes_store wide_store
#endif

#define larger_of(a, b) above(a, b, a, b)

/* room of the workspace as vectors, and back as numbers */
#define VECTORS(room)	 ((Vector *) (void *) (room))
#define NUMBERS(vectors) ((double *) (void *) (vectors))

/* at the end of a file of an instruction set */
#if WIDTH >= 4 && defined(__clang__)
#define LANES_END _Pragma("clang attribute pop")
#else
#define LANES_END
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif /* FA_KERNEL_LANES_H */
