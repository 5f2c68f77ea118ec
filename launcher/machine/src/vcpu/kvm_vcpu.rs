//! A vCPU as KVM has it, without a thread.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use kvm_bindings::CpuId;
use kvm_ioctls::VcpuFd;

use super::state::{VcpuFormat, VcpuState};
use crate::cpuid::{self, CpuidEntry};

/// A vCPU as KVM has it, with the CPUID that was set.
pub struct KvmVcpu {
    pub(super) id: u8,
    pub(super) fd: VcpuFd,
    /// The entries as they were set. KVM changes some while the vCPU runs, and does not return the
    /// others unchanged either.
    pub(super) cpuid: Vec<CpuidEntry>,
    pub(super) format: Arc<VcpuFormat>,
}

impl fmt::Debug for KvmVcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmVcpu").field("id", &self.id).finish_non_exhaustive()
    }
}

impl KvmVcpu {
    /// A vCPU that KVM has just created. The host's KVM has this `format`.
    pub(crate) fn new(id: u8, fd: VcpuFd, format: Arc<VcpuFormat>) -> Self {
        Self { id, fd, cpuid: Vec::new(), format }
    }

    /// KVM's descriptor.
    pub fn fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// Set the CPUID. The vCPU must not have run.
    ///
    /// # Errors
    /// When KVM refuses it.
    pub fn set_cpuid(&mut self, cpuid: &CpuId) -> Result<()> {
        let set = self.fd.set_cpuid2(cpuid);
        set.with_context(|| format!("setting CPUID of vCPU {} (KVM_SET_CPUID2)", self.id))?;
        self.cpuid = cpuid::entries(cpuid);
        Ok(())
    }

    /// Read the whole state. The vCPU must not be in KVM_RUN, and must have completed its last exit.
    ///
    /// # Errors
    /// When KVM refuses a part.
    pub fn state(&self) -> Result<VcpuState> {
        VcpuState::of(self).with_context(|| format!("vCPU {}", self.id))
    }

    /// Set the whole state of a vCPU that was just created, including its CPUID. The guest's memory
    /// has to be there; the interrupt controllers and the clock come afterwards.
    ///
    /// # Errors
    /// When KVM refuses a part, or this host's KVM has another format. The vCPU is then of no use.
    pub fn restore(&mut self, state: &VcpuState) -> Result<()> {
        state.set(self).with_context(|| format!("vCPU {}", self.id))
    }
}
