# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the scripts share that tests/vm/run starts in a guest: TAP, the daemon, NFS with both ends
# in the one kernel, captures.  To be sourced by bash with `set -uo pipefail`, without -e: a test
# goes on after a failure.
#
# One daemon serves both ends, so that the configuration has both sides' files and the log has two
# lines for a connection that both ends finish.
#
# A program started under emulation costs a third of a second.  So whatever is done often or polled
# is done by the shell itself, and results come in variables where $() would fork.

WORK=/tmp/vm                            # all files of this library, in the guest's memory
PKI=$WORK/pki                           # see pki_take
EXPORT_DIR=/srv/export
MOUNT_DIR=/mnt/nfs

mkdir -p "$WORK"

# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$TLSHD_SRC/tests/tap.sh"

# ---- time -------------------------------------------------------------------------------------

# now_ms: sets `now`, in milliseconds.
now_ms() { now=$((${EPOCHREALTIME/[.,]/} / 1000)); }

# pause SECONDS: sleeps.  Reads from a pipe that nobody writes to.
exec {pause_fd}<> <(:)
pause() { read -r -t "$1" -u "$pause_fd" _; true; }

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	local end now

	now_ms
	end=$((now + $1 * 1000))
	shift
	until "$@"; do
		now_ms
		((now < end)) || return 1
		pause 0.02
	done
}

# ---- certificates -----------------------------------------------------------------------------

# pki_take TAR: unpacks what tests/vm/pki made; root owns the files, whoever made them.
pki_take() {
	mkdir -p "$PKI"
	tar -C "$PKI" --no-same-owner -xpf "$1"
}

# ---- the daemon -------------------------------------------------------------------------------

TLSHD_CONF=$WORK/tlshd.conf
TLSHD_LOG=$WORK/tlshd.log
tlshd_pid=
: >>"$TLSHD_LOG"

# tlshd_config [KEY=VALUE...]: writes the configuration.  Keys: server, client (NAME of certificate
# and key), server_trust, client_trust, server_crl, client_crl (NAME; client_* is what a client
# uses), keyrings; an empty value leaves the line out.  More lines by extra_client=, extra_server=.
# The variable always_keyrings has keyrings that come first in any case.
# shellcheck disable=SC2154  # declared by name
tlshd_config() {
	local setting
	local server=server client=client server_trust=ca client_trust=ca server_crl='' client_crl=''
	local extra_server='' extra_client='' keyrings=''

	for setting; do local "$setting"; done
	path() { [[ -z $2 ]] || echo "x509.$1 = $PKI/$2"; }
	{
		echo "[debug]"
		echo "loglevel = 0"
		keyrings=${always_keyrings:-}${always_keyrings:+;}$keyrings
		[[ -z ${keyrings%;} ]] || printf '[authenticate]\nkeyrings = %s\n' "${keyrings%;}"
		echo "[authenticate.client]"
		path truststore "${client_trust:+$client_trust.pem}"
		path crl "${client_crl:+$client_crl.pem}"
		path certificate "${client:+$client.pem}"
		path private_key "${client:+$client.key}"
		[[ -z $extra_client ]] || echo "$extra_client"
		echo "[authenticate.server]"
		path truststore "${server_trust:+$server_trust.pem}"
		path crl "${server_crl:+$server_crl.pem}"
		path certificate "${server:+$server.pem}"
		path private_key "${server:+$server.key}"
		[[ -z $extra_server ]] || echo "$extra_server"
	} >"$TLSHD_CONF"
}

# Somebody listens for the kernel's requests: a generic netlink socket (16) in a group.
agent_listens() {
	local eth groups

	while read -r _ eth _ groups _; do
		[[ $eth != 16 || $groups =~ ^0+$ ]] || return 0
	done </proc/net/netlink
	return 1
}

# log_mark: remembers the end of the log.  log_read: sets log_lines, what was written since then.
log_mark() {
	mapfile -t log_lines <"$TLSHD_LOG"
	log_marked=${#log_lines[@]}
	log_lines=()
}
log_read() { mapfile -t -s "${log_marked:-0}" log_lines <"$TLSHD_LOG"; }
log_new() {
	log_read
	((${#log_lines[@]} == 0)) || printf '%s\n' "${log_lines[@]}"
}
log_has() {
	local line

	log_read
	for line in ${log_lines[@]+"${log_lines[@]}"}; do
		[[ ! $line =~ $1 ]] || return 0
	done
	return 1
}

# log_wait SECONDS REGEX: for a line since the mark.
log_wait() {
	wait_for "$1" log_has "$2" && return
	echo "no line /$2/ within $1 s in:"
	log_new
	return 1
}

# log_handshakes ROLE: sets handshake_lines, those of that side since the mark.
# shellcheck disable=SC2034  # for the scripts
log_handshakes() {
	local line

	handshake_lines=()
	log_read
	for line in ${log_lines[@]+"${log_lines[@]}"}; do
		[[ $line != "$1 handshake with "* ]] || handshake_lines+=("$line")
	done
}

# tlshd_start: with the configuration written before; its log follows what TLSHD_LOG has.  With
# tlshd_session=NAME it has a session keyring of its own, as in its unit: root's is not in there.
# The words of tlshd_under come before its name.
# shellcheck disable=SC2086  # any number of words
tlshd_start() {
	log_mark
	nice -n -20 ${tlshd_session:+keyctl session $tlshd_session} ${tlshd_under:-} \
		tlshd -s -c "$TLSHD_CONF" >>"$TLSHD_LOG" 2>&1 </dev/null &
	tlshd_pid=$!
	wait_for 60 tlshd_is_ready && kill -0 "$tlshd_pid" 2>/dev/null && return
	echo "tlshd did not become ready:"
	cat "$TLSHD_LOG"
	return 1
}

tlshd_is_ready() {
	kill -0 "$tlshd_pid" 2>/dev/null || return 0    # no use in waiting on
	agent_listens && log_has ' is ready'
}

# tlshd_stop: returns its exit status.
tlshd_stop() {
	local status=0

	[[ -n $tlshd_pid ]] || return 0
	kill -TERM "$tlshd_pid" 2>/dev/null
	wait "$tlshd_pid" 2>/dev/null || status=$?
	tlshd_pid=
	return "$status"
}

tlshd_restart() { tlshd_stop; tlshd_start; }

# tlshd_reload REGEX: waits for the line that says how it went.
tlshd_reload() {
	log_mark
	kill -HUP "$tlshd_pid" && log_wait 60 "$1"
}

# tlshd_all: the process ids of the monitor and of all that it started.
tlshd_all() { pgrep -f '^tlshd[: ]'; }

# tlshd_children ROLE: their process ids.
tlshd_children() {
	pgrep -P "$tlshd_pid" -f -- "--role=$1"
	return 0
}

# Process ids of workers and keepers that were made to do on purpose what their sandbox forbids.
provoked=()

# nothing_forbidden: none but those did, in what the log has from the first line on.  A build with
# -Dsandbox=trap names the call, all others say it of a process that was killed by SIGSYS.
nothing_forbidden() {
	local line forbidden pid status=0

	mapfile -t forbidden < <(grep 'sandbox forbids' "$TLSHD_LOG")
	for line in ${forbidden[@]+"${forbidden[@]}"}; do
		for pid in ${provoked[@]+"${provoked[@]}"}; do
			[[ $line != *"[$pid]"* ]] || continue 2
		done
		echo "$line"
		status=1
	done
	grep -q ' is ready' "$TLSHD_LOG" || { echo "the log is not there"; return 1; }
	return $status
}

# vm_end: the last check of all scripts, and tap_end
vm_end() {
	check "no process did what its sandbox forbids" nothing_forbidden
	tap_end
}

# load_tls [MODULE...]: the record layer with its ciphers, the fast ones where there are some
load_tls() {
	modprobe -a tls gcm ccm ctr ghash-generic chacha20poly1305 "$@" || return
	modprobe -q aesni_intel
	return 0
}

# load_consumer: the test consumer of the upcall
load_consumer() {
	[[ -n $HS_CONSUMER_KO ]] || { echo "the module hs_consumer could not be built"; return 1; }
	insmod "$HS_CONSUMER_KO"
}

# ---- NFS --------------------------------------------------------------------------------------

# nfs_server_start: exports EXPORT_DIR for mode none to both loopback addresses.  No mountd: what it
# would answer is written here.
nfs_server_start() {
	local expiry

	load_tls nfsd nfsv4 \
		tcp_diag inet_diag af_packet || return
	mkdir -p "$EXPORT_DIR" "$MOUNT_DIR" "$WORK/rpc_pipefs"
	mount -t tmpfs export "$EXPORT_DIR" && mount -t nfsd nfsd /proc/fs/nfsd &&
		mount -t rpc_pipefs rpc_pipefs "$WORK/rpc_pipefs" || return
	"$TLSHD_SRC/tests/vm/nfsdcld" "$WORK/rpc_pipefs/nfsd/cld" &
	expiry=$(($(date +%s) + 86400))
	echo "nfsd 127.0.0.1 $expiry lab" >/proc/net/rpc/auth.unix.ip/channel &&
		echo "nfsd ::1 $expiry lab" >/proc/net/rpc/auth.unix.ip/channel &&
		nfs_export none &&
		printf '%s\n' "lab 1 \\x00000000 $expiry $EXPORT_DIR" >/proc/net/rpc/nfsd.fh/channel &&
		echo "-2 -3 +4 +4.1 +4.2" >/proc/fs/nfsd/versions &&
		echo "tcp 2049" >/proc/fs/nfsd/portlist &&
		echo 4 >/proc/fs/nfsd/threads
}

# nfs_export MODE...: from now on the export takes these of none, tls, mtls.
nfs_export() {
	local mode modes=()

	for mode; do
		case $mode in
		none) modes+=(1) ;;
		tls)  modes+=(2) ;;
		mtls) modes+=(4) ;;
		esac
	done
	# uid and gid of anonymous, fsid 0; the flags say rw, async, no_root_squash, no subtree check
	echo "lab $EXPORT_DIR $(($(date +%s) + 86400)) 9234 65534 65534 0" \
		"xprtsec ${#modes[@]} ${modes[*]}" >/proc/net/rpc/nfsd.export/channel
}

# nfs_options MODE ADDRESS: and whatever the variable mount_options has
nfs_options() {
	echo "vers=4.2,addr=$2,clientaddr=$2,xprtsec=$1,sec=sys,soft,timeo=${mount_timeo:-100},\
retrans=1${mount_options:+,$mount_options}"
}

# nfs_source NAME: an IPv6 address stands in brackets
nfs_source() { if [[ $1 == *:* ]]; then echo "[$1]:/"; else echo "$1:/"; fi; }

# nfs_mount MODE [NAME [ADDRESS]]: mounts NAME:/ on MOUNT_DIR; NAME is what the certificate is
# checked for.  Sets mount_errno, the name of what mount(2) said, "ok" for success, and mount_ms.
# Without mount(8), which makes words of the errno that fit several, and tries EACCES again.
# shellcheck disable=SC2034  # for the scripts
nfs_mount() {
	local start now

	now_ms
	start=$now
	# shellcheck disable=SC2016  # for perl
	mount_errno=$(perl -MErrno -e '
		my ($source, $target, $type, $options) = @ARGV;
		exit 0 if syscall(165, $source, $target, $type, 0, $options) == 0;
		print join("/", sort grep { $!{$_} } keys %!), "\n"; exit 1' \
		"$(nfs_source "${2:-localhost}")" "$MOUNT_DIR" nfs4 \
		"$(nfs_options "$1" "${3:-127.0.0.1}")") && mount_errno=ok
	now_ms
	mount_ms=$((now - start))
	if [[ $mount_errno == ok ]] && ! nfs_is_mounted; then mount_errno="ok, but not mounted"; fi
	[[ $mount_errno == ok ]]
}

nfs_is_mounted() { [[ $(</proc/mounts) == *" $MOUNT_DIR nfs4 "* ]]; }

# Also waits until the client's connection has gone: otherwise the next mount may share it.
nfs_umount() {
	umount "$MOUNT_DIR" && wait_for 20 nfs_no_connection
}

# No established one (01) to port 2049 (0801).
nfs_no_connection() {
	local remote state

	while read -r _ _ remote state _; do
		[[ $remote != *:0801 || $state != 01 ]] || return 1
	done <<<"$(</proc/net/tcp)"$'\n'"$(</proc/net/tcp6)"
	return 0
}

drop_caches() { sync; echo 3 >/proc/sys/vm/drop_caches; }

# The line of the client's end.
nfs_ulp() { ss -tieH state established '( dport = :2049 )' | grep -o 'tcp-ulp-[^ ]* .*' | head -n 1; }

# tls_stat NAME: of the kernel's counters.
tls_stat() {
	local name value

	while read -r name value; do
		[[ $name != "$1" ]] || echo "$value"
	done </proc/net/tls_stat
}

# ---- capture ----------------------------------------------------------------------------------

capture_pid=

# capture_start FILE [FILTER [INTERFACE]]
capture_start() {
	capture_file=$1
	: >"$1.err"
	# --immediate-mode: else packets wait in the kernel for up to a second, and the end loses them
	tcpdump --immediate-mode -i "${3:-lo}" -U -s 0 -B 16384 -Z root -w "$1" "${2:-tcp port 2049}" 2>"$1.err" </dev/null &
	capture_pid=$!
	wait_for 20 capture_listens || { cat "$1.err"; return 1; }
}
capture_listens() { [[ $(<"$capture_file.err") == *'listening on'* ]]; }

# capture_stop: fails when packets were lost or there were none; sets capture_packets.
capture_stop() {
	local dropped size=-1

	while [[ $size != "$(stat -c %s "$capture_file")" ]]; do
		size=$(stat -c %s "$capture_file")
		pause 0.2
	done
	kill -INT "$capture_pid"
	wait "$capture_pid" 2>/dev/null
	capture_packets=$(awk '/ packets? captured$/ { print $1 }' "$capture_file.err")
	dropped=$(awk '/ packets? dropped by kernel$/ { print $1 }' "$capture_file.err")
	[[ ${capture_packets:-0} -gt 0 && $dropped == 0 ]] && return
	echo "the capture is not whole:"
	cat "$capture_file.err"
	return 1
}

# capture_count TEXT [FILE]: how often TEXT stands in the packets.
capture_count() { grep -aoF -- "$1" "${2:-$capture_file}" | wc -l; }
