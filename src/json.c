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
 * Parses a jsonb value into the host's arena; what names it in errors.  Its
 * binary size is looked at before its text is made.
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

Jsonb *
jsonb_from_text(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

void
json_append_string(StringInfo out, const char *string)
{
	escape_json(out, string);
}

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
