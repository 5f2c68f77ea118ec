//! The console that leads to the launcher: made raw, then frames in both directions. Opened
//! by `main`, read and written by [`crate::relay`].

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lguest_init::Mute;
use lguest_init::frame::{FromGuest, MOST, Parser, ToGuest};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::Result;

/// Its driver, if the kernel has one: built in, or loaded by now.
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_console";

/// A driver makes its consoles a moment after it has come: look so often, for so long.
const LOOKS: u32 = 500;
const BETWEEN: Duration = Duration::from_millis(20);

/// The console.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    parser: Parser,
}

impl Port {
    /// Take console hvcN.
    ///
    /// # Errors
    /// Why it is not there.
    pub(crate) fn open(number: usize) -> std::result::Result<Self, Mute> {
        if !Path::new(DRIVER).exists() {
            return Err(Mute::NoDriver);
        }
        for _ in 0..LOOKS {
            if let Ok(file) = open(number) {
                return Ok(Self { file, parser: Parser::default() });
            }
            sleep(BETWEEN);
        }
        Err(Mute::NoConsole)
    }

    /// Say this. The launcher is never long in taking it.
    pub(crate) fn say(&mut self, frame: &FromGuest) -> Result<()> {
        let said = self.file.write_all(&frame.encode());
        said.map_err(|error| format!("the console to the launcher: {error}"))
    }

    /// Hear what the launcher says, when there is something.
    pub(crate) fn hear(&mut self, take: impl FnMut(ToGuest)) -> Result<()> {
        let mut bytes = [0; MOST];
        let read = self.file.read(&mut bytes);
        let count = read.map_err(|error| format!("the console to the launcher: {error}"))?;
        let bytes = bytes.get(..count).unwrap_or_default();
        self.parser.push(bytes, take).map_err(|broken| format!("from the launcher: {broken}"))
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(number: usize) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let file = options.open(format!("/dev/hvc{number}"))?;
    let mut modes = tcgetattr(&file)?;
    cfmakeraw(&mut modes);
    tcsetattr(&file, SetArg::TCSANOW, &modes)?;
    Ok(file)
}
