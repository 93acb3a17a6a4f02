/*-------------------------------------------------------------------------
 *
 * json.c
 *	  jsonb in and out.
 *
 * The kernel reads JSON text, so that the same compiler serves SQL, the unit
 * tests and the fuzzer.  Numbers go out in the shortest form that reads back to
 * the same bits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/json.h"

#include "fa_agents.h"

/*
 * Parses a jsonb value into a tree in the host's arena; what names it in
 * errors.
 *
 * The binary size is looked at before the text is made, which is larger: a
 * value that the kernel would refuse anyway costs no memory.  The text is
 * freed at once, for a spec's may have 64 MB and the arena may live as long as
 * the session.  Raises 54000 where it is too large, and what the kernel says
 * of depth and numbers.
 */
JsonValue *
json_from_jsonb(const KernelHost *host, Jsonb *jsonb, const char *what)
{
	JsonValue	   *value = palloc0(sizeof(JsonValue));
	KernelProblems *problems = palloc0(sizeof(KernelProblems));
	StringInfoData	text;

	if (VARSIZE(jsonb) > JSON_MAX_BYTES)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("%s of %zu bytes is too large", what,
					(size_t) VARSIZE(jsonb)),
			 errdetail("The limit is %d bytes.", JSON_MAX_BYTES),
			 errhint(
				 "Give large arrays in the sparse forms \"entries\" or \"next\".")));
	initStringInfo(&text);
	(void) JsonbToCString(&text, &jsonb->root, VARSIZE(jsonb));
	(void) json_parse(host, text.data, text.len, value, problems);
	host_report(problems, what);
	pfree(text.data);
	pfree(problems);
	return value;
}

/*
 * A jsonb of text that we made ourselves, in the current memory context: an
 * ERROR here means a mistake of ours.
 */
Jsonb *
jsonb_from_text(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/*
 * A quoted JSON string; names and labels are users' text and may hold
 * anything.
 */
void
json_append_string(StringInfo out, const char *string)
{
	escape_json(out, string);
}

/*
 * A number; null for infinities and NaN, which JSON lacks. extra_float_digits
 * below 1 rounds it, as it does every float8 that the session shows.
 */
void
json_append_number(StringInfo out, double number)
{
	if (isfinite(number))
	{
		char *digits = float8out_internal(number);

		appendStringInfoString(out, digits);
		pfree(digits);
	}
	else
		appendStringInfoString(out, "null");
}
