//! `lguest stats`: prints the counts of a guest's queues and vCPUs, once or every second. This
//! process does all the waiting, not the launcher.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use host::messages;
use nix::poll::PollTimeout;
use serde_json::Value;
use wire::Name;
use wire::protocol::{ControlRequest, Fields, Verb};

use super::{PATIENCE, answer, ask, find, open, print, table, unanswered};
use crate::runtime::RunningGuest;

/// The time between two lines of counts.
const SECOND: Duration = Duration::from_secs(1);

/// A table of counts: the answer's field, the table's name for it, and its columns.
type CounterTable = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const TABLES: [CounterTable; 2] = [
    (
        "queues",
        "QUEUE",
        &[
            ("kicks", "KICKS"),
            ("requests", "REQUESTS"),
            ("from_guest", "FROM-GUEST"),
            ("to_guest", "TO-GUEST"),
            ("interrupts", "INTERRUPTS"),
            ("suppressed", "SUPPRESSED"),
            ("errors", "ERRORS"),
        ],
    ),
    (
        "vcpus",
        "VCPU",
        &[
            ("port_in", "PORT-IN"),
            ("port_out", "PORT-OUT"),
            ("mmio", "MMIO"),
            ("interrupted", "HLT/SIGNAL"),
            ("other", "OTHER"),
        ],
    ),
];

/// `lguest stats`.
///
/// # Errors
/// When there is no such guest, it does not answer, or stdout cannot be written.
pub(crate) fn stats(name: &Name, watch: bool, json: bool) -> Result<()> {
    let guest = find(name)?;
    if watch {
        return follow(&guest, json);
    }
    let counts = ask(&guest, Verb::Stats, &Fields::default(), PATIENCE)?;
    print(&if json { counts.to_string() + "\n" } else { shown(&counts, None) })
}

/// Print every second's rates, or the counts as JSON, until the guest's end.
fn follow(guest: &RunningGuest, json: bool) -> Result<()> {
    let request = ControlRequest::new(Verb::Stats, Fields::default());
    let opened = open(guest, &request, Some(PATIENCE));
    let mut stream = opened.map_err(|error| unanswered(guest, error))?;
    let mut before: Option<Value> = None;
    loop {
        let asked = Instant::now();
        let Some(said) = read_line(&mut stream).map_err(|error| unanswered(guest, error))? else {
            messages::say(&format!("guest {} has ended", guest.name));
            return Ok(());
        };
        let counts = answer(guest, &said)?
            .map_err(|fault| anyhow::anyhow!("{}: {}", guest.name, fault.text))?;
        let text = match (&before, json) {
            (_, true) => counts.to_string() + "\n",
            (Some(before), _) => shown(&counts, Some(before)) + "\n",
            (None, _) => String::new(),
        };
        // The reader of stdout may have closed it.
        match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("writing to stdout")?,
        }
        before = Some(counts);
        if !ends_before(&stream, asked + SECOND)? {
            // If the guest ends now, there is no answer.
            let _ = stream.get_mut().write_all(request.line().as_bytes());
        }
    }
}

/// Read the next line. None if the other end has closed the connection.
fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(0) => Ok(None),
        // Closing a connection with unread bytes resets it.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Ok(_) => Ok(Some(line)),
        Err(error) => Err(error),
    }
}

/// Wait until then, or until the other end has closed the connection: it sends nothing unasked.
fn ends_before(stream: &BufReader<UnixStream>, until: Instant) -> Result<bool> {
    let stream = stream.get_ref();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut polled = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(stream),
            nix::poll::PollFlags::POLLIN,
        )];
        // Rounded up, so that the last millisecond is not spent in a loop.
        let timeout = PollTimeout::try_from(left.saturating_add(Duration::from_millis(1)))
            .context("waiting for the guest")?;
        match nix::poll::poll(&mut polled, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).context("waiting for the guest"),
        }
    }
}

/// The tables of the counts; with `before`, of the rates since then.
fn shown(counts: &Value, before: Option<&Value>) -> String {
    let time = |of: &Value| of.get("milliseconds").and_then(Value::as_u64).unwrap_or(0);
    let passed = before.map(|before| time(counts).saturating_sub(time(before)));
    let tables = TABLES.map(|(field, title, columns)| {
        let per = if before.is_some() { "/s" } else { "" };
        let names = columns.iter().map(|(_, name)| format!("{name}{per}"));
        let mut rows = vec![[title.to_string()].into_iter().chain(names).collect()];
        for thread in table::elements(counts, field) {
            let name = table::text(thread, "name");
            let then = before.and_then(|before| find_thread(before, field, &name));
            let cell = |(key, _): &(&str, &str)| {
                let number = |of: &Value| of.get(key).and_then(Value::as_u64).unwrap_or(0);
                let was = then.map_or(0, number);
                rate(number(thread).saturating_sub(was), passed)
            };
            rows.push([name.clone()].into_iter().chain(columns.iter().map(cell)).collect());
        }
        table::aligned(&rows)
    });
    tables.join("\n")
}

fn find_thread<'v>(counts: &'v Value, field: &str, name: &str) -> Option<&'v Value> {
    table::elements(counts, field).find(|thread| table::text(thread, "name") == name)
}

/// The rate per second of a count in this many milliseconds; without a time, the count itself.
fn rate(count: u64, passed: Option<u64>) -> String {
    match passed {
        None => count.to_string(),
        // Rounded up, so that a small rate is never printed as 0.
        Some(passed) => {
            let each = u128::from(count) * 1000;
            each.div_ceil(u128::from(passed.max(1))).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(milliseconds: u64, requests: u64, port_out: u64) -> Value {
        let queue = json!({ "name": "con0-tx", "kicks": 1, "requests": requests,
            "from_guest": 5000, "to_guest": 0, "interrupts": 2, "suppressed": 3, "errors": 4 });
        let vcpu = json!({ "name": "vcpu0", "port_in": 5, "port_out": port_out, "mmio": 6,
            "interrupted": 7, "other": 8 });
        json!({ "milliseconds": milliseconds, "queues": [queue], "vcpus": [vcpu] })
    }

    #[test]
    fn counts_are_two_tables() {
        assert_eq!(
            shown(&counts(1, 10, 9), None),
            "QUEUE    KICKS  REQUESTS  FROM-GUEST  TO-GUEST  INTERRUPTS  SUPPRESSED  ERRORS\n\
             con0-tx  1      10        5000        0         2           3           4\n\
             \n\
             VCPU   PORT-IN  PORT-OUT  MMIO  HLT/SIGNAL  OTHER\n\
             vcpu0  5        9         6     7           8\n"
        );
    }

    #[test]
    fn rates_are_for_a_second() {
        let rates = shown(&counts(3000, 110, 10), Some(&counts(1000, 10, 9)));
        assert_eq!(
            rates,
            "QUEUE    KICKS/s  REQUESTS/s  FROM-GUEST/s  TO-GUEST/s  INTERRUPTS/s  SUPPRESSED/s  \
             ERRORS/s\n\
             con0-tx  0        50          0             0           0             0             \
             0\n\
             \n\
             VCPU   PORT-IN/s  PORT-OUT/s  MMIO/s  HLT/SIGNAL/s  OTHER/s\n\
             vcpu0  0          1           0       0             0\n"
        );
        // All requests of a queue that did not exist before are new.
        assert_eq!(rate(7, Some(0)), "7000");
    }
}
