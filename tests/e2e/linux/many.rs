//! More devices than a PCI bus has slots, as Linux finds them.

use tests::files::Scratch;
use tests::{End, Guest, Launch, until};

/// The number of consoles: Linux has this many terminals.
const CONSOLES: usize = 8;

const DISKS: usize = 32;

/// Returns the suffix of a disk's name: a, b .. z, aa, ab.
fn letters(disk: usize) -> String {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap());
    let first = (disk >= 26).then(|| letter(disk / 26 - 1));
    first.into_iter().chain([letter(disk)]).collect()
}

#[test]
fn forty_devices_are_found_in_their_order() {
    let scratch = Scratch::new();
    let mut launch = Launch::linux().option("--name=many").option("--console=stdio");
    for _ in 1..CONSOLES {
        launch = launch.option("--console=sock");
    }
    for disk in 0..DISKS {
        // The disks differ in size: the first has one sector, the next has two.
        let file = scratch.file(&disk.to_string(), vec![0; 512 * (disk + 1)]);
        launch = launch.option(&format!("--block={}", file.display()));
    }
    let mut guest = Guest::of(launch.on_terminal());
    // The devices and the host bridge.
    let expected = (CONSOLES + DISKS + 1).to_string();
    assert_eq!(guest.run("ls /sys/bus/pci/devices | wc -l"), expected);

    let names: Vec<_> = (0..DISKS).map(letters).collect();
    assert_eq!((names[25].as_str(), names[26].as_str()), ("z", "aa"));
    let sizes = guest
        .run(&format!("for disk in {}; do cat /sys/block/vd$disk/size; done", names.join(" ")));
    let expected: Vec<_> = (1..=DISKS).map(|sectors| sectors.to_string()).collect();
    assert_eq!(sizes, expected.join("\n"));
    // Each of the disks can be read.
    let bytes: usize = (1..=DISKS).map(|sectors| 512 * sectors).sum();
    assert_eq!(guest.run("cat /dev/vd* | wc -c"), bytes.to_string());

    guest.run("for n in 1 2 3 4 5 6 7; do echo \"I am hvc$n\" > /dev/hvc$n; done");
    for number in 1..CONSOLES {
        until("the console has the line", || {
            let log = guest.lguest(&["log", "many", &number.to_string()]).well();
            log.contains(&format!("I am hvc{number}\r\n")).then_some(())
        });
    }
    assert_eq!(guest.power_off(), End::Status(0));
}
