//! The virtual machine that a guest runs in. This crate knows KVM, guest memory and kernel files. It
//! knows nothing of the terminal or of what devices work on, and does not know how the command line
//! is parsed. It reports how a machine ended to the machine's [`MachineOwner`](end::MachineOwner).
//!
//! - [`raw`]: KVM's structs in a snapshot.
//! - Memory: [`memory`], and what lguest writes into it: [`firmware`], [`acpi`].
//! - KVM: [`vm`], [`vcpu`], [`cpuid`], and [`crash`] for a vCPU that cannot continue.
//! - Ports: [`ports`], with [`power`] and [`rtc`] behind them.
//! - [`boot`]: from kernel files to a vCPU that can start.

#[expect(unsafe_code, reason = "all FFI lives here")]
mod sys;

pub mod acpi;
pub mod boot;
pub mod cpuid;
mod crash;
pub mod end;
pub mod firmware;
pub mod memory;
pub mod ports;
pub mod power;
pub mod raw;
pub mod rtc;
pub mod vcpu;
pub mod vm;

pub use sys::internal_error;

#[cfg(test)]
#[path = "../../../tests/src/skip.rs"]
pub mod testing;
