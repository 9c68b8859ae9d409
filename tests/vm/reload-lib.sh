# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Its variables are set and used by the script that sources it.
# shellcheck disable=SC2034
#
# For tests/vm/reload-guest: the configuration's files, and the ways to replace them.  To be sourced
# after guest-lib.sh.
#
# The files lie as they do on servers: the server's certificate and key behind certbot's symbolic
# links, the client's are replaced by rename, the trust store is written in place, the revocation
# lists are replaced by rename.

SITE=$WORK/site
WORKERS=2
PROBE_RING=tlshd-probe

# What is in place, or was before the fault.
server=server client=client crl=crl trust=1 number=0
declare -A OTHER=([server]=server2 [server2]=server [client]=client2 [client2]=client [crl]=crl-empty
	[crl-empty]=crl)

# put FILE AS [MODE [OWNER]]: as a new file that takes the other's place
put() {
	cp "$PKI/$1" "$SITE/.new" && chmod "${3:-600}" "$SITE/.new" || return
	[[ -z ${4-} ]] || chown "$4" "$SITE/.new" || return
	mv -T "$SITE/.new" "$2"
}

# put_client SUFFIX...: certificate and key, in this order, a third of them with a pause in between,
# but with hurry=yes
put_client() {
	local what

	for what; do cp "$PKI/$client.$what" "$SITE/.$what" && chmod 600 "$SITE/.$what"; done
	[[ ! -d $SITE/client.pem ]] || rmdir "$SITE/client.pem"
	for what; do
		mv -T "$SITE/.$what" "$SITE/client.$what"
		# seen, and not to be said
		[[ $what != "$1" || -n ${hurry-} ]] || ((RANDOM % 3)) || pause 0.8
	done
}

# link_server NAME...: certificate and key, behind new links, in this order
link_server() {
	local what

	number=$((number + 1))
	for what; do
		cp "$PKI/$what" "$SITE/archive/host/$number.${what##*.}"
		chmod 600 "$SITE/archive/host/$number.${what##*.}"
	done
	# close together: while only one of them is there they do not fit
	for what; do
		ln -sfn "../../archive/host/$number.${what##*.}" "$SITE/live/host/${what##*.}"
	done
	rm -f "$SITE/archive/host/$((number - 3))".*
}

site_make() {
	mkdir -p "$SITE"/{live,archive}/host
	link_server server.pem server.key
	put client.pem "$SITE/client.pem" && put client.key "$SITE/client.key" &&
		put crl.pem "$SITE/crl.pem" && put ca.pem "$SITE/trust.pem" || return
	cat >"$TLSHD_CONF" <<-END
		[debug]
		loglevel = 0
		[daemon]
		workers = $WORKERS
		[authenticate]
		keyrings = $PROBE_RING
		[authenticate.client]
		x509.truststore = $SITE/trust.pem
		x509.certificate = $SITE/client.pem
		x509.private_key = $SITE/client.key
		[authenticate.server]
		x509.truststore = $SITE/trust.pem
		x509.crl = $SITE/crl.pem
		x509.certificate = $SITE/live/host/pem
		x509.private_key = $SITE/live/host/key
	END
}

# ---- good replacements --------------------------------------------------------------------------

good_server() {
	server=${OTHER[$server]}
	if ((RANDOM % 2)); then link_server "$server.pem" "$server.key"
	else link_server "$server.key" "$server.pem"; fi
}

good_client() {
	client=${OTHER[$client]}
	if ((RANDOM % 2)); then put_client pem key; else put_client key pem; fi
}

# Half of it is there for a moment.
good_trust() {
	trust=$((3 - trust))
	cat "$PKI/ca.pem" >"$WORK/trust"
	((trust == 1)) || cat "$PKI/other-ca.pem" >>"$WORK/trust"
	# not through it
	[[ ! -L $SITE/trust.pem ]] || rm "$SITE/trust.pem"
	head -c 300 "$WORK/trust" >"$SITE/trust.pem"
	((RANDOM % 3)) || pause 0.8
	cat "$WORK/trust" >"$SITE/trust.pem"
}

good_crl() { crl=${OTHER[$crl]}; put "$crl.pem" "$SITE/crl.pem"; }

# ---- bad ones: each sets file and why -----------------------------------------------------------
#
# The daemon may read what root owns, and no more: as in its unit.

bad_server_mismatch() {
	link_server "${OTHER[$server]}.pem"
	file=live/host/key why='does not belong to the first certificate in '
}
bad_server_expired() {
	link_server server-expired.key server-expired.pem
	file=live/host/pem why=' expired on .*; the one in use has not'
}
bad_server_dangling() {
	ln -sfn ../../archive/host/none "$SITE/live/host/pem"
	file=live/host/pem why='cannot be opened: No such file'
}
bad_server_long_name() {
	local name

	printf -v name 'n%.0s' {1..300}
	ln -sfn "../../archive/host/$name" "$SITE/live/host/key"
	file=live/host/key why='cannot be opened: File name too long'
}
bad_client_mode() {
	put "${OTHER[$client]}.key" "$SITE/client.key" 644
	file=client.key why='has mode 0644'
}
bad_client_owner() {
	put "$client.key" "$SITE/client.key" 600 nobody
	file=client.key why='cannot be opened: Permission denied'
}
bad_client_mismatch() {
	put "${OTHER[$client]}.pem" "$SITE/client.pem"
	file=client.key why='does not belong to the first certificate in '
}
bad_client_expired() {
	local client=client-expired hurry=yes

	put_client key pem
	file=client.pem why=' expired on .*; the one in use has not'
}
bad_client_half() {
	head -c $((200 + RANDOM % 200)) "$PKI/$client.pem" >"$SITE/client.pem"
	file=client.pem why='(cannot be read|holds no certificate)'
}
bad_client_half_key() {
	head -c $((60 + RANDOM % 120)) "$PKI/$client.key" >"$SITE/client.key"
	file=client.key why='(is not a private key that can be read|holds no private key)'
}
bad_client_directory() {
	rm "$SITE/client.pem" && mkdir "$SITE/client.pem"
	file=client.pem why='is a directory'
}
bad_trust_empty() {
	: >"$SITE/trust.pem"
	file=trust.pem why='is empty'
}
# What there is of it may be a whole certificate and a part of the next one.
bad_trust_half() {
	{
		((RANDOM % 2)) || cat "$PKI/ca.pem"
		head -c $((200 + RANDOM % 200)) "$PKI/other-ca.pem"
	} >"$SITE/trust.pem"
	file=trust.pem why='(cannot be read|holds no certificate)'
}
bad_trust_garbage() {
	head -c 1000 /dev/urandom >"$SITE/.new" && mv -T "$SITE/.new" "$SITE/trust.pem"
	file=trust.pem why='(cannot be read|holds no certificate)'
}
bad_trust_loop() {
	ln -sfn loop "$SITE/loop" && ln -sfn loop/trust.pem "$SITE/trust.pem"
	file=trust.pem why='cannot be opened: Too many levels of symbolic links'
}
bad_crl_stale() {
	put crl-stale.pem "$SITE/crl.pem"
	file=crl.pem why='is out of date since .*; the one in use is not'
}
bad_crl_foreign() {
	put ca.pem "$SITE/crl.pem"
	file=crl.pem why='holds no list'
}
# Without a part of its last line it would be whole still: the shorter one has 308 bytes.
bad_crl_half() {
	head -c $((100 + RANDOM % 150)) "$PKI/${OTHER[$crl]}.pem" >"$SITE/crl.pem"
	file=crl.pem why='(cannot be read|holds no list|[Dd]ecoding error|[Pp]ars)'
}
bad_crl_unreadable() {
	put "${OTHER[$crl]}.pem" "$SITE/crl.pem" 0
	file=crl.pem why='cannot be opened: Permission denied'
}
# A regular file that can be opened and not be read.
bad_crl_error() {
	ln -sfn /proc/self/mem "$SITE/crl.pem"
	file=crl.pem why='Input/output error'
}
bad_crl_fifo() {
	rm "$SITE/crl.pem" && mkfifo -m 600 "$SITE/crl.pem"
	file=crl.pem why='not a regular file'
}

GOOD=(server client trust crl)
BAD=(server_mismatch server_expired server_dangling server_long_name client_mode client_owner
	client_mismatch client_expired client_half client_half_key client_directory trust_empty
	trust_half trust_garbage trust_loop crl_stale crl_foreign crl_half crl_unreadable crl_error
	crl_fifo)
# A signal is an order: these are taken then.
WORSE=' server_expired client_expired crl_stale '
declare -A done_count=()
bag=()                                  # bad ones that are still to come before any comes again

# next_bad: sets what
next_bad() {
	local i

	((${#bag[@]})) || bag=("${BAD[@]}")
	i=$((RANDOM % ${#bag[@]}))
	what=${bag[i]}
	bag=("${bag[@]:0:i}" "${bag[@]:i + 1}")
}

# ---- peers for whom a list or trust store decides -------------------------------------------------

PROBE=127.0.0.9                         # both their ends have it
declare -A PROBE_NAME=([trust]=other-client [crl]=client-revoked) probe_serials=()
probe_line='' probed=''

# probe_keys: their certificates and keys, in a keyring where the daemon looks for them
probe_keys() {
	local ring name cert

	keyctl new_session >/dev/null && keyctl link @u @s &&
		ring=$(keyctl newring "$PROBE_RING" @u) && keyctl setperm "$ring" 0x3f3f0000 || return
	for name in "${PROBE_NAME[@]}"; do
		cert=$(keyctl padd user "$name.pem" "$ring" <"$PKI/$name.pem") &&
			probe_serials[$name]="$cert $(keyctl padd user "$name.key" "$ring" <"$PKI/$name.key")" ||
			return
	done
}

# probe_wanted KIND: sets wanted, what the set in force says of its peer
probe_wanted() {
	wanted=ok
	case $1:$trust:$crl in
	trust:1:*) wanted='cert-unknown-issuer' ;;
	crl:*:crl) wanted='cert-revoked' ;;
	esac
}

# probe KIND: sets probed, the server's verdict on its peer
probe() {
	local name=${PROBE_NAME[$1]}

	probe_line=''
	# shellcheck disable=SC2086  # two words
	steady-handshakes --probe $PROBE ${probe_serials[$name]} >"$WORK/probe" 2>&1 </dev/null ||
		complain "probe: $(<"$WORK/probe")"
	wait_for 20 probe_is_said || complain "the log has no line of a probe: $(<"$WORK/probe")"
	probed=$probe_line
	case $probe_line in
	*', ok: '*"client certificate \"CN=$name"[,\"]*) probed=ok ;;
	*', failed: '*'(cert-'*)
		probed=${probe_line##*\(}
		probed=${probed%%)*}
		;;
	esac
}

probe_is_said() { drain_log; [[ -n $probe_line ]]; }

# probe_agrees KIND
probe_agrees() {
	local wanted

	probe "$1"
	probe_wanted "$1"
	[[ $probed == "$wanted" ]]
}
