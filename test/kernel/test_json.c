/*
 * test_json.c
 *	  The JSON reader: what it takes, what it refuses, what it costs.
 */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tap.h"

static KernelHost	  host;
static KernelProblems problems;

/* Counts what the parser asks for. */
static size_t asked;

static void *
counting_allocate(void *context, size_t size)
{
	asked += size;
	return host.allocate(context, size);
}

static KernelStatus
parse(const char *text, JsonValue *value)
{
	problems.count = 0;
	return json_parse(&host, text, strlen(text), value, &problems);
}

static void
is_number(const char *text, double expected)
{
	JsonValue value;

	ok(parse(text, &value) == KERNEL_OK && value.kind == JSON_NUMBER &&
		   value.as.number == expected &&
		   signbit(value.as.number) == signbit(expected),
	   "number %.40s", text);
}

static void
is_string(const char *text, const char *expected)
{
	JsonValue value;

	ok(parse(text, &value) == KERNEL_OK && value.kind == JSON_STRING &&
		   strcmp(value.as.string, expected) == 0,
	   "string %.40s", text);
}

/* The text may hold line ends, which have no place in a test's name. */
static void
is_refused(const char *text, const char *part)
{
	static int number = 0;
	JsonValue  value;

	number++;
	if (!ok(parse(text, &value) == KERNEL_INVALID && problems.count == 1 &&
				strstr(problems.items[0].message, part) != NULL,
			"refused %d: %s", number, part) &&
		problems.count > 0)
		printf("# %s\n", problems.items[0].message);
}

static void
test_numbers(void)
{
	char text[64];

	is_number("0", 0);
	is_number("-0", -0.0);
	is_number("12", 12);
	is_number("-12.5", -12.5);
	is_number("0.1", 0.1);
	is_number("0.30000000000000004", 0.1 + 0.2);
	is_number("123456789012345", 123456789012345);
	is_number("1e3", 1000);
	is_number("1E+3", 1000);
	is_number("25e-2", 0.25);
	is_number("5e-324", 5e-324);
	is_number("1e-400", 0);
	is_number("1.7976931348623157e308", DBL_MAX);
	is_number("1e999", HUGE_VAL);
	is_number("-1e999", -HUGE_VAL);
	is_number("0.000000000000000000000000000000000000000000000000001", 1e-51);

	/* the quick way must round as strtod does */
	srand(1);
	for (int i = 0; i < 2000; i++)
	{
		JsonValue value;

		snprintf(text, sizeof(text), "%d.%0*d ", rand() % 1000, 1 + rand() % 9,
				 rand() % 1000000);
		if (parse(text, &value) != KERNEL_OK ||
			value.as.number != strtod(text, NULL))
		{
			ok(false, "number %s", text);
			return;
		}
	}
	ok(true, "2000 decimal numbers");
}

static void
test_strings(void)
{
	is_string("\"\"", "");
	is_string("\"a b\"", "a b");
	is_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
	is_string("\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac");
	is_string("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80");
	is_string("\"\xc3\xa9\"", "\xc3\xa9");
	is_refused("\"\\u0000\"", "\\u0000");
	is_refused("\"\\ud83d\"", "surrogate");
	is_refused("\"\\ude00\"", "surrogate");
	is_refused("\"\\ud83d\\u0041\"", "surrogate");
	is_refused("\"\\u00g0\"", "hexadecimal");
	is_refused("\"\\x\"", "escape");
	is_refused("\"a", "no end");
	is_refused("\"a\nb\"", "control character");
}

static void
test_values(void)
{
	JsonValue		 value;
	const JsonValue *member;

	ok(parse(" { \"a\" : [ 1 , true , false , null ] , \"b\" : {} } ",
			 &value) == KERNEL_OK,
	   "an object");
	member = json_member(&value, "a");
	ok(member != NULL && member->kind == JSON_ARRAY && member->count == 4 &&
		   member->as.elements[0].as.number == 1 &&
		   member->as.elements[1].kind == JSON_TRUE &&
		   member->as.elements[2].kind == JSON_FALSE &&
		   member->as.elements[3].kind == JSON_NULL,
	   "its array");
	member = json_member(&value, "b");
	ok(member != NULL && member->kind == JSON_OBJECT && member->count == 0,
	   "its empty object");
	ok(json_member(&value, "c") == NULL, "no such member");
	ok(json_member(member, "a") == NULL, "no member of an empty object");
	ok(parse("[]", &value) == KERNEL_OK && value.count == 0, "empty array");
	ok(parse("[[1],[2,[3]]]", &value) == KERNEL_OK &&
		   value.as.elements[1].as.elements[1].as.elements[0].as.number == 3,
	   "nested arrays");
}

static void
test_refused(void)
{
	static const char *const texts[] = {
		"",			 " ",		 "x",		   "tru",	"nul",	  "[",
		"[1",		 "[1,]",	 "[,1]",	   "[1 2]", "{",	  "{1:2}",
		"{\"a\"}",	 "{\"a\":}", "{\"a\":1,}", "01",	"1.",	  ".5",
		"-",		 "+1",		 "1e",		   "0x10",	"NaN",	  "Infinity",
		"-Infinity", "'a'",		 "[1]]",	   "1 1",	"\"a\" b"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		is_refused(texts[i], "invalid JSON at byte");
	is_refused("[1, 2, x]", "byte 8");
}

static void
test_limits(void)
{
	char	  deep[2 * JSON_MAX_DEPTH + 8];
	JsonValue value;
	char	 *large;

	for (int depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++)
	{
		memset(deep, '[', (size_t) depth);
		memset(deep + depth, ']', (size_t) depth);
		deep[2 * depth] = '\0';
		ok(parse(deep, &value) ==
			   (depth <= JSON_MAX_DEPTH ? KERNEL_OK : KERNEL_LIMIT),
		   "%d levels", depth);
	}
	ok(strstr(problems.items[0].message, "too deep") != NULL,
	   "too deep: the message");

	problems.count = 0;
	large = malloc(JSON_MAX_BYTES + 1);
	memset(large, ' ', JSON_MAX_BYTES + 1);
	ok(json_parse(&host, large, JSON_MAX_BYTES + 1, &value, &problems) ==
			   KERNEL_LIMIT &&
		   strstr(problems.items[0].message, "67108865") != NULL &&
		   strstr(problems.items[0].hint, "sparse") != NULL,
	   "one byte too many");
	free(large);
}

/* A number in a long array costs its place in the tree, and another for now. */
static void
test_memory(void)
{
	int		   count = 1000000;
	char	  *text = malloc(2 * (size_t) count + 2);
	KernelHost counting = host;
	JsonValue  value;

	for (int i = 0; i < count; i++)
		memcpy(text + 2 * i, i == 0 ? "[1" : ",1", 2);
	text[2 * count] = ']';
	counting.allocate = counting_allocate;
	asked = 0;
	problems.count = 0;
	ok(json_parse(&counting, text, 2 * (size_t) count + 1, &value, &problems) ==
			   KERNEL_OK &&
		   value.count == count,
	   "a million numbers");
	ok(asked <= 33 * (size_t) count, "in 32 bytes each");
	free(text);
}

static void *
no_memory(void *context, size_t size)
{
	(void) context;
	(void) size;
	return NULL;
}

int
main(void)
{
	JsonValue value;

	test_host(&host);
	test_numbers();
	test_strings();
	test_values();
	test_refused();
	test_limits();
	test_memory();
	free_all();
	host.allocate = no_memory;
	ok(parse("[1]", &value) == KERNEL_MEMORY, "no memory");
	return tap_done();
}
