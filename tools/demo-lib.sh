# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the demonstrations in the guest share: what they say, and that they say of what happened only
# what they have checked.  To be sourced after guest-lib.sh.

failed=0 step=0

say() { printf '%s\n' "$@"; }
heading() {
	step=$((step + 1))
	say "" "---- $step. $1 ----" ""
}

# The label, and then the text, which others wrote.
show() {
	local line
	while read -r line; do printf '  %-14s %s\n' "$1" "$line"; done <<<"$2"
}

# claim TEXT COMMAND...
claim() {
	local text=$1
	shift
	if "$@" >"$WORK/claim" 2>&1; then
		printf '  %-14s %s\n' "[holds]" "$text"
	else
		failed=$((failed + 1))
		printf '  %-14s %s\n' "[DOES NOT HOLD]" "$text"
		sed 's/^/                 /' "$WORK/claim"
	fi
}

matches() { [[ $1 =~ $2 ]] || { printf '%s\n' "not like /$2/: $1"; return 1; }; }
same() { [[ $1 == "$2" ]] || { printf '%s\n' "'$1' is not '$2'"; return 1; }; }

# The counters of /proc/net/tls_stat that have changed, as "TlsTxSw +2".
tls_stat_save() { cp /proc/net/tls_stat "$WORK/tls_stat"; }
tls_stat_change() {
	awk 'NR == FNR { before[$1] = $2; next }
		$2 != before[$1] { printf "%s%s %+d", n++ ? ", " : "", $1, $2 - before[$1] }
		END { if (!n) printf "no change" }' "$WORK/tls_stat" /proc/net/tls_stat
}

# demo_end: the last command of a demonstration, whose status it is.
demo_end() {
	say ""
	((failed == 0)) || say "$failed of the statements above do not hold. All that tlshd wrote:" \
		"" "$(cat "$TLSHD_LOG")" ""
	((failed == 0))
}
