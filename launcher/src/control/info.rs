//! The description of a guest for the verb `info`. Most of it is put together once, from the
//! command line and from what was opened for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use host::disk::PrivatePart;
use serde::Serialize;
use wire::Name;

use crate::config::Config;
use crate::config::console::Backend;
use crate::console::GuestConsole;

/// A guest, as other processes see it.
#[derive(Debug)]
pub(crate) struct GuestInfo {
    info: InfoAnswer,
    consoles: Vec<Arc<GuestConsole>>,
    paused: Arc<AtomicBool>,
    since: Instant,
    /// The directory in which the command line was given.
    here: PathBuf,
}

/// What lguest added to a command line or chose for it.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The kernel's command line.
    pub(crate) kernel_words: String,
    /// The name of the host's interface of each network card.
    pub(crate) interfaces: Vec<String>,
}

/// The answer to `info`. docs/control.md describes each field.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InfoAnswer {
    name: String,
    pid: u32,
    /// The version of lguest.
    version: &'static str,
    state: &'static str,
    /// Bytes of guest memory.
    memory: u64,
    cpus: u8,
    /// Seconds since the guest's launch.
    uptime: u64,
    kernel: String,
    command_line: String,
    devices: Vec<DeviceInfo>,
    consoles: Vec<ConsoleInfo>,
}

#[derive(Debug, Clone, Serialize)]
struct DeviceInfo {
    name: String,
    kind: &'static str,
    /// Where the device leads to on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<bool>,
    /// Whether a disk is copy-on-write.
    #[serde(skip_serializing_if = "Option::is_none")]
    cow: Option<bool>,
    /// The file that the private part of a copy-on-write disk is kept in.
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ConsoleInfo {
    index: usize,
    name: String,
    /// The name that the user gave the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    backend: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The symbolic link to the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// The pid of the client that types.
    #[serde(skip_serializing_if = "Option::is_none")]
    writer: Option<i32>,
    /// The number of clients that type or watch.
    clients: usize,
    /// Bytes that no client has read; `dropped` counts lost bytes before them.
    unread: u64,
    dropped: u64,
    rows: u16,
    columns: u16,
}

impl GuestInfo {
    /// The guest of this command line, which was given in directory `here`, with its consoles.
    pub(crate) fn new(
        name: &Name,
        (config, here): (&Config, &Path),
        resolved: Resolved,
        consoles: Vec<Arc<GuestConsole>>,
        paused: Arc<AtomicBool>,
    ) -> Self {
        let info = InfoAnswer {
            name: name.to_string(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            state: "",
            memory: config.memory,
            cpus: config.cpus,
            uptime: 0,
            kernel: shown(here, &config.kernel),
            command_line: resolved.kernel_words,
            devices: devices(config, consoles.len(), resolved.interfaces, here),
            consoles: Vec::new(),
        };
        Self { info, consoles, paused, since: Instant::now(), here: here.to_path_buf() }
    }

    /// The guest's consoles, hvc0 first.
    pub(super) fn consoles(&self) -> &[Arc<GuestConsole>] {
        &self.consoles
    }

    /// The description of the guest as it is now.
    pub(super) fn answer(&self) -> InfoAnswer {
        InfoAnswer {
            state: if self.paused.load(Ordering::Relaxed) { "paused" } else { "running" },
            uptime: self.since.elapsed().as_secs(),
            consoles: self.consoles.iter().map(|each| console(each, &self.here)).collect(),
            ..self.info.clone()
        }
    }
}

fn console(console: &GuestConsole, here: &Path) -> ConsoleInfo {
    let (backend, link) = match &console.config.backend {
        Backend::Stdio => ("stdio", None),
        Backend::Socket { .. } => ("sock", None),
        Backend::Pty { link } => ("pty", link.as_deref()),
        Backend::File { .. } => ("file", None),
        Backend::Null => ("null", None),
        Backend::Exec { .. } => ("exec", None),
        Backend::Agent => ("agent", None),
    };
    let shown = |path: &Path| shown(here, path);
    let (index, (columns, rows)) = (console.number, console.window.get());
    let (unread, dropped) = console.output.unread();
    ConsoleInfo {
        index,
        name: format!("hvc{index}"),
        backend,
        label: console.config.name.as_ref().map(Name::to_string),
        path: console.path().as_deref().map(shown),
        link: link.map(shown),
        writer: console.input_owner.pid(),
        clients: console.output.clients(),
        unread,
        dropped,
        rows,
        columns,
    }
}

fn devices(
    config: &Config,
    consoles: usize,
    interfaces: Vec<String>,
    here: &Path,
) -> Vec<DeviceInfo> {
    let device = |name: &str, kind| DeviceInfo {
        name: name.into(),
        kind,
        path: None,
        read_only: None,
        cow: None,
        private: None,
        interface: None,
    };
    let consoles = (0..consoles).map(|number| device(&format!("con{number}"), "console"));
    let mut devices: Vec<_> = consoles.collect();
    for (number, block) in config.block.iter().enumerate() {
        devices.push(DeviceInfo {
            path: Some(shown(here, &block.path)),
            read_only: Some(block.read_only),
            cow: Some(block.cow.is_some()),
            private: match &block.cow {
                Some(PrivatePart::Kept(path)) => Some(shown(here, path)),
                _ => None,
            },
            ..device(&format!("blk{number}"), "block")
        });
    }
    for (number, interface) in interfaces.into_iter().enumerate() {
        let interface = Some(interface);
        devices.push(DeviceInfo { interface, ..device(&format!("net{number}"), "net") });
    }
    if let Some(path) = &config.rng {
        devices.push(DeviceInfo { path: Some(shown(here, path)), ..device("rng0", "rng") });
    }
    devices
}

fn shown(here: &Path, path: &Path) -> String {
    here.join(path).display().to_string()
}

#[cfg(test)]
impl GuestInfo {
    /// An example of a guest.
    pub(super) fn example() -> Self {
        let info = InfoAnswer {
            name: "example".into(),
            pid: 1,
            version: "0",
            state: "",
            memory: 64 << 20,
            cpus: 1,
            uptime: 0,
            kernel: "/vmlinuz".into(),
            command_line: String::new(),
            devices: Vec::new(),
            consoles: Vec::new(),
        };
        let (paused, since) = (Arc::default(), Instant::now());
        Self { info, consoles: Vec::new(), paused, since, here: PathBuf::new() }
    }
}
