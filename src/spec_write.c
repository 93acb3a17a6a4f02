/*
 * spec_write.c
 *		Writes the text of a ready spec: names, and arrays in the form that is
 *		short for what they hold.
 *
 * A spec is written as JSON text and parsed once at the end.  Building the
 * values of jsonb one by one would take several times the memory, and the text
 * is what a reader of this code knows from the documentation.
 *
 * Commas are put by looking at the last character, so that each part can be
 * written without knowing what stands before it.
 */
#include "postgres.h"

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"

#include "spec.h"

/* ---------- JSON ---------- */

/* A comma, unless the text has just opened a list or named a member. */
static void
separate(StringInfo buf)
{
	char last = buf->len > 0 ? buf->data[buf->len - 1] : '[';

	if (last != '[' && last != '{' && last != ':')
		appendStringInfoChar(buf, ',');
}

/* Opens a list or an object, '[' or '{'. */
void
spec_open(StringInfo buf, char bracket)
{
	separate(buf);
	appendStringInfoChar(buf, bracket);
}

/*
 * Closes it; bracket is the closing one.  Nothing checks that it is the right
 * one but the parser at the end.
 */
void
spec_close(StringInfo buf, char bracket)
{
	appendStringInfoChar(buf, bracket);
}

/* Names and labels are our own: nothing in them needs escaping. */
static void
append_text(StringInfo buf, const char *text)
{
	separate(buf);
	appendStringInfo(buf, "\"%s\"", text);
}

/* A member's name; its value has to follow. */
void
spec_write_member(StringInfo buf, const char *name)
{
	append_text(buf, name);
	appendStringInfoChar(buf, ':');
}

/* A member that is a list; its elements follow. */
void
spec_open_list(StringInfo buf, const char *name)
{
	spec_write_member(buf, name);
	spec_open(buf, '[');
}

/* The lists A, B, C and D follow each other. */
void
spec_next_list(StringInfo buf, const char *name)
{
	spec_close(buf, ']');
	spec_open_list(buf, name);
}

void
spec_int(StringInfo buf, int value)
{
	separate(buf);
	appendStringInfo(buf, "%d", value);
}

/*
 * The fewest digits that give the same double again, so that a spec's arrays
 * are those of the environment to the last bit.  Not float8out's digits: they
 * hang on extra_float_digits, and the functions are immutable.
 */
void
spec_double(StringInfo buf, double value)
{
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];

	separate(buf);
	double_to_shortest_decimal_buf(value, text);
	appendStringInfoString(buf, text);
}

/* One entry of a sparse array: its indices, then its value. */
void
spec_entry(StringInfo buf, int rank, const int *index, double value)
{
	spec_open(buf, '[');
	for (int i = 0; i < rank; i++)
		spec_int(buf, index[i]);
	spec_double(buf, value);
	spec_close(buf, ']');
}

/*
 * "shape": [...], which a sparse array needs, as its entries need not reach
 * its end.
 */
static void
append_shape(StringInfo buf, int rank, const int *shape)
{
	spec_open_list(buf, "shape");
	for (int i = 0; i < rank; i++)
		spec_int(buf, shape[i]);
	spec_close(buf, ']');
}

/* A sparse array, of which the entries that follow differ from the others. */
void
spec_open_sparse(StringInfo buf, int rank, const int *shape, double others)
{
	spec_open(buf, '{');
	append_shape(buf, rank, shape);
	if (others != 0.0)
	{
		spec_write_member(buf, "default");
		spec_double(buf, others);
	}
	spec_open_list(buf, "entries");
}

/*
 * Closes what spec_open_sparse opened, or "next" of spec_moves, which has the
 * same two brackets.
 */
void
spec_close_sparse(StringInfo buf)
{
	spec_close(buf, ']');
	spec_close(buf, '}');
}

/* A dense array as nested lists; returns the first value after it. */
const double *
spec_dense(StringInfo buf, int rank, const int *shape, const double *values)
{
	spec_open(buf, '[');
	for (int i = 0; i < shape[0]; i++)
	{
		if (rank > 1)
			values = spec_dense(buf, rank - 1, shape + 1, values);
		else
			spec_double(buf, *values++);
	}
	spec_close(buf, ']');
	return values;
}

/* ---------- parts of a spec ---------- */

/* {"name": .., KEY: [labels], and left open for more. */
static void
append_axis(StringInfo buf, const SpecAxis *axis, const char *key)
{
	spec_open(buf, '{');
	spec_write_member(buf, "name");
	append_text(buf, axis->name);
	spec_open_list(buf, key);
	for (int i = 0; i < axis->size; i++)
		append_text(buf, axis->labels[i]);
	spec_close(buf, ']');
}

/*
 * Factor f is moved by control f, as in pymdp, where no factor shares a control
 * with another.
 */
static void
append_factors(StringInfo buf, int factors, const SpecAxis *states,
			   const SpecAxis *actions)
{
	spec_open_list(buf, "factors");
	for (int f = 0; f < factors; f++)
	{
		append_axis(buf, &states[f], "states");
		spec_open_list(buf, "controlled_by");
		append_text(buf, actions[f].name);
		spec_close(buf, ']');
		spec_close(buf, '}');
	}
	spec_close(buf, ']');
}

/* The controls with their actions; a factor refers to them by name. */
static void
append_controls(StringInfo buf, int controls, const SpecAxis *actions)
{
	spec_open_list(buf, "controls");
	for (int c = 0; c < controls; c++)
	{
		append_axis(buf, &actions[c], "actions");
		spec_close(buf, '}');
	}
	spec_close(buf, ']');
}

/* parents[m] has bit f set where modality m depends on factor f. */
static void
append_modalities(StringInfo buf, int modalities, const SpecAxis *outcomes,
				  const int *parents, int factors, const SpecAxis *states)
{
	spec_open_list(buf, "modalities");
	for (int m = 0; m < modalities; m++)
	{
		append_axis(buf, &outcomes[m], "outcomes");
		spec_open_list(buf, "depends_on");
		for (int f = 0; f < factors; f++)
			if (parents[m] & (1 << f))
				append_text(buf, states[f].name);
		spec_close(buf, ']');
		spec_close(buf, '}');
	}
	spec_close(buf, ']');
}

/*
 * Everything that has a name: states and actions are [factors], outcomes and
 * parents [modalities].  Written first, so that the arrays can refer to
 * labels.
 */
void
spec_names(StringInfo buf, int factors, const SpecAxis *states,
		   const SpecAxis *actions, int modalities, const SpecAxis *outcomes,
		   const int *parents)
{
	append_factors(buf, factors, states, actions);
	append_controls(buf, factors, actions);
	append_modalities(buf, modalities, outcomes, parents, factors, states);
}

/* A square array with one value on its diagonal and another elsewhere. */
void
spec_diagonal(StringInfo buf, int size, double diagonal, double others)
{
	int shape[] = {size, size};

	spec_open_sparse(buf, 2, shape, others);
	for (int i = 0; i < size; i++)
	{
		int index[] = {i, i};

		CHECK_FOR_INTERRUPTS();
		spec_entry(buf, 2, index, diagonal);
	}
	spec_close_sparse(buf);
}

/* Transitions without chance: {"next": [from][action]}. */
void
spec_moves(StringInfo buf, int states, int actions, SpecMove move,
		   const void *task)
{
	spec_open(buf, '{');
	spec_open_list(buf, "next");
	for (int from = 0; from < states; from++)
	{
		CHECK_FOR_INTERRUPTS();
		spec_open(buf, '[');
		for (int action = 0; action < actions; action++)
			spec_int(buf, move(task, from, action));
		spec_close(buf, ']');
	}
	spec_close_sparse(buf);
}

/* A factor that nobody moves stays as it is. */
static int
stay_where_it_is(const void *task, int from, int action)
{
	return from;
}

/*
 * B of a factor that nobody moves: one action, and each state leads to itself.
 */
void
spec_no_moves(StringInfo buf, int states)
{
	spec_moves(buf, states, 1, stay_where_it_is, NULL);
}

/* A vector by label, of which one is not 0: {"LABEL": value}. */
void
spec_label_value(StringInfo buf, const SpecAxis *axis, int index, double value)
{
	spec_open(buf, '{');
	spec_write_member(buf, axis->labels[index]);
	spec_double(buf, value);
	spec_close(buf, '}');
}

/* A vector of no preference: by label, and no label there. */
void
spec_zeros(StringInfo buf)
{
	spec_open(buf, '{');
	spec_close(buf, '}');
}

/* Certainty of one state, or the same probability for all where it is -1. */
void
spec_start(StringInfo buf, const SpecAxis *axis, int known)
{
	if (known >= 0)
	{
		spec_label_value(buf, axis, known, 1.0);
		return;
	}
	spec_open(buf, '[');
	for (int i = 0; i < axis->size; i++)
		spec_double(buf, 1.0 / axis->size);
	spec_close(buf, ']');
}

/* Begins a spec; buf is made here, in the current memory context. */
void
spec_begin(StringInfo buf)
{
	initStringInfo(buf);
	spec_open(buf, '{');
}

/*
 * Ends the last list and the spec, and parses it: an ERROR here would be a
 * mistake of ours.  The text is left to the caller's memory context, which the
 * end of the query frees.
 */
Datum
spec_finish(StringInfo buf, int policy_len)
{
	spec_close(buf, ']');
	spec_write_member(buf, "policy_len");
	spec_int(buf, policy_len);
	spec_close(buf, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf->data));
}
