/*
 * share.h
 *		What the files that find shared numbers have in common; share.c says what
 *		those are.  Private to share*.c.
 */
#ifndef FA_KERNEL_SHARE_H
#define FA_KERNEL_SHARE_H

#include "compile.h"

/* The numbers of one modality in the making. */
typedef struct Sharing
{
	Spec			   *spec;
	const SpecModality *modality;
	PlanNodes		   *views;
	int32_t				parents;
	int32_t				outcomes;
	Classes			   *classes; /* [parents] */
	Tuples			   *sums;	 /* [parents]: (sum before, state) */
	int32_t		*
		*class_sums; /* [parents]: [moves][classes]: the sum, -1: of none */
	int32_t *all;		 /* [parents]: the sum of all states, with rests */
	const double *rests; /* [outcomes], or NULL: all 0 */
	int64_t		  joint; /* joint classes: the product of their numbers */
	int64_t		  ambiguous; /* of which have an ambiguity other than 0 */
	int64_t		 *columns;	 /* [joint]: the column of A that stands for each */
	int64_t		 *starts;  /* [outcomes + 1]: A by outcome, as Rows, into ... */
	int32_t		 *entries; /* [entries]: joint class */
	double		 *values;  /* [entries] */
	Tuples		  products; /* (sum of each parent) */
	int32_t *of_joint; /* [joint]: the product of each, in one view; -1: 0 */
	Tuples	 terms;	   /* (term before, product, weight) */
	Tuples	 lists;	   /* of each view: (term of each outcome, ambiguity) */
} Sharing;

/* share_table.c */
extern bool sharing_classes(Sharing *sharing);
extern bool sharing_reduce(Sharing *sharing);

/* share_terms.c */
extern bool sharing_within(const Sharing *sharing, int64_t *left);
extern bool sharing_sums(Sharing *sharing, int32_t i);
extern bool sharing_terms_begin(Sharing *sharing);
extern bool sharing_merge_views(Sharing *sharing, int32_t t, int32_t *of_view,
								int32_t *sums);

/* share_keep.c */
extern bool sharing_keep_numbers(Sharing *sharing, PlanNumbers *out);
extern bool sharing_keep_lists(Sharing *sharing, PlanNumbers *out);

#endif /* FA_KERNEL_SHARE_H */
