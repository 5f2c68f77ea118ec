//! Many consoles, of one guest and of many guests at once.

use std::path::Path;

use serde_json::Value;
use tests::files::Scratch;
use tests::{End, Pty, Running, lguest, program, until};

use super::client::Client;
use super::{consoles, probe, wait_for_all};

/// The most devices of a guest: 31 slots of a bus with 8 functions each.
const MOST: usize = 248;

fn log(runtime: &Path, name: &str, console: usize) -> String {
    lguest(runtime, &["log", name, &console.to_string()]).well()
}

#[test]
fn each_of_fifty_consoles_works() {
    let launch = probe("consoles").argument("wait=halt").option("--name=many");
    let launch = launch.option("--console=stdio");
    let launch = (1..50).fold(launch, |launch, _| launch.option("--console=sock"));
    let mut running = launch.on_terminal();
    running.expect("hello 0");
    wait_for_all(running.runtime(), "many", 50);
    for number in 1..50 {
        let keys = format!("to {number} alone");
        running.lguest(&["send", "many", &number.to_string(), &keys]).well();
    }
    running.send("at the terminal");
    running.expect("at the terminal");
    for number in 1..50 {
        let expected = format!("hello {number}\nto {number} alone");
        until("the text is echoed", || {
            let log = log(running.runtime(), "many", number);
            assert!(expected.starts_with(&log), "{number}: {log:?}");
            (log == expected).then_some(())
        });
    }
    let threads = running.process().threads();
    for number in 0..50 {
        for queue in ["rx", "tx"] {
            assert!(threads.contains(&format!("con{number}-{queue}")), "{threads:?}");
        }
    }
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

/// The test runs with the usual limit of descriptors, which is too low. lguest raises it.
#[test]
fn a_guest_can_fill_the_bus_with_consoles() {
    let scratch = Scratch::new();
    let limited = |count| {
        let line = format!("ulimit -S -n 256; exec {}", consoles("most", count).shell_line());
        program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100))
    };
    let mut running = limited(MOST);
    wait_for_all(running.runtime(), "most", MOST);
    for number in [0, 30, 31, MOST - 1] {
        let said = Client::of(&running, "most").log(number);
        assert_eq!(String::from_utf8(said).unwrap(), format!("hello {number}\n"));
    }
    running.lguest(&["stop", "most"]).well();
    assert_eq!(running.wait(), End::Status(0));

    let mut running = limited(MOST + 1);
    assert_eq!(running.wait(), End::Status(1));
    assert_eq!(
        running.stderr(),
        "lguest: 249 devices (249 --console): a guest can have 248 at most\n"
    );
    running.assert_nothing_left();
}

#[test]
fn too_few_descriptors_for_the_consoles_end_lguest_with_one_line() {
    let scratch = Scratch::new();
    let mut refused = 0;
    for files in (50..2000).step_by(50) {
        let line = format!("ulimit -n {files}; exec {}", consoles("few", 50).shell_line());
        let mut running = program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100));
        let works = until("the last console works or the launcher ends", || {
            let said = running.lguest(&["log", "few", "49"]);
            (said.stdout == "hello 49\n").then_some(true).or(running.poll_end().map(|_| false))
        });
        if works {
            break;
        }
        let said = running.stderr();
        assert_eq!(running.wait(), End::Status(1), "{files} files: {said}");
        assert_eq!(said.lines().count(), 1, "{files} files: {said}");
        assert!(said.contains("Too many open files"), "{files} files: {said}");
        running.assert_nothing_left();
        refused += 1;
    }
    assert!((5..38).contains(&refused), "refused {refused} times: what was limited?");
}

#[test]
fn more_interrupts_than_kvm_has_routes_are_refused() {
    let scratch = Scratch::new();
    let mut launch = probe("poweroff");
    for number in 0..64 {
        let disk = scratch.file(&number.to_string(), [0; 512]);
        launch = launch.option(&format!("--block={},queues=64", disk.display()));
    }
    let mut running = launch.piped();
    assert_eq!(running.wait(), End::Status(1));
    let said = running.stderr();
    assert!(said.contains("more interrupts than the") && said.lines().count() == 1, "{said}");
    running.assert_nothing_left();
}

#[test]
fn twenty_guests_with_fifty_consoles_each_are_not_mixed_up() {
    let scratch = Scratch::new();
    let names: Vec<_> = (0..20).map(|number| format!("guest{number}")).collect();
    let start =
        |name: &String| consoles(name, 50).memory("32").runtime(Some(scratch.path())).piped();
    let mut guests: Vec<Running> = names.iter().map(start).collect();
    for name in &names {
        wait_for_all(scratch.path(), name, 50);
        let info = lguest(scratch.path(), &["info", name, "--json"]).well();
        let info: Value = serde_json::from_str(&info).unwrap();
        let consoles = info["consoles"].as_array().unwrap();
        let found: Vec<_> = consoles.iter().map(|console| console["name"].as_str()).collect();
        let expected: Vec<_> = (0..50).map(|number| format!("hvc{number}")).collect();
        assert_eq!(found, expected.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>());
    }

    let all = || names.iter().flat_map(|name| (0..50).map(move |number| (name, number)));
    for (name, number) in all() {
        let keys = format!("{name} {number}");
        lguest(scratch.path(), &["send", name, &number.to_string(), &keys]).well();
    }
    for (name, number) in all() {
        let expected = format!("hello {number}\n{name} {number}");
        until("the text is echoed", || {
            let said = Client::below(scratch.path(), name).unwrap().log(number);
            let said = String::from_utf8(said).unwrap();
            assert!(expected.starts_with(&said), "{name} {number}: {said:?}");
            (said == expected).then_some(())
        });
        let number = number.to_string();
        let unread = lguest(scratch.path(), &["peek", name, &number]).well();
        assert_eq!(unread, expected);
    }

    for (name, guest) in names.iter().zip(&mut guests) {
        lguest(scratch.path(), &["stop", name]).well();
        assert_eq!(guest.wait(), End::Status(0));
        guest.assert_no_process_left();
    }
    assert_eq!(tests::files::below(&scratch.path().join("lguest")), [] as [&Path; 0]);
}
