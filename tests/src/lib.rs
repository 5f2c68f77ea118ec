//! The harness of the end-to-end tests. It starts the launcher as users do, and watches it from
//! outside. A test reads
//!
//! ```no_run
//! # use tests::{End, Guest};
//! let mut guest = Guest::boot();
//! assert_eq!(guest.run("echo $((6*7))"), "42");
//! assert_eq!(guest.power_off(), End::Status(0));
//! ```
//!
//! [`Launch`] says what to start and on what. [`Running`] is the running launcher. [`Guest`] adds a
//! shell in Linux. When the harness fails, it fails the test. A test that fails prints the output
//! of its guest.

pub mod bzimage;
mod chance;
mod commands;
pub mod documents;
pub mod environment;
mod exec;
pub mod files;
mod flood;
mod guest;
mod hanging_disk;
mod held;
pub mod kernel;
mod launch;
mod mounts;
mod network;
mod process;
mod refused;
mod running;
mod skip;
mod strace;
#[expect(unsafe_code, reason = "all FFI lives here")]
mod sys;
mod terminal;
mod tmux;
mod transcript;
mod wait;

pub use chance::Chance;
pub use commands::{Said, console, lguest};
pub use exec::Done;
pub use flood::Flood;
pub use guest::{Guest, PROMPT};
pub use hanging_disk::HangingDisk;
pub use held::Held;
pub use launch::{Launch, program};
pub use mounts::with_own_mounts;
pub use network::Network;
pub use process::{Process, Thread, marked};
pub use running::{CTRL_C_WINDOW, End, Running};
pub use skip::{is_root, skip};
pub use strace::Strace;
pub use terminal::{Pty, Snapshot};
pub use tmux::Tmux;
pub use transcript::Transcript;
pub use wait::{OrFail, patience, until, within};
