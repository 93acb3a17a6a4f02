# lib.sh: what the scripts share; to be sourced by bash, with set -eu.

FA_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "$(basename "$0"): $*"
	exit 1
}

# The server refuses to run as root.  Then it, and whatever has to run beside
# it, runs as this user; otherwise as the caller.
FA_SERVER_USER=${FA_SERVER_USER:-postgres}

as_server()
{
	if [ "$(id -u)" -eq 0 ]; then
		runuser -u "$FA_SERVER_USER" -- "$@"
	else
		"$@"
	fi
}

give_to_server()
{
	[ "$(id -u)" -ne 0 ] || chown -R "$FA_SERVER_USER": "$@"
}

# A directory that the server's user owns and nobody else may enter.  Its name
# is short: the path of a socket may not be longer than 107 bytes.  TMPDIR is
# not asked, since it may be a place where the server may not go.
make_work_dir()
{
	local dir

	dir=$(mktemp -d "${FA_TMPDIR:-/tmp}/fa_agents.XXXXXX")
	give_to_server "$dir" || return 1
	printf '%s\n' "$dir"
}

# Run a command that a signal to this script ends too, with all its children.
# Bash would otherwise wait for the command first.  At a terminal the command
# stays in the foreground, or it could not read.
fa_child=
run_interruptibly()
{
	local status=0

	if [ -t 0 ]; then
		"$@" || status=$?
		return $status
	fi
	set -m
	"$@" <&0 &
	fa_child=$!
	set +m
	wait "$fa_child" || status=$?
	fa_child=
	return $status
}

# The child and its descendants may have servers to stop: give them time.
end_child()
{
	local i

	[ -n "$fa_child" ] || return 0
	kill -TERM -- "-$fa_child" 2>/dev/null || true
	for i in {1..100}; do
		kill -0 -- "-$fa_child" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL -- "-$fa_child" 2>/dev/null || true
	fa_child=
}

# Remove a directory with all servers that have their data in it, such as
# those of a test that was killed before it could stop them.
remove_dir()
{
	local pids

	cd /
	pids=$(find "$1" -name postmaster.pid -exec head -n 1 {} \; 2>/dev/null || true)
	[ -z "$pids" ] || kill -QUIT $pids 2>/dev/null || true
	# one that is ending may still write for a moment
	rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
}

# at_exit CLEANUP: call CLEANUP once, however the script ends.  A second signal
# must not interrupt it: make and timeout both send one.
at_exit()
{
	trap "trap '' HUP INT TERM; end_child; $1" EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}
