# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# TAP for scripts.  To be sourced by bash with `set -uo pipefail`, without -e: a test goes on after
# a failure.  $WORK is a directory of the script's own.

tap_count=0 tap_failed=0 tap_skipped=0

# diag TEXT: any number of lines
diag() { printf '# %s\n' "${1//$'\n'/$'\n'# }"; }

pass() { tap_count=$((tap_count + 1)); echo "ok $tap_count - $1"; }

# fail NAME [WHY]
fail() {
	tap_count=$((tap_count + 1)) tap_failed=$((tap_failed + 1))
	echo "not ok $tap_count - $1"
	[[ -z ${2:-} ]] || diag "$2"
}

# skip NAME WHY
skip() {
	tap_count=$((tap_count + 1)) tap_skipped=$((tap_skipped + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

# check NAME COMMAND...: the command's output is shown when it fails.
check() {
	local name=$1 status=0
	shift
	# not $(): the command may start or end a process that must be a child of this shell
	"$@" >"$WORK/check" 2>&1 || status=$?
	if ((status == 0)); then pass "$name"
	else fail "$name" "status $status of: $*"$'\n'"$(cat "$WORK/check")"; fi
}

# is NAME GOT WANTED
is() {
	if [[ $2 == "$3" ]]; then pass "$1"; else fail "$1" "got    '$2'"$'\n'"wanted '$3'"; fi
}

# like NAME TEXT REGEX
like() {
	if [[ $2 =~ $3 ]]; then pass "$1"; else fail "$1" "got    '$2'"$'\n'"wanted /$3/"; fi
}

# at_most NAME GOT LIMIT UNIT: for whole numbers; shows both
at_most() {
	if [[ $2 =~ ^-?[0-9]+$ ]] && (($2 <= $3)); then pass "$1 ($2 $4, limit $3 $4)"
	else fail "$1" "$2 $4, limit $3 $4"; fi
}

# at_least NAME GOT LIMIT UNIT: likewise
at_least() {
	if [[ $2 =~ ^-?[0-9]+$ ]] && (($2 >= $3)); then pass "$1 ($2 $4, at least $3 $4)"
	else fail "$1" "$2 $4, at least $3 $4"; fi
}

# tap_end: prints the plan; the status is the script's.
tap_end() {
	echo "1..$tap_count"
	diag "$((tap_count - tap_failed - tap_skipped)) passed, $tap_failed failed, $tap_skipped skipped"
	((tap_failed == 0))
}
