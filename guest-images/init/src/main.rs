//! The init of a guest that runs one command (`lguest --exec`). The kernel starts it as the first
//! process (`rdinit=/.lguest/init`). It loads the modules that the launcher has added
//! ([`modules`]), opens the console to the launcher ([`port`]), mounts the root disk if there is
//! one ([`root`]), runs the command ([`command`]), passes on its input and output ([`relay`]), and
//! reports how it ended. Then the launcher ends the guest.

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

use std::fs;
use std::time::Duration;

use lguest_init::frame::{FromGuest, VERSION};
use lguest_init::order::Order;
use lguest_init::{COMMAND, Mute, ORDER};

use kernel_words::KernelWords;
use port::Port;

/// The error is one line that says what cannot be done.
type Result<T> = std::result::Result<T, String>;

fn main() {
    // An error here could only go to the kernel's log.
    let _ = root::mount_kernel_file_systems();
    let order = fs::read_to_string(ORDER).ok().and_then(|text| Order::from_text(&text));
    let order = order.unwrap_or_default();
    let words = KernelWords::read();
    let loaded = modules::load(&order.modules, &words);
    match Port::open(order.console) {
        Err(mute) => {
            let refused = loaded.err().map(|refused| Mute::Refused(refused.index()));
            // This fails only without a launcher.
            let _ = sys::end_with(refused.unwrap_or(mute).to_byte());
        }
        Ok(mut port) => {
            let last = match work(&order, &words, loaded, &mut port) {
                Ok(status) => FromGuest::Ended(status),
                Err(why) => FromGuest::Failed(why),
            };
            root::settle();
            // A launcher that does not receive this has ended.
            let _ = port.say(&last);
        }
    }
    // The first process must not end before the guest does.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Does all of the work, and returns the command's exit status.
fn work(
    order: &Order,
    words: &KernelWords,
    loaded: std::result::Result<(), modules::Refused>,
    port: &mut Port,
) -> Result<u8> {
    port.say(&FromGuest::Ready(VERSION))?;
    root::check_complete()?;
    loaded.map_err(|refused| refused.to_string())?;
    network::set_up(words)?;
    let root = root::mount(words)?;
    files::put_in_place(&order.files, root)?;
    let command = fs::read(COMMAND).map_err(|error| format!("{COMMAND}: {error}"))?;
    modules::forget();
    let command = command::start(&command, order.terminal.as_ref(), root)?;
    relay::relay(command, port)
}
