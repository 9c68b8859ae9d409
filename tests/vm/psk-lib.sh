# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Its variables are set and used by guest-lib.sh and the scripts that source it.
# shellcheck disable=SC2034,SC2154
#
# For tests/vm/psk-guest and secrets-guest: keys in the kernel's keyrings.  To be sourced after
# interop-lib.sh.
#
# The daemon has a session keyring of its own, as it has from systemd: what this shell possesses is
# nothing to it.  Keys are made with the permissions that keyctl gives them: their possessor may do
# all, their owner may only see them.

ENOKEY=126 EKEYEXPIRED=127 EKEYREVOKED=128 EKEYREJECTED=129 EOPNOTSUPP=95

tlshd_session=-                         # without a name: nobody can join it

# permissions by which root may search, read and link what it does not possess
FOR_OWNER=0x3f3f0000

# keys_prepare: the key type psk and the keyring .nvme; sets nvme_ring.  A kernel before 6.7 has
# neither: there keys of type user do, in a keyring that the configuration names.
psk_type=psk
keys_prepare() {
	local major minor

	IFS=.- read -r major minor _ </proc/sys/kernel/osrelease
	if ((1000 * major + minor >= 6007)); then
		modprobe nvme-keyring || return
		find_key keyring .nvme || { echo "there is no keyring .nvme"; return 1; }
		nvme_ring=$serial
	else
		psk_type=user always_keyrings=tlshd-nvme
		new_ring nvme_ring $always_keyrings || return
	fi
	keyctl link "$nvme_ring" @us
}

# find_key TYPE NAME: sets serial, by /proc/keys
find_key() {
	local id type name

	while read -r id _ _ _ _ _ _ type name; do
		if [[ $type == "$1" && $name == "$2:"* ]]; then
			serial=$((16#$id))
			return
		fi
	done </proc/keys
	return 1
}

# new_hex VARIABLE BYTES: random
new_hex() { printf -v "$1" %s "$(od -An -v -tx1 -N "$2" /dev/urandom | tr -d ' \n')"; }

# write_hex HEX: its bytes
write_hex() {
	local i

	for ((i = 0; i < ${#1}; i += 2)); do printf %b "\\x${1:i:2}"; done
}

# new_key VARIABLE IDENTITY HEX [RING]: a pre-shared key; the variable is its serial
new_key() {
	local serial

	serial=$(write_hex "$3" | keyctl padd $psk_type "$2" "${4:-$nvme_ring}") && printf -v "$1" %s "$serial"
}

# new_ring VARIABLE NAME [PERMISSIONS]
new_ring() {
	local serial

	serial=$(keyctl newring "$2" @u) && keyctl setperm "$serial" "${3:-$FOR_OWNER}" &&
		printf -v "$1" %s "$serial"
}

# forget_key SERIAL [RING]: out of the keyring
forget_key() { keyctl unlink "$1" "${2:-$nvme_ring}"; }

# key_word SERIAL: as the log writes it
key_word() { printf '0x%08x' "$1"; }

# quoted_regex TEXT: matches just that
quoted_regex() {
	local i text=''

	for ((i = 0; i < ${#1}; i++)); do
		case ${1:i:1} in
		[][\\.*^$+?\(\){}\|]) text+="\\${1:i:1}" ;;
		*) text+=${1:i:1} ;;
		esac
	done
	printf %s "$text"
}

# ---- peers with a key -------------------------------------------------------------------------

GNUTLS_PSK='NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK'
GNUTLS_PSK_KE='NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+PSK'

# gnutls_psk [CIPHER]: a priority string
gnutls_psk() { echo "$GNUTLS_PSK${1:+:-CIPHER-ALL:+$1}"; }

hex_of() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }

# peer_knows IDENTITY HEX: from now on openssl_server, gnutls_server, and openssl_psk_client,
# gnutls_psk_client have this key.
peer_knows() {
	openssl_server_keys=(-nocert -tls1_3 -psk_identity "$1" -psk "$2")
	openssl_psk_client=(openssl s_client -quiet -nocommands "${no_ca[@]}" -tls1_3
		-psk_identity "$1" -psk "$2")
	gnutls_server_keys=(-q --pskpasswd psk-passwd)
	gnutls_psk_client=(gnutls-cli --logfile=peer --x509cafile="$PKI/ca.pem" "--pskusername=$1"
		"--pskkey=$2")
	printf '#%s:%s\n' "$(hex_of "$1")" "$2" >psk-passwd
}

# openssl_session FILE HEX: a session that holds a key for TLS_AES_256_GCM_SHA384, for -psk_session;
# the keys of -psk are always for SHA-256.
openssl_session() {
	printf '%s\n' asn1=SEQUENCE:s '[s]' v=INTEGER:1 tls=INTEGER:0x0304 \
		cipher=FORMAT:HEX,OCTETSTRING:1302 id=FORMAT:ASCII,OCT: \
		"key=FORMAT:HEX,OCTETSTRING:$2" "from=EXPLICIT:1,INTEGER:$(date +%s)" \
		to=EXPLICIT:2,INTEGER:1000000 >"$1.conf"
	openssl asn1parse -genconf "$1.conf" -noout -out "$1.der" || return
	{
		echo '-----BEGIN SSL SESSION PARAMETERS-----'
		base64 -w 64 "$1.der"
		echo '-----END SSL SESSION PARAMETERS-----'
	} >"$1"
}

# ---- one handshake ----------------------------------------------------------------------------

# psk_logged ROLE CIPHER IDENTITY SERIAL; $logged_identity: a regex, where the log writes it
# otherwise
psk_logged() {
	local identity=${logged_identity:-$(quoted_regex "$3")}

	logged "^$1 handshake with 127\.0\.0\.1:[0-9]+, psk, ok: TLS 1\.3, $2, [^,]*, .*\"$identity\".* $(
		key_word "$4")[^0-9a-f]"
}

# psk_client PEER CIPHER IDENTITY SERIAL [OPTIONS-OF-THE-PEER...]: hsnc with --psk SERIAL, or
# with $client_keys; CIPHER is a regex.
psk_client() {
	local peer=$1 cipher=$2 identity=$3 serial=$4 back=reversed
	shift 4

	log_mark
	[[ $peer == openssl ]] || back=up
	"${peer}_server" "$@" || return
	# shellcheck disable=SC2086  # words
	client 127.0.0.1 "$port" --auth psk ${client_keys:---psk $serial} --timeout 8000
	peer_stop
	status_is 0 && got_is $back && ktls_is "$cipher" && hsnc_said " remote-id=$serial " &&
		psk_logged client "$cipher" "$identity" "$serial"
}

# psk_server PEER CIPHER IDENTITY SERIAL [OPTIONS-OF-THE-PEER...]: hsnc asks $server_asks
psk_server() {
	local peer=$1 cipher=$2 identity=$3 serial=$4
	shift 4

	log_mark
	server "psk_peer_$peer" "$@" || return
	status_is 0 && got_is up && received_is down && ktls_is "$cipher" &&
		hsnc_said " remote-id=$serial " && psk_logged server "$cipher" "$identity" "$serial"
}

psk_peer_openssl() { exec "${openssl_psk_client[@]}" -connect "127.0.0.1:$port" "$@"; }
psk_peer_gnutls() { exec "${gnutls_psk_client[@]}" -p "$port" "$@" 127.0.0.1; }

# client_fails ERRNO REGEX SERIAL...: before a ClientHello: the server sees an end and nothing else
client_fails() {
	local errno=$1 regex=$2 serial keys=()
	shift 2

	for serial; do keys+=(--psk "$serial"); done
	log_mark
	next_port
	peer_start busybox nc -l -p "$port" -e sleep 5 || return
	client 127.0.0.1 "$port" --auth psk "${keys[@]}" --timeout 8000
	peer_stop
	refused "$errno" "$regex"
}

# psk_client_refused PEER SERIAL ERRNO REGEX PEER-REGEX [OPTIONS-OF-THE-PEER...]
psk_client_refused() {
	local peer=$1 errno=$3 regex=$4 peer_regex=$5 client_asks=(--auth psk --psk "$2")
	shift 5

	log_mark
	"${peer}_server" "$@" && client_refuses "$errno" "$regex" "$peer_regex"
}

# psk_server_refuses PEER ERRNO REGEX PEER-REGEX [OPTIONS-OF-THE-PEER...]
psk_server_refuses() {
	local peer=$1 errno=$2 regex=$3 peer_regex=$4
	shift 4

	server_refuses "$errno" "$regex" "$peer_regex" "psk_peer_$peer" "$@"
}
