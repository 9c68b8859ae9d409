# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034  # for those who source this file
#
# What guest scripts share about NVMe/TCP: host and target in the one kernel, keys.  To be sourced
# after guest-lib.sh.
#
# Both ends have the one keyring .nvme, so what shall differ between them is in another keyring on
# the host's side: the target takes keys from .nvme only, the host from what `keyring=` names.

HOST_NQN=nqn.2026-01.com.example:host1
HOST_ID=5e1f9c6a-7f0e-4d55-9c39-2f6f0d1a7b11
SUBSYSTEM_NQN=nqn.2026-01.com.example:disk1
NVMET=/sys/kernel/config/nvmet
DISK_BEHIND=/dev/ram0                   # what the target has for a disk
PORT_TLS=4420 PORT_PLAIN=4421 PORT_EITHER=4422

# ---- target -----------------------------------------------------------------------------------

nvme_modules() {
	load_tls tcp_diag inet_diag af_packet \
		nvme-tcp nvmet-tcp && modprobe brd rd_nr=1 rd_size=20480
}

# nvme_target_start: one subsystem with one disk, for the one host, behind no port yet.
nvme_target_start() {
	local subsystem=$NVMET/subsystems/$SUBSYSTEM_NQN

	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config || return
	mkdir "$subsystem" "$subsystem/namespaces/1" "$NVMET/hosts/$HOST_NQN" &&
		ln -s "$NVMET/hosts/$HOST_NQN" "$subsystem/allowed_hosts/" &&
		echo "$DISK_BEHIND" >"$subsystem/namespaces/1/device_path" &&
		echo 1 >"$subsystem/namespaces/1/enable"
}

# nvme_port ID NUMBER none|tls1.3 [required|'not required']
nvme_port() {
	local port=$NVMET/ports/$1

	mkdir "$port" && echo tcp >"$port/addr_trtype" && echo ipv4 >"$port/addr_adrfam" &&
		echo 127.0.0.1 >"$port/addr_traddr" && echo "$2" >"$port/addr_trsvcid" || return
	if [[ $3 != none ]]; then
		echo "$3" >"$port/addr_tsas" && echo "$4" >"$port/addr_treq" || return
	fi
	nvme_port_open "$1"
}
nvme_port_open() { ln -s "$NVMET/subsystems/$SUBSYSTEM_NQN" "$NVMET/ports/$1/subsystems/"; }
nvme_port_close() { rm "$NVMET/ports/$1/subsystems/$SUBSYSTEM_NQN"; }

# ---- keys -------------------------------------------------------------------------------------

# identity KIND [DIGEST]: sets `identity`; KIND is like 0R01.
identity() { identity="NVMe$1 $HOST_NQN $SUBSYSTEM_NQN${2:+ $2}"; }

# key_add KEYRING DESCRIPTION FILE: sets `key`, its serial number, and key_hex, as logs and sysfs
# write it.
key_add() {
	key=$(keyctl padd psk "$2" "$1" <"$3") || return
	printf -v key_hex %08x "$key"
}

# own_session ARGUMENTS...: starts the script again, with its ARGUMENTS, in a session with an empty
# keyring, which the daemon inherits.  Root's own keyrings, which a session begins with, would let
# the daemon use keys that it cannot use as a service.
own_session() {
	[[ -z ${OWN_SESSION:-} ]] || return 0
	# shellcheck disable=SC2016  # for the other bash; keyctl says something on standard error
	OWN_SESSION=yes exec keyctl session - bash -c 'exec "$0" "$@" 2>&3 3>&-' "$0" "$@" \
		3>&2 2>/dev/null
}

# as_possessor KEYRING COMMAND...: root may do more with a key that is reached from a keyring of
# its own session.  A session of this command only: the daemon shares ours.
as_possessor() {
	# shellcheck disable=SC2016  # for the other bash
	keyctl session - bash -c 'keyctl link "$0" @s && "$@"' "$@" 2>"$WORK/possessor" && return
	cat "$WORK/possessor"
	return 1
}

# ---- host -------------------------------------------------------------------------------------

# nvme_connect PORT [OPTIONS]: as nvme-cli does, with OPTIONS ("tls,tls_key=1") behind the usual
# ones.  Sets nvme_errno, the name of what the kernel said, "ok" for success, nvme_ms, and
# nvme, the controller ("nvme0").
# shellcheck disable=SC2034  # for the scripts
nvme_connect() {
	local start now said

	nvme=
	now_ms
	start=$now
	# shellcheck disable=SC2016  # for perl
	said=$(perl -MErrno -e '
		my ($options, $instance) = @ARGV;
		open(my $fabrics, "+<", "/dev/nvme-fabrics") or die "/dev/nvme-fabrics: $!";
		if (defined syswrite($fabrics, $options)) {
			sysread($fabrics, $instance, 256);
			print $instance;
			exit 0;
		}
		print join("/", sort grep { $!{$_} && $_ ne "ENOTSUP" } keys %!), "\n"; exit 1' \
		"$(nvme_options "$1" "${2:-}")" 2>&1)
	nvme_errno=$said
	now_ms
	nvme_ms=$((now - start))
	[[ $said =~ ^instance=([0-9]+), ]] || return 1
	nvme=nvme${BASH_REMATCH[1]} nvme_errno=ok nvme_disk=/dev/${nvme}n1
	wait_for 10 test -b "$nvme_disk"
}

# nvme_options PORT [OPTIONS]
nvme_options() {
	local names="nqn=$SUBSYSTEM_NQN,hostnqn=$HOST_NQN,hostid=$HOST_ID"
	echo "transport=tcp,traddr=127.0.0.1,trsvcid=$1,$names,nr_io_queues=1${2:+,$2}"
}

# Also waits until the target has let its ends go.
nvme_disconnect() {
	echo 1 >"/sys/class/nvme/$nvme/delete_controller" && wait_for 20 nvme_no_connection
}

# No established one (01) to or from the ports 4420 to 4422 (1144 to 1146).
nvme_no_connection() { ! [[ $(</proc/net/tcp) =~ :114[456]\ [0-9A-F]+:[0-9A-F]+\ 01\  ]]; }

# nvme_state: live, connecting, ... or empty where there is no controller any more
nvme_state() {
	state=
	{ read -r state <"/sys/class/nvme/$nvme/state"; } 2>/dev/null
	return 0
}
nvme_state_is() { nvme_state; [[ $state == "$1" ]]; }

# The serial number of the key of the connection, as in sysfs.
nvme_tls_key() { cat "/sys/class/nvme/$nvme/tls_key"; }

# One line for each of the host's connections that have TLS.
nvme_ulp() { ss -tieH state established "( dport = :$1 )" | grep -o 'tcp-ulp-tls .*'; }

# nvme_disk_same FILE BLOCKS: that many MiB are written to the disk, read back, and compared, at
# the target, too.
nvme_disk_same() {
	dd if="$1" of="$nvme_disk" bs=1M count="$2" oflag=direct status=none &&
		dd if="$nvme_disk" bs=1M count="$2" iflag=direct status=none | cmp - "$1" || return
	drop_caches
	cmp -n $(($2 << 20)) "$1" "$DISK_BEHIND"
}
