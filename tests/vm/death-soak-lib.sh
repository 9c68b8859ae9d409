# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Its variables are set and used by guest-lib.sh, psk-lib.sh and death-guest, or by name.
# shellcheck disable=SC2034,SC2154,SC2317
#
# The sections of tests/vm/death-guest with many handshakes, while processes are killed at random.

HANDSHAKES=500 SOAK_HANDSHAKES=10000 KILL_WORKERS=4
GROWTH_KB=1024

# figures NAME: sets the associative array NAME: what may not grow
figures() {
	local -n figures_ref=$1
	local id rest

	figures_ref=()
	figures_ref[keys]=$(wc -l </proc/keys)
	while read -r id rest; do
		# usage count, keys, instantiated, quota of keys and bytes
		figures_ref["quota of user ${id%:}"]=${rest#* }
	done </proc/key-users
	figures_ref["links of process keyrings"]=$(awk '$8 == "keyring" && $9 ~ /^_pid/ \
		{ print $6, $9, $10 }' /proc/keys | sort | paste -sd';')
	figures_ref["descriptors of the monitor"]=$(find "/proc/$tlshd_pid/fd" -type l | wc -l)
	figures_ref["processes"]=$(tlshd_all | wc -l)
	figures_ref["TCP sockets"]=$(ss -Hta state connected exclude time-wait | wc -l)
	figures_ref["sequenced-packet sockets"]=$(ss -Hxa | grep -c '^u_seq')
}

same_figures() {
	local name
	local -A after

	workers_are $KILL_WORKERS || return
	figures after
	for name in "${!before[@]}" "${!after[@]}"; do
		[[ ${before[$name]-none} == "${after[$name]-none}" ]] || return
	done
}

rss() { awk '/^VmRSS/ { print $2 }' "/proc/$tlshd_pid/status"; }

# killer FILE: as long as it is there; writes how many.  One for each 4 KiB of the log, which are some
# 25 handshakes: on a busy machine there is no more to do for each handshake.
killer() {
	local pids n=0 size last

	last=$(stat -c %s "$TLSHD_LOG")
	while [[ -e $1 ]]; do
		pause 0.2
		size=$(stat -c %s "$TLSHD_LOG")
		((size - last >= 4096)) || continue
		last=$size
		mapfile -d ' ' -t pids <"/proc/$tlshd_pid/task/$tlshd_pid/children"
		((${#pids[@]} == 0)) || kill -KILL "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null &&
			n=$((n + 1))
	done
	echo "$n" >kills
}

# with_kills HANDSHAKES
with_kills() {
	local line pid left=$(($1 / 2)) step=50 sum=0 most=0 again=0 longest_ms=0 faults status=0
	local succeeded=none

	: >go
	killer go &
	pid=$!
	for ((; left > 0 && status == 0; left -= step)); do
		echo >&"$beat"
		((left >= step)) || step=$left
		line=$(timeout 120 many-handshakes $step 4 "$plain" 0 "$many_ring" deaths 2>&1)
		fields "$line"
		[[ $succeeded == "$step" && $faults == 0 ]] || status=1
		sum=$((sum + again))
		((longest_ms <= most)) || most=$longest_ms
	done
	rm go
	wait $pid
	((status == 0)) || explain "$line" || return
	kills=$(<kills) longest=$most made_again=$sum
	diag "$kills kills, $sum pairs made again, the longest of them took $most ms" >&3
}

# many HANDSHAKES
many() {
	local many_ring kills=0 longest=none made_again=0 was name role deaths
	local -A before

	exec 3>&1
	new_ring many_ring tlshd-many
	keyctl link "$plain" "$many_ring"
	printf '[daemon]\nworkers = %s\n' $KILL_WORKERS >>"$TLSHD_CONF"
	try "restart with $KILL_WORKERS workers" tlshd_restart
	try "some handshakes" many-handshakes 40 4 "$plain" 0 "$many_ring"
	figures before
	was=$(rss)
	log_mark
	try "$1 handshakes, while processes are killed" with_kills "$1"
	at_most "no pair waits for its own timeout" "$longest" 50000 ms
	if wait_for 60 same_figures; then
		pass "what there was before is there afterwards, and no more"
	else
		figures after
		for name in "${!before[@]}"; do is "$name" "${after[$name]-none}" "${before[$name]}"; done
	fi
	for name in "${!before[@]}"; do diag "$name: ${before[$name]}"; done
	at_most "the monitor's memory grows" $(($(rss) - was)) $GROWTH_KB KB
	for role in client server; do
		log_handshakes $role
		is "one line for each handshake of a $role" "${#handshake_lines[@]}" $(($1 / 2 + made_again))
	done
	# two kills can meet the same pair
	deaths=$(log_new | grep -cE '^(worker|keeper)\[[0-9]+\] was killed by signal 9 \(SIGKILL\)')
	at_most "lines for deaths" "$deaths" "$kills" lines
	check "there are some" test "$deaths" -gt $((kills / 2))
	is "no line blames another" "$(log_new | grep -E '^(worker|keeper)\[')" \
		"$(log_new | grep -E '^(worker|keeper)\[[0-9]+\] was killed by signal 9')"
	exec 3>&-
}

section_many() { many $HANDSHAKES; }
section_soak() { LIMIT=600 many $SOAK_HANDSHAKES; }
