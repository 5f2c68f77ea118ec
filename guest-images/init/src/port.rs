//! The console that leads to the launcher. It is made raw, and then carries frames in both
//! directions. `main` opens it; [`crate::relay`] reads and writes it.

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

/// The directory of the console driver, if the kernel has it: built in, or loaded by now.
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_console";

/// How often to look for the console. A driver creates its consoles a moment after it was loaded.
const LOOKS: u32 = 500;
const BETWEEN: Duration = Duration::from_millis(20);

/// The console to the launcher.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    parser: Parser,
}

impl Port {
    /// Opens console hvcN.
    ///
    /// # Errors
    /// The reason why there is no console.
    pub(crate) fn open(number: usize) -> std::result::Result<Self, Mute> {
        if !Path::new(DRIVER).exists() {
            return Err(Mute::NoDriver);
        }
        for _ in 0..LOOKS {
            if let Ok(file) = open(Path::new("/dev"), number) {
                return Ok(Self { file, parser: Parser::default() });
            }
            sleep(BETWEEN);
        }
        Err(Mute::NoConsole)
    }

    /// Opens console hvcN in a directory of devices, as soon as it exists.
    pub(crate) fn wait(devices: &Path, number: usize) -> Self {
        loop {
            if let Ok(file) = open(devices, number) {
                return Self { file, parser: Parser::default() };
            }
            sleep(BETWEEN);
        }
    }

    /// Sends a frame. The launcher always takes it soon.
    pub(crate) fn say(&mut self, frame: &FromGuest) -> Result<()> {
        let said = self.file.write_all(&frame.encode());
        said.map_err(|error| format!("the console to the launcher: {error}"))
    }

    /// Reads what the launcher has sent, and passes each frame to `take`.
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

fn open(devices: &Path, number: usize) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let file = options.open(devices.join(format!("hvc{number}")))?;
    let mut modes = tcgetattr(&file)?;
    cfmakeraw(&mut modes);
    tcsetattr(&file, SetArg::TCSANOW, &modes)?;
    Ok(file)
}
