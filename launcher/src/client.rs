//! The commands about guests that run already: `list`, `info`, `stop` and so on. Each finds the
//! guest's directory ([`crate::runtime`]) and sends one line to its control socket
//! ([`crate::control`]).

mod attach;
pub(crate) mod consoles;
pub(crate) mod exec;
mod session_end;
pub(crate) mod snapshots;
pub(crate) mod stats;
mod table;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use devices::number::low_u64;
use serde::Deserialize;
use serde_json::Value;
use wire::Name;
use wire::protocol::{ControlRequest, Fault, Fields, Verb};

use crate::runtime::{self, RunningGuest};

/// How long a launcher may take to answer. A slower one is stopped or hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a launcher may take to answer `list`.
const GLANCE: Duration = Duration::from_secs(1);

/// The longest answer in bytes: the largest buffer of a console is 16 MiB, and its base64 a third
/// longer.
const LONGEST_ANSWER: u64 = 32 << 20;

/// `lguest list`.
///
/// # Errors
/// When the guests cannot be found, or stdout cannot be written.
pub(crate) fn list(json: bool) -> Result<()> {
    let mut guests = Vec::new();
    for guest in runtime::guests()? {
        match ask(&guest, Verb::Info, &Fields::default(), GLANCE) {
            Ok(info) => guests.push(info),
            // A guest that has ended meanwhile is not listed.
            Err(_) if !is_running(&guest.name)? => {}
            Err(error) => {
                log::debug!("{}: {error:#}", guest.name);
                guests.push(table::silent(&guest));
            }
        }
    }
    print(&if json { Value::from(guests).to_string() + "\n" } else { table::list(&guests) })
}

/// `lguest info`.
///
/// # Errors
/// When there is no such guest, it does not answer, or stdout cannot be written.
pub(crate) fn info(name: &Name, json: bool) -> Result<()> {
    let info = ask(&find(name)?, Verb::Info, &Fields::default(), PATIENCE)?;
    print(&if json { info.to_string() + "\n" } else { table::info(&info) })
}

/// All other commands: send the verb to the guest, and wait for the answer.
///
/// # Errors
/// When there is no such guest, it does not answer, or it refuses.
pub(crate) fn send_verb(name: &Name, verb: Verb) -> Result<()> {
    ask(&find(name)?, verb, &Fields::default(), PATIENCE).map(drop)
}

/// `lguest stop` and `lguest kill`: return when the launcher has ended and the guest's name is
/// free. A guest that is stopped may get some time to power itself off.
///
/// # Errors
/// When there is no such guest, it does not answer, or it refuses.
pub(crate) fn end(name: &Name, verb: Verb, grace: Option<Duration>) -> Result<()> {
    let guest = find(name)?;
    let milliseconds = grace.map(|grace| low_u64(grace.as_millis()));
    let fields = Fields { grace: milliseconds, ..Fields::default() };
    ask(&guest, verb, &fields, PATIENCE.saturating_add(grace.unwrap_or_default()))?;
    guest.wait_for_end()
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("writing to stdout")
}

fn find(name: &Name) -> Result<RunningGuest> {
    let guests = runtime::guests()?;
    let names: Vec<_> = guests.iter().map(|guest| guest.name.to_string()).collect();
    let found = guests.into_iter().find(|guest| guest.name == *name);
    found.ok_or_else(|| match names.is_empty() {
        true => anyhow!("no guest {name}: none is running"),
        false => anyhow!("no guest {name}: there are {}", names.join(", ")),
    })
}

fn is_running(name: &Name) -> Result<bool> {
    Ok(runtime::guests()?.iter().any(|guest| guest.name == *name))
}

/// Send one request, and return the answer.
fn ask(guest: &RunningGuest, verb: Verb, fields: &Fields, patience: Duration) -> Result<Value> {
    let request = ControlRequest::new(verb, fields.clone());
    let opened = open(guest, &request, Some(patience));
    read_answer(guest, &mut opened.map_err(|error| unanswered(guest, error))?)
}

/// Read an answer that reports no fault.
fn read_answer(guest: &RunningGuest, stream: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    let read = stream.take(LONGEST_ANSWER).read_line(&mut line);
    read.map_err(|error| unanswered(guest, error))?;
    answer(guest, &line)?.map_err(|fault| anyhow!("guest {}: {}", guest.name, fault.text))
}

/// The message about a missing answer.
fn unanswered(guest: &RunningGuest, error: io::Error) -> anyhow::Error {
    let name = &guest.name;
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!(
                "guest {name} does not answer: its launcher (pid {}) is stopped, saves the \
                 guest, or starts it again",
                guest.pid
            )
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            anyhow!("guest {name} (pid {}) does not answer yet, or is ending", guest.pid)
        }
        _ => anyhow!(error).context(format!("asking guest {name} (pid {})", guest.pid)),
    }
}

/// Parse the line of an answer.
fn answer(guest: &RunningGuest, line: &str) -> Result<Result<Value, Fault>> {
    let name = &guest.name;
    ensure!(!line.is_empty(), "guest {name} has ended");
    let answer: Answer =
        serde_json::from_str(line).with_context(|| format!("the answer of guest {name}"))?;
    match answer {
        Answer { ok: Some(ok), .. } => Ok(Ok(ok)),
        Answer { error: Some(fault), .. } => Ok(Err(fault)),
        Answer { .. } => bail!("guest {name} gave no answer"),
    }
}

/// An answer of any version.
#[derive(Debug, Deserialize)]
struct Answer {
    ok: Option<Value>,
    error: Option<Fault>,
}

/// Send a request on a new connection. A launcher that refuses the connection may close it before
/// the request is written: the answer can still be read, and has the reason.
fn open(
    guest: &RunningGuest,
    request: &ControlRequest,
    patience: Option<Duration>,
) -> io::Result<BufReader<UnixStream>> {
    let mut stream: UnixStream = guest.connect()?;
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    match stream.write_all(request.line().as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(BufReader::new(stream)),
    }
}
