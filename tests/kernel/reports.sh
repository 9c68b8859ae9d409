# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What KASAN, lockdep, kmemleak and the rest of a debug kernel have found. To be sourced.

# kernel_leaks: in the guest. An object is a leak when two looks, some seconds after its birth, find
# nothing that points to it.  In User Mode Linux kmemleak does not know the memory of modules
# ("Adding scan area to unknown object"), so what only a module points to is taken for a leak:
# unload it first.
kernel_leaks() {
	local leaks=/sys/kernel/debug/kmemleak

	[[ $VM_KERNEL == *-debug ]] || return 0
	for _ in 1 2; do
		sleep 6
		echo scan >$leaks || return
	done
	cat $leaks
}

# kernel_reports: prints the reports in a kernel's log, which is its standard input, and fails when
# there is one. User Mode Linux has a suspicious use of RCU of its own, in its memory map, at fork:
# that one is recognised by where it is and by the function it comes from.
kernel_reports() {
	awk '
	function begins_report() {
		if (/kmemleak: /) return /[Dd]isabled|[Cc]annot|pool empty/
		return /WARNING:|BUG:|INFO:|KASAN|UBSAN|ODEBUG|unreferenced object|refcount_t:/ ||
			/suspicious (RCU|rcu_)|inconsistent lock|possible [a-z ]*lock|lock order/ ||
			/lock balance|held lock|locks held!|lock held when|non-static key/ ||
			/turning off the lock/ ||
			/corruption|stack-overflow|general protection|Oops|Kernel panic|[Bb]ad page/
	}
	function show() {
		if (held != "") { printf "%s", held; found = 1; held = ""; of_held = 0 }
	}
	/Linux version / { whole = 1 }
	held != "" {
		own = /lib\/maple_tree\.c:[0-9]+ suspicious rcu_dereference_check\(\)/
		if (/suspicious rcu_/ && !own) show()
		else if (/\?? *force_flush_all\+/ && seen_own) { held = ""; of_held = 0; next }
		else if (of_held > 90 || (begins_report() && !own)) show()
		else {
			seen_own = seen_own || own
			held = held $0 "\n"
			of_held++
			next
		}
		after = 30
	}
	/WARNING: suspicious RCU usage/ { held = $0 "\n"; of_held = 1; seen_own = 0; next }
	begins_report() { found = 1; after = 30 }
	after > 0 { print; after-- }
	END {
		show()
		if (!whole) { print "the beginning of the log is not there"; found = 1 }
		exit found
	}'
}

# kernel_reports_self_check: that the above sees what it is to see, and nothing else.
kernel_reports_self_check() {
	local line own failed=0 flush=' [<6003466f>] ? force_flush_all+0xef/0x1a0'
	local boot='[    0.000000] Linux version 6.1.192 (root@vm) #1'
	local silent=(
		'kmemleak: Kernel memory leak detector initialized (mem pool available: 15855)'
		'kmemleak: Automatic memory scanning thread started'
		'kmemleak: Adding scan area to unknown object at 0x10bcb20c0'
		'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)'
		'Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar'
		'This architecture does not have kernel memory protection.' 'ok 2 test_busy')
	local reports=('WARNING: inconsistent lock state' 'WARNING: bad unlock balance detected!'
		'WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected'
		'WARNING: possible circular locking dependency detected' 'WARNING: held lock freed!'
		'WARNING: CPU: 0 PID: 1 at net/core/sock.c:1 sk_free'
		'WARNING: upcall/7 still has locks held!'
		'INFO: trying to register non-static key.' '[ BUG: Invalid wait context ]'
		'INFO: task upcall:77 blocked for more than 120 seconds.'
		'INFO: lockdep is turned off.'
		'BUG: KASAN: use-after-free in handshake_req_put+0x10/0x20'
		'BUG: MAX_LOCKDEP_ENTRIES too low!' 'turning off the locking correctness validator.'
		'BUG: sleeping function called from invalid context at kernel/locking/mutex.c:585'
		'kmemleak: Kernel memory leak detector disabled'
		'refcount_t: underflow; use-after-free.'
		'kmemleak: Cannot allocate a kmemleak_object structure'
		'list_del corruption. prev->next'
		'ODEBUG: free active (active state 0) object type: work_struct' 'Oops: 0000 [#1]'
		$'WARNING: suspicious RCU usage\ninclude/linux/rhashtable.h:605 suspicious rcu_'
		$'WARNING: suspicious RCU usage\nlib/maple_tree.c:860 suspicious rcu_'
		'unreferenced object 0x000000007426e000 (size 512):')

	own=$'WARNING: suspicious RCU usage\n6.1.192 #1 Not tainted\n-----\n'
	own+=$'lib/maple_tree.c:860 suspicious rcu_dereference_check() usage!\nCall Trace:\n'
	silent+=("$own$flush")
	reports+=("${own/lib?maple_tree/net/handshake/request}$flush"
		"$own"$'BUG: KASAN: double-free\n'"$flush")
	for line in "${silent[@]}"; do
		kernel_reports <<<"$boot"$'\n'"[    1.000000] $line" >/dev/null ||
			{ echo "taken for a report: $line"; failed=1; }
	done
	for line in "${reports[@]}"; do
		! kernel_reports <<<"$boot"$'\n'"[    1.000000] $line"$'\nmore' >/dev/null ||
			{ echo "not seen: $line"; failed=1; }
	done
	! kernel_reports <<<'[   99.000000] a log that has lost its beginning' >/dev/null ||
		{ echo "not seen: a lost beginning"; failed=1; }
	return "$failed"
}
