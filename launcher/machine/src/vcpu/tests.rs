//! What a vCPU's thread does without KVM: it ends the guest when it panics, and says so
//! where KVM could not go on.

use super::*;
use crate::end::testing::Ended;
use crate::memory::Ram;

impl Vcpu {
    /// A vCPU whose thread panics, at once.
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
fn an_entry_that_failed_is_no_exit_to_go_on_from() {
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
