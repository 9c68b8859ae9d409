# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Its variables are set and used by guest-lib.sh and interop-guest; files are read while they grow.
# shellcheck disable=SC2034,SC2154,SC2094
#
# For tests/vm/interop-guest and psk-guest: hsnc, its peers, and what can be seen of a connection.
# To be sourced after guest-lib.sh.
#
# Under emulation to start any program takes 50 to 150 ms, more than a handshake.  Therefore what
# bash can do itself it does here: waiting, comparing, reading the log.

LIMIT=60                                # seconds no single check may need
port=20000                              # below those the kernel chooses

# What hsnc asks for.
client_asks=(--auth unauth --peername nfs.test)
server_asks=(--auth x509)

# shellcheck disable=SC2034  # by name
nothing=''
ETIMEDOUT=110 EACCES=13 EIO=5
# shellcheck disable=SC2034  # for the sections
declare -A OPENSSL_CIPHER=([AES-128-GCM]=TLS_AES_128_GCM_SHA256 [AES-256-GCM]=TLS_AES_256_GCM_SHA384
	[CHACHA20-POLY1305]=TLS_CHACHA20_POLY1305_SHA256 [AES-128-CCM]=TLS_AES_128_CCM_SHA256)

# to load the system's authorities takes openssl a second
no_ca=(-no-CAfile -no-CApath -no-CAstore)

# for other options of the peers that are servers, in place of certificate and key
openssl_server_keys=() gnutls_server_keys=()

gnutls_cipher() { echo "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+$1"; }

# slurp NAME FILE: all of a text file into a variable
slurp() { IFS= read -r -d '' "$1" <"$2" || true; }

# Lines, since s_server -rev works by lines; long ones, so that it does not take for ever.  Text,
# since bash is to compare it.
interop_data() {
	local name size file

	for name in up:40020 down:36018 flight16:16384 flight50:50000; do
		size=${name#*:} name=${name%:*}
		base64 -w 2000 /dev/urandom | head -c "$size" >"$name"
		slurp "$name" "$name"
		[[ ${!name} == *[a-z]* && ${#name} != "$size" ]] || return
	done
	rev up >reversed
	slurp reversed reversed
	# everything to see is in these
	for file in hsnc peer received nothing; do : >"$file"; done
	mkfifo to-hsnc from-hsnc
}

# ---- a script from its start to its end -------------------------------------------------------

# interop_prepare NAME: certificates, modules, and a directory to work in
interop_prepare() {
	pki_take "$VM_SHARE/pki.tar" || return
	load_tls || return
	load_consumer || return
	mkdir -p "$WORK/$1"
	cd "$WORK/$1" && interop_data
}

# interop_start: the daemon, with its configuration written before
interop_start() {
	interop_watch
	tlshd_start
}

# interop_sections NAME...: all checks, and the end
interop_sections() {
	local section start now status=0 taint

	for section; do
		now_ms
		start=$now
		"section_$section"
		now_ms
		diag "section $section took $((now - start)) ms"
	done
	check "the daemon still runs" kill -0 "$tlshd_pid"
	tlshd_stop || status=$?
	is "the daemon's status at its end" "$status" 0
	read -r taint </proc/sys/kernel/tainted
	is "the kernel neither warned nor oopsed" $((taint & (32 | 128 | 512))) 0
	vm_end
}

# ---- checks -----------------------------------------------------------------------------------

# Each check writes to `beat`.
interop_watch() {
	mkfifo beat
	exec {beat}<>beat
	watchdog &
}

# If a check hangs, its programs end, and it fails.  Those of this session: the guest's first
# process and what carries our output are busybox, too.  What runs beside the checks is not here, nor
# what has a limit of its own.  A name of more than 15 bytes would have to be cut to 15.
watchdog() {
	local status

	while :; do
		status=0
		read -r -t "$LIMIT" -u "$beat" || status=$?
		((status <= 128)) ||
			pkill -s 0 -x \
				'hsnc|openssl|gnutls-cli|gnutls-serv|flight-peer|socket-state|busybox|deaths|hostile-peers' 2>/dev/null
	done
}

# fields LINE: NAME=VALUE of a program's line become variables
fields() {
	local word

	# shellcheck disable=SC2229  # their names come from the program
	for word in $1; do printf -v "${word%%=*}" %s "${word#*=}"; done
}

# try NAME COMMAND...: a check with a limit
try() {
	echo >&"$beat"
	check "$@"
}

# ---- the log ----------------------------------------------------------------------------------

# handshakes: sets seen, the lines of handshakes since log_mark; has_handshakes NUMBER
handshakes() {
	local line

	seen=()
	log_read
	for line in ${log_lines[@]+"${log_lines[@]}"}; do
		[[ ! $line =~ ^(client|server)\ handshake\ with\  ]] || seen+=("$line")
	done
}
has_handshakes() { handshakes; ((${#seen[@]} >= $1)); }

# logged REGEX: in exactly one line of a handshake
logged() {
	wait_for 20 has_handshakes 1
	handshakes
	((${#seen[@]} == 1)) || explain "${#seen[@]} lines for one handshake" || return
	[[ ${seen[0]} =~ $1 ]] || explain "the log does not say /$1/"
}

# ---- peers ------------------------------------------------------------------------------------

next_port() { port=$((port + 1)); }

listens() {
	local hex v4 v6
	printf -v hex ':%04X' "$1"
	slurp v4 /proc/net/tcp
	slurp v6 /proc/net/tcp6
	[[ $v4$v6 =~ $hex\ [0-9A-F:]+\ 0A ]]
}

# peer_start COMMAND...: something that listens on $port.  Its output goes to the file `peer`.
peer_start() {
	"$@" >peer 2>&1 </dev/null &
	peer_pid=$!
	wait_for 30 listens "$port" || explain "nothing listens on port $port: $*"
}

peer_stop() {
	kill "$peer_pid" 2>/dev/null
	wait "$peer_pid" 2>/dev/null
	return 0
}
peer_wait() { wait "$peer_pid" 2>/dev/null; }

# peer_stop_after REGEX: once it has said that, or did not in 10 s
peer_stop_after() {
	wait_for 10 has_said peer "$1"
	peer_stop
}

# openssl_server OPTIONS...: as $server_cert, on the next port; sends each line back, reversed.
openssl_server() {
	local keys=("${openssl_server_keys[@]}")

	((${#keys[@]})) || keys=(-cert "$PKI/${server_cert:-server}.pem"
				 -key "$PKI/${server_cert:-server}.key")
	next_port
	peer_start openssl s_server -accept "${listen_on:-127.0.0.1}:$port" -rev "${no_ca[@]}" \
		"${keys[@]}" "$@"
}

# gnutls_server OPTIONS...: the same, sends everything back as it is.
gnutls_server() {
	local keys=("${gnutls_server_keys[@]}")

	((${#keys[@]})) || keys=(--x509certfile "$PKI/${server_cert:-server}.pem"
				 --x509keyfile "$PKI/${server_cert:-server}.key")
	next_port
	peer_start gnutls-serv -p "$port" --echo "${keys[@]}" "$@"
}

# ---- hsnc -------------------------------------------------------------------------------------

# client OPTIONS...: hsnc with the file `up`; sets hsnc_status and got.
client() {
	hsnc_status=0
	hsnc "$@" <up >got 2>hsnc || hsnc_status=$?
	slurp got got
}

# server COMMAND...: hsnc on $port, the command is its client.  It has the file $input at its
# standard input; hsnc answers it with $reply, which may be `nothing`, but only when it has all of
# the input: the client may end when hsnc does.  Sets hsnc_status, got, and received.
server() {
	local hsnc to from wanted=${input:-up} answer=${reply:-down} rest

	wanted=${!wanted} answer=${!answer}
	# shellcheck disable=SC2086  # no word or one
	hsnc -l "${listen_on:-127.0.0.1}" "$port" "${server_asks[@]}" ${hsnc_flag:-} \
		<to-hsnc >from-hsnc 2>hsnc &
	hsnc=$!
	exec {to}>to-hsnc {from}<from-hsnc
	wait_for 30 listens "$port" || explain "hsnc does not listen" || return
	"$@" <"${input:-up}" >received 2>peer {to}>&- {from}<&- &
	peer_pid=$!
	got=''
	IFS= read -r -N "${#wanted}" -u "$from" got
	# in a shell of its own, which SIGPIPE may end if hsnc has failed
	[[ $got != "$wanted" ]] || (printf '%s' "$answer" >&"$to")
	exec {to}>&-
	hsnc_status=0
	wait "$hsnc" || hsnc_status=$?
	IFS= read -r -d '' -u "$from" rest
	got+=$rest
	exec {from}<&-
	peer_wait
	slurp received received
}

# ---- what to look at --------------------------------------------------------------------------

# explain WHAT: all there is to see; fails
explain() {
	local file text

	echo "$1"
	for file in hsnc peer; do
		slurp text "$file"
		[[ -z $text ]] || printf -- '--- %s\n%s\n' "$file" "${text:0:3000}"
	done
	echo '--- log'
	log_new
	return 1
}

# hsnc's status for the errno of a handshake
errno_is() { status_is $(($1 < 120 ? $1 : 121)) && hsnc_said "hsnc: status=-$1 "; }

status_is() { [[ $hsnc_status == "$1" ]] || explain "hsnc's status is $hsnc_status, not $1"; }

# got_is NAME: hsnc's standard output was the variable's value; received_is: the client's
got_is() { [[ $got == "${!1}" ]] || explain "hsnc got ${#got} bytes which are not '$1'"; }
received_is() {
	[[ $received == "${!1}" ]] || explain "the client got ${#received} bytes which are not '$1'"
}

# A line of hsnc, of the peer matches.
hsnc_said() { said hsnc "$1"; }
peer_said() { said peer "$1"; }
said() { has_said "$@" || explain "$1 does not say /$2/"; }
has_said() {
	local text

	slurp text "$1"
	[[ $text =~ $2 ]]
}

# The kernel's word for both directions.
ktls_is() { hsnc_said "hsnc: ktls=1\.3 tx=$1 rx=$1"$'\n'; }

# refused ERRNO REGEX: the handshake failed so, for this reason, and no data came.
refused() { errno_is "$1" && logged "$2" && got_is nothing; }

# ---- handshakes that fail -----------------------------------------------------------------------

# client_refuses ERRNO REGEX PEER-REGEX: the peer listens, and sees our alert
client_refuses() {
	client 127.0.0.1 "$port" "${client_asks[@]}" --timeout 8000
	peer_stop_after "$3"
	refused "$1" "$2" && peer_said "$3"
}

# server_refuses ERRNO REGEX PEER-REGEX COMMAND...: the client sends nothing, since to end a
# connection with something unread resets it, and the client may not see the alert.
server_refuses() {
	local errno=$1 regex=$2 peer_regex=$3 input=nothing reply=nothing
	shift 3

	log_mark
	server "$@" || return
	refused "$errno" "$regex" && peer_said "$peer_regex" && hsnc_said ' remote-id=0 ' &&
		received_is nothing
}

# raw_client TEXT ERRNO REGEX: the client writes that, and ends
# shellcheck disable=SC2317  # called by server
raw_client() {
	local input=nothing reply=nothing
	write_raw() {
		local socket
		exec {socket}<>"/dev/tcp/127.0.0.1/$port" && printf %b "$1" >&"$socket"
	}
	log_mark
	server write_raw "$1" && refused "$2" "$3"
}
