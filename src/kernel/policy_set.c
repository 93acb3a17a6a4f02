/*
 * policy_set.c
 *		The policies: enumerated, or as the spec gives them.
 *
 * A policy is a sequence of actions of all controls, [length][controls]; a
 * policy set is an array [policy_count] of them, of one length.  Enumeration
 * grows with the actions to the power of steps times controls, so the count is
 * compared with the host's limit before anything is allocated.
 */
#include <math.h>
#include <string.h>

#include "compile.h"

#define MAX_COMPLAINTS 3 /* problems reported for the given policies */

/* ---------- limits ---------- */

/*
 * Says the count, the limit and the setting.  The count may be beyond all
 * integers: it is told in three or fifteen digits, whichever it has.  Always
 * false.
 */
static bool
too_many(Spec *spec, double count)
{
	char detail[TEXT_SIZE];

	text_print(detail, sizeof(detail), "fa_agents.max_policies is %lld.",
			   (long long) spec->reader.host->max_policies);
	kernel_problem(spec->reader.problems, KERNEL_LIMIT, "policies", detail,
				   "Use a shorter policy_len, list the policies that matter "
				   "in \"policies\", or raise fa_agents.max_policies.",
				   "the model has %.15g policies, more than the limit", count);
	return false;
}

/*
 * Memory for policies [count][length][controls], within the limits; sets the
 * count and the length of the plan.  False with a problem.
 */
static bool
allocate_policies(Spec *spec, int64_t count, int32_t length)
{
	Plan   *plan = &spec->plan;
	int64_t row;

	if (!option_allows_length(&spec->reader, length))
		return false;
	if (count > spec->reader.host->max_policies || count > INT32_MAX)
		return too_many(spec, (double) count);
	plan->policy_count = (int32_t) count;
	plan->length = length;
	row = (int64_t) length * spec->controls.count;
	if (__builtin_mul_overflow(count, row, &count))
		count = INT64_MAX;
	plan->policies =
		reader_allocate(&spec->reader, count, sizeof(int32_t), "policies");
	return plan->policies != NULL;
}

/* ---------- enumeration ---------- */

/*
 * All sequences of actions, in lexicographic order: the last control of the
 * last step is the fastest.  It is pymdp's order (construct_policies), and E
 * is given in it.
 */
static bool
enumerate(Spec *spec)
{
	const Group *controls = &spec->controls;
	int32_t		 length = spec->options.policy_length;
	int32_t		 digits = length * controls->count;
	int64_t		 count = 1;
	double		 approximate = 1;
	bool		 over = false;

	for (int32_t i = 0; i < digits; i++)
	{
		int32_t size = controls->variables[i % controls->count].size;

		approximate *= size;
		over |= __builtin_mul_overflow(count, (int64_t) size, &count);
	}

	/* the product in doubles is near enough for a message */
	if (over)
		return too_many(spec, approximate);
	if (!allocate_policies(spec, count, length))
		return false;
	for (int64_t p = 0; p < count; p++)
	{
		int32_t *policy = spec->plan.policies + p * digits;
		int64_t	 rest = p;

		for (int32_t i = digits; i-- > 0;)
		{
			int32_t size = controls->variables[i % controls->count].size;

			policy[i] = (int32_t) (rest % size);
			rest /= size;
		}
		if ((p & 0xfff) == 0)
			reader_poll(&spec->reader);
	}
	return true;
}

/* ---------- policies of the spec ---------- */

/*
 * The action of policies[p][t][c], as an index or a label.  False with a
 * problem, where the path tells the place.
 */
static bool
read_action(Spec *spec, const JsonValue *value, int32_t p, int32_t t, int32_t c,
			int32_t *action)
{
	const Variable *control = &spec->controls.variables[c];
	char			hint[TEXT_SIZE] = "";
	char			path[96];
	char			text[80];
	char			quoted[80];

	*action = variable_value(control, value);
	if (*action >= 0)
		return true;
	if (value->kind == JSON_STRING && control->labels != NULL)
		names_hint(hint, sizeof(hint), control->labels->names, control->size,
				   value->as.string);
	text_print(path, sizeof(path), "policies[%d][%d][%d]", p, t, c);
	kernel_problem(spec->reader.problems,
				   value->kind == JSON_NUMBER ? KERNEL_RANGE : KERNEL_INVALID,
				   path, NULL, hint,
				   "%s is %s, but control %s has "
				   "actions 0 to %d",
				   path, text_value(text, value),
				   text_quote(quoted, control->name), control->size - 1);
	return false;
}

/*
 * One step of a policy into actions [controls]: an action for each control,
 * not for each factor.
 */
static bool
read_step(Spec *spec, const JsonValue *step, int32_t p, int32_t t,
		  int32_t *actions)
{
	int32_t count = spec->controls.count;
	char	text[80];
	bool	good = true;

	if (step->kind != JSON_ARRAY || step->count != count)
	{
		text_print(text, sizeof(text), "an array of length %d", step->count);
		kernel_problem(
			spec->reader.problems, KERNEL_INVALID, "policies",
			"The axes are the policy, its steps, the controls.", NULL,
			"policies[%d][%d] must be an array of length %d, "
			"an action for each control, not %s",
			p, t, count,
			step->kind == JSON_ARRAY ? text : text_value(text, step));
		return false;
	}
	for (int32_t c = 0; c < count; c++)
		good &= read_action(spec, &step->as.elements[c], p, t, c, &actions[c]);
	return good;
}

/*
 * Policies as nested lists: [policy][step][control]. After a few problems it
 * stops: they are usually all of one kind.
 */
static bool
read_policies(Spec *spec, const JsonValue *value)
{
	Plan   *plan = &spec->plan;
	int32_t first = spec->reader.problems->count;
	int32_t controls = spec->controls.count;

	for (int32_t p = 0; p < plan->policy_count; p++)
	{
		const JsonValue *policy = &value->as.elements[p];

		if ((p & 0xfff) == 0)
			reader_poll(&spec->reader);
		if (spec->reader.problems->count - first >= MAX_COMPLAINTS)
			break;
		if (policy->kind != JSON_ARRAY || policy->count != plan->length)
		{
			kernel_problem(spec->reader.problems, KERNEL_INVALID, "policies",
						   NULL,
						   "All policies of a model have the same "
						   "length.",
						   "policies[%d] is not an array of as many "
						   "steps as policies[0] has, %d",
						   p, plan->length);
			continue;
		}
		for (int32_t t = 0; t < plan->length; t++)
		{
			if (!read_step(spec, &policy->as.elements[t], p, t,
						   plan->policies +
							   ((int64_t) p * plan->length + t) * controls))
				break;
		}
	}
	return spec->reader.problems->count == first;
}

/*
 * The sparse form, of numbers only: a label is no number, and what is not
 * listed is action 0 or the default.
 */
static bool
read_sparse_policies(Spec *spec, Tensor *tensor)
{
	int32_t controls = spec->controls.count;
	double *numbers;

	numbers = reader_allocate(&spec->reader, tensor->layout.elements,
							  sizeof(double), "policies");
	if (numbers == NULL || !tensor_dense(&spec->reader, tensor, numbers))
		return false;
	for (int64_t i = 0; i < tensor->layout.elements; i++)
	{
		JsonValue value = {.kind = JSON_NUMBER, .as.number = numbers[i]};

		if (!read_action(spec, &value,
						 (int32_t) (i / controls / spec->plan.length),
						 (int32_t) (i / controls % spec->plan.length),
						 (int32_t) (i % controls), &spec->plan.policies[i]))
			return false;
	}
	return true;
}

/*
 * Says what is wrong with policies that are no array of three axes; always
 * false.  Policies of one step are often written without the axis of steps, as
 * older versions of pymdp took them for one factor.
 */
static bool
wrong_rank(Spec *spec, const JsonValue *value)
{
	const char *hint = NULL;
	int32_t		rank = 0;
	char		text[80];

	for (; value->kind == JSON_ARRAY && value->count > 0; rank++)
		value = &value->as.elements[0];
	if (rank == 2)
		hint = "Write a policy of one step as [[action, ...]].";
	text_print(text, sizeof(text),
			   rank == 0 ? "is empty or no array" : "has %d axes", rank);
	kernel_problem(spec->reader.problems, KERNEL_INVALID, "policies",
				   "The axes are the policy, its steps, the controls.", hint,
				   "policies %s, expected 3 axes", text);
	return false;
}

/*
 * The policies of the spec.  Their length comes from them, as in pymdp;
 * policy_len is then of no meaning.  False with a problem.
 */
static bool
given_policies(Spec *spec, const JsonValue *value)
{
	Tensor	tensor = {.place = {"policies", "policies"},
					  .value = value,
					  .nonnegative = true,
					  .axes =
						  "The axes are the policy, its steps, the controls."};
	int32_t controls = spec->controls.count;

	if (tensor_is_sparse(value) && controls > 0)
	{
		if (!tensor_shape(&spec->reader, &tensor.place, value, false,
						  &tensor.shape))
			return false;
		for (int32_t i = 0; i < 2; i++)
			(void) layout_add_axis(&tensor.layout, tensor.shape.rank == 3 ?
													   tensor.shape.sizes[i] :
													   0);
		(void) layout_add_axis(&tensor.layout, controls);
		layout_row_major(&tensor.layout);
		return tensor_fits(&spec->reader, &tensor) &&
			   allocate_policies(spec, tensor.layout.sizes[0],
								 (int32_t) tensor.layout.sizes[1]) &&
			   read_sparse_policies(spec, &tensor);
	}
	if (value->kind != JSON_ARRAY || value->count == 0 ||
		value->as.elements[0].kind != JSON_ARRAY ||
		value->as.elements[0].count == 0 ||
		value->as.elements[0].as.elements[0].kind != JSON_ARRAY)
		return wrong_rank(spec, value);
	return allocate_policies(spec, value->count, value->as.elements[0].count) &&
		   read_policies(spec, value);
}

/*
 * pymdp checks this list and then enumerates all policies all the same; so
 * does this.  An element that is no factor with a choice is a mistake in any
 * case.
 */
static void
check_control_fac_idx(Spec *spec)
{
	const JsonValue *value = spec_member(spec, "control_fac_idx");
	char			 text[80];

	if (value == NULL)
		return;
	if (value->kind != JSON_ARRAY)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, "control_fac_idx",
					   NULL, NULL,
					   "control_fac_idx must be an array of factors, not %s",
					   text_value(text, value));
		return;
	}
	for (int32_t i = 0; i < value->count; i++)
	{
		Variable factors = {.size = spec->factors.count,
							.labels = &spec->factors.names};
		int32_t	 f = variable_value(&factors, &value->as.elements[i]);

		if (f >= 0 && (!spec->factor[f].fits || spec->factor[f].actions > 1))
			continue;
		text_value(text, &value->as.elements[i]);
		kernel_problem(spec->reader.problems, KERNEL_RANGE, "control_fac_idx",
					   NULL,
					   "It may list only factors that have more than one "
					   "action; leaving it out does the same.",
					   f < 0 ? "control_fac_idx has an element that is no "
							   "factor" :
							   "control_fac_idx names factor %d, which has "
							   "one action",
					   f);
		return;
	}
}

/*
 * The policies of the model, into spec->plan; plan.given tells whether they
 * are there.  Nothing is said about them where it is not known what the
 * controls are.  False only where memory was short.
 */
bool
policies_make(Spec *spec)
{
	const JsonValue *value = spec_member(spec, "policies");
	Group			*controls = &spec->controls;

	check_control_fac_idx(spec);
	if (spec->controls_bad)
		return true;
	for (int32_t c = 0; c < controls->count; c++)
	{
		if (controls->variables[c].size == 0)
			return true;
	}
	if (value != NULL && controls->unordered && controls->count > 1)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, "policies",
					   "They were named by the members of an object, whose "
					   "order jsonb does not keep.",
					   "Name the controls in a list \"controls\": [{\"name\": "
					   "...}, ...], or give B_action_dependencies.",
					   "policies is given, but the order of the controls is "
					   "not known");
		return true;
	}
	spec->plan.given =
		value != NULL ? given_policies(spec, value) : enumerate(spec);
	return !spec->reader.failed;
}
