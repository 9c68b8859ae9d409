# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What tools/* and tests/vm/* share.  To be sourced by bash with `set -euo pipefail`.
#
# The cache holds what is too slow to make for each run and has no place in the source tree:
#
#   $(cache_dir)/kernels/NAME.lock                 held while a kernel is prepared
#   $(cache_dir)/kernels/NAME/current              link to the one in use
#   $(cache_dir)/kernels/NAME/RELEASE/vmlinux      uncompressed kernel, boots by its PVH entry
#                                    /config       the configuration it was built with
#                                    /modules      for /lib/modules/RELEASE in the guest
#                                    /headers      unpacked linux-headers and linux-kbuild
#   $(cache_dir)/kernels/NAME-HASH/...             one that is built here; HASH is over our patches
#                                    /linux        ... and its configuration; instead of vmlinux
#                                    /hs_consumer.ko   ... and of headers
#   $(cache_dir)/sources/linux-source-6.1_*.deb    what it is built of
#   $(cache_dir)/modules/RELEASE/NAME-HASH.ko      modules of our own; HASH is over their sources
#                                         .symvers the symbols they export
#
# Everything appears under its final name by rename, complete or not at all; writers hold a lock,
# readers need none.  A new kernel is looked for only when there is none: to change to a newer one
# remove kernels/NAME, and sources for those that are built here.  All functions print on stderr only
# what is meant for people, and on stdout only their result.

# without it a command substitution goes on after an error
shopt -s inherit_errexit

LIB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck disable=SC2034  # for those who source this file
SOURCE_DIR=$(dirname "$LIB_DIR")

# kmod and the diag tools live there; an ordinary user's PATH may not have it
case ":$PATH:" in
*:/usr/sbin:*) ;;
*) PATH=$PATH:/usr/sbin:/sbin ;;
esac

progress() { printf '==> %s\n' "$*" >&2; }
warn()     { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die()      { warn "$*"; exit "${DIE_STATUS:-1}"; }

# ---- Debian packages --------------------------------------------------------------------------

# Quiet and without questions, patient with another apt.  As root, apt would hand downloads to
# its user _apt, who cannot write into our directories.
apt_quiet() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 \
		-o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@" </dev/null
}

apt_update() {
	[[ $(id -u) == 0 ]] || die "the package lists are missing or old: run 'sudo apt-get update'"
	progress "updating the package lists"
	apt_quiet update >&2 || die "apt-get update failed: look at the network and at apt's sources"
}

package_missing() {
	[[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) != installed ]]
}

package_known() {
	[[ -n $(apt-cache show --no-all-versions "$1" 2>/dev/null) ]]
}

# need_packages PACKAGE...: installs those which are missing.
need_packages() {
	local package missing=()

	command -v dpkg-query >/dev/null ||
		die "no dpkg here: install what corresponds to these Debian packages: $*"
	for package; do
		if package_missing "$package"; then missing+=("$package"); fi
	done
	((${#missing[@]})) || return 0
	[[ $(id -u) == 0 ]] ||
		die "packages are missing, run: sudo apt-get install --no-install-recommends ${missing[*]}"

	for package in "${missing[@]}"; do
		package_known "$package" || { apt_update; break; }
	done
	progress "installing ${missing[*]}"
	# The lists may be there and be older than the archive: then a download fails.
	apt_quiet install -y --no-install-recommends "${missing[@]}" >/dev/null || {
		apt_update
		apt_quiet install -y --no-install-recommends "${missing[@]}" >&2 ||
			die "could not install: ${missing[*]}"
	}
}

# ---- cache ------------------------------------------------------------------------------------

cache_dir() {
	local dir=${TLSHD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tlshd}

	mkdir -p "$dir" || die "cannot make the cache directory $dir: set TLSHD_CACHE to another"
	(cd "$dir" && pwd -P)
}

# with_lock FILE FUNCTION...: in a process of its own, so that the lock ends with it however it
# ends, and so that `set -e` holds in it even where the caller tests the result.
with_lock() {
	local file=$1
	shift
	(
		exec {lock_fd}>"$file"
		if ! flock -n "$lock_fd"; then
			progress "waiting for another run that holds ${file##*/}"
			flock "$lock_fd"
		fi
		# shellcheck disable=SC2016  # for the other bash
		exec env DIE_STATUS="${DIE_STATUS:-1}" bash -euo pipefail \
			-c '. "$1"; shift; "$@"' "$0" "$LIB_DIR/lib.sh" "$@"
	)
}

# ---- kernels ----------------------------------------------------------------------------------

# One entry in each table for each kernel name.
#   KERNEL_PROVIDER  kernel_provide_<it> NAME DIRECTORY fills DIRECTORY and prints RELEASE
#   KERNEL_MACHINE   how tests/vm/run boots it
#   KERNEL_IMAGE     provider `debian`: the package names that serve, as an extended regular
#                    expression; the group is the release as in linux-headers-RELEASE
#   KERNEL_COMMON    provider `debian`: sed expression, RELEASE -> suffix of the -common package
#   KERNEL_KBUILD    provider `debian`: sed expression, that suffix -> suffix of linux-kbuild
declare -A KERNEL_PROVIDER=([stock-6.12]=debian [stock-6.1]=debian [uml-6.1]=uml
	[uml-6.1-debug]=uml)
# shellcheck disable=SC2034  # for tests/vm/run
declare -A KERNEL_MACHINE=([stock-6.12]=qemu [stock-6.1]=qemu [uml-6.1]=uml
	[uml-6.1-debug]=uml)
declare -A KERNEL_IMAGE=(
	[stock-6.12]='linux-image-(6\.12\.[0-9]+\+deb12-amd64)(-unsigned)?'
	[stock-6.1]='linux-image-(6\.1\.[0-9]+-[0-9]+-amd64)(-unsigned)?'
)
declare -A KERNEL_COMMON=([stock-6.12]='s/-amd64$//' [stock-6.1]='s/-amd64$//')
declare -A KERNEL_KBUILD=([stock-6.12]='' [stock-6.1]='s/^\([0-9]*\.[0-9]*\)\..*/\1/')
# shellcheck disable=SC2034  # for tests/vm/run
KERNEL_DEFAULT=stock-6.12

# The modules a guest may want, as paths below kernel/ without .ko; their dependencies follow.
KERNEL_MODULES=(
	'drivers/virtio/virtio_pci' 'drivers/char/virtio_console'
	'crypto/.*' 'arch/x86/crypto/.*' 'lib/crypto/.*'
	'net/tls/tls'
	'net/9p/9pnet(_virtio)?' 'fs/9p/9p' 'fs/overlayfs/overlay'
	'fs/nfs/.*' 'fs/nfsd/.*' 'fs/nfs_common/.*' 'fs/lockd/.*'
	'net/sunrpc/sunrpc' 'net/sunrpc/auth_gss/.*'
	'drivers/nvme/common/.*' 'drivers/nvme/host/nvme-(core|fabrics|tcp)'
	'drivers/nvme/target/(nvmet|nvmet-tcp|nvme-loop)'
	'drivers/block/(brd|loop|null_blk/null_blk)'
	'net/(ipv4|netlink|packet|unix)/[a-z_]*diag'
	'net/packet/af_packet' 'drivers/net/(dummy|veth)' 'net/sched/sch_(netem|tbf|ingress)'
)

kernel_names() { printf '%s\n' "${!KERNEL_PROVIDER[@]}" | sort; }

kernel_check_name() {
	[[ -n ${KERNEL_PROVIDER[$1]:-} ]] ||
		die "no kernel is called '$1'; there are: $(kernel_names | paste -sd' ')"
}

# kernel_dir NAME: prints the directory of the kernel, which is fetched first where it is not
# in the cache.  With a warm cache neither the network nor apt is touched.
kernel_dir() {
	local name=$1 base

	kernel_check_name "$name"
	base=$(cache_dir)/kernels/$name
	# what is built here is built anew when what it is made of has changed
	if [[ ${KERNEL_PROVIDER[$name]} == uml ]]; then base+=-$("$SOURCE_DIR/kernel/build-uml" "$name" --key); fi
	if [[ ! -e $base/current/release ]]; then
		mkdir -p "$base"
		with_lock "$base.lock" kernel_prepare "$name" "$base" || exit
	fi
	(cd "$base/current" && pwd -P)
}

# Under the lock.
kernel_prepare() {
	local name=$1 base=$2 temp release

	[[ ! -e $base/current/release ]] || return 0     # the one we waited for made it
	rm -rf "$base"/.new.*                            # left by a run that was interrupted
	temp=$(mktemp -d "$base/.new.XXXXXX")
	# shellcheck disable=SC2064  # the value of now
	trap "rm -rf '$temp'" EXIT
	trap 'exit 130' INT TERM HUP

	mkdir "$temp/kernel"
	"kernel_provide_${KERNEL_PROVIDER[$name]}" "$name" "$temp"
	release=$(cat "$temp/kernel/release")
	chmod 755 "$temp/kernel"
	rm -rf "${base:?}/$release"
	mv -T "$temp/kernel" "$base/$release"
	ln -s "$release" "$temp/current"
	mv -T "$temp/current" "$base/current"
	progress "kernel $name is $release, kept in $base"
}

# -- provider `uml`: built of Debian's source and our series

# linux_source: prints the path of the package with the source of Linux 6.1, from the cache.
linux_source() {
	local dir
	dir=$(cache_dir)/sources
	compgen -G "$dir/linux-source-6.1_*.deb" >/dev/null || {
		mkdir -p "$dir"
		with_lock "$dir.lock" linux_source_fetch "$dir" || exit
	}
	compgen -G "$dir/linux-source-6.1_*.deb" | tail -n 1
}

linux_source_fetch() {
	local dir=$1 temp

	! compgen -G "$dir/linux-source-6.1_*.deb" >/dev/null || return 0
	temp=$(mktemp -d "$dir/.new.XXXXXX")
	# shellcheck disable=SC2064  # the value of now
	trap "rm -rf '$temp'" EXIT
	trap 'exit 130' INT TERM HUP
	progress "downloading the source of Linux 6.1, about 140 MB"
	debian_download "$temp" linux-source-6.1 2>/dev/null || {
		apt_update
		debian_download "$temp" linux-source-6.1 || die "could not download linux-source-6.1"
	}
	mv "$temp"/*.deb "$dir/"
}

# linux_source_unpack DIRECTORY [PATH...]: all of it, or these files and directories
linux_source_unpack() {
	local to=$1 deb
	shift
	need_packages xz-utils
	deb=$(linux_source)
	dpkg --fsys-tarfile "$deb" | tar -xO ./usr/src/linux-source-6.1.tar.xz |
		tar -xJ -C "$to" --strip-components=1 "${@/#/linux-source-6.1/}"
}

kernel_provide_uml() { "$SOURCE_DIR/kernel/build-uml" "$1" "$2/kernel"; }

# -- provider `debian`: binary packages, downloaded and unpacked, never installed

# Prints the package names: image, headers, common headers, kbuild.  The newest image for which
# all of them exist.
debian_kernel_packages() {
	local name=$1 image release common version

	apt-cache pkgnames linux-image- | grep -Ex "${KERNEL_IMAGE[$name]}" | sort -rV |
	while read -r image; do
		[[ $image =~ ^${KERNEL_IMAGE[$name]}$ ]]
		release=${BASH_REMATCH[1]}
		common=$(sed "${KERNEL_COMMON[$name]}" <<<"$release")
		version=$(sed "${KERNEL_KBUILD[$name]}" <<<"$common")
		# an unsigned image sorts after the signed one and is the same kernel
		if [[ $image == *-unsigned ]] && package_known "${image%-unsigned}"; then
			image=${image%-unsigned}
		fi
		if package_known "linux-headers-$release" &&
		   package_known "linux-headers-$common-common" &&
		   package_known "linux-kbuild-$version"; then
			printf '%s\n' "$image" "linux-headers-$release" \
				"linux-headers-$common-common" "linux-kbuild-$version"
			break
		fi
	done
}

debian_download() {
	local dir=$1
	shift
	(cd "$dir" && apt_quiet download "$@" >&2)
}

kernel_provide_debian() {
	local name=$1 temp=$2 packages=() release

	need_packages kmod zstd xz-utils
	mapfile -t packages < <(debian_kernel_packages "$name")
	if ((${#packages[@]} == 0)); then
		apt_update
		mapfile -t packages < <(debian_kernel_packages "$name")
		((${#packages[@]})) ||
			die "apt knows no package ${KERNEL_IMAGE[$name]} with its headers: are Debian 12's" \
			    "archives (main, with security updates) in apt's sources?"
	fi

	progress "downloading ${packages[0]} and its headers, about 125 MB"
	mkdir "$temp/deb" "$temp/image" "$temp/kernel/headers"
	debian_download "$temp/deb" "${packages[@]}" 2>/dev/null || {
		apt_update                               # the lists named a version that is gone
		mapfile -t packages < <(debian_kernel_packages "$name")
		debian_download "$temp/deb" "${packages[@]}" || die "could not download ${packages[*]}"
	}
	[[ ${packages[0]} =~ ^${KERNEL_IMAGE[$name]}$ ]]
	release=${BASH_REMATCH[1]}

	progress "unpacking kernel $release"
	dpkg -x "$temp"/deb/linux-image-*.deb "$temp/image"
	debian_unpack_headers "$temp/deb" "$temp/kernel/headers"
	vmlinux_extract "$temp/image/boot/vmlinuz-$release" "$temp/kernel/vmlinux"
	cp "$temp/image/boot/config-$release" "$temp/kernel/config"

	progress "choosing its modules"
	modules_prune "$temp/image" "$release" "$temp/kernel/modules"
	printf '%s\n' "$release" >"$temp/kernel/release"
}

# The headers package includes its common part by absolute path; make it relative to itself.
debian_unpack_headers() {
	local debs=$1 to=$2 deb file

	for deb in "$debs"/linux-headers-*.deb "$debs"/linux-kbuild-*.deb; do
		dpkg -x "$deb" "$to"
	done
	# shellcheck disable=SC2016  # for make
	for file in "$to"/usr/src/linux-headers-*/Makefile; do
		[[ $(wc -l <"$file") -lt 5 ]] || continue        # the common part's is the kernel's own
		sed -i 's#^include /usr/src/#include $(dir $(lastword $(MAKEFILE_LIST)))../#' "$file"
	done
}

# read_u32 FILE OFFSET
read_u32() { od -An -v -tu4 -j"$2" -N4 --endian=little "$1" | tr -d ' '; }

# vmlinux_extract VMLINUZ TO: by the offsets in the x86 boot protocol's setup header (Linux
# Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).  The build puts
# the uncompressed size, 4 bytes, behind a payload whose format does not hold it.
vmlinux_extract() {
	local from=$1 to=$2 sects offset length magic unpack trailer=4

	sects=$(od -An -v -tu1 -j$((0x1f1)) -N1 "$from" | tr -d ' ')
	offset=$(((sects + 1) * 512 + $(read_u32 "$from" $((0x248)))))
	length=$(read_u32 "$from" $((0x24c)))
	magic=$(od -An -v -tx1 -j"$offset" -N4 "$from" | tr -d ' ')
	case $magic in
	28b52ffd) unpack=(zstd -dcq) ;;
	fd377a58) unpack=(xz -dc) ;;
	1f8b*)    unpack=(gzip -dc); trailer=0 ;;
	*)        die "$from: compressed in a way not known here (starts with $magic)" ;;
	esac
	tail -c +$((offset + 1)) "$from" | { head -c $((length - trailer)); cat >/dev/null; } |
		"${unpack[@]}" >"$to"
	[[ $(od -An -tx1 -N4 "$to" | tr -d ' ') == 7f454c46 ]] || die "$from: no ELF file in it"
}

# modules_prune ROOT RELEASE TO: copies the modules of KERNEL_MODULES and what they depend on
# from ROOT/lib/modules/RELEASE, uncompressed so that every modprobe can load them.
modules_prune() {
	local root=$1 release=$2 to=$3 from wanted file
	local tree=$root/pruned

	from=$root/lib/modules/$release
	depmod -b "$root" "$release"
	wanted=$(printf '|%s' "${KERNEL_MODULES[@]}")
	mkdir -p "$tree/lib/modules/$release"
	while read -r file; do
		mkdir -p "$tree/lib/modules/$release/${file%/*}"
		case $file in
		*.xz)  xz -dc "$from/$file" >"$tree/lib/modules/$release/${file%.xz}" ;;
		*.zst) zstd -dcq "$from/$file" >"$tree/lib/modules/$release/${file%.zst}" ;;
		*)     cp "$from/$file" "$tree/lib/modules/$release/$file" ;;
		esac
	done < <(awk -v wanted="^kernel/(${wanted#|})[.]ko([.][a-z]+)?:\$" '
		$1 ~ wanted { sub(/:$/, "", $1); for (i = 1; i <= NF; i++) need[$i] = 1 }
		END { for (file in need) print file }' "$from/modules.dep" | sort)
	cp "$from"/modules.builtin* "$from/modules.order" "$tree/lib/modules/$release/"
	[[ -s $tree/lib/modules/$release/kernel/net/tls/tls.ko ]] ||
		die "the kernel $release has no module tls, or it could not be unpacked"
	depmod -b "$tree" "$release"
	mv -T "$tree/lib/modules/$release" "$to"
}

# ---- kernel modules of our own ----------------------------------------------------------------

# The module of the handshake upcall, for kernels that lack it: headers without it tell.
UPCALL_DIR=$SOURCE_DIR/kernel/module
kernel_has_upcall() {
	[[ ! -d $1/headers ]] || compgen -G "$1/headers/usr/src/*/include/net/handshake.h" >/dev/null
}

# upcall_build KERNEL_DIR: prints the path of that module; nothing where the kernel has the upcall.
upcall_build() { kernel_has_upcall "$1" || module_build "$1" "$UPCALL_DIR"; }

# module_build KERNEL_DIR SOURCE_DIR: builds the one module in SOURCE_DIR (Kbuild and what is below)
# against the kernel's headers and prints the path of the .ko, from the cache where the same
# sources were built before.  Beside it is .symvers with the symbols it exports.  Returns 1 and
# says why when it cannot be built.
module_build() {
	local kernel=$1 source=$2 upcall='' name release hash dir ko

	name=$(sed -n 's/^obj-m *[:+]\?= *\([a-z0-9_]*\)\.o.*/\1/p' "$source/Kbuild")
	# one that was built with its kernel
	if [[ -e $kernel/$name.ko ]]; then
		echo "$kernel/$name.ko"
		return
	fi
	if [[ $source != "$UPCALL_DIR" ]]; then upcall=$(upcall_build "$kernel") || return 1; fi
	release=$(cat "$kernel/release")
	hash=$({ echo "$upcall"; cd "$source" && find . -name Kbuild -o -name '*.[ch]' |
		LC_ALL=C sort | xargs sha256sum; } | sha256sum | cut -c1-16)
	dir=$(cache_dir)/modules/$release
	ko=$dir/$name-$hash.ko
	if [[ ! -e $ko ]]; then
		mkdir -p "$dir"
		with_lock "$dir/$name.lock" module_build_locked "$kernel" "$source" "$name" "$ko" \
			"$upcall" || return 1
	fi
	printf '%s\n' "$ko"
}

module_build_locked() {
	local kernel=$1 source=$2 name=$3 ko=$4 upcall=$5 temp headers options=()

	[[ ! -e $ko ]] || return 0
	headers=$(find "$kernel/headers/usr/src" -maxdepth 1 \
		-name "linux-headers-$(cat "$kernel/release")" 2>/dev/null)
	if [[ -z $headers ]]; then
		warn "$kernel has no headers: $name is not built"
		return 1
	fi
	(need_packages make gcc-12 libelf1) || return 1
	progress "building the module $name"
	temp=$(mktemp -d "${ko%/*}/.build.XXXXXX")
	# shellcheck disable=SC2064  # the value of now
	trap "rm -rf '$temp'" EXIT
	trap 'exit 130' INT TERM HUP
	cp -r "$source/." "$temp/"
	[[ -z $upcall ]] || options=("KBUILD_EXTRA_SYMBOLS=${upcall%.ko}.symvers"
		"KCFLAGS=-I$UPCALL_DIR/include")
	# The empty variable: without pahole the step that adds BTF data would fail.
	if ! make -C "$headers" M="$temp" CONFIG_DEBUG_INFO_BTF_MODULES= W=1 \
		${options[@]+"${options[@]}"} modules >"$temp/log" 2>&1 </dev/null; then
		cat "$temp/log" >&2
		warn "$name does not build against $(cat "$kernel/release")"
		return 1
	fi
	# a module compiled with warnings is a module with faults
	if grep -E 'warning:' "$temp/log" >&2; then
		warn "$name builds with warnings"
		return 1
	fi
	mv -T "$temp/Module.symvers" "${ko%.ko}.symvers"
	mv -T "$temp/$name.ko" "$ko"
}
