//! Tries whether this host's KVM can run a kernel. The result distinguishes faults of the guest
//! from those of the host.

use std::time::Duration;

use kvm_ioctls::Kvm;

use super::probe::{self, ProbeOutcome};
use super::programs::{PROBES, SPEED, TIMED_INSTRUCTIONS};
use super::report::{Check, CheckStatus};

/// The time of an instruction from which on it is emulated: CPUs need less than 1 ns, and QEMU's
/// software CPU less than 20.
const EMULATED: Duration = Duration::from_nanos(100);

/// How often the time is measured. The shortest time counts, because other work on the host may
/// interrupt a program.
const ATTEMPTS: u32 = 3;

/// How this host's KVM runs code in kernel mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KernelMode {
    /// The CPU runs it.
    Native,
    /// KVM's instruction emulator runs it: a thousand times slower, but correctly.
    Emulated,
    /// Some of it fails; the text says what and how.
    Fails(String),
}

/// Find out how kernel mode works, by trying.
pub(crate) fn kernel_mode(kvm: &Kvm) -> KernelMode {
    probe(kvm).0
}

/// Run all programs. The second value has a line for each of them.
pub(super) fn probe(kvm: &Kvm) -> (KernelMode, Vec<Check>) {
    let (mut mode, speed) = match time_of_an_instruction(kvm) {
        Ok(time) => judge(time),
        Err(why) => (KernelMode::Fails(why.clone()), fails("speed", &why)),
    };
    let mut checks = vec![speed];
    for program in &PROBES {
        let found = probe::run(kvm, program);
        checks.push(match found {
            Ok(ProbeOutcome::Through(_)) => Check::new(program.name, CheckStatus::Good, "works"),
            Ok(ProbeOutcome::NotOffered) => {
                Check::new(program.name, CheckStatus::Good, "not offered, and not needed")
            }
            Err(why) => {
                let why = format!("{why:#}");
                if !matches!(mode, KernelMode::Fails(_)) {
                    mode = KernelMode::Fails(format!("{}: {why}", program.name));
                }
                fails(program.name, &why)
            }
        });
    }
    (mode, checks)
}

fn time_of_an_instruction(kvm: &Kvm) -> Result<Duration, String> {
    let mut best = Duration::MAX;
    for _ in 0..ATTEMPTS {
        match probe::run(kvm, &SPEED) {
            Ok(ProbeOutcome::Through(time)) => best = best.min(time / TIMED_INSTRUCTIONS),
            Ok(ProbeOutcome::NotOffered) => return Err("not offered".into()),
            Err(why) => return Err(format!("{why:#}")),
        }
        if best < EMULATED {
            break;
        }
    }
    Ok(best)
}

fn judge(time: Duration) -> (KernelMode, Check) {
    if time < EMULATED {
        return (KernelMode::Native, Check::new("speed", CheckStatus::Good, "native"));
    }
    let found = format!("emulated, {} ns an instruction", time.as_nanos());
    let check = Check::new("speed", CheckStatus::Limited, &found)
        .advice("guests that boot at all are very slow: use a host whose CPU has VT-x or AMD-V");
    (KernelMode::Emulated, check)
}

fn fails(name: &str, why: &str) -> Check {
    Check::new(name, CheckStatus::Missing, &format!("fails: {why}")).advice(
        "this host's KVM cannot run a kernel: switch nested virtualization on for this machine, \
         or use a host whose CPU has VT-x or AMD-V",
    )
}
