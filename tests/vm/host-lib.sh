# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For tests/vm/{interop,psk,secrets}: their host's side.  To be sourced after tools/lib.sh by bash
# with `set -euo pipefail`.

VM_DIR=$SOURCE_DIR/tests/vm

# host_options SYNOPSIS-OF-THE-REST ARGUMENTS...: sets kernel, build, and rest.
host_options() {
	local synopsis=$1
	shift

	kernel=$KERNEL_DEFAULT build=$SOURCE_DIR/build
	while (($#)); do
		case $1 in
		--kernel | --build)
			printf -v "${1#--}" %s "${2:?a value is wanted after $1}"
			shift 2
			;;
		-*) die "usage: $0 [--build DIR] [--kernel NAME] $synopsis" ;;
		*) break ;;
		esac
	done
	rest=("$@")
	for program in src/tlshd tests/consumer/hsnc; do
		[[ -x $build/$program ]] ||
			die "there is no $build/$program: meson setup $build -Dtests=true && meson compile -C $build"
	done
}

# Makes $temp/share, which goes when the script ends.
host_share() {
	temp=$(mktemp -d "${TMPDIR:-/tmp}/tlshd-test.XXXXXX")
	trap 'rm -rf "$temp"' EXIT
	trap 'exit 130' INT TERM HUP
	mkdir -p "$temp/share/bin"
}

# host_pki OPTIONS...: certificates, in the share
host_pki() {
	"$VM_DIR/pki" "$@" "$temp/pki"
	tar -C "$temp/pki" -cf "$temp/share/pki.tar" .
}

# host_program NAME OPTIONS...: a program of this directory, in the share; compiled here with these
# options where the build directory has none.
host_program() {
	local name=$1
	shift
	if [[ -x $build/tests/vm/$name ]]; then
		cp "$build/tests/vm/$name" "$temp/share/bin/"
		return
	fi
	need_packages gcc libc6-dev libgnutls28-dev
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I"$SOURCE_DIR/tests/consumer" \
		-o "$temp/share/bin/$name" "$VM_DIR/$name.c" "$@"
}

# host_run SECONDS SCRIPT [OPTION...]: in the guest, with the rest of the arguments; options of run.
host_run() {
	"$VM_DIR/run" "${@:3}" --kernel "$kernel" --build "$build" --share "$temp/share" --timeout "$1" \
		"$VM_DIR/$2" "${rest[@]}"
}
