//! `lguest stats` has exact counts for a guest whose actions are known.

use std::path::Path;

use serde_json::Value;
use tests::{End, Pty, Running, patience, program, until, within};

use super::probe;

/// Starts the probe's console with a name.
fn guest() -> Running {
    probe("console").option("--name=one").on_terminal()
}

fn stats(running: &Running) -> Value {
    serde_json::from_str(&running.lguest(&["stats", "one", "--json"]).well()).unwrap()
}

/// Returns a count of a queue or vCPU, by name.
fn count(stats: &Value, thread: &str, field: &str) -> u64 {
    let all = ["queues", "vcpus"].into_iter().flat_map(|key| stats[key].as_array().unwrap());
    let mut found = all.filter(|entry| entry["name"] == thread);
    let found = found.next().unwrap_or_else(|| panic!("no {thread} in {stats}"));
    found[field].as_u64().unwrap()
}

fn counts(stats: &Value, thread: &str, fields: &[&str]) -> Vec<u64> {
    fields.iter().map(|field| count(stats, thread, field)).collect()
}

/// Types this number of bytes, and waits for the echo of each.
fn type_bytes(running: &mut Running, count: u64) {
    for _ in 0..count {
        running.send("q");
        running.expect("q");
    }
}

const ALL: [&str; 4] = ["requests", "from_guest", "to_guest", "errors"];

/// Asserts what a queue has counted. Its output is on the terminal before the queue's thread has
/// counted it.
#[track_caller]
fn assert_counts(running: &Running, thread: &str, expected: [u64; 4]) {
    let now = || counts(&stats(running), thread, &ALL);
    let _ = within(patience(), || (now() == expected).then_some(()));
    assert_eq!(now(), expected, "{thread}");
}

#[test]
fn each_byte_is_counted_on_its_way() {
    let mut running = guest();
    running.expect("hello 100x30\n");
    let hello = "hello 100x30\n".len() as u64;
    assert_counts(&running, "con0-tx", [1, hello, 0, 0]);
    type_bytes(&mut running, 50);
    assert_counts(&running, "con0-tx", [51, hello + 50, 0, 0]);
    assert_counts(&running, "con0-rx", [50, 0, 50, 0]);
    // The guest counts its interrupts: each of them was sent.
    for byte in [0x1e, b'i'] {
        let before = count(&stats(&running), "con0-rx", "requests");
        running.send([byte]);
        until("the guest has taken the key", || {
            (count(&stats(&running), "con0-rx", "requests") > before).then_some(())
        });
    }
    running.expect("interrupts config=");
    running.expect(" status=");
    let text = running.text();
    let told = |name: &str| -> u64 {
        let rest = text.rsplit_once(&format!(" {name}=")).unwrap().1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (rx, tx) = (told("rx"), told("tx"));
    // Wait for the interrupt of each key, because the guest's interrupt controller merges
    // interrupts that come close together.
    until("each key has its interrupt", || {
        (count(&stats(&running), "con0-rx", "interrupts") == 52).then_some(())
    });
    let now = stats(&running);
    assert_eq!(counts(&now, "con0-rx", &["requests", "suppressed"]), [52, 0]);
    assert!(rx > 0 && rx <= 52 && tx > 0 && tx <= count(&now, "con0-tx", "interrupts"));
}

/// The table shows the same numbers as the JSON.
#[test]
fn the_table_shows_what_the_json_has() {
    let mut running = guest();
    running.expect("hello");
    assert_counts(&running, "con0-tx", [1, 13, 0, 0]);
    let table = running.lguest(&["stats", "one"]).well();
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let titles = "QUEUE KICKS REQUESTS FROM-GUEST TO-GUEST INTERRUPTS SUPPRESSED ERRORS";
    assert_eq!(lines[0].join(" "), titles);
    assert_eq!((lines[1][0], lines[2][0], lines[3].len()), ("con0-rx", "con0-tx", 0));
    assert_eq!(lines[2][2..5], ["1", "13", "0"]);
    assert_eq!(lines[4].join(" "), "VCPU PORT-IN PORT-OUT MMIO HLT/SIGNAL OTHER");
    let [port_in, port_out, mmio] =
        ["port_in", "port_out", "mmio"].map(|field| count(&stats(&running), "vcpu0", field));
    assert_eq!(
        lines[5][..4],
        ["vcpu0", &port_in.to_string(), &port_out.to_string(), &mmio.to_string()]
    );
    // The guest found its device by the ports, and configured it in memory.
    assert!(port_in > 0 && port_out > 0 && mmio > 0, "{table}");
    assert_eq!(lines.len(), 6);
}

/// Nothing happens while the guest is paused, and the counters can be read.
#[test]
fn counts_outlive_pauses_and_resets() {
    let mut running = guest();
    running.expect("hello");
    type_bytes(&mut running, 5);
    running.lguest(&["pause", "one"]).well();
    let paused = stats(&running);
    assert_eq!(counts(&paused, "con0-rx", &ALL), [5, 0, 5, 0]);
    running.send("typed");
    assert_eq!(stats(&running)["queues"], paused["queues"]);
    assert_eq!(stats(&running)["vcpus"], paused["vcpus"]);
    running.lguest(&["resume", "one"]).well();
    running.expect("typed");
    // The device is reset, and then the guest. The counters are not.
    running.send([0x1e, b'z']);
    running.expect("reset done");
    type_bytes(&mut running, 5);
    running.send([0x1e, b'r']);
    running.expect("hello");
    let after = stats(&running);
    assert_eq!(count(&after, "con0-rx", "to_guest"), 5 + 5 + 2 + 5 + 2);
    assert!(count(&after, "vcpu0", "mmio") > count(&paused, "vcpu0", "mmio"));
    assert_eq!(after["queues"].as_array().unwrap().len(), 2, "each queue is there once");
    running.lguest(&["reset", "one"]).well();
    running.expect("hello");
    assert_eq!(
        count(&stats(&running), "con0-tx", "requests"),
        count(&after, "con0-tx", "requests") + 1
    );
}

#[test]
fn a_signal_that_stops_a_vcpu_is_counted() {
    let mut running = probe("hang=spin").option("--name=one").on_terminal();
    until("the vCPU runs", || running.process().thread("vcpu0").map(drop));
    for _ in 0..3 {
        let before = count(&stats(&running), "vcpu0", "interrupted");
        running.lguest(&["pause", "one"]).well();
        assert!(count(&stats(&running), "vcpu0", "interrupted") > before);
        running.lguest(&["resume", "one"]).well();
        // The vCPU is in the guest again, and not on its way there.
        let ticks = running.process().thread("vcpu0").unwrap().ticks();
        until("the vCPU uses CPU time", || {
            (running.process().thread("vcpu0")?.ticks() > ticks + 1).then_some(())
        });
    }
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
}

/// One attack on each queue, without and with the event index. The device needs a reset each time.
#[test]
fn protocol_violations_are_counted() {
    let launch = probe("hostile=loop-of-one").argument("stay").argument("wait=halt");
    let mut running = launch.option("--rng").option("--name=one").on_terminal();
    running.expect("hello");
    let now = stats(&running);
    for queue in ["con0-rx", "con0-tx", "rng0-req"] {
        assert_eq!(count(&now, queue, "errors"), 2, "{queue}: {now}");
        assert!(count(&now, queue, "kicks") > 0, "{queue}: {now}");
    }
    // An honest driver without a vector was served in between.
    assert!(count(&now, "rng0-req", "suppressed") > 0, "{now}");
    assert_eq!(count(&now, "rng0-req", "interrupts"), 0, "{now}");
    assert!(count(&now, "rng0-req", "to_guest") > 0, "{now}");
}

/// Starts `lguest stats --watch` on a terminal.
fn watch(runtime: &Path, words: &[&str]) -> Running {
    let runtime = format!("XDG_RUNTIME_DIR={}", runtime.display());
    let launcher = tests::environment::launcher();
    let all = ["env", &runtime, launcher.to_str().unwrap(), "stats"];
    program(&[&all, words].concat(), Path::new("/"), Pty::new(30, 100))
}

#[test]
fn watch_prints_rates_every_second_until_the_guest_ends() {
    let mut running = guest();
    running.expect("hello");
    let mut watching = watch(running.runtime(), &["one", "--watch"]);
    for _ in 0..2 {
        watching.expect("QUEUE    KICKS/s  REQUESTS/s  ");
        watching.expect("VCPU   PORT-IN/s  ");
    }
    // One of the lines has the count. The machine's load decides which.
    let mut shown = 0;
    type_bytes(&mut running, 50);
    for _ in 0..4 {
        watching.expect("con0-rx ");
        let cells = watching.expect("\r\n");
        let to_guest: u64 = cells.split_whitespace().nth(3).unwrap().parse().unwrap();
        shown += to_guest;
    }
    assert!(shown > 0 && shown <= 54, "{shown}");
    running.lguest(&["stop", "one"]).well();
    watching.expect_stderr("lguest: guest one has ended\n");
    assert_eq!(watching.wait(), End::Status(0));
}

#[test]
fn ctrl_c_ends_watch() {
    let mut running = guest();
    running.expect("hello");
    let mut watching = watch(running.runtime(), &["one", "--watch", "--json"]);
    watching.expect("\"queues\":");
    watching.send([0x03]);
    assert_eq!(watching.wait(), End::Killed(2));
    watching.assert_terminal_restored();
    type_bytes(&mut running, 1);
}

#[test]
fn a_guest_that_does_not_exist_is_reported_in_one_line() {
    let mut running = guest();
    running.expect("hello");
    for words in [&["stats", "two"][..], &["stats", "two", "--watch"], &["stats", "two", "--json"]]
    {
        let line = running.lguest(words).one_line();
        assert_eq!(line, "lguest: no guest two: there are one\n");
    }
    let nobody = running.lguest(&["stats"]);
    assert_eq!((nobody.status, nobody.stdout.as_str()), (Some(2), ""));
}
