//! The end of a machine, and the owner that is notified of it.

use std::sync::Arc;

use devices::observer::Observer;

/// How a machine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineEnd {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest asked for a reset. The text names the means, such as "port 0xcf9".
    Reset(&'static str),
    /// The guest wrote this byte to port 0x501.
    Status(u8),
    /// The guest's kernel panicked, which pvpanic reports.
    Panicked,
    /// The guest cannot continue: triple fault, KVM internal error.
    Crashed(Crash),
    /// The host failed. The text is complete.
    Failed(String),
}

/// How a guest crashed. [`crate::crash`] writes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The reason and a few lines of detail.
    pub text: String,
    /// KVM could not continue. The KVM of another host might.
    pub by_kvm: bool,
}

/// The owner of a machine. The machine's threads call its methods.
pub trait MachineOwner: Send + Sync {
    /// The machine has ended, for this reason. The owner has to stop the machine's threads.
    fn ended(&self, end: MachineEnd);

    /// The observer of the queue whose thread has this name. A queue has the same observer after a
    /// reset and after a reboot.
    fn observer(&self, thread: &str) -> Arc<Observer>;
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Mutex;

    use super::{Arc, MachineEnd, MachineOwner, Observer};

    /// An owner that keeps the first end.
    #[derive(Default)]
    pub(crate) struct Ended(Mutex<Option<MachineEnd>>);

    impl Ended {
        pub(crate) fn take(&self) -> Option<MachineEnd> {
            self.0.lock().unwrap().take()
        }
    }

    impl MachineOwner for Ended {
        fn ended(&self, end: MachineEnd) {
            self.0.lock().unwrap().get_or_insert(end);
        }

        fn observer(&self, _thread: &str) -> Arc<Observer> {
            Arc::new(Observer::new(None))
        }
    }
}
