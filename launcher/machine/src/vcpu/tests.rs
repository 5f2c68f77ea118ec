//! A vCPU's thread without KVM: a panic ends the guest, and an exit from which KVM cannot continue is
//! reported.

use super::*;
use crate::end::testing::Ended;
use crate::memory::Ram;

impl Vcpu {
    /// A vCPU whose thread panics at once.
    fn that_panics(id: u8, owner: Arc<dyn MachineOwner>) -> Self {
        Self::spawn(id, owner, |_| panic!("as told")).unwrap()
    }
}

#[test]
fn a_panic_ends_the_guest_and_names_the_thread() {
    let owner = Arc::new(Ended::default());
    drop(Vcpu::that_panics(7, owner.clone()));
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
