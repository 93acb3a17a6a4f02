/*
 * spec_test.h
 *	  What the tests of specs share.  Specs stand there with ' for ".
 */
#ifndef SPEC_TEST_H
#define SPEC_TEST_H

#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tap.h"

static KernelHost	  host;
static KernelProblems problems;

/* Two states, two outcomes, two actions. */
#define A2 "'A': [[[0.9, 0.1], [0.1, 0.9]]]"
#define B2 "'B': [[[[1, 0], [1, 0]], [[0, 1], [0, 1]]]]"

/* Compiles text in which ' stands for ". */
static inline KernelStatus
compile(const char *text, const KernelModel **model)
{
	char		*copy = strdup(text);
	JsonValue	 spec;
	KernelStatus status;

	for (char *c = copy; *c != '\0'; c++)
	{
		if (*c == '\'')
			*c = '"';
	}
	problems.count = 0;
	*model = NULL;
	status = json_parse(&host, copy, strlen(copy), &spec, &problems);
	free(copy);
	if (status == KERNEL_OK)
		status = kernel_compile(&host, &spec, model, &problems);
	return status;
}

static inline void
print_problems(void)
{
	for (int i = 0; i < problems.count && i < KERNEL_MAX_PROBLEMS; i++)
		printf("# [%d] %s: %s. %s %s\n", (int) problems.items[i].status,
			   problems.items[i].path, problems.items[i].message,
			   problems.items[i].detail, problems.items[i].hint);
}

static inline const KernelModel *
compiles(const char *text, const char *name)
{
	const KernelModel *model;

	if (!ok(compile(text, &model) == KERNEL_OK && problems.count == 0 &&
				model != NULL &&
				kernel_model_valid(model, (size_t) model->size),
			"%s", name))
		print_problems();
	return model;
}

/* Exactly one problem, whose message, detail or hint has a part. */
static inline void
fails(KernelStatus status, const char *text, const char *part)
{
	const KernelModel *model;
	KernelProblem	  *problem = &problems.items[0];
	bool			   found;

	found = compile(text, &model) == status && model == NULL &&
			problems.count == 1 && problem->status == status &&
			(strstr(problem->message, part) != NULL ||
			 strstr(problem->detail, part) != NULL ||
			 strstr(problem->hint, part) != NULL);
	if (!ok(found, "%s", part))
		print_problems();
}

/* Among others, a problem whose message or detail has a part. */
static inline void
fails_among_others(KernelStatus status, const char *text, const char *part)
{
	const KernelModel *model;
	bool			   found = compile(text, &model) == status && model == NULL;
	bool			   said = false;

	for (int i = 0; i < problems.count && i < KERNEL_MAX_PROBLEMS; i++)
		said |= strstr(problems.items[i].message, part) != NULL ||
				strstr(problems.items[i].detail, part) != NULL;
	if (!ok(found && said, "%s", part))
		print_problems();
}

#endif /* SPEC_TEST_H */
