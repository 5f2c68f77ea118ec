//! The patterns that lines are compared with: the user's, and Linux' reports of its failures. The
//! words are those of the kernel's sources, and of x86 where architectures differ.

use regex::bytes::{Regex, RegexSet};

use crate::config::BootTestConfig;

/// Where a message of the kernel begins: at the beginning of a line, or after its time and its
/// origin: `[    1.234567][    T1] `. Programs print about bugs and warnings, too, but elsewhere in
/// a line.
const BEGIN: &str = r"(?:^|\] )";

/// The report of a panic (kernel/panic.c). Only the kernel prints these words, so the place in the
/// line does not matter.
pub(super) const PANIC: &str = "Kernel panic - not syncing";

/// The last line of a panic, or of the reboot after it.
const PANIC_ENDS: &str = r"---\[ end Kernel panic|Rebooting in [0-9]+ seconds";

/// The messages that only a failed kernel prints.
const FAILURES: [&str; 4] = [
    // mm, kernel/sched, KASAN and so on; "DEBUG: " and "watchdog: BUG: soft lockup" are others.
    r"BUG: ",
    // BUG(), lib/bug.c.
    r"kernel BUG at ",
    // arch/x86/kernel/dumpstack.c; before Linux 6.11 without "Oops: " where it was no page fault.
    r"Oops: ",
    r"[a-z][^\[\]]*: [0-9a-f]{4} \[#[0-9]+\]",
];

/// The warnings after which a kernel continues: failures with --strict only.
const WARNINGS: [&str; 8] = [
    // kernel/hung_task.c.
    r"INFO: task .* blocked (?:for more than|on )",
    // kernel/watchdog.c.
    r"watchdog: BUG: soft lockup",
    r".*[Ww]atchdog detected hard LOCKUP",
    // kernel/rcu/tree_stall.h.
    r"(?:rcu: )?INFO: rcu_?\w* .*(?:stall|kthread starved)",
    r"rcu: rcu_\w+ kthread (?:timer wakeup didn't happen|starved)",
    // WARN(), kernel/panic.c and lib/bug.c; from Linux 6.18 on with the place first.
    r"WARNING: (?:CPU: [0-9]+ PID: |[^ ]+:[0-9]+ at )",
    // kernel/locking/lockdep.c, kernel/rcu.
    r"WARNING: (?:possible |suspicious |inconsistent |bad unlock|held lock|lock held|\w+ lock)",
    // lib/ubsan.c.
    r"UBSAN: ",
];

/// The patterns of a boot test.
#[derive(Debug)]
pub(super) struct Patterns {
    /// The expected patterns, in this order.
    pub(super) expected: Vec<Regex>,
    pub(super) forbidden: Vec<Regex>,
    pub(super) failures: RegexSet,
    pub(super) panic: Regex,
    pub(super) panic_ends: Regex,
}

impl Patterns {
    /// The user's patterns, and the kernel's.
    ///
    /// # Errors
    /// No known ones: the kernel's patterns are constants, and the user's are compiled already.
    pub(super) fn of(config: &BootTestConfig) -> Result<Self, regex::Error> {
        let warnings = WARNINGS.iter().filter(|_| config.strict);
        let failures = FAILURES.iter().chain(warnings).map(message);
        Ok(Self {
            expected: config.expect.clone(),
            forbidden: config.fail_on.clone(),
            failures: RegexSet::new(failures)?,
            panic: Regex::new(PANIC)?,
            panic_ends: Regex::new(PANIC_ENDS)?,
        })
    }
}

/// The patterns of lines that begin the kernel's report of a failure.
pub(super) fn reports() -> Result<RegexSet, regex::Error> {
    RegexSet::new(FAILURES.iter().map(message).chain([PANIC.to_string()]))
}

/// The pattern of a line of the kernel's log that begins with these words.
fn message(words: &&str) -> String {
    format!("{BEGIN}{words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(line: &str, strict: bool) -> bool {
        let config = BootTestConfig { strict, ..BootTestConfig::default() };
        Patterns::of(&config).unwrap().failures.is_match(line.as_bytes())
    }

    #[test]
    fn reports_of_failures_match() {
        for line in [
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[    1.234567] BUG: unable to handle page fault for address: ffffffffc0000000",
            "[    1.234567][    T1] BUG: KASAN: use-after-free in foo+0x1/0x2",
            "[  101.000001] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0",
            "[    3.000000] kernel BUG at fs/ext4/inode.c:123!",
            "[    3.000000] Oops: 0002 [#1] PREEMPT SMP NOPTI",
            "[    3.000000] Oops: general protection fault, probably for address 0x1: 0000 [#1]",
            "[    3.000000] general protection fault, probably for address 0x1: 0000 [#1] SMP",
            "[    3.000000] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
        ] {
            assert!(fails(line, false), "{line}");
        }
    }

    #[test]
    fn warnings_match_only_with_strict() {
        for line in [
            "[  242.1] INFO: task kworker/0:1:12 blocked for more than 120 seconds.",
            "[   26.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:1]",
            "[   26.0] NMI watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "[   26.0] watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3",
            "[   60.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[   60.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "[   60.0] rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }",
            "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 foo+0x1/0x2",
            "[    1.0] WARNING: kernel/foo.c:1 at foo+0x1/0x2, CPU#0: swapper/0/1",
            "[    1.0] WARNING: possible circular locking dependency detected",
            "[    1.0] WARNING: suspicious RCU usage",
            "[    1.0] UBSAN: array-index-out-of-bounds in fs/foo.c:1:2",
        ] {
            assert!(fails(line, true), "{line}");
            assert!(!fails(line, false), "{line}");
        }
    }

    #[test]
    fn other_lines_do_not_match() {
        for line in [
            "DEBUG: nothing",
            "this is a BUG: tell us",
            "WARNING: this filesystem is old",
            "test 3: no Oops: ok",
            "INFO: task finished",
            "guest# [ 1234 ] # 0000 [#1]",
            "[    0.1] rcu: Hierarchical RCU implementation.",
            "[    0.1] rcu: \tRCU CPU stall warnings timeout set to 60 (rcu_cpu_stall_timeout).",
            "[    0.1] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
        ] {
            assert!(!fails(line, true), "{line}");
        }
    }
}
