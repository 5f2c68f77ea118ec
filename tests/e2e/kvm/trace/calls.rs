//! What is traced costs no system call, and what is not neither: a console's line takes
//! the same ones in either case.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::files::Scratch;
use tests::{Running, Strace, until};

use super::super::probe;
use super::{hello, traced};

/// How many lines are looked at.
const LINES: usize = 20;

const QUEUES: [&str; 2] = ["con0-rx", "con0-tx"];

/// What each of these threads asked of the host for one key, and for the echo of it.
fn calls_of_lines(running: &mut Running) -> BTreeMap<&'static str, BTreeMap<String, usize>> {
    let process = running.process();
    running.send("a");
    running.expect("a");
    let awake = |name: &str| process.thread(name).is_none_or(|it| !it.sleeps());
    until("all sleep", || (!QUEUES.into_iter().any(awake)).then_some(()));
    let scratch = Scratch::new();
    let strace = Strace::attach(process, scratch.path(), &["trace=!futex,ioctl"]);
    for _ in 0..LINES {
        let before = requests(running);
        running.send(";");
        until("it is echoed, and all sleep again", || {
            // One that was used has been counted: who sleeps then has done all of it.
            let done = requests(running) == before.map(|count| count + 1);
            let asleep = |name: &str| process.thread(name).is_some_and(|it| it.sleeps());
            (done && QUEUES.into_iter().all(asleep)).then_some(())
        });
    }
    let seen = strace.detach_all();
    let names = QUEUES.into_iter().chain(["vcpu0"]);
    let of = |name: &'static str| {
        let id = process.thread(name).unwrap().id;
        let mut counts = BTreeMap::new();
        for call in seen.get(&id).into_iter().flatten() {
            // What was under way, and what strace itself brought about.
            let name = call.split('(').next().unwrap_or_default();
            let (begun, own) = (!call.starts_with("<..."), name.starts_with(['+', '-']));
            if begun && !own && name != "restart_syscall" {
                *counts.entry(name.to_string()).or_insert(0) += 1;
            }
        }
        (name, counts)
    };
    names.map(of).collect()
}

/// How many each queue has served.
fn requests(running: &Running) -> [u64; 2] {
    let said = running.lguest(&["stats", "one", "--json"]).well();
    let stats: Value = serde_json::from_str(&said).unwrap();
    [0, 1].map(|queue| stats["queues"][queue]["requests"].as_u64().unwrap())
}

#[test]
fn tracing_adds_no_system_call_to_a_line() {
    let scratch = Scratch::new();
    let launch = probe("console").option("--name=one");
    let mut plain = launch.on_terminal();
    hello(&mut plain);
    let without = calls_of_lines(&mut plain);
    // A doorbell, an interrupt; the input, an interrupt. The call that a thread sleeps in
    // is begun once more.
    let calls = |pairs: [(&str, usize); 2]| {
        pairs.map(|(name, count)| (name.to_string(), count)).into_iter().collect::<BTreeMap<_, _>>()
    };
    assert_eq!(without["con0-tx"], calls([("read", LINES + 1), ("write", LINES)]));
    assert_eq!(without["con0-rx"], calls([("readv", LINES + 1), ("write", LINES)]));
    assert_eq!(without["vcpu0"], BTreeMap::new(), "the vCPU has something to do");
    drop(plain);

    let mut traced = traced(&launch, &scratch).0.on_terminal();
    hello(&mut traced);
    assert_eq!(calls_of_lines(&mut traced), without);
}
