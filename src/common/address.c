// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/address.h"

#include <errno.h>
#include <string.h>

int address_of_peer(int fd, union address *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return getpeername(fd, &ret->any, &len) < 0 ? -errno : 0;
}
