//! Can this host's KVM run a kernel? The answer tells the guest's faults from
//! the host's.

use std::time::Duration;

use kvm_ioctls::Kvm;

use super::probe::{self, Outcome};
use super::programs::{PROBES, SPEED, TIMED_INSTRUCTIONS};
use super::report::{Check, Status};

/// An instruction that takes longer than this is emulated: CPUs need less than
/// 1 ns, and QEMU's software CPU less than 20.
const EMULATED: Duration = Duration::from_nanos(100);

/// A probe may be interrupted by other work on the host: the best of so many
/// counts.
const ATTEMPTS: u32 = 3;

/// How code in kernel mode runs on this host's KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KernelMode {
    /// By the CPU.
    Native,
    /// By KVM's instruction emulator: a thousand times slower, but right.
    Emulated,
    /// Not all of it; says what fails and how.
    Fails(String),
}

/// Find out by trying.
pub(crate) fn kernel_mode(kvm: &Kvm) -> KernelMode {
    probe(kvm).0
}

/// Try all of it; the second answer is one line for each thing tried.
pub(super) fn probe(kvm: &Kvm) -> (KernelMode, Vec<Check>) {
    let (mut mode, speed) = match time_of_an_instruction(kvm) {
        Ok(time) => judge(time),
        Err(why) => (KernelMode::Fails(why.clone()), fails("speed", &why)),
    };
    let mut checks = vec![speed];
    for program in &PROBES {
        let found = probe::run(kvm, program);
        checks.push(match found {
            Ok(Outcome::Through(_)) => Check::new(program.name, Status::Good, "works"),
            Ok(Outcome::NotOffered) => {
                Check::new(program.name, Status::Good, "not offered, and not needed")
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
            Ok(Outcome::Through(time)) => best = best.min(time / TIMED_INSTRUCTIONS),
            Ok(Outcome::NotOffered) => return Err("not offered".into()),
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
        return (KernelMode::Native, Check::new("speed", Status::Good, "native"));
    }
    let found = format!("emulated, {} ns an instruction", time.as_nanos());
    let check = Check::new("speed", Status::Limited, &found)
        .advice("guests that boot at all are very slow: use a host whose CPU has VT-x or AMD-V");
    (KernelMode::Emulated, check)
}

fn fails(name: &str, why: &str) -> Check {
    Check::new(name, Status::Missing, &format!("fails: {why}")).advice(
        "this host's KVM cannot run a kernel: switch nested virtualization on for this machine, \
         or use a host whose CPU has VT-x or AMD-V",
    )
}
