/*
 * parameters.c
 *		Numbers of the model that an agent may have of its own, and beliefs.
 *
 * An agent may differ from its model in how it values and how fast it learns,
 * but not in what there is: sizes, dependencies, A, B and policies are the
 * model's.  What differs is kept as one array of doubles, so that it can be
 * stored with the agent and used in place, without parsing JSON at every step.
 * kernel.h has its layout.
 *
 * The readers are those of a spec.  They want groups of variables, which are
 * made of the model here.
 */
#include <math.h>
#include <string.h>

#include "compile.h"

/*
 * The members of an agent's params that are numbers of the model.
 */
static const char *const own_keys[] = {
	"gamma", "alpha", "inductive_epsilon", "C", "D", "E", "lr_pA", "lr_pB"};

/* Doubles before the first part: the mask and three numbers. */
#define PACKED_HEAD 4

/* ---------- groups from a model ---------- */

/*
 * The factors of a model as a group, for messages and for objects by name.
 * Labels are left out: see find_labels().
 */
static bool
factors_of(Reader *reader, const KernelModel *model, Group *group)
{
	*group = (Group){.noun = "factor", .plural = "factors"};
	if (!group_begin(reader, group, model->factor_count))
		return false;
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		if (!group_add(reader, group, KERNEL_AT(model, char, factor->name)))
			return false;
		group->variables[f].size = factor->states;
	}
	return group_hash(reader, group);
}

/*
 * The modalities, likewise.
 */
static bool
modalities_of(Reader *reader, const KernelModel *model, Group *group)
{
	*group = (Group){.noun = "modality", .plural = "modalities"};
	if (!group_begin(reader, group, model->modality_count))
		return false;
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);

		if (!group_add(reader, group, KERNEL_AT(model, char, modality->name)))
			return false;
		group->variables[m].size = modality->outcomes;
	}
	return group_hash(reader, group);
}

/*
 * Gives a variable its labels, where value is by label: an object, or a list
 * of them (C by plan step).  They are looked up only there, because a hash
 * over the labels of a large model costs more than all the rest.
 */
static bool
find_labels(Reader *reader, const KernelModel *model, KernelOffset labels,
			const JsonValue *value, Variable *variable)
{
	const KernelOffset *offsets = KERNEL_AT(model, KernelOffset, labels);
	const char		  **list;
	int32_t				repeated;

	if (value->kind == JSON_ARRAY && value->count > 0)
		value = &value->as.elements[0];
	if (labels == 0 || value->kind != JSON_OBJECT)
		return true;
	list = reader_allocate(reader, variable->size, sizeof(char *), "labels");
	variable->labels = reader_allocate(reader, 1, sizeof(Names), "labels");
	if (list == NULL || variable->labels == NULL)
		return false;
	for (int32_t i = 0; i < variable->size; i++)
		list[i] = KERNEL_AT(model, char, offsets[i]);
	return names_make(reader, variable->labels, list, variable->size,
					  &repeated);
}

/* ---------- beliefs ---------- */

/*
 * Beliefs by factor into belief [belief_size]; those absent are the model's D.
 * False with a problem, or where there is no memory.
 */
static bool
read_beliefs(Reader *reader, const KernelModel *model, const char *key,
			 const JsonValue *value, double *belief)
{
	int32_t			  first = reader->problems->count;
	const JsonValue **items;
	Group			  factors;
	Place			  place;

	memcpy(belief, KERNEL_AT(model, double, model->D),
		   (size_t) model->belief_size * sizeof(double));
	if (!factors_of(reader, model, &factors))
		return false;
	items = group_items(reader, &factors, key, value);
	for (int32_t f = 0; items != NULL && f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		Variable		   *states = &factors.variables[f];

		if (items[f] == NULL)
			continue;
		place_of(&place, key, &factors, f);
		if (!find_labels(reader, model, factor->labels, items[f], states))
			return false;
		(void) vector_D(reader, &place, items[f], states,
						belief + factor->belief_offset);
	}
	return items != NULL && reader->problems->count == first;
}

/*
 * Reads a belief [belief_size] from JSON: a list with a distribution for each
 * factor, or an object by name.  It starts from the model's D, so that a
 * belief may be given for some factors only.
 *
 * path names it in problems.  Returns KERNEL_OK, or the status of the first
 * problem, or KERNEL_MEMORY; belief means nothing then.
 */
KernelStatus
kernel_belief_parse(const KernelHost *host, const KernelModel *model,
					const JsonValue *value, const char *path, double *belief,
					KernelProblems *problems)
{
	Reader	reader = {.host = host, .problems = problems};
	int32_t first = problems->count;

	(void) read_beliefs(&reader, model, path, value, belief);
	return reader_status(&reader, first);
}

/* ---------- the parts of a packed override ---------- */

/*
 * Preferences [m][policy_length][O(m)]; those absent are the model's.  One row
 * of a modality stands for all plan steps, as in a spec.
 */
static bool
read_preferences(Reader *reader, const KernelModel *model,
				 const JsonValue *value, double *C)
{
	int32_t			  first = reader->problems->count;
	const JsonValue **items;
	Group			  modalities;
	Place			  place;

	if (!modalities_of(reader, model, &modalities))
		return false;
	items = group_items(reader, &modalities, "C", value);
	for (int32_t m = 0; items != NULL && m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		int64_t	  count = (int64_t) model->policy_length * modality->outcomes;
		Variable *outcomes = &modalities.variables[m];

		memcpy(C, KERNEL_AT(model, double, modality->C),
			   (size_t) count * sizeof(double));
		place_of(&place, "C", &modalities, m);
		if (items[m] != NULL)
		{
			if (!find_labels(reader, model, modality->labels, items[m],
							 outcomes))
				return false;
			(void) vector_C(reader, &place, items[m], outcomes,
							model->policy_length, C);
		}
		C += count;
	}
	return items != NULL && reader->problems->count == first;
}

/*
 * Rates of the modalities [modality_count]; those absent are the model's.
 */
static bool
read_rates_A(Reader *reader, const KernelModel *model, const JsonValue *value,
			 double *out)
{
	Group group;

	for (int32_t m = 0; m < model->modality_count; m++)
		out[m] = kernel_modality(model, m)->lr_pA;
	return modalities_of(reader, model, &group) &&
		   vector_rates(reader, "lr_pA", value, &group, out);
}

/*
 * Rates of the factors [factor_count], likewise.
 */
static bool
read_rates_B(Reader *reader, const KernelModel *model, const JsonValue *value,
			 double *out)
{
	Group group;

	for (int32_t f = 0; f < model->factor_count; f++)
		out[f] = kernel_factor(model, f)->lr_pB;
	return factors_of(reader, model, &group) &&
		   vector_rates(reader, "lr_pB", value, &group, out);
}

/* The parts, in the order of the packed form; the bit of part i is 1 << i. */
enum
{
	PART_C,
	PART_D,
	PART_E,
	PART_LR_A,
	PART_LR_B,
	PART_COUNT
};

/* The order is that of the bits KERNEL_HAS_C to KERNEL_HAS_LR_B. */
static const char *const part_keys[PART_COUNT] = {"C", "D", "E", "lr_pA",
												  "lr_pB"};

/*
 * The doubles of one part.  They follow from the model alone, so none is
 * stored.
 */
static int64_t
part_length(const KernelModel *model, int part)
{
	switch (part)
	{
		case PART_C:
			return (int64_t) model->policy_length * model->outcome_size;
		case PART_D:
			return model->belief_size;
		case PART_E:
			return model->policy_count;
		case PART_LR_A:
			return model->modality_count;
		default:
			return model->factor_count;
	}
}

/*
 * One part into its place, out [part_length()].  Each has the forms that it
 * has in a spec.  False with a problem.
 */
static bool
read_part(Reader *reader, const KernelModel *model, int part,
		  const JsonValue *value, double *out)
{
	switch (part)
	{
		case PART_C:
			return read_preferences(reader, model, value, out);
		case PART_D:
			return read_beliefs(reader, model, "D", value, out);
		case PART_E:
			return vector_E(reader, value, model->policy_count, out);
		case PART_LR_A:
			return read_rates_A(reader, model, value, out);
		default:
			return read_rates_B(reader, model, value, out);
	}
}

/* ---------- packing ---------- */

/*
 * Is the name in a list that ends with NULL?
 */
static bool
is_among(const char *const *list, const char *name)
{
	while (*list != NULL && strcmp(*list, name) != 0)
		list++;
	return *list != NULL;
}

/*
 * Names that are no parameter: of the model alone, or of nothing at all.  The
 * former are told apart, because their author knows what they mean and needs
 * to hear where they belong.  elsewhere may be NULL.
 */
static bool
check_names(Reader *reader, const JsonValue *params,
			const char *const *elsewhere)
{
	int32_t		 first = reader->problems->count;
	int32_t		 count = 0;
	const char **known;
	char		 quoted[80];

	while (elsewhere != NULL && elsewhere[count] != NULL)
		count++;
	known = reader_allocate(reader, lengthof(own_keys) + count + 1,
							sizeof(char *), "params");
	if (known == NULL)
		return false;
	memcpy(known, own_keys, sizeof(own_keys));
	if (count > 0)
		memcpy(known + lengthof(own_keys), elsewhere,
			   (size_t) count * sizeof(char *));
	for (int32_t i = 0; i < params->count; i++)
	{
		const char *name = params->as.members[i].name;

		if (reader->problems->count - first >= 8)
			break;
		if (is_among(option_keys, name) && !is_among(known, name))
			kernel_problem(reader->problems, KERNEL_INVALID, name, NULL,
						   "Create a model that has it, and the agent from "
						   "that model.",
						   "%s belongs to the model and cannot differ by agent",
						   text_quote(quoted, name));
	}
	(void) names_check_keys(reader, "", params, known, option_keys);
	return reader->problems->count == first;
}

/*
 * Which parts are given, as the bits of *mask, and the doubles that all of
 * them and the head take.
 */
static int64_t
measure_parts(const KernelModel *model, const JsonValue *params, int *mask)
{
	int64_t length = PACKED_HEAD;

	*mask = 0;
	for (int part = 0; part < PART_COUNT; part++)
	{
		if (option_member(params, part_keys[part]) == NULL)
			continue;
		*mask |= 1 << part;
		length += part_length(model, part);
	}
	return length;
}

/*
 * Packs what is given; *packed stays NULL where that is nothing.  The three
 * numbers are always there, from the model where the agent has none: reading
 * them costs nothing then.
 *
 * Parts with problems are packed all the same, so that all problems are found
 * in one go; the caller drops the result.
 */
static void
pack(Reader *reader, const KernelModel *model, const JsonValue *params,
	 double **packed, int32_t *length)
{
	int		mask;
	int64_t size = measure_parts(model, params, &mask);
	double *out;

	if (mask == 0 && option_member(params, "gamma") == NULL &&
		option_member(params, "alpha") == NULL &&
		option_member(params, "inductive_epsilon") == NULL)
		return;
	out = reader_allocate(reader, size, sizeof(double), "params");
	if (out == NULL || size > INT32_MAX)
		return;
	*packed = out;
	*length = (int32_t) size;
	out[0] = mask;
	out[1] = model->gamma;
	out[2] = model->alpha;
	out[3] = model->inductive_epsilon;
	(void) option_number(reader, params, "gamma", &out[1]);
	(void) option_number(reader, params, "alpha", &out[2]);
	(void) option_number(reader, params, "inductive_epsilon", &out[3]);
	out += PACKED_HEAD;
	for (int part = 0; part < PART_COUNT; part++)
	{
		if ((mask & 1 << part) == 0)
			continue;
		(void) read_part(reader, model, part,
						 option_member(params, part_keys[part]), out);
		out += part_length(model, part);
	}
}

/*
 * Packs an agent's params; see kernel.h.  *packed [*length] lies in the host's
 * arena.  Returns KERNEL_OK, or the status of the first problem, or
 * KERNEL_MEMORY.  Nothing is packed where there is a problem, or nothing to
 * pack.
 */
KernelStatus
kernel_parameters_pack(const KernelHost *host, const KernelModel *model,
					   const JsonValue	 *params,
					   const char *const *known_elsewhere, double **packed,
					   int32_t *length, KernelProblems *problems)
{
	Reader		 reader = {.host = host, .problems = problems};
	int32_t		 first = problems->count;
	KernelStatus status;
	char		 text[80];

	*packed = NULL;
	*length = 0;
	if (params->kind != JSON_OBJECT)
		kernel_problem(problems, KERNEL_INVALID, "", NULL, NULL,
					   "params must be an object, not %s",
					   text_value(text, params));
	else
	{
		(void) check_names(&reader, params, known_elsewhere);
		if (!reader.failed)
			pack(&reader, model, params, packed, length);
	}
	status = reader_status(&reader, first);
	if (status != KERNEL_OK)
	{
		*packed = NULL;
		*length = 0;
	}
	return status;
}

/*
 * Points parameters into packed [length], which must live as long as they are
 * used; without one (NULL), at the model's own numbers.
 *
 * False where the array cannot belong to this model: what is stored may be of
 * a model that was exchanged since, or damaged.  Lengths and the head are
 * checked, not every number.
 */
bool
kernel_parameters_unpack(const KernelModel *model, const double *packed,
						 int32_t length, KernelParameters *parameters)
{
	const double **parts[PART_COUNT] = {&parameters->C, &parameters->D,
										&parameters->log_E, &parameters->lr_pA,
										&parameters->lr_pB};
	int64_t		   at = PACKED_HEAD;
	int			   mask;

	*parameters =
		(KernelParameters){.gamma = model->gamma,
						   .alpha = model->alpha,
						   .inductive_epsilon = model->inductive_epsilon};
	if (packed == NULL)
		return true;
	if (length < PACKED_HEAD || !(packed[0] >= 0) ||
		!(packed[0] < 1 << PART_COUNT) || packed[0] != (int) packed[0])
		return false;
	for (int i = 1; i < PACKED_HEAD; i++)
	{
		if (!isfinite(packed[i]) || packed[i] < 0)
			return false;
	}
	mask = (int) packed[0];
	parameters->gamma = packed[1];
	parameters->alpha = packed[2];
	parameters->inductive_epsilon = packed[3];
	for (int part = 0; part < PART_COUNT; part++)
	{
		if ((mask & 1 << part) == 0)
			continue;
		if (at + part_length(model, part) > length)
			return false;
		*parts[part] = packed + at;
		at += part_length(model, part);
	}
	return at == length;
}
