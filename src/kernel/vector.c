/*
 * vector.c
 *		C, D, H, I, E and learning rates, of a spec and of one agent.
 *
 * Each reader writes into an array of its caller, in the layout of the model,
 * and returns false with a problem (or where memory was short); what out holds
 * is of no use then.  All take a Variable for the labels and the size, so they
 * serve a spec and, by parameters.c, an agent of a compiled model.
 */
#include <math.h>
#include <string.h>

#include "compile.h"

/* pymdp accepts a distribution by isclose(sum, 1): rtol 1e-5, atol 1e-8. */
#define SUM_TOLERANCE 1.001e-5

/*
 * One member of an object by label: {"label": number}.  Giving a value both by
 * its label and by its number is a mistake that jsonb lets pass.  seen [size]
 * tells what was given before.
 */
static bool
read_labelled(Reader *reader, const Place *place, const JsonMember *member,
			  const Variable *variable, bool nonnegative, double *out,
			  bool *seen)
{
	JsonValue		 label = {.kind = JSON_STRING, .as.string = member->name};
	int32_t			 index = variable_value(variable, &label);
	const JsonValue *value = &member->value;
	char			 hint[TEXT_SIZE] = "";
	char			 quoted[80];
	char			 text[80];

	text_quote(quoted, member->name);
	if (index < 0)
	{
		if (variable->labels != NULL)
			names_hint(hint, sizeof(hint), variable->labels->names,
					   variable->size, member->name);
		kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
					   hint,
					   "%s names %s, which is not among the values of "
					   "\"%s\"",
					   place->shown, quoted, variable->name);
	}
	else if (seen[index])
		kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
					   NULL, "%s gives %s twice", place->shown, quoted);
	else if (value->kind != JSON_NUMBER)
		kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
					   NULL, "%s: %s must be a number, not %s", place->shown,
					   quoted, text_value(text, value));
	else if (!(fabs(value->as.number) <= MAX_NUMBER))
		kernel_problem(reader->problems, KERNEL_RANGE, place->path, NULL, NULL,
					   "%s: %s is too large: numbers may be up to %g",
					   place->shown, quoted, MAX_NUMBER);
	else if (nonnegative && value->as.number < 0)
		kernel_problem(reader->problems, KERNEL_RANGE, place->path, NULL, NULL,
					   "%s: %s is %.10g, but must not be negative",
					   place->shown, quoted, value->as.number);
	else
	{
		seen[index] = true;
		out[index] = value->as.number + 0.0;
		return true;
	}
	return false;
}

/*
 * Numbers by label, out [size]; those absent are 0, which for C is "no
 * preference" and for D "impossible".
 */
static bool
read_labels(Reader *reader, const Place *place, const JsonValue *value,
			const Variable *variable, bool nonnegative, double *out)
{
	bool *seen =
		reader_allocate(reader, variable->size, sizeof(bool), place->path);
	int32_t first = reader->problems->count;

	if (seen == NULL)
		return false;
	memset(out, 0, (size_t) variable->size * sizeof(double));
	for (int32_t i = 0; i < value->count; i++)
	{
		(void) read_labelled(reader, place, &value->as.members[i], variable,
							 nonnegative, out, seen);
		if (reader->problems->count - first >= 3)
			break;
	}
	return reader->problems->count == first;
}

/*
 * One number for each value of the variable, out [size]: a list, the sparse
 * form, or an object by label.
 */
static bool
vector_read(Reader *reader, const Place *place, const JsonValue *value,
			const Variable *variable, bool nonnegative, double *out)
{
	Tensor tensor = {
		.place = *place, .value = value, .nonnegative = nonnegative};

	if (value->kind == JSON_OBJECT && !tensor_is_sparse(value))
		return read_labels(reader, place, value, variable, nonnegative, out);
	if (!tensor_shape(reader, place, value, false, &tensor.shape))
		return false;
	(void) layout_add_axis(&tensor.layout, variable->size);
	layout_row_major(&tensor.layout);
	text_print(tensor.axes, sizeof(tensor.axes), "\"%s\" has %d values.",
			   variable->name, variable->size);
	return tensor_fits(reader, &tensor) && tensor_dense(reader, &tensor, out);
}

/*
 * Preferences that change along the plan, all in one sparse form.  Returns
 * [rows][O] in the arena, or NULL.
 */
static double *
read_sparse_rows(Reader *reader, const Place *place, const JsonValue *value,
				 const Variable *outcomes, int32_t *rows)
{
	Tensor	tensor = {.place = *place, .value = value};
	double *out;

	if (!tensor_shape(reader, place, value, false, &tensor.shape))
		return NULL;
	*rows = (int32_t) tensor.shape.sizes[0];
	(void) layout_add_axis(&tensor.layout, *rows);
	(void) layout_add_axis(&tensor.layout, outcomes->size);
	layout_row_major(&tensor.layout);
	text_print(tensor.axes, sizeof(tensor.axes),
			   "The axes are the plan step and the outcomes of \"%s\".",
			   outcomes->name);
	if (!tensor_fits(reader, &tensor))
		return NULL;
	out = reader_allocate(reader, tensor.layout.elements, sizeof(double),
						  place->path);
	return out != NULL && tensor_dense(reader, &tensor, out) ? out : NULL;
}

/*
 * Preferences that change along the plan, a row for each step; every row in
 * any form.  Returns [rows][O] in the arena, or NULL; the number of rows is
 * the length of the list.
 */
static double *
read_rows(Reader *reader, const Place *place, const JsonValue *value,
		  const Variable *outcomes)
{
	Place	row;
	double *out =
		reader_allocate(reader, (int64_t) value->count * outcomes->size,
						sizeof(double), place->path);

	for (int32_t i = 0; out != NULL && i < value->count; i++)
	{
		text_print(row.path, sizeof(row.path), "%s[%d]", place->path, i);
		memcpy(row.shown, row.path, sizeof(row.path));
		if (!vector_read(reader, &row, &value->as.elements[i], outcomes, false,
						 out + (int64_t) i * outcomes->size))
			return NULL;
	}
	return out;
}

/*
 * C of a modality, out [steps][O]: one row for all plan steps, or a row for
 * each.  The last row stands for the steps that follow; rows after the plan's
 * end are never reached, in pymdp neither.
 */
bool
vector_C(Reader *reader, const Place *place, const JsonValue *value,
		 const Variable *outcomes, int32_t steps, double *out)
{
	const JsonValue *shape = json_member(value, "shape");
	size_t			 row_bytes = (size_t) outcomes->size * sizeof(double);
	int32_t			 rows = 1;
	const double	*all = out;

	if (value->kind == JSON_ARRAY && value->count > 0 &&
		(value->as.elements[0].kind == JSON_ARRAY ||
		 value->as.elements[0].kind == JSON_OBJECT))
	{
		rows = value->count;
		all = read_rows(reader, place, value, outcomes);
	}
	else if (tensor_is_sparse(value) && shape != NULL && shape->count == 2 &&
			 shape->kind == JSON_ARRAY)
		all = read_sparse_rows(reader, place, value, outcomes, &rows);
	else if (!vector_read(reader, place, value, outcomes, false, out))
		return false;
	for (int32_t i = 0; all != NULL && i < steps; i++)
		memmove(out + (int64_t) i * outcomes->size,
				all + (int64_t) (i < rows ? i : rows - 1) * outcomes->size,
				row_bytes);
	return all != NULL;
}

/*
 * A distribution over a factor's states, out [S].  It must sum to 1 within
 * pymdp's tolerance for columns; pymdp itself does not check D, and its
 * results then mean nothing.
 */
bool
vector_D(Reader *reader, const Place *place, const JsonValue *value,
		 const Variable *states, double *out)
{
	double sum = 0;

	if (!vector_read(reader, place, value, states, true, out))
		return false;
	for (int32_t i = 0; i < states->size; i++)
		sum += out[i];
	if (fabs(sum - 1) <= SUM_TOLERANCE)
		return true;
	kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
				   "Give a probability for each state, or leave it out for a "
				   "uniform belief.",
				   "%s sums to %.10g, not to 1", place->shown, sum);
	return false;
}

/*
 * Goals are marks, not weights: pymdp's inductive term takes 0 and 1 only, and
 * gives no error for others.  values is [count].
 */
static bool
all_binary(Reader *reader, const Place *place, const double *values,
		   int64_t count)
{
	for (int64_t i = 0; i < count; i++)
	{
		if (values[i] == 0 || values[i] == 1)
			continue;
		kernel_problem(reader->problems, KERNEL_RANGE, place->path, NULL,
					   "1 marks a state that is a goal, 0 one that is not.",
					   "%s has an element %.10g, but its elements must be 0 "
					   "or 1",
					   place->shown, values[i]);
		return false;
	}
	return true;
}

/*
 * The goal states of a factor, out [S] of 0 and 1; that there is any is not
 * asked.
 */
bool
vector_H(Reader *reader, const Place *place, const JsonValue *value,
		 const Variable *states, double *out)
{
	return vector_read(reader, place, value, states, false, out) &&
		   all_binary(reader, place, out, states->size);
}

/*
 * The reachability matrix of a factor as pymdp makes it: *out [*depth][S] in
 * the arena, of 0 and 1.  The depth is that of the spec.
 */
bool
vector_I(Reader *reader, const Place *place, const JsonValue *value,
		 int32_t states, int32_t *depth, double **out)
{
	Tensor tensor = {.place = *place, .value = value};

	if (!tensor_shape(reader, place, value, false, &tensor.shape))
		return false;
	(void) layout_add_axis(&tensor.layout, tensor.shape.sizes[0]);
	(void) layout_add_axis(&tensor.layout, states);
	layout_row_major(&tensor.layout);
	text_print(tensor.axes, sizeof(tensor.axes),
			   "The axes are the steps to the goal and the states.");
	if (!tensor_fits(reader, &tensor))
		return false;
	*depth = (int32_t) tensor.shape.sizes[0];
	*out = reader_allocate(reader, tensor.layout.elements, sizeof(double),
						   place->path);
	return *out != NULL && tensor_dense(reader, &tensor, *out) &&
		   all_binary(reader, place, *out, tensor.layout.elements);
}

/*
 * The weights of the policies, as their logarithms [policies].  They need not
 * sum to 1, as the softmax takes only differences; but without any positive
 * weight all policies would be equal, which nobody can have meant.  A weight
 * of 0 is L(0), a cost of 36 nats.
 */
bool
vector_E(Reader *reader, const JsonValue *value, int32_t policies,
		 double *log_E)
{
	Tensor tensor = {.place = {"E", "E"}, .value = value, .nonnegative = true};
	bool   positive = false;

	if (!tensor_shape(reader, &tensor.place, value, false, &tensor.shape))
		return false;
	(void) layout_add_axis(&tensor.layout, policies);
	layout_row_major(&tensor.layout);
	text_print(tensor.axes, sizeof(tensor.axes),
			   "E has one weight for each of the %d policies.", policies);
	if (!tensor_fits(reader, &tensor) || !tensor_dense(reader, &tensor, log_E))
		return false;
	for (int32_t i = 0; i < policies; i++)
	{
		positive |= log_E[i] > 0;
		log_E[i] = kernel_log(log_E[i]);
	}
	if (!positive)
		kernel_problem(reader->problems, KERNEL_RANGE, "E", NULL, NULL,
					   "E gives no policy a positive weight");
	return positive;
}

/*
 * A learning rate for each of a group, out [count]: one number for all, or a
 * list or object of them.  Those not given keep what out has.  A rate of 0 is
 * taken: counts then stay as they are, but A and B still become those that the
 * counts expect.
 */
bool
vector_rates(Reader *reader, const char *key, const JsonValue *value,
			 const Group *group, double *out)
{
	const JsonValue **items;
	int32_t			  first = reader->problems->count;
	char			  text[80];

	items = reader_allocate(reader, group->count, sizeof(JsonValue *), key);
	if (items == NULL)
		return false;
	for (int32_t i = 0; i < group->count; i++)
		items[i] = value;
	if (value->kind != JSON_NUMBER)
		items = group_items(reader, group, key, value);
	for (int32_t i = 0; items != NULL && i < group->count; i++)
	{
		if (items[i] == NULL)
			continue;
		if (items[i]->kind == JSON_NUMBER && items[i]->as.number >= 0 &&
			items[i]->as.number <= MAX_NUMBER)
		{
			out[i] = items[i]->as.number + 0.0;
			continue;
		}
		kernel_problem(reader->problems,
					   items[i]->kind == JSON_NUMBER ? KERNEL_RANGE :
													   KERNEL_INVALID,
					   key, NULL, NULL,
					   "%s has a rate that is %s, but a rate must be a number "
					   "from 0 to %g",
					   key, text_value(text, items[i]), MAX_NUMBER);
		break;
	}
	return items != NULL && reader->problems->count == first;
}
