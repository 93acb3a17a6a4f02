/*
 * json.c
 *		JSON text to a tree.
 *
 * The text is read twice by the same code: the first time to check it and to
 * measure the tree, the second time to build it in three pieces of memory of
 * exactly the right size.  So a number costs 16 bytes in the tree, and another
 * 16 while its array is open.
 *
 * The parser takes JSON by its grammar and no more.  It is not PostgreSQL's
 * own, because the kernel has no PostgreSQL header and its tests and fuzzers
 * run without a server.  Order and repetition of members are kept: what they
 * mean is for the reader of the tree to decide.
 */
#include <stdlib.h>
#include <string.h>

#include "compile.h"

/* One text being read.  All memory is the host's arena. */
typedef struct Parser
{
	const KernelHost *host;
	KernelProblems	 *problems;
	const char		 *start;	/* the text; it need not end with a zero byte */
	const char		 *at;		/* what is read next */
	const char		 *end;		/* behind the last byte */
	int				  depth;	/* containers that are open */
	KernelStatus	  status;	/* of the problem that ended it */
	bool			  building; /* the second time */

	/* the elements of all open containers; a member is a name and a value */
	JsonValue *stack; /* [peak]; not there at the first reading */
	int64_t	   used;  /* values on the stack, counted at both readings */
	int64_t	   peak;  /* the most that were used */

	/* the finished containers, and the strings; bytes */
	char   *nodes;		/* arrays of JsonValue and of JsonMember */
	int64_t node_bytes; /* of them so far */
	char   *strings;	/* each with its zero byte */
	int64_t string_bytes;
} Parser;

static bool parse_value(Parser *parser);

/*
 * Ends the reading with a problem.  Bytes count from 1, as editors do.  Always
 * false, so that a caller can return it.
 */
static bool
fail(Parser *parser, KernelStatus status, const char *hint, const char *what)
{
	kernel_problem(parser->problems, status, "", NULL, hint,
				   "invalid JSON at byte %lld: %s",
				   (long long) (parser->at - parser->start) + 1, what);
	parser->status = status;
	return false;
}

/*
 * Only the four characters that JSON allows; not, as isspace() would, those of
 * the locale.
 */
static void
skip_space(Parser *parser)
{
	while (parser->at < parser->end &&
		   (*parser->at == ' ' || *parser->at == '\t' || *parser->at == '\n' ||
			*parser->at == '\r'))
		parser->at++;
}

/*
 * Is this the next character?  Then step over it.
 */
static bool
accept(Parser *parser, char wanted)
{
	if (parser->at >= parser->end || *parser->at != wanted)
		return false;
	parser->at++;
	return true;
}

/*
 * Puts a finished value on the stack of its open container.  Every value
 * passes here, which makes it the place to ask for interrupts.  At the first
 * reading values are only counted.
 */
static void
push(Parser *parser, JsonValue value)
{
	if (parser->building)
		parser->stack[parser->used] = value;
	parser->used++;
	if (parser->used > parser->peak)
		parser->peak = parser->used;
	if ((parser->used & 0xffff) == 0 && parser->host->poll != NULL)
		parser->host->poll(parser->host->context);
}

/* ---------- numbers ---------- */

/*
 * Steps over digits; false where there was none, since JSON allows neither
 * ".5" nor "5.".
 */
static bool
skip_digits(Parser *parser)
{
	const char *first = parser->at;

	while (parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9')
		parser->at++;
	return parser->at > first;
}

/*
 * Steps over a number as JSON's grammar has it, which strtod's is not.
 */
static bool
skip_number(Parser *parser)
{
	(void) accept(parser, '-');
	if (!accept(parser, '0') && !skip_digits(parser))
		return fail(parser, KERNEL_INVALID, NULL, "a value was expected");
	if (accept(parser, '.') && !skip_digits(parser))
		return fail(parser, KERNEL_INVALID, NULL, "a digit was expected");
	if (accept(parser, 'e') || accept(parser, 'E'))
	{
		if (!accept(parser, '-'))
			(void) accept(parser, '+');
		if (!skip_digits(parser))
			return fail(parser, KERNEL_INVALID, NULL, "a digit was expected");
	}
	return true;
}

/*
 * The value of a number that was checked.  With at most 15 digits and no
 * exponent the quotient of two exact numbers is the correctly rounded result,
 * as strtod's is, at a tenth of the time.  first points to its beginning,
 * parser->at behind its end; false where there was no memory for a copy.
 */
static bool
number_value(Parser *parser, const char *first, double *value)
{
	static const double powers[] = {1e0,  1e1,	1e2,  1e3, 1e4,	 1e5,
									1e6,  1e7,	1e8,  1e9, 1e10, 1e11,
									1e12, 1e13, 1e14, 1e15};
	size_t				length = (size_t) (parser->at - first);
	const char		   *at = first + (*first == '-');
	int64_t				digits = 0;
	int					decimals = -1;
	char			   *copy;

	/*
	 * 15 digits fit exactly into a double, and so do the powers of ten up to
	 * 1e22; one division then rounds once.
	 */
	if (length <= 15)
	{
		for (; at < parser->at && *at != 'e' && *at != 'E'; at++)
		{
			if (*at == '.')
				decimals = 0;
			else
			{
				digits = digits * 10 + (*at - '0');
				decimals += decimals >= 0;
			}
		}
		if (at == parser->at)
		{
			*value = (double) digits / powers[decimals > 0 ? decimals : 0];
			if (*first == '-')
				*value = -*value;
			return true;
		}
	}
	if (parser->at < parser->end)
	{
		/* what follows is not part of a number, so strtod stops there */
		*value = strtod(first, NULL);
		return true;
	}

	/*
	 * A number that ends the text: strtod would read on behind it.  It happens
	 * once in a text, so the copy costs nothing to speak of.
	 */
	copy = parser->host->allocate(parser->host->context, length + 1);
	if (copy == NULL)
		return false;
	memcpy(copy, first, length);
	copy[length] = '\0';
	*value = strtod(copy, NULL);
	return true;
}

/*
 * The grammar is checked by hand because strtod takes more: hexadecimal,
 * infinities, a leading plus, whatever the locale has as decimal point.
 * strtod is called only on what has passed here.
 */
static bool
parse_number(Parser *parser)
{
	const char *first = parser->at;
	JsonValue	value = {.kind = JSON_NUMBER};

	if (!skip_number(parser))
		return false;
	if (parser->building && !number_value(parser, first, &value.as.number))
		return false;
	push(parser, value);
	return true;
}

/* ---------- strings ---------- */

/*
 * One byte of a decoded string: counted at the first reading, stored at the
 * second.
 */
static void
put_byte(Parser *parser, unsigned int byte)
{
	if (parser->building)
		parser->strings[parser->string_bytes] = (char) byte;
	parser->string_bytes++;
}

/*
 * A character that was written as \u escapes, as UTF-8.  All other bytes of a
 * string pass unchanged, whatever the encoding of the database is.  code is a
 * Unicode scalar value: surrogates were put together or refused before.
 */
static void
put_utf8(Parser *parser, uint32_t code)
{
	if (code < 0x80)
		put_byte(parser, code);
	else if (code < 0x800)
		put_byte(parser, 0xc0 | code >> 6);
	else if (code < 0x10000)
	{
		put_byte(parser, 0xe0 | code >> 12);
		put_byte(parser, 0x80 | (code >> 6 & 0x3f));
	}
	else
	{
		put_byte(parser, 0xf0 | code >> 18);
		put_byte(parser, 0x80 | (code >> 12 & 0x3f));
		put_byte(parser, 0x80 | (code >> 6 & 0x3f));
	}
	if (code >= 0x80)
		put_byte(parser, 0x80 | (code & 0x3f));
}

/*
 * The four digits of a \u escape, in either case.  *code means nothing where
 * it returns false.
 */
static bool
parse_hex(Parser *parser, uint32_t *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++, parser->at++)
	{
		char c = parser->at < parser->end ? *parser->at : '\0';

		*code *= 16;
		if (c >= '0' && c <= '9')
			*code += (uint32_t) (c - '0');
		else if (c >= 'a' && c <= 'f')
			*code += (uint32_t) (c - 'a') + 10;
		else if (c >= 'A' && c <= 'F')
			*code += (uint32_t) (c - 'A') + 10;
		else
			return fail(parser, KERNEL_INVALID, NULL,
						"four hexadecimal digits were expected after \\u");
	}
	return true;
}

/*
 * After "\u": a character, or the two halves of one.  Halves alone are
 * refused, because they have no UTF-8; so is \u0000, which would end the
 * string early.
 */
static bool
parse_unicode(Parser *parser)
{
	uint32_t code;
	uint32_t low;

	if (!parse_hex(parser, &code))
		return false;
	if (code == 0)
		return fail(parser, KERNEL_INVALID, NULL, "\\u0000 is not allowed");
	if (code >= 0xdc00 && code < 0xe000)
		return fail(parser, KERNEL_INVALID, NULL,
					"the second half of a surrogate pair without the first");
	if (code >= 0xd800 && code < 0xdc00)
	{
		if (!accept(parser, '\\') || !accept(parser, 'u'))
			return fail(parser, KERNEL_INVALID, NULL,
						"the second half of a surrogate pair was expected");
		if (!parse_hex(parser, &low))
			return false;
		if (low < 0xdc00 || low >= 0xe000)
			return fail(parser, KERNEL_INVALID, NULL,
						"the second half of a surrogate pair was expected");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	put_utf8(parser, code);
	return true;
}

/*
 * After a backslash.  JSON knows eight short escapes and \u; anything else is
 * a mistake rather than the character itself.
 */
static bool
parse_escape(Parser *parser)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char		 *found = NULL;

	if (parser->at < parser->end && *parser->at != '\0')
		found = strchr(from, *parser->at);
	if (found != NULL)
	{
		parser->at++;
		put_byte(parser, (unsigned char) to[found - from]);
		return true;
	}
	if (accept(parser, 'u'))
		return parse_unicode(parser);
	return fail(parser, KERNEL_INVALID, NULL, "unknown escape after \\");
}

/*
 * A string or the name of a member.  Decoded it is never longer than it was
 * written, and a zero byte, which would end it early for C, is not possible:
 * \u0000 is refused and so are control characters.  The bytes are not checked
 * to be UTF-8: the host has taken them from a text of its own encoding.
 */
static bool
parse_string(Parser *parser)
{
	JsonValue value = {.kind = JSON_STRING};

	if (!accept(parser, '"'))
		return fail(parser, KERNEL_INVALID, NULL, "a string was expected");

	/*
	 * known before the string is decoded, as strings lie in the order of the
	 * text
	 */
	if (parser->building)
		value.as.string = parser->strings + parser->string_bytes;
	while (!accept(parser, '"'))
	{
		if (parser->at >= parser->end)
			return fail(parser, KERNEL_INVALID, NULL, "the string has no end");
		if ((unsigned char) *parser->at < 0x20)
			return fail(parser, KERNEL_INVALID, NULL,
						"a control character in a string");
		if (accept(parser, '\\'))
		{
			if (!parse_escape(parser))
				return false;
		}
		else
			put_byte(parser, (unsigned char) *parser->at++);
	}
	put_byte(parser, '\0');
	push(parser, value);
	return true;
}

/* ---------- containers ---------- */

/*
 * Replaces what was pushed since base by one value that holds it.  The
 * elements move from the stack to the nodes, where they stay for good; inner
 * containers have moved before, so a container's elements lie side by side.
 */
static void
close_container(Parser *parser, JsonKind kind, int64_t base)
{
	JsonValue		 value = {.kind = kind};
	int64_t			 pushed = parser->used - base;
	const JsonValue *from;
	JsonMember		*members;

	from = parser->building ? parser->stack + base : NULL;

	if (kind == JSON_ARRAY)
	{
		value.count = (int32_t) pushed;
		if (parser->building)
		{
			value.as.elements = memcpy(parser->nodes + parser->node_bytes, from,
									   (size_t) pushed * sizeof(JsonValue));
		}
		parser->node_bytes += pushed * (int64_t) sizeof(JsonValue);
	}
	else
	{
		value.count = (int32_t) (pushed / 2);
		if (parser->building)
		{
			members =
				(JsonMember *) (void *) (parser->nodes + parser->node_bytes);
			for (int32_t i = 0; i < value.count; i++)
			{
				members[i].name = from[2 * i].as.string;
				members[i].value = from[2 * i + 1];
			}
			value.as.members = members;
		}
		parser->node_bytes += value.count * (int64_t) sizeof(JsonMember);
	}
	parser->used = base;
	push(parser, value);
}

/*
 * "name": value.  Name and value lie on the stack side by side until the
 * object is closed.
 */
static bool
parse_member(Parser *parser)
{
	skip_space(parser);
	if (!parse_string(parser))
		return false;
	skip_space(parser);
	if (!accept(parser, ':'))
		return fail(parser, KERNEL_INVALID, NULL, "\":\" was expected");
	return parse_value(parser);
}

/*
 * An array or an object.  The depth is limited because reading and all later
 * walks over the tree are recursive, and the stack of a server process is not
 * ours to fill.  The limit makes the recursion short; the stack of values is
 * not the C stack and may grow to any width.
 */
static bool
parse_container(Parser *parser, JsonKind kind)
{
	bool	array = kind == JSON_ARRAY;
	char	close = array ? ']' : '}';
	int64_t base = parser->used;

	if (++parser->depth > JSON_MAX_DEPTH)
		return fail(parser, KERNEL_LIMIT,
					"Arrays and objects may be nested 64 deep.",
					"it is nested too deep");
	parser->at++;
	skip_space(parser);
	if (!accept(parser, close))
	{
		do
		{
			if (!(array ? parse_value(parser) : parse_member(parser)))
				return false;
			skip_space(parser);
		} while (accept(parser, ','));
		if (!accept(parser, close))
			return fail(parser, KERNEL_INVALID, NULL,
						array ? "\",\" or \"]\" was expected" :
								"\",\" or \"}\" was expected");
	}
	close_container(parser, kind, base);
	parser->depth--;
	return true;
}

/*
 * true, false or null; word is what must stand here, letter by letter.
 */
static bool
parse_word(Parser *parser, const char *word, JsonKind kind)
{
	JsonValue value = {.kind = kind};

	for (; *word != '\0'; word++)
	{
		if (!accept(parser, *word))
			return fail(parser, KERNEL_INVALID, NULL, "a value was expected");
	}
	push(parser, value);
	return true;
}

/*
 * Any value.  What begins like nothing else is read as a number, whose grammar
 * then says what was expected.
 */
static bool
parse_value(Parser *parser)
{
	skip_space(parser);
	switch (parser->at < parser->end ? *parser->at : '\0')
	{
		case '[':
			return parse_container(parser, JSON_ARRAY);
		case '{':
			return parse_container(parser, JSON_OBJECT);
		case '"':
			return parse_string(parser);
		case 't':
			return parse_word(parser, "true", JSON_TRUE);
		case 'f':
			return parse_word(parser, "false", JSON_FALSE);
		case 'n':
			return parse_word(parser, "null", JSON_NULL);
		default:
			return parse_number(parser);
	}
}

/* ---------- the whole ---------- */

/*
 * One reading of the whole text, to measure or to build.  Both take the same
 * way through the text, so that what was measured is what is needed.  False
 * with a problem, or where memory was short at the second reading.
 */
static bool
parse_text(Parser *parser)
{
	parser->at = parser->start;
	parser->used = parser->node_bytes = parser->string_bytes = 0;
	if (!parse_value(parser))
		return false;
	skip_space(parser);
	if (parser->at < parser->end)
		return fail(parser, KERNEL_INVALID, NULL,
					"something follows the end of the value");
	return true;
}

/*
 * Memory for the second reading, as the first has measured it.  One byte more
 * than needed is asked for, since an arena may answer a request for nothing
 * with NULL.  The stack stays in the arena when it is no longer needed; only
 * its first value is.
 */
static bool
allocate_tree(Parser *parser)
{
	size_t stack_bytes = (size_t) parser->peak * sizeof(JsonValue);
	void  *context = parser->host->context;

	parser->stack = parser->host->allocate(context, stack_bytes);
	parser->nodes =
		parser->host->allocate(context, (size_t) parser->node_bytes + 1);
	parser->strings =
		parser->host->allocate(context, (size_t) parser->string_bytes + 1);
	parser->building = true;
	return parser->stack != NULL && parser->nodes != NULL &&
		   parser->strings != NULL;
}

/*
 * Parses a text of length bytes into *value, whose arrays and strings lie in
 * the host's arena; the text is not needed afterwards.
 *
 * Returns KERNEL_OK; KERNEL_INVALID, or KERNEL_LIMIT where it is too long or
 * nested too deep, each with one problem that tells the byte; or
 * KERNEL_MEMORY.  The limit on bytes comes first: all sizes that follow are
 * sums of at most so many small numbers, and cannot overflow.
 */
KernelStatus
json_parse(const KernelHost *host, const char *text, size_t length,
		   JsonValue *value, KernelProblems *problems)
{
	Parser parser = {.host = host,
					 .problems = problems,
					 .start = text,
					 .end = text + length};

	if (length > JSON_MAX_BYTES)
	{
		kernel_problem(problems, KERNEL_LIMIT, "", NULL,
					   "Give large arrays in the sparse form {\"shape\", "
					   "\"default\", \"entries\"}, B also as {\"next\"}.",
					   "JSON of %zu bytes is over the limit of %d bytes",
					   length, JSON_MAX_BYTES);
		return KERNEL_LIMIT;
	}
	if (!parse_text(&parser))
		return parser.status;
	if (!allocate_tree(&parser) || !parse_text(&parser))
		return KERNEL_MEMORY;
	*value = parser.stack[0];
	return KERNEL_OK;
}

/*
 * The value of a member, or NULL where there is none or object is NULL or no
 * object, so that look-ups can be chained.  The first counts where a name is
 * repeated.  Objects of a spec are small, or are walked from the front: a
 * linear search is enough.
 */
const JsonValue *
json_member(const JsonValue *object, const char *name)
{
	if (object == NULL || object->kind != JSON_OBJECT)
		return NULL;
	for (int32_t i = 0; i < object->count; i++)
	{
		if (strcmp(object->as.members[i].name, name) == 0)
			return &object->as.members[i].value;
	}
	return NULL;
}
