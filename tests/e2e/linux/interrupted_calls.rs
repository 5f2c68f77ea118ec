//! Every system call that a signal may interrupt is interrupted, again and again, while all devices
//! except the disk (`block::flush`) are busy. Nothing else changes.

use tests::files::Scratch;
use tests::{End, Guest, Launch, Network, Strace, until};

const GUEST: &str = "192.168.19.2";

/// strace skips the first of every three calls of a kind in a thread.
const INTERRUPT: &str = "inject=read,readv,write,writev,poll:error=EINTR:when=1+3";

/// The interruptible calls of each thread.
const CALLS: [(&str, &[&str]); 7] = [
    ("stdin", &["poll", "read", "write"]),
    ("stdout", &["write"]),
    ("con0-rx", &["readv", "write"]),
    ("con0-tx", &["read", "write"]),
    ("net0-rx", &["readv", "write"]),
    ("net0-tx", &["read", "writev"]),
    ("rng0-req", &["read", "readv", "write"]),
];

#[test]
fn interrupted_system_calls_are_repeated() {
    let Some(network) = Network::new() else { return };
    let launch = Launch::linux().option("--rng").option("--tunnet=192.168.19.1");
    let mut guest = Guest::of(launch.on_terminal());
    let (process, scratch) = (guest.process(), Scratch::new());

    let calls = "trace=read,readv,write,writev,poll";
    let strace = Strace::attach(process, scratch.path(), &[calls, INTERRUPT]);
    for _ in 0..3 {
        guest.run(
            "[ $(dd if=/dev/hwrng bs=64 count=8 iflag=fullblock 2> /dev/null | wc -c) = 512 ]",
        );
        network.ping(5, "", GUEST);
        let numbers: Vec<_> = (1..=500).map(|number| number.to_string()).collect();
        assert_eq!(guest.run("seq 500"), numbers.join("\n"));
    }
    let threads = CALLS.map(|(name, _)| process.thread(name).expect(name).id);
    let seen = strace.detach_all();

    for ((name, calls), id) in CALLS.into_iter().zip(threads) {
        for call in calls {
            // strace splits a call if another thread's call comes in between.
            let begins = [format!("{call}("), format!("<... {call} resumed>")];
            let interrupted = |seen: &String| {
                begins.iter().any(|begin| seen.starts_with(begin)) && seen.contains("EINTR")
            };
            let any = seen.get(&id).is_some_and(|seen| seen.iter().any(interrupted));
            assert!(any, "{name}: {call} was not interrupted: {seen:#?}");
        }
    }
    until("no thread spins", || {
        let all = CALLS.iter().filter_map(|(name, _)| process.thread(name));
        all.into_iter().all(|thread| thread.sleeps()).then_some(())
    });
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}
