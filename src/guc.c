/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings, in alphabetical order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"
#include "utils/varlena.h"

#include "fa_agents.h"

/*
 * The values that the server reads and writes; README.md and fa_agents.h give
 * their units. None has a hook: each is looked at where it is used, so a
 * change counts from the next call on.
 */
int fa_cache_size;
int fa_graph_copy;
int fa_inbox_limit;
int fa_key_retention;
int fa_max_graph_rows;
int fa_max_model_size;
int fa_max_parallel;
int fa_max_policies;

int	 fa_dead_letter_limit;
int	 fa_mailbox_limit;
bool fa_message_notify;
int	 fa_message_retention;

int			 fa_outbox_kinds;
int			 fa_outbox_limit;
int			 fa_outbox_retention;
static char *outbox; /* as it was written */

char *fa_databases;
int	  fa_batch_timeout;
int	  fa_max_failures;
int	  fa_max_sensor_workers;
int	  fa_max_workers;
int	  fa_min_workers;
bool  fa_notify;
int	  fa_retry_delay;
int	  fa_sweep_interval;
int	  fa_worker_memory;
int	  fa_worker_steps;

double fa_cpu_warn;
double fa_cpu_critical;
double fa_errors_warn;
double fa_errors_critical;
double fa_memory_warn;
double fa_memory_critical;
double fa_response_warn;
double fa_response_critical;

static const struct config_enum_entry graph_copy_options[] = {
	{"off", GRAPH_COPY_OFF, false},
	{"auto", GRAPH_COPY_AUTO, false},
	{"always", GRAPH_COPY_ALWAYS, false},
	{NULL, 0, false}};

static void message_settings(void);
static void outbox_settings(void);
static void worker_settings(void);
static void health_settings(void);

/*
 * Defines every setting; called once, when the library is loaded.
 *
 * What bounds the load that one user puts on the server, or how long others'
 * keys are kept, is for who administers it (SUSET).  The cache is one for all
 * sessions, so its size can only be one (SIGHUP).
 */
void
guc_define(void)
{
	/* sizes end at MAX_KILOBYTES, so that they are a Size in bytes too */
	DefineCustomIntVariable(
		"fa_agents.cache_size", "Sets the shared memory for compiled models.",
		"Each session may keep as much of its own for working with them.",
		&fa_cache_size, 256 * 1024, 0, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB,
		NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"fa_agents.graph_copy",
		"Sets whether walks may use a copy of the graph in memory.",
		"auto makes one when walks have read as much as that takes; always makes one at once.",
		&fa_graph_copy, GRAPH_COPY_AUTO, graph_copy_options, PGC_SUSET, 0, NULL,
		NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.inbox_limit",
		"Sets how many observations may wait for one agent.", NULL,
		&fa_inbox_limit, 1000, 1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.key_retention",
		"Sets for how long the keys of steps and observations are remembered.",
		NULL, &fa_key_retention, 24 * 60 * 60, 1, INT_MAX, PGC_SUSET,
		GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.max_graph_rows",
		"Sets how many nodes a walk in the graph may reach, and rows return.",
		NULL, &fa_max_graph_rows, 10 * 1000 * 1000, 1, INT_MAX, PGC_SUSET, 0,
		NULL, NULL, NULL);
	DefineCustomIntVariable("fa_agents.max_model_size",
							"Sets the largest size of one compiled model.",
							NULL, &fa_max_model_size, 256 * 1024, 64,
							MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomIntVariable(
		"fa_agents.max_parallel",
		"Sets how many other processes may help with a long run.",
		"-1 takes max_parallel_workers_per_gather.", &fa_max_parallel, -1, -1,
		64, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fa_agents.max_policies",
							"Sets the largest number of policies of one model.",
							NULL, &fa_max_policies, 65536, 1, 16 * 1024 * 1024,
							PGC_SUSET, 0, NULL, NULL, NULL);
	message_settings();
	outbox_settings();
	worker_settings();
	health_settings();
	/* a setting misspelt in postgresql.conf is told, not silently kept */
	MarkGUCPrefixReserved("fa_agents");
}

/*
 * What agents write to each other.  Who wants to be woken may ask for it in his
 * own sessions: a notification makes nobody else slow but those who notify.
 */
static void
message_settings(void)
{
	DefineCustomIntVariable(
		"fa_agents.dead_letter_limit",
		"Sets how many dead letters are kept, the newest ones.", NULL,
		&fa_dead_letter_limit, 100000, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL,
		NULL);
	DefineCustomIntVariable("fa_agents.mailbox_limit",
							"Sets how many messages may wait for one agent.",
							"Sending to one that has so many is an error.",
							&fa_mailbox_limit, 100000, 1, INT_MAX, PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"fa_agents.message_notify",
		"Sends a notification on channel fa_message when messages were sent.",
		"One for each commit.", &fa_message_notify, false, PGC_USERSET, 0, NULL,
		NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.message_retention",
		"Sets for how long messages wait, and then dead letters are kept.",
		NULL, &fa_message_retention, 7 * 24 * 60 * 60, 1, INT_MAX, PGC_SUSET,
		GUC_UNIT_S, NULL, NULL, NULL);
}

/*
 * A list of kinds of events; *extra is their bits.
 */
static bool
check_outbox(char **value, void **extra, GucSource source)
{
	char	 *copy = pstrdup(*value);
	List	 *names;
	ListCell *cell;
	int		 *bits = setting_malloc(sizeof(int)); /* the server frees it */

	if (bits == NULL)
		return false;
	if (!SplitIdentifierString(copy, ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		setting_free(bits);
		return false;
	}
	*bits = 0;
	foreach(cell, names)
	{
		int kind = 0;

		while (outbox_kind_name(kind) != NULL &&
			   strcmp(outbox_kind_name(kind), (char *) lfirst(cell)) != 0)
			kind++;
		if (outbox_kind_name(kind) == NULL)
		{
			GUC_check_errdetail("Kind of event \"%s\" does not exist.",
								(char *) lfirst(cell));
			GUC_check_errhint("Kinds are \"step\", \"mind\", \"failed\", "
							  "\"coalition\" and \"graph\".");
			setting_free(bits);
			return false;
		}
		*bits |= 1 << kind;
	}
	*extra = bits;
	return true;
}

/* What a step tests is one variable. */
static void
assign_outbox(const char *value, void *extra)
{
	fa_outbox_kinds = *(int *) extra;
}

/*
 * Which events are written is for who administers the database, as it costs
 * every agent's steps.
 */
static void
outbox_settings(void)
{
	DefineCustomStringVariable(
		"fa_agents.outbox",
		"Lists the kinds of events that are written to the outbox.",
		"Kinds are step, mind, failed, coalition and graph.", &outbox, "",
		PGC_SUSET, GUC_LIST_INPUT, check_outbox, assign_outbox, NULL);
	DefineCustomIntVariable("fa_agents.outbox_limit",
							"Sets how many events a consumer may be behind.",
							"One that is further behind is begun anew.",
							&fa_outbox_limit, 1000 * 1000, 1, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.outbox_retention",
		"Sets for how long events wait for a consumer that does not read.",
		NULL, &fa_outbox_retention, 7 * 24 * 60 * 60, 1, INT_MAX, PGC_SUSET,
		GUC_UNIT_S, NULL, NULL, NULL);
}

/*
 * A list of names, as a search_path is one.
 */
static bool
check_databases(char **value, void **extra, GucSource source)
{
	char *copy = pstrdup(*value);
	List *names;
	bool  valid = SplitIdentifierString(copy, ',', &names);

	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	return valid;
}

/*
 * What is for the server's background processes, which all read it from the
 * configuration file.
 */
static void
worker_settings(void)
{
	DefineCustomIntVariable(
		"fa_agents.batch_timeout",
		"Sets how long a worker may take for one batch of steps.",
		"0 is no limit.", &fa_batch_timeout, 60 * 1000, 0, INT_MAX, PGC_SIGHUP,
		GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"fa_agents.databases",
		"Lists the databases in which agents run by themselves.",
		"Empty is every database that has the extension.", &fa_databases, "",
		PGC_SIGHUP, GUC_LIST_INPUT, check_databases, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.max_failures",
		"Sets after how many failed steps a worker suspends an agent.", NULL,
		&fa_max_failures, 5, 1, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.max_sensor_workers",
		"Sets how many workers run sensors and actuators in the whole server.",
		"Each of them serves one owner; the last is for an owner who has none.",
		&fa_max_sensor_workers, 2, 0, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.max_workers",
		"Sets how many workers step agents in the whole server.",
		"The launcher and a coordinator for each database come to these.",
		&fa_max_workers, 2, 0, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.min_workers",
		"Sets how many workers a database keeps that has something scheduled.",
		NULL, &fa_min_workers, 0, 0, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"fa_agents.notify",
		"Sends a notification on channel fa_agents when workers have stepped agents.",
		"One for each commit.", &fa_notify, false, PGC_SIGHUP, 0, NULL, NULL,
		NULL);
	DefineCustomIntVariable(
		"fa_agents.retry_delay",
		"Sets the time until an agent whose step failed is stepped again.",
		"It doubles with each failure, up to five minutes.", &fa_retry_delay,
		1000, 1, 300000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.sweep_interval",
		"Sets how often the inbox is searched for observations that were not told of.",
		"Those of fa_observe are told of at once.", &fa_sweep_interval, 60, 1,
		24 * 60 * 60, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.worker_memory",
		"Sets the memory beyond which a worker is replaced.",
		"Compiled models are not counted.", &fa_worker_memory, 128 * 1024, 1024,
		MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("fa_agents.worker_steps",
							"Sets after how many steps a worker is replaced.",
							"0 is never.", &fa_worker_steps, 100000000, 0,
							INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/*
 * From which values on fa_health warns.  They change nothing but what is shown,
 * so everybody may have his own.
 */
static void
health_settings(void)
{
	static const struct
	{
		const char *name;
		const char *description;
		double	   *value;
		double		normal;
		double		largest;
	} settings[] = {
		{"fa_agents.cpu_critical",
		 "Sets the percentage of workers' time in use that is critical.",
		 &fa_cpu_critical, 95, 100},
		{"fa_agents.cpu_warn",
		 "Sets the percentage of workers' time in use that is warned of.",
		 &fa_cpu_warn, 80, 100},
		{"fa_agents.errors_critical",
		 "Sets the percentage of steps that fail that is critical.",
		 &fa_errors_critical, 5, 100},
		{"fa_agents.errors_warn",
		 "Sets the percentage of steps that fail that is warned of.",
		 &fa_errors_warn, 1, 100},
		{"fa_agents.memory_critical",
		 "Sets the percentage of fa_agents.worker_memory that is critical.",
		 &fa_memory_critical, 85, 100},
		{"fa_agents.memory_warn",
		 "Sets the percentage of fa_agents.worker_memory that is warned of.",
		 &fa_memory_warn, 70, 100},
		{"fa_agents.response_critical",
		 "Sets the lag of steps in milliseconds that is critical.",
		 &fa_response_critical, 1000, 1e9},
		{"fa_agents.response_warn",
		 "Sets the lag of steps in milliseconds that is warned of.",
		 &fa_response_warn, 500, 1e9},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		DefineCustomRealVariable(settings[i].name, settings[i].description,
								 "View fa_health shows it.", settings[i].value,
								 settings[i].normal, 0, settings[i].largest,
								 PGC_USERSET, 0, NULL, NULL, NULL);
}
