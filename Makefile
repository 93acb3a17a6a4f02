# fa_agents: build with PGXS.
#
#	make, make install, make installcheck	as for any extension
#	make check				install what the tests need, run them all
#	make check-versions			the same on other major versions
#	make demo, make bench			run the demonstration, the benchmarks
#	make demo-graph				agents that forage in WordNet
#	make bench-compare			hold the last benchmarks against the committed
#						ones (or A=OLD.json B=NEW.json)
#	make flame				flame graphs of the hot paths
#	make soak HOURS=n			agents at work for hours: what grows?
#	make format, make format-check, make lint
#	make deps				install the packages that a build needs
#
# New files in src/, src/kernel/, sql/ and test/ need no line here.

EXTENSION = fa_agents
MODULE_big = fa_agents
PG_CONFIG ?= pg_config
# turn warnings back into warnings with WERROR= (for compilers newer than ours)
WERROR ?= -Werror

# The version has one source, the control file.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" fa_agents.control)

# Targets that must work before PostgreSQL is installed, and so do not need
# PGXS (which also has a target named check).  They install what is missing
# and call make again.
STAGES = $(addprefix check-,build kernel fuzz regress isolation tap python)
OWN_GOALS = check check-versions demo demo-graph bench bench-compare flame soak deps format \
	format-check lint $(STAGES)

ifneq ($(filter $(OWN_GOALS),$(MAKECMDGOALS)),)

.PHONY: $(OWN_GOALS)
.NOTPARALLEL:
export PG_CONFIG

check:
	@scripts/check

# one kind of test alone: make check-regress REGRESS="version"
$(STAGES): check-%:
	@scripts/check $*

check-versions:
	@scripts/check-versions

deps:
	@scripts/install-deps build

demo:
	@scripts/install-deps build
	@if test -x demo/run; then demo/run; \
	 else echo "demo/run is missing" >&2; exit 1; fi

demo-graph:
	@demo/run graph

bench:
	@bench/run

bench-compare:
	@scripts/install-deps python3
	@/usr/bin/python3 -B bench/compare.py $(or $(A),HEAD:bench/results/latest.json) $(B)

flame:
	@bench/flame/run

soak:
	@bench/soak/run

format format-check lint:
	@scripts/install-deps lint
	@scripts/$@

# make check install: the goals that are not ours go to a make of their own
OTHER_GOALS := $(filter-out $(OWN_GOALS),$(MAKECMDGOALS))
ifneq ($(OTHER_GOALS),)
.PHONY: $(OTHER_GOALS)
$(OTHER_GOALS):
	@$(MAKE) $@
endif

else

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error "$(PG_CONFIG)" does not lead to PGXS: run "make deps", or set PG_CONFIG)
endif

KERNEL_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/kernel/*.c)))
SHELL_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
OBJS = $(SHELL_OBJS) $(KERNEL_OBJS)

DATA = $(sort $(wildcard sql/$(EXTENSION)--*--*.sql))
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

# The server's headers are system headers to us: -Wextra is for our own code.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) \
	-DFA_AGENTS_VERSION='"$(EXTVERSION)"'
# Every SQL-callable function has an argument fcinfo, used or not, and tables of
# structs may leave their last fields zero.
PG_CFLAGS = -std=gnu11 -Wextra -Wno-unused-parameter \
	-Wno-missing-field-initializers $(WERROR)
# (installcheck runs in a copy of the tree that has no src/)
-include src/kernel/libs.mk
SHLIB_LINK = $(KERNEL_LIBS)

# The kernel is plain C11 and sees no header of PostgreSQL.
KERNEL_CFLAGS = -std=c11 $(KERNEL_OPTIMIZATION) -fPIC -fvisibility=hidden \
	-Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wshadow \
	$(WERROR)

REGRESS = $(basename $(notdir $(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
ISOLATION = $(basename $(notdir $(sort $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --load-extension=$(EXTENSION)

EXTRA_CLEAN = $(EXTENSION)--*.sql build output_iso log \
	src/*.o src/*.d src/kernel/*.o src/kernel/*.d

# no bitcode for the JIT: it would need clang and bring nothing to C functions
override with_llvm = no

include $(PGXS)

# 15 looks for expected/ in the output directory, later ones must be told.
ifneq ($(MAJORVERSION),15)
REGRESS_OPTS += --expecteddir=.
endif

# PostgreSQL may have been built by a newer compiler than ours.
ifneq ($(filter -Wmissing-variable-declarations,$(CFLAGS)),)
ifneq ($(shell $(CC) -Wmissing-variable-declarations -E -x c /dev/null >/dev/null 2>&1 || echo no),)
override CFLAGS := $(filter-out -Wmissing-variable-declarations,$(CFLAGS))
endif
endif

src/%.o: src/%.c Makefile
	$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

src/kernel/%.o: src/kernel/%.c Makefile
	$(CC) $(KERNEL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJS:.o=.d)

# The install script is joined from its topic pieces, and written only when it
# differs, so that adding or removing a piece is seen.
$(DATA_built): FORCE
	@scripts/join-sql $(sort $(wildcard sql/[0-9][0-9]_*.sql)) >$@.tmp
	@if cmp -s $@.tmp $@; then rm $@.tmp; else mv $@.tmp $@; fi
.PHONY: FORCE

endif
