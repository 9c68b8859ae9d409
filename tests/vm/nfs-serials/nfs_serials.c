// SPDX-License-Identifier: GPL-2.0
/*
 * What Linux 6.17 added to the NFS client, for tests on older kernels: the keyring .nfs, and a
 * certificate and private key by serial for a mount with xprtsec=mtls.
 *
 * Before 6.17 the client's request for a handshake has the fields for the serials, but no mount
 * option sets them.  A probe at the entry of tls_client_hello_x509() fills them in from the
 * module's parameters; everything behind it is the kernel's own.  A request that has serials of
 * its own, as another consumer's, is left alone.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/err.h>
#include <linux/key.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <net/handshake.h>

static int cert;
module_param(cert, int, 0644);
MODULE_PARM_DESC(cert, "serial of the certificate, 0: none");

static int privkey;
module_param(privkey, int, 0644);
MODULE_PARM_DESC(privkey, "serial of the private key, 0: none");

static unsigned int filled;
module_param(filled, uint, 0444);
MODULE_PARM_DESC(filled, "how many requests were given serials");

static bool keyring;
module_param(keyring, bool, 0444);
MODULE_PARM_DESC(keyring, "make the keyring .nfs");

static struct key *nfs_keyring;

static int fill_in(struct kprobe *probe, struct pt_regs *regs)
{
	/* const for the callee; the callers have it on their stacks */
	struct tls_handshake_args *args = (void *)regs_get_kernel_argument(regs, 0);

	if (!args->ta_my_cert && !args->ta_my_privkey && (cert || privkey)) {
		args->ta_my_cert = cert;
		args->ta_my_privkey = privkey;
		filled++;
	}
	return 0;
}

static struct kprobe probe = {
	.symbol_name	= "tls_client_hello_x509",
	.pre_handler	= fill_in,
};

static int __init nfs_serials_init(void)
{
	int err;

	if (keyring) {
		/* owner and permissions as 6.17 has them, and as .nvme has on all kernels */
		nfs_keyring = keyring_alloc(".nfs", GLOBAL_ROOT_UID, GLOBAL_ROOT_GID, current_cred(),
					    (KEY_POS_ALL & ~KEY_POS_SETATTR) |
					    (KEY_USR_ALL & ~KEY_USR_SETATTR),
					    KEY_ALLOC_NOT_IN_QUOTA, NULL, NULL);
		if (IS_ERR(nfs_keyring))
			return PTR_ERR(nfs_keyring);
	}
	err = register_kprobe(&probe);
	if (err)
		key_put(nfs_keyring);
	return err;
}

static void __exit nfs_serials_exit(void)
{
	unregister_kprobe(&probe);
	key_put(nfs_keyring);
}

module_init(nfs_serials_init);
module_exit(nfs_serials_exit);

MODULE_DESCRIPTION("TLS certificates by serial for the NFS client");
MODULE_LICENSE("GPL");
