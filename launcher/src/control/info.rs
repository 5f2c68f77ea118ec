//! What a guest says of itself when it is asked (`info`). Most of it is put
//! together once, from the command line and what was opened for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use wire::Name;

use crate::config::Config;
use crate::config::console::Backend;

/// A guest, as others see it.
#[derive(Debug)]
pub(crate) struct Machine {
    info: Info,
    consoles: Vec<Arc<crate::console::Console>>,
    paused: Arc<AtomicBool>,
    since: Instant,
    /// The directory in which the command line was given.
    here: PathBuf,
}

/// What became of a command line.
#[derive(Debug)]
pub(crate) struct Made {
    /// The kernel's command line.
    pub(crate) kernel_words: String,
    /// The host's interface of each network card.
    pub(crate) interfaces: Vec<String>,
}

/// Each field is described in docs/control.md.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Info {
    name: String,
    pid: u32,
    /// Of lguest.
    version: &'static str,
    state: &'static str,
    /// Bytes.
    memory: u64,
    cpus: u8,
    /// Seconds.
    uptime: u64,
    kernel: String,
    command_line: String,
    devices: Vec<Device>,
    consoles: Vec<Console>,
}

#[derive(Debug, Clone, Serialize)]
struct Device {
    name: String,
    kind: &'static str,
    /// Where it leads to on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Console {
    index: usize,
    name: String,
    /// What the user calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    backend: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// What leads to the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// The pid of the client that types on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    writer: Option<i32>,
    /// Of it, and of those that look on.
    clients: usize,
    /// Bytes that nobody has read, and those before them that are lost.
    unread: u64,
    dropped: u64,
    rows: u16,
    columns: u16,
}

impl Machine {
    /// The guest of this command line, which was given in directory `here`, and what became of it.
    pub(crate) fn new(
        name: &Name,
        (config, here): (&Config, &Path),
        made: Made,
        consoles: Vec<Arc<crate::console::Console>>,
        paused: Arc<AtomicBool>,
    ) -> Self {
        let info = Info {
            name: name.to_string(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            state: "",
            memory: config.memory,
            cpus: config.cpus,
            uptime: 0,
            kernel: shown(here, &config.kernel),
            command_line: made.kernel_words,
            devices: devices(config, consoles.len(), made.interfaces, here),
            consoles: Vec::new(),
        };
        Self { info, consoles, paused, since: Instant::now(), here: here.to_path_buf() }
    }

    /// The guest's consoles, hvc0 first.
    pub(super) fn consoles(&self) -> &[Arc<crate::console::Console>] {
        &self.consoles
    }

    /// The description of the guest as it is now.
    pub(super) fn info(&self) -> Info {
        Info {
            state: if self.paused.load(Ordering::Relaxed) { "paused" } else { "running" },
            uptime: self.since.elapsed().as_secs(),
            consoles: self.consoles.iter().map(|each| console(each, &self.here)).collect(),
            ..self.info.clone()
        }
    }
}

fn console(console: &crate::console::Console, here: &Path) -> Console {
    let (backend, link) = match &console.config.backend {
        Backend::Stdio => ("stdio", None),
        Backend::Socket { .. } => ("sock", None),
        Backend::Pty { link } => ("pty", link.as_deref()),
        Backend::File { .. } => ("file", None),
        Backend::Null => ("null", None),
        Backend::Exec { .. } => ("exec", None),
    };
    let shown = |path: &Path| shown(here, path);
    let (index, (columns, rows)) = (console.number, console.window.get());
    let (unread, dropped) = console.output.unread();
    Console {
        index,
        name: format!("hvc{index}"),
        backend,
        label: console.config.name.as_ref().map(Name::to_string),
        path: console.path().as_deref().map(shown),
        link: link.map(shown),
        writer: console.seat.pid(),
        clients: console.output.clients(),
        unread,
        dropped,
        rows,
        columns,
    }
}

fn devices(config: &Config, consoles: usize, interfaces: Vec<String>, here: &Path) -> Vec<Device> {
    let device = |name: &str, kind| Device {
        name: name.into(),
        kind,
        path: None,
        read_only: None,
        interface: None,
    };
    let consoles = (0..consoles).map(|number| device(&format!("con{number}"), "console"));
    let mut devices: Vec<_> = consoles.collect();
    for (number, block) in config.block.iter().enumerate() {
        let (path, read_only) = (Some(shown(here, &block.path)), Some(block.read_only));
        devices.push(Device { path, read_only, ..device(&format!("blk{number}"), "block") });
    }
    for (number, interface) in interfaces.into_iter().enumerate() {
        let interface = Some(interface);
        devices.push(Device { interface, ..device(&format!("net{number}"), "net") });
    }
    if let Some(path) = &config.rng {
        devices.push(Device { path: Some(shown(here, path)), ..device("rng0", "rng") });
    }
    devices
}

fn shown(here: &Path, path: &Path) -> String {
    here.join(path).display().to_string()
}

#[cfg(test)]
impl Machine {
    /// Some guest.
    pub(super) fn example() -> Self {
        let info = Info {
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
