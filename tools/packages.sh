# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034  # for those who source this file
#
# The Debian packages each purpose needs.

PACKAGES_BUILD=(
	gcc libc6-dev meson ninja-build pkg-config libgnutls28-dev libnl-3-dev libnl-genl-3-dev
	libglib2.0-dev libkeyutils-dev libsystemd-dev libseccomp-dev
)

# to boot a guest: the emulator, its first process, modprobe; what unpacks a kernel
PACKAGES_GUEST=(qemu-system-x86 busybox-static kmod iproute2 procps zstd xz-utils)

# to build the test consumer's module
PACKAGES_MODULE=(make gcc-12 libelf1)

# what is used in the guest
PACKAGES_NFS=(openssl tcpdump iproute2 keyutils perl-base python3)
PACKAGES_NVME=(tcpdump iproute2 keyutils perl-base)
PACKAGES_INTEROP=(openssl gnutls-bin iproute2 keyutils)
PACKAGES_SANDBOX=(openssl iproute2 util-linux softhsm2)
PACKAGES_SYSTEMD=(systemd openssl iproute2)

PACKAGES_ANALYSIS=(cppcheck clang-tidy-14 gcc python3)
PACKAGES_VALGRIND=(valgrind libc6-dbg)

# unit tests and style checks
PACKAGES_TEST=(
	nettle-dev libgmp-dev openssl gnutls-bin shellcheck mandoc python3 python3-yaml libasan8 libubsan1
	p11-kit-modules
)

# to build Linux, and to look at patches for it
PACKAGES_KERNEL=(make gcc flex bison bc libelf-dev libc6-dev kmod patch git perl sparse xz-utils)

# fuzzers: libFuzzer comes with the compiler's runtime library
PACKAGES_FUZZ=(clang-14 libclang-rt-14-dev)
