// SPDX-License-Identifier: GPL-2.0-or-later
/* A whole handshake as a client; fuzz-tls.h has what an input means. */
#include "fuzz-tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_handshake(HS_CLIENT, data, size);
	return 0;
}
