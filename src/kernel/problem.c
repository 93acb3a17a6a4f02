/*
 * problem.c
 *		What is wrong with an input, and the memory to look at it.
 *
 * All problems of an input are gathered, so that its author mends them in one
 * go; none of them ends the reading by itself.  Texts are cut to fit and never
 * allocated: saying what is wrong must work where memory is what is wrong.
 */
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "compile.h"

/*
 * A text that was cut at the end of its buffer may end inside a character of
 * UTF-8, which PostgreSQL would refuse to show: take that part away.  In other
 * encodings at worst a whole last character is lost.
 */
static void
text_mend(char *text)
{
	size_t		  length = strlen(text);
	size_t		  start = length;
	size_t		  wanted = 1;
	unsigned char lead;

	while (start > 0 && length - start < 3 && (text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	lead = (unsigned char) text[start - 1];
	if (lead >= 0xf0)
		wanted = 4;
	else if (lead >= 0xe0)
		wanted = 3;
	else if (lead >= 0xc0)
		wanted = 2;
	if (length - start + 1 < wanted)
		text[start - 1] = '\0';
}

/*
 * snprintf into buffer [size] whose result may be cut short, at a whole
 * character.
 */
void
text_print(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	int		length;

	va_start(args, format);
	length = vsnprintf(buffer, size, format, args);
	va_end(args);
	if (length >= 0 && (size_t) length >= size)
		text_mend(buffer);
}

/*
 * Likewise, after what is in the buffer already.  Nothing is added where the
 * buffer is full.
 */
void
text_add(char *buffer, size_t size, const char *format, ...)
{
	size_t	length = strlen(buffer);
	va_list args;
	int		added;

	va_start(args, format);
	added = vsnprintf(buffer + length, size - length, format, args);
	va_end(args);
	if (added >= 0 && (size_t) added >= size - length)
		text_mend(buffer);
}

/*
 * A text from the spec in quotation marks, shortened to fit a message.  Names
 * in a spec may be of any length until they are checked.  Returns buffer.
 */
const char *
text_quote(char buffer[80], const char *text)
{
	char shown[64];
	bool whole = strlen(text) < sizeof(shown);

	text_print(shown, sizeof(shown), "%s", text);
	text_print(buffer, 80, "\"%s%s\"", shown, whole ? "" : "...");
	return buffer;
}

/*
 * What a value is, for "must be ..., not %s".  Arrays and objects are not
 * shown: their beginning seldom tells what is wrong.  Returns buffer or a
 * constant.
 */
const char *
text_value(char buffer[80], const JsonValue *value)
{
	char quoted[80];

	switch (value->kind)
	{
		case JSON_NULL:
			return "null";
		case JSON_FALSE:
			return "false";
		case JSON_TRUE:
			return "true";
		case JSON_NUMBER:
			text_print(buffer, 80, "%.10g", value->as.number);
			return buffer;
		case JSON_STRING:
			text_print(buffer, 80, "the string %s",
					   text_quote(quoted, value->as.string));
			return buffer;
		case JSON_ARRAY:
			return "an array";
		case JSON_OBJECT:
			return "an object";
	}
	return "";
}

/*
 * A list of indices as JSON writes it: [0, 2].  Long ones end in dots.
 */
void
text_list(char *buffer, size_t size, const int32_t *items, int32_t count)
{
	text_print(buffer, size, "[");
	for (int32_t i = 0; i < count && i < 20; i++)
		text_add(buffer, size, "%s%d", i > 0 ? ", " : "", items[i]);
	text_add(buffer, size, "%s]", count > 20 ? ", ..." : "");
}

/*
 * Adds one problem.  Texts that do not fit are cut, because a message that is
 * cut tells more than one that is refused; and problems beyond the room are
 * only counted, so that a hostile spec costs no more than an ordinary one.
 * path, detail and hint may be NULL for "".
 */
void
kernel_problem(KernelProblems *problems, KernelStatus status, const char *path,
			   const char *detail, const char *hint, const char *format, ...)
{
	KernelProblem *problem;
	va_list		   args;

	if (problems->count < INT_MAX)
		problems->count++;
	if (problems->count > KERNEL_MAX_PROBLEMS)
		return;
	problem = &problems->items[problems->count - 1];
	problem->status = status;
	text_print(problem->path, sizeof(problem->path), "%s",
			   path != NULL ? path : "");
	text_print(problem->detail, sizeof(problem->detail), "%s",
			   detail != NULL ? detail : "");
	text_print(problem->hint, sizeof(problem->hint), "%s",
			   hint != NULL ? hint : "");
	va_start(args, format);
	(void) vsnprintf(problem->message, sizeof(problem->message), format, args);
	va_end(args);
	text_mend(problem->message);
}

/*
 * Adds the problem that what belongs to path is too large, "for a model" or
 * otherwise; the detail has the numbers.  Always false.
 */
static bool
too_large(Reader *reader, const char *path, const char *otherwise,
		  const char *detail)
{
	kernel_problem(reader->problems, KERNEL_LIMIT, path, detail,
				   "Give arrays that are mostly zero in the sparse form "
				   "{\"shape\", \"default\", \"entries\"}, use fewer "
				   "dependencies or shorter policies, or raise "
				   "fa_agents.max_model_size.",
				   "%s is too large %s", path, otherwise);
	return false;
}

/*
 * May a model have count items of size bytes each, that belong to path?  Else
 * it is a problem, and nothing is allocated that could not be part of a model
 * anyhow.
 */
bool
reader_allows(Reader *reader, int64_t count, size_t size, const char *path)
{
	int64_t bytes;
	char	detail[TEXT_SIZE];

	if (__builtin_mul_overflow(count, (int64_t) size, &bytes))
		bytes = INT64_MAX;
	if (bytes <= reader->host->max_model_size)
		return true;
	text_print(detail, sizeof(detail),
			   "It would take %lld bytes; fa_agents.max_model_size is "
			   "%lld bytes.",
			   (long long) bytes, (long long) reader->host->max_model_size);
	return too_large(reader, path, "for a model", detail);
}

/*
 * Bytes that all pieces of a reading may take together.
 */
static int64_t
most_allocated(const Reader *reader)
{
	int64_t limit;

	if (__builtin_mul_overflow(reader->host->max_model_size,
							   (int64_t) ALLOCATED_LIMIT, &limit))
		limit = INT64_MAX;
	return limit;
}

/*
 * How many bytes of tables may still be made and become part of a model that
 * takes size bytes without them?  What is allocated for them is allocated
 * twice, as the block is made of it.  0 where the model itself is too large.
 */
int64_t
reader_left(const Reader *reader, int64_t size)
{
	int64_t left = reader->host->max_model_size - size;
	int64_t all = (most_allocated(reader) - reader->allocated - size) / 2;

	if (size > reader->host->max_model_size || all < 0)
		return 0;
	return all < left ? all : left;
}

/*
 * Counts bytes more for path; false where all together are more than a reading
 * may take.  That is a problem once: what else is asked for is then refused
 * without a word, as it may have found its place if others were smaller.
 */
static bool
count_bytes(Reader *reader, int64_t bytes, const char *path)
{
	int64_t limit = most_allocated(reader);
	int64_t sum;
	char	detail[TEXT_SIZE];

	if (reader->exceeded)
		return false;
	if (!__builtin_add_overflow(reader->allocated, bytes, &sum) && sum <= limit)
	{
		reader->allocated = sum;
		return true;
	}
	reader->exceeded = true;
	text_print(detail, sizeof(detail),
			   "With it, compiling would take more than %lld bytes, %d times "
			   "fa_agents.max_model_size.",
			   (long long) limit, ALLOCATED_LIMIT);
	return too_large(reader, path, "beside the rest of the model", detail);
}

/*
 * Zeroes memory [bytes], which takes a while where the system has yet to find
 * it: some megabytes at a time.
 */
static void
clear(const Reader *reader, char *memory, int64_t bytes)
{
	const int64_t slice = 4 * 1024 * 1024;

	for (; bytes > slice; bytes -= slice, memory += slice)
	{
		memset(memory, 0, (size_t) slice);
		reader_poll(reader);
	}
	memset(memory, 0, (size_t) bytes);
}

/*
 * Zeroed memory for count items of size bytes each, that belong to path, from
 * the host's arena; NULL where it cannot be had.  More than a model may have,
 * or more than a reading may take in all, is a problem.  Where the host has
 * none, the reader has failed, and everybody gives up.
 */
void *
reader_allocate(Reader *reader, int64_t count, size_t size, const char *path)
{
	int64_t bytes;
	void   *memory;

	if (!reader_allows(reader, count, size, path))
		return NULL;
	bytes = count * (int64_t) size;
	if (!count_bytes(reader, bytes, path))
		return NULL;

	/* Never nothing: NULL has to mean that there is no memory. */
	memory = reader->host->allocate(reader->host->context,
									bytes > 0 ? (size_t) bytes : 1);
	if (memory == NULL)
	{
		reader->failed = true;
		return NULL;
	}
	clear(reader, memory, bytes);
	return memory;
}

/*
 * Gives the host a chance to interrupt, possibly by a longjmp: nothing here
 * holds anything that would have to be released.
 */
void
reader_poll(const Reader *reader)
{
	if (reader->host->poll != NULL)
		reader->host->poll(reader->host->context);
}

/*
 * What a function returns that began when there were first problems: no
 * memory, the first problem of its own, or KERNEL_OK.  Where that problem was
 * not kept, it is called invalid input.
 */
KernelStatus
reader_status(const Reader *reader, int32_t first)
{
	if (reader->failed)
		return KERNEL_MEMORY;
	if (reader->problems->count == first)
		return KERNEL_OK;
	if (first < KERNEL_MAX_PROBLEMS)
		return reader->problems->items[first].status;
	return KERNEL_INVALID;
}
