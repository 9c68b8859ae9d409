# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034  # for those who source this file
#
# The Debian packages each purpose needs.

PACKAGES_BUILD=(
	gcc meson pkg-config libgnutls28-dev libnl-3-dev libnl-genl-3-dev libglib2.0-dev
	libkeyutils-dev libsystemd-dev
)

# unit tests and style checks
PACKAGES_TEST=(openssl gnutls-bin shellcheck mandoc python3 libasan8 libubsan1)

# virtual machines and what is used in them
PACKAGES_VM=(
	qemu-system-x86 busybox-static cpio iproute2 tcpdump kmod keyutils openssl gnutls-bin procps
	zstd xz-utils make gcc-12 libelf1
)
