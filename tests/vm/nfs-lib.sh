# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Variables of guest-lib.sh:
# shellcheck disable=SC2154
#
# What the tests by NFS mounts share in the guest: checks of mounts and of what the daemon says about
# them, and the run of one function for each subject.  To be sourced after guest-lib.sh.

# What counts as "at once": far below the 10 s for which the kernel's client and the 5 to 20 s for
# which its server waits for the daemon, far above what a slow machine needs.
# below the 10 s after which SunRPC gives a handshake up by itself; a busy machine is slow
SOON_MS=9000
MARKER=this-is-the-marker-that-must-not-be-seen

# ---- mounts -----------------------------------------------------------------------------------

# The file read through the mount is the server's, byte by byte, and came over the network now.
file_is_same() { drop_caches; cmp "$MOUNT_DIR/file" "$EXPORT_DIR/file"; }

# handshakes NAME CLIENT SERVER: so many lines since the mark, and no more.
handshakes() {
	local got clients servers

	wait_for 15 handshakes_are_there "$2" "$3"
	pause 0.3
	handshakes_count
	got="$clients $servers"
	if [[ $got == "$2 $3" ]]; then pass "$1: log lines of client and server: $2 $3"
	else fail "$1: log lines of client and server: $got, not $2 $3" "$(log_new)"; fi
}
handshakes_count() {
	log_handshakes client
	clients=${#handshake_lines[@]}
	log_handshakes server
	servers=${#handshake_lines[@]}
}
# refusals NAME N: as many of both, N or more: a client is done before the server refuses, and when
# it had sent a request by then, SunRPC connects again, more than once on a busy machine.
refusals() {
	local name="$1: log lines of client and server: $2 of each, at most ten times as many"
	local clients servers

	wait_for 15 handshakes_are_there "$2" "$2"
	pause 0.3
	handshakes_count
	if ((clients == servers && clients >= $2 && clients <= 10 * $2)); then pass "$name"
	else fail "$name" "$clients and $servers"$'\n'"$(log_new)"; fi
}
handshakes_are_there() { handshakes_count; ((clients >= $1 && servers >= $2)); }

# logged NAME ROLE REGEX: the line of that side comes, and says so behind "client handshake with".
logged() {
	local name="$1: the $2's line says /$3/" output
	if output=$(log_wait 15 "^$2 handshake with .*$3"); then pass "$name"
	else fail "$name" "$output"; fi
}

# mounts NAME MODE [SERVERNAME [ADDRESS]]: must succeed, with the file whole, and is unmounted.
mounts() {
	local name=$1
	shift
	log_mark
	if ! nfs_mount "$@"; then
		fail "$name" "$mount_errno after $mount_ms ms"$'\n'"$(log_new)"
		return 1
	fi
	check "$name ($mount_ms ms), 300 kB the same" file_is_same
	check "$name: unmounted" nfs_umount
}

# refused NAME ERRNO MODE [SERVERNAME [ADDRESS]]: must fail so, and soon.
refused() {
	local name=$1 want=$2
	shift 2
	log_mark
	nfs_mount "$@" && nfs_umount
	is "$name: refused with $want" "$mount_errno" "$want"
	at_most "$name: soon" "$mount_ms" "$SOON_MS" ms
}

# reconfigure SETTINGS...: of tlshd_config, by SIGHUP.
reconfigure() {
	tlshd_config "$@"
	tlshd_reload '^the configuration was reloaded' >"$WORK/reload" && return
	fail "reload with $*" "$(cat "$WORK/reload")"
	return 1
}

# The kernel's number of the client's socket; its port it may use again.
connection() { ss -tneH state established '( dport = :2049 )' | grep -oE 'sk:[0-9a-f]+'; }
reconnected() { [[ -n $(connection) && $(connection) != "$1" ]]; }

# ---- what must not grow -----------------------------------------------------------------------

# footprint: what must not grow.  Descriptors of all processes, processes, zombies, keys.
footprint() {
	local pid fds=0 count=0 zombies

	for pid in $(tlshd_all); do
		fds=$((fds + $(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)))
		count=$((count + 1))
	done
	zombies=$(grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
	echo "descriptors $fds processes $count zombies $zombies keys $(wc -l </proc/keys)"
}

footprint_is() { [[ $(footprint) == "$1" ]]; }

# ---- the run ----------------------------------------------------------------------------------

# nfs_setup: the server exports a file of 300 kB, the daemon runs on the good configuration.
nfs_setup() {
	nfs_server_start || return
	pki_take "$VM_SHARE/pki.tar"
	# each line another one, so that nothing could be left out unseen
	awk -v m="$MARKER" 'BEGIN { for (i = 0; i < 6000; i++) print i, m, i * 7919 }' |
		head -c 300000 >"$EXPORT_DIR/file"
	[[ $(stat -c %s "$EXPORT_DIR/file") == 300000 ]] || return
	tlshd_config
	tlshd_start
}

# nfs_run SETUP PART...: the function SETUP, then part_PART for each; prints the plan, copies the
# daemon's log to the share, and leaves the script.
nfs_run() {
	local setup=$1 part
	shift

	# not by `check`, whose command is a child: the daemon must be ours
	if "$setup" >"$WORK/setup" 2>&1; then pass "NFS server and daemon start"
	else
		fail "NFS server and daemon start" "$(cat "$WORK/setup")"
		tap_end
		exit 1
	fi
	for part; do
		if [[ $(type -t "part_$part") != function ]]; then
			fail "part $part" "there is no such part"
			continue
		fi
		diag "---- $part, at $SECONDS s"
		"part_$part"
		if nfs_is_mounted; then
			fail "$part leaves nothing mounted"
			nfs_umount
		fi
	done
	tlshd_stop
	cp "$TLSHD_LOG" "$VM_SHARE/tlshd.log"
	diag "ended at $SECONDS s"
	vm_end
	exit
}
