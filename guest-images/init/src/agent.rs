//! The agent: runs commands beside the guest's own init (`lguest --agent`). The first process starts
//! it, and then becomes the guest's own init: that of the user's initial file system, or that of the
//! root disk. Without either, the first process runs commands itself.
//!
//! The agent stays in the first initial file system, whatever root the guest's own init changes to.
//! It has mounts of its own there, and commands run in the root directory of the first process.

use std::convert::Infallible;
use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use lguest_init::frame::{FromGuest, VERSION};
use lguest_init::{INIT, order::SetUpOrder};
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, setsid};

use crate::kernel_words::KernelWords;
use crate::port::Port;
use crate::relay::Relay;
use crate::{Result, root};

/// The agent's name. systemd does not end programs whose names begin with @ when it leaves an
/// initial file system (<https://systemd.io/ROOT_STORAGE_DAEMONS>).
const NAME: &str = "@lguest-agent";

/// The agent's own mounts, which the guest's init does not move.
const DEV: &str = "/.lguest/dev";
const PROC: &str = "/.lguest/proc";

/// The root directory of the first process.
const ROOT: &str = "/.lguest/proc/1/root";

/// The programs that Linux tries as the init of a root file system.
const INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// Whether this process is the agent.
pub(crate) fn is_this() -> bool {
    env::args_os().next().is_some_and(|name| name == NAME)
}

/// Runs commands for ever. The console may appear late: the guest's own init may load its driver.
pub(crate) fn run() {
    let _ = setsid();
    let console = env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut relay = Relay::new(Port::wait(Path::new(DEV), console));
    let words = KernelWords::read(Path::new(PROC));
    let served = relay
        .say(&FromGuest::Hello(VERSION))
        .and_then(|()| relay.say(&FromGuest::Ready))
        .and_then(|()| relay.run(&words, Some(Path::new(ROOT))));
    // There is no last command, so only the console can have failed.
    drop(served);
}

/// Starts the agent, and becomes the guest's own init. Returns only if the guest
/// has none.
///
/// # Errors
/// The agent or the guest's own init cannot be started.
pub(crate) fn hand_over(order: &SetUpOrder, words: &KernelWords) -> Result<()> {
    let Some(start) = own_init(words) else { return Ok(()) };
    for (kind, place) in [("devtmpfs", DEV), ("proc", PROC)] {
        let _ = fs::create_dir_all(place);
        mount(Some(kind), place, Some(kind), MsFlags::MS_NOSUID, None::<&str>)
            .map_err(|error| format!("mounting {place}: {error}"))?;
    }
    let agent = Command::new(INIT).arg0(NAME).arg(order.console.to_string()).spawn();
    agent.map_err(|error| format!("starting the agent: {error}"))?;
    match start(words) {
        Ok(never) => match never {},
        Err(why) => Err(why),
    }
}

/// How the first process becomes the guest's own init.
type Start = fn(&KernelWords) -> Result<Infallible>;

/// Finds the guest's own init.
fn own_init(words: &KernelWords) -> Option<Start> {
    if fs::symlink_metadata("/init").is_ok() {
        return Some(|_| {
            // It mounts them itself, and may not expect them to be there.
            root::unmount_kernel_file_systems();
            exec(&["/init"])
        });
    }
    words.value("root").is_some().then_some(from_disk as Start)
}

/// Mounts the root disk, and becomes its init, as Linux does without an initial file system.
fn from_disk(words: &KernelWords) -> Result<Infallible> {
    let place = root::mount_disk(words)?.ok_or("root=: the kernel command line has none")?;
    let inits = words.value("init").map_or(INITS.to_vec(), |init| vec![init]);
    let is_there =
        |init: &&str| fs::symlink_metadata(place.join(init.trim_start_matches('/'))).is_ok();
    if !inits.iter().any(is_there) {
        return Err(format!("the root disk has no init: there is no {}", inits.join(", ")));
    }
    let changed = (|| {
        chdir(place)?;
        // The kernel does this as well (CONFIG_DEVTMPFS_MOUNT).
        let _ = mount(Some("dev"), "dev", Some("devtmpfs"), MsFlags::MS_NOSUID, None::<&str>);
        mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
        chroot(".")
    })();
    changed.map_err(|error| format!("changing to the root disk: {error}"))?;
    exec(&inits)
}

/// Becomes the first of these programs that exists, with the arguments and the environment that the
/// kernel gave to the first process.
fn exec(programs: &[&str]) -> Result<Infallible> {
    let mut why = String::new();
    for program in programs {
        let mut own = Command::new(program);
        own.args(env::args_os().skip(1));
        // The kernel had no driver for its console when it started the first process.
        let console = || File::options().read(true).write(true).open("/dev/console");
        if let (Ok(stdin), Ok(stdout), Ok(stderr)) = (console(), console(), console()) {
            own.stdin(stdin).stdout(stdout).stderr(stderr);
        }
        let error = own.exec();
        why = format!("starting the guest's own init, {program}: {error}");
    }
    Err(why)
}
