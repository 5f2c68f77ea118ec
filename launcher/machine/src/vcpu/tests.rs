//! A vCPU's thread without KVM: a panic ends the guest, and an exit from which KVM cannot continue is
//! reported.

use kvm_ioctls::VcpuExit;

use super::run::serve;
use super::*;
use crate::crash::Cause;
use crate::end::testing::Ended;
use crate::memory::Ram;

#[test]
fn a_panic_ends_the_guest_and_names_the_thread() {
    let owner = Arc::new(Ended::default());
    spawn(7, owner.clone(), || panic!("as told")).unwrap().join().unwrap();
    assert_eq!(owner.take(), Some(MachineEnd::Failed("vcpu7: panicked: as told".to_string())));
}

#[test]
fn serving_reports_a_failed_entry() {
    let owner = Arc::new(Ended::default());
    let context = VcpuContext {
        ports: Ports::of(owner.clone()),
        memory: Ram::new(1 << 20).unwrap().memory().clone(),
        owner,
        paused: Arc::default(),
        triple_fault_resets: true,
    };
    let cause = serve(VcpuExit::FailEntry(0x8000_0021, 0), &context);
    assert!(matches!(cause, Err(Cause::FailedEntry(0x8000_0021))), "{cause:?}");
}
