//! The init of a guest that runs commands (`lguest --exec`). The kernel starts it as the first
//! process (`rdinit=/.lguest/init`). It loads the modules that the launcher has added
//! ([`modules`]), opens the console to the launcher ([`port`]), and mounts the root disk if there
//! is one ([`root`]). Then it waits for commands. It unpacks what a command needs ([`unpack`]),
//! starts it ([`command`]), passes on its input and output ([`relay`]), and reports how it ended.
//! The launcher ends the guest with the last command. With `lguest --agent` there is no last command,
//! and the guest has an init of its own ([`agent`]).

mod agent;
mod command;
mod files;
mod kernel_log;
mod kernel_words;
mod modules;
mod network;
mod port;
mod relay;
mod root;
#[expect(unsafe_code, reason = "all FFI lives here")]
mod sys;
mod unpack;

use std::fs;
use std::path::Path;
use std::time::Duration;

use lguest_init::frame::{FromGuest, VERSION};
use lguest_init::order::SetUpOrder;
use lguest_init::{MODULES, Mute, SET_UP};

use kernel_words::KernelWords;
use port::Port;
use relay::Relay;

/// The error is one line that says what cannot be done.
type Result<T> = std::result::Result<T, String>;

fn main() {
    if agent::is_this() {
        return agent::run();
    }
    // An error here could only go to the kernel's log.
    let _ = root::mount_kernel_file_systems();
    let order = fs::read_to_string(SET_UP).ok().and_then(|text| SetUpOrder::from_text(&text));
    let order = order.unwrap_or_default();
    let words = KernelWords::read(Path::new("/proc"));
    let loaded = modules::load(&order.modules, &words);
    // Only a guest with little memory needs the room.
    let _ = fs::remove_dir_all(MODULES);
    let mut set_up = loaded.as_ref().map_err(ToString::to_string).copied();
    if order.is_agent {
        set_up = set_up.and_then(|()| agent::hand_over(&order, &words));
    }
    match Port::open(order.console) {
        Err(mute) => {
            let refused = loaded.err().map(|refused| Mute::Refused(refused.index()));
            // This fails only without a launcher.
            let _ = sys::end_with(refused.unwrap_or(mute).to_byte());
        }
        Ok(port) => {
            let mut relay = Relay::new(port);
            let last = match work(&words, set_up, &mut relay) {
                Ok(last) => last,
                Err(why) => FromGuest::Failed(why),
            };
            root::settle();
            // A launcher that does not receive this has ended.
            let _ = relay.say(&last);
        }
    }
    // The first process must not end before the guest does.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Sets up the rest of the guest, and runs commands until the last one has ended. Returns the last
/// frame.
fn work(words: &KernelWords, set_up: Result<()>, relay: &mut Relay) -> Result<FromGuest> {
    relay.say(&FromGuest::Hello(VERSION))?;
    set_up?;
    root::check_complete()?;
    network::set_up(words)?;
    let root = root::mount(words)?;
    relay.say(&FromGuest::Ready)?;
    relay.run(words, root)
}
