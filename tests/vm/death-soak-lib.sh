# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Its variables are set and used by guest-lib.sh, psk-lib.sh and death-guest, or by name.
# shellcheck disable=SC2034,SC2154,SC2317
#
# The sections of tests/vm/death-guest with many handshakes, while processes are killed at random.

HANDSHAKES=500 SOAK_HANDSHAKES=10000 KILL_WORKERS=4
GROWTH_KB=1024
HANDSHAKES_PER_KILL=100                 # at most; there are 40 where nothing goes wrong
UNDISTURBED=40                          # pairs
# What a consumer may wait for beside its handshake: kernels want failures no sooner (FAILURE_AFTER in
# request.c), and where all have died there is nobody for so long (DELAY_ALONE_MAX in pool.c).
FAILURE_AFTER_MS=100 DELAY_ALONE_MS=1000
KILLED='was killed by signal 9 \(SIGKILL\)' UNSEEN='has ended($|;)'
SLOWER=10 DEADLINE_MS=60000             # the handshakes' own, of many-handshakes

# A third of the pairs has a pre-shared key, a third the configured certificates, where the keeper signs
# for what it was granted, and a third others by serial, where it is told the key.

# descriptors_of ROLE: how many a process has; several numbers where they differ
descriptors_of() {
	local pid

	for pid in $(tlshd_children "$1"); do find "/proc/$pid/fd" -type l 2>/dev/null | wc -l; done |
		sort -nu | paste -sd/
}

# show_descriptors: of what kinds they are
show_descriptors() {
	local pid

	for pid in $(tlshd_children worker) $(tlshd_children keeper); do
		diag "$(tr '\0' ' ' <"/proc/$pid/cmdline"): $(readlink "/proc/$pid/fd/"* |
			sed 's/[0-9][0-9]*/N/g' | sort | uniq -c | awk '{ $1 = $1; print }' | paste -sd,)"
	done
}

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
	figures_ref["descriptors of each worker"]=$(descriptors_of worker)
	figures_ref["descriptors of each keeper"]=$(descriptors_of keeper)
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

# unchanged WHEN: waits for it, and says of each figure what it was and is when it is not so
unchanged() {
	local name
	local -A after

	if wait_for 60 same_figures; then
		pass "$1 there is what there was before, and no more"
		return
	fi
	figures after
	for name in "${!before[@]}"; do is "$1 $name" "${after[$name]-none}" "${before[$name]}"; done
	show_descriptors
}

# new_identity VARIABLE NAME: its certificate and key become keys; the variable is CERTIFICATE,KEY
new_identity() {
	local cert key

	cert=$(keyctl padd user "certificate $2" "$x509_ring" <"$PKI/$2.pem") &&
		key=$(keyctl padd user "key $2" "$x509_ring" <"$PKI/$2.key") &&
		printf -v "$1" %s "$cert,$key"
}

# pairs_of N [OPTIONS...]: of all three kinds; fails unless all succeed in the end; sets killed, again
pairs_of() {
	local line succeeded=none faults

	echo >&"$beat"
	line=$(timeout 240 many-handshakes --files --client "$client_id" --server "$server_id" \
		"${@:2}" "$1" 4 "$plain" 0 "$many_ring" 2>&1)
	fields "$line"
	[[ $succeeded == "$1" && $faults == 0 ]] || explain "$line"
}

# undisturbed: sets longest_undisturbed to the longest there was, ms
undisturbed() {
	local longest_good_ms

	pairs_of $UNDISTURBED || return
	((longest_good_ms <= longest_undisturbed)) || longest_undisturbed=$longest_good_ms
}

# with_kills HANDSHAKES: sets kills, made_again, longest, and the pairs of each kind
with_kills() {
	local left=$(($1 / 2)) step=50 again=0 killed=0 longest_ms=0 with_psk=0 with_files=0 with_serials=0
	local again_psk=0 again_files=0 again_serials=0

	longest=0
	for ((; left > 0; left -= step)); do
		((left >= step)) || step=$left
		pairs_of $step --kill "$tlshd_pid" || return
		made_again=$((made_again + again)) kills=$((kills + killed))
		pairs_psk=$((pairs_psk + with_psk)) pairs_files=$((pairs_files + with_files))
		pairs_serials=$((pairs_serials + with_serials))
		made_psk=$((made_psk + again_psk)) made_files=$((made_files + again_files))
		made_serials=$((made_serials + again_serials))
		((longest_ms <= longest)) || longest=$longest_ms
	done
	diag "$kills kills, $made_again pairs made again, the longest of them took $longest ms" >&3
	diag "made again with psk $made_psk, with files $made_files, with serials $made_serials" >&3
}

# many_prepare: a keyring for the servers' requests, one for certificates, and who they are
many_prepare() {
	new_ring many_ring tlshd-many && keyctl link "$plain" "$many_ring" &&
		new_ring x509_ring tlshd-x509 && new_identity client_id client2 &&
		new_identity server_id server2 || return
	tlshd_config keyrings=tlshd-x509
	printf '[daemon]\nworkers = %s\n' $KILL_WORKERS >>"$TLSHD_CONF"
	tlshd_restart
}

# longest_is_short: nobody heard but when its own time was over
longest_is_short() {
	local limit=$((FAILURE_AFTER_MS + DELAY_ALONE_MS + SLOWER * longest_undisturbed))

	((limit <= DEADLINE_MS / 4)) || limit=$((DEADLINE_MS / 4))
	diag "the longest of the undisturbed ones took $longest_undisturbed ms"
	at_most "no pair waits for its own timeout" "$longest" $limit ms
}

# log_is_right HANDSHAKES
log_is_right() {
	local role deaths

	# what was named by serial was used, not what is configured
	at_least "lines of a server for who is known by serial" \
		"$(log_new | grep -cE '^server handshake with .*CN=client2[,"]')" "$pairs_serials" lines
	for role in client server; do
		log_handshakes $role
		is "one line for each handshake of a $role" "${#handshake_lines[@]}" \
			$(($1 / 2 + made_again + 2 * UNDISTURBED))
	done
	# Two kills can meet the same pair. And a process is not waited for longer than 50 ms once its channel
	# has ended: on a busy host it may not have got to its own end by then, and how it ends is not known.
	deaths=$(log_new | grep -cE "^(worker|keeper)\\[[0-9]+\\] ($KILLED|$UNSEEN)")
	at_least "kills" "$kills" $(($1 / HANDSHAKES_PER_KILL)) kills
	at_most "lines for deaths" "$deaths" "$kills" lines
	check "there are some" test "$deaths" -gt $((kills / 2))
	at_most "lines that do not know how" \
		"$(log_new | grep -cE "^(worker|keeper)\\[[0-9]+\\] $UNSEEN")" $(((kills + 19) / 20)) lines
	is "no line blames another" "$(log_new | grep -E '^(worker|keeper)\[')" \
		"$(log_new | grep -E "^(worker|keeper)\\[[0-9]+\\] ($KILLED|$UNSEEN)")"
}

# many HANDSHAKES
many() {
	local many_ring x509_ring client_id server_id name was
	local kills=0 longest=none made_again=0 longest_undisturbed=0
	local pairs_psk=0 pairs_files=0 pairs_serials=0 made_psk=0 made_files=0 made_serials=0
	local -A before fresh

	exec 3>&1
	try "restart with $KILL_WORKERS workers" many_prepare
	figures fresh
	log_mark
	try "some handshakes" undisturbed
	figures before
	# or what leaks at each handshake would be what there was before
	for name in "descriptors of each worker" "descriptors of each keeper"; do
		before[$name]=${fresh[$name]}
	done
	for name in "${!before[@]}"; do diag "$name: ${before[$name]}"; done
	was=$(rss)
	try "$1 handshakes, while processes are killed" with_kills "$1"
	try "some more, undisturbed" undisturbed
	for name in psk files serials; do
		local -n pairs_ref=pairs_$name
		at_least "pairs with $name" "$pairs_ref" $(($1 / 2 / 4)) pairs
	done
	at_least "deaths met pairs with certificates" $((made_files + made_serials)) 1 pairs
	longest_is_short
	unchanged "afterwards"
	at_most "the monitor's memory grows" $(($(rss) - was)) $GROWTH_KB KB
	log_is_right "$1"
	try "reload" tlshd_reload "$RELOADED"
	unchanged "with fresh processes"
	exec 3>&-
}

section_many() { many $HANDSHAKES; }
section_soak() {
	[[ ! -s $VM_SHARE/handshakes ]] || SOAK_HANDSHAKES=$(<"$VM_SHARE/handshakes")
	LIMIT=600 many "$SOAK_HANDSHAKES"
}
