//! The KVM of the host, as /dev/kvm offers it.

use std::io;

use anyhow::{Result, anyhow, bail, ensure};
use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Kvm};

/// The capabilities of KVM that a machine needs, with the names that `lguest check` prints.
pub const CAPABILITIES: &[(Cap, &str)] = &[
    (Cap::Irqchip, "in-kernel interrupt controllers"),
    (Cap::Pit2, "in-kernel timer (PIT)"),
    (Cap::UserMemory, "user memory regions"),
    (Cap::SetTssAddr, "TSS address"),
    (Cap::ExtCpuid, "extended CPUID"),
    (Cap::Ioeventfd, "ioeventfd (doorbells)"),
    (Cap::Irqfd, "irqfd (interrupts)"),
    (Cap::IrqRouting, "interrupt routing"),
    (Cap::ImmediateExit, "immediate exit"),
];

/// Open /dev/kvm, and check that it has all [`CAPABILITIES`].
///
/// # Errors
/// When /dev/kvm cannot be opened, or lacks a capability. The text has advice.
pub fn open_kvm() -> Result<Kvm> {
    let kvm = Kvm::new().map_err(|error| {
        let error = io::Error::from_raw_os_error(error.errno());
        anyhow!("/dev/kvm: {error}: {}", advice(&error))
    })?;
    let version = kvm.get_api_version();
    ensure!(
        u32::try_from(version) == Ok(KVM_API_VERSION),
        "/dev/kvm speaks API version {version}, not {KVM_API_VERSION}: update the host's kernel"
    );
    for (capability, name) in CAPABILITIES {
        ensure!(
            kvm.check_extension(*capability),
            "/dev/kvm lacks {name} ({capability:?}): update the host's kernel"
        );
    }
    Ok(kvm)
}

/// Advice for the user, when opening /dev/kvm has failed with this error.
pub fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            "load the module kvm_intel or kvm_amd; if that fails, switch virtualization on in \
             the firmware, or (inside a virtual machine) nested virtualization on outside"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "add yourself to group kvm (sudo usermod -aG kvm $USER) and log in again"
        }
        Some(libc::ENODEV | libc::ENXIO) => {
            "the CPU has no virtualization, or the firmware has switched it off"
        }
        Some(libc::EBUSY) => "another hypervisor is using the CPU's virtualization: stop it",
        _ => "see `lguest check`",
    }
}

/// Check that this host's KVM can give `cpus` vCPUs to one machine.
///
/// # Errors
/// When it gives fewer. The text has the largest number.
pub fn check_cpus(kvm: &Kvm, cpus: u8) -> Result<()> {
    let most = kvm.get_max_vcpus();
    if usize::from(cpus) > most {
        bail!("{cpus} CPUs: this host's KVM gives a guest at most {most}");
    }
    Ok(())
}
