//! Tables and descriptions of guests, for people.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::runtime::RunningGuest;

const HEADER: [&str; 6] = ["NAME", "PID", "STATE", "CPUS", "MEMORY", "UPTIME"];

/// What is known about a guest that does not answer.
pub(super) fn silent(guest: &RunningGuest) -> Value {
    let pid = guest.pid.parse::<u32>().ok();
    json!({ "name": guest.name.as_str(), "pid": pid, "state": "silent" })
}

/// A table with a line for each guest.
pub(super) fn list(guests: &[Value]) -> String {
    let mut rows = vec![HEADER.map(String::from).to_vec()];
    rows.extend(guests.iter().map(|guest| row(guest).to_vec()));
    aligned(&rows)
}

/// Lines of cells, in columns that are as wide as they need.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

fn row(guest: &Value) -> [String; 6] {
    let number = |key| guest.get(key).and_then(Value::as_u64);
    [
        text(guest, "name"),
        text(guest, "pid"),
        text(guest, "state"),
        text(guest, "cpus"),
        number("memory").map_or_else(unknown, size),
        number("uptime").map_or_else(unknown, duration),
    ]
}

fn unknown() -> String {
    "-".into()
}

/// A field as text, without characters that would move the cursor.
pub(super) fn text(object: &Value, key: &str) -> String {
    match object.get(key) {
        Some(Value::String(text)) => text.chars().flat_map(printable).collect(),
        None | Some(Value::Null) => unknown(),
        Some(other) => other.to_string(),
    }
}

fn printable(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mib if mib > 0 && mib % 1024 == 0 => format!("{}G", mib / 1024),
        mib => format!("{mib}M"),
    }
}

fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// The description of a guest, with a line for each property.
pub(super) fn info(guest: &Value) -> String {
    let [name, pid, state, cpus, memory, uptime] = row(guest);
    let fixed = [
        ("name", name),
        ("pid", pid),
        ("version", text(guest, "version")),
        ("state", state),
        ("cpus", cpus),
        ("memory", memory),
        ("uptime", uptime),
        ("kernel", text(guest, "kernel")),
        ("command line", text(guest, "command_line")),
    ];
    let mut lines: Vec<(String, String)> =
        fixed.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    for device in elements(guest, "devices") {
        let of_one = ["kind", "path", "interface"].map(|key| text(device, key));
        let mut words: Vec<_> = of_one.into_iter().filter(|word| *word != unknown()).collect();
        if device.get("read_only") == Some(&Value::Bool(true)) {
            words.push("(read-only)".into());
        }
        if device.get("cow") == Some(&Value::Bool(true)) {
            let private = device.get("private").and_then(Value::as_str);
            words.push(private.map_or("(copy-on-write)".into(), |private| {
                format!("(copy-on-write, private part {private})")
            }));
        }
        lines.push((text(device, "name"), words.join(" ")));
    }
    for console in elements(guest, "consoles") {
        lines.push((text(console, "name"), format!("console on {}", text(console, "backend"))));
    }
    lines.iter().fold(String::new(), |mut all, (name, value)| {
        // Writing to a string does not fail.
        let _ = writeln!(all, "{:<14}{value}", format!("{name}:"));
        all
    })
}

pub(super) fn elements<'v>(guest: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    guest.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        assert_eq!(list(&[]), "NAME  PID  STATE  CPUS  MEMORY  UPTIME\n");
        let guest = json!({"name": "web-server", "pid": 12, "state": "running", "cpus": 2,
            "memory": 2_u64 << 30, "uptime": 3_725});
        let silent = json!({"name": "db", "pid": null, "state": "silent"});
        assert_eq!(
            list(&[guest, silent]),
            "NAME        PID  STATE    CPUS  MEMORY  UPTIME\n\
             web-server  12   running  2     2G      1h02m\n\
             db          -    silent   -     -       -\n"
        );
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([64 << 20, 1536 << 20, 3 << 30].map(size), ["64M", "1536M", "3G"]);
        let times = [0, 59, 60, 3_599, 3_600, 86_400, 100_000].map(duration);
        assert_eq!(times, ["0s", "59s", "1m00s", "59m59s", "1h00m", "1d00h", "1d03h"]);
    }

    #[test]
    fn control_characters_of_a_guest_are_escaped() {
        let shown = info(&json!({"name": "a", "kernel": "/tmp/\u{1b}[2J\nx"}));
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 9, "{shown}");
    }
}
