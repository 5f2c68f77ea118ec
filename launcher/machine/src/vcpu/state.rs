//! The whole state of a vCPU in a snapshot: read from KVM, and set in another vCPU. The order of the
//! calls matters in both directions, and each place where it does says why.

mod msrs;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use devices::number::low_u64;
use devices::state::HexBytes;
use kvm_bindings::{
    kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::{Cap, Kvm, KvmNestedStateBuffer, VcpuFd};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, IntoBytes};

use super::KvmVcpu;
use crate::cpuid::{self, CpuidEntry};
use crate::raw::Raw;
use crate::sys::XsaveSize;
use msrs::Msr;

/// What a vCPU's state consists of with this host's KVM.
#[derive(Debug)]
pub struct VcpuFormat {
    /// The numbers of the MSRs.
    msrs: Vec<u32>,
    xsave: XsaveSize,
    /// KVM has state of nested virtualization.
    nested: bool,
}

impl VcpuFormat {
    /// The format of this host's KVM.
    ///
    /// # Errors
    /// When KVM does not report its MSRs.
    pub fn of(kvm: &Kvm) -> Result<Self> {
        let nested = kvm.check_extension_int(Cap::NestedState) > 0;
        Ok(Self { msrs: msrs::indices(kvm)?, xsave: XsaveSize::of(kvm), nested })
    }
}

/// The state of a vCPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VcpuState {
    /// CPUID, as it was set.
    cpuid: Vec<CpuidEntry>,
    mp_state: Raw<kvm_mp_state>,
    regs: Raw<kvm_regs>,
    sregs: Raw<kvm_sregs>,
    xsave: HexBytes,
    xcrs: Raw<kvm_xcrs>,
    debug_regs: Raw<kvm_debugregs>,
    lapic: Raw<kvm_lapic_state>,
    /// The frequency of the time stamp counter in kHz, if KVM reports it.
    tsc_khz: Option<u32>,
    msrs: Vec<Msr>,
    /// The state of nested virtualization, if the host's KVM has it.
    nested: Option<HexBytes>,
    events: Raw<kvm_vcpu_events>,
}

impl VcpuState {
    /// The vCPU's CPUID.
    pub fn cpuid(&self) -> &[CpuidEntry] {
        &self.cpuid
    }

    /// Move the time stamp counter on by the time that has passed since the state was read. Linux
    /// takes the time from it on hosts where it is invariant. A deadline of the timer that has come
    /// meanwhile is then due at once.
    pub fn move_on(&mut self, passed: Duration) {
        let Some(khz) = self.tsc_khz else { return };
        let ticks = passed.as_nanos().saturating_mul(khz.into()) / 1_000_000;
        msrs::move_on(&mut self.msrs, low_u64(ticks));
    }

    /// Read the state.
    pub(super) fn of(vcpu: &KvmVcpu) -> Result<Self> {
        let KvmVcpu { id: _, fd, cpuid, format } = vcpu;
        // First, because KVM then serves an INIT or SIPI that is pending, which changes the others.
        let mp_state = fd.get_mp_state().context("KVM_GET_MP_STATE")?;
        let regs = fd.get_regs().context("KVM_GET_REGS")?;
        let sregs = fd.get_sregs().context("KVM_GET_SREGS")?;
        let xsave = format.xsave.get(fd).context("KVM_GET_XSAVE")?;
        let xcrs = fd.get_xcrs().context("KVM_GET_XCRS")?;
        let debug_regs = fd.get_debug_regs().context("KVM_GET_DEBUGREGS")?;
        let lapic = fd.get_lapic().context("KVM_GET_LAPIC")?;
        let tsc_khz = fd.get_tsc_khz().ok();
        let msrs = msrs::read(fd, &format.msrs)?;
        let nested = format.nested.then(|| nested_state(fd)).transpose()?;
        // Last, because the others may change what is pending.
        let events = fd.get_vcpu_events().context("KVM_GET_VCPU_EVENTS")?;
        Ok(Self {
            cpuid: cpuid.clone(),
            mp_state: Raw(mp_state),
            regs: Raw(regs),
            sregs: Raw(sregs),
            xsave: HexBytes(xsave),
            xcrs: Raw(xcrs),
            debug_regs: Raw(debug_regs),
            lapic: Raw(lapic),
            tsc_khz,
            msrs,
            nested,
            events: Raw(events),
        })
    }

    /// Set the state in a vCPU that has not run.
    pub(super) fn set(&self, vcpu: &mut KvmVcpu) -> Result<()> {
        let Self {
            cpuid,
            mp_state,
            regs,
            sregs,
            xsave,
            xcrs,
            debug_regs,
            lapic,
            tsc_khz,
            msrs,
            nested,
            events,
        } = self;
        let xsave_size = vcpu.format.xsave;
        let (saved, ours) = (xsave.0.len(), xsave_size.bytes());
        ensure!(
            saved == ours,
            "the extended state (XSAVE) has {saved} bytes in the snapshot, {ours} on this host"
        );
        // First: KVM checks the other registers against it.
        vcpu.set_cpuid(&cpuid::cpuid(cpuid)?)?;
        let fd = &vcpu.fd;
        fd.set_mp_state(mp_state.0).context("KVM_SET_MP_STATE")?;
        fd.set_regs(&regs.0).context("KVM_SET_REGS")?;
        fd.set_sregs(&sregs.0).context("KVM_SET_SREGS")?;
        xsave_size.set(fd, &xsave.0).context("KVM_SET_XSAVE")?;
        // KVM has none on a host without XSAVE, and then refuses even to set none.
        if xcrs.0.nr_xcrs > 0 {
            fd.set_xcrs(&xcrs.0).context("KVM_SET_XCRS")?;
        }
        fd.set_debug_regs(&debug_regs.0).context("KVM_SET_DEBUGREGS")?;
        // After EFER, which has to have SVM enabled.
        set_nested_state(fd, nested.as_ref(), vcpu.format.nested)?;
        set_tsc_khz(fd, *tsc_khz)?;
        // After the address of the APIC, which is among the SREGS, and before the deadline of its
        // timer, which is among the MSRs.
        fd.set_lapic(&lapic.0).context("KVM_SET_LAPIC")?;
        msrs::set(fd, msrs, &lapic.0)?;
        // Last, because the others may change what is pending.
        fd.set_vcpu_events(&events.0).context("KVM_SET_VCPU_EVENTS")
    }
}

/// Read the state of nested virtualization, without the part that KVM did not fill.
fn nested_state(fd: &VcpuFd) -> Result<HexBytes> {
    let mut state = KvmNestedStateBuffer::empty();
    fd.nested_state(&mut state).context("KVM_GET_NESTED_STATE")?;
    let length = usize::try_from(state.size)?;
    let bytes = state.as_bytes().get(..length).context("KVM_GET_NESTED_STATE: too many bytes")?;
    Ok(HexBytes(bytes.to_vec()))
}

fn set_nested_state(fd: &VcpuFd, saved: Option<&HexBytes>, has_nested: bool) -> Result<()> {
    ensure!(
        saved.is_some() == has_nested,
        "one of the snapshot and this host's KVM has state of nested virtualization, and the other \
         does not"
    );
    let Some(HexBytes(saved)) = saved else { return Ok(()) };
    let mut bytes = [0; size_of::<KvmNestedStateBuffer>()];
    let place =
        bytes.get_mut(..saved.len()).context("the state of nested virtualization is too long")?;
    place.copy_from_slice(saved);
    let state = KvmNestedStateBuffer::read_from_bytes(&bytes).unwrap_or_default();
    ensure!(
        usize::try_from(state.size)? == saved.len(),
        "the state of nested virtualization has {} bytes, not {}",
        saved.len(),
        state.size
    );
    fd.set_nested_state(&state).context("KVM_SET_NESTED_STATE")
}

/// Set the frequency of the time stamp counter, if it is not that of this host.
fn set_tsc_khz(fd: &VcpuFd, saved: Option<u32>) -> Result<()> {
    let ours = fd.get_tsc_khz().ok();
    match (saved, ours) {
        (Some(saved), Some(ours)) if saved != ours => fd.set_tsc_khz(saved).with_context(|| {
            format!(
                "the time stamp counter ran at {saved} kHz, this host's runs at {ours} kHz, and \
                 KVM cannot scale it"
            )
        }),
        _ => Ok(()),
    }
}
