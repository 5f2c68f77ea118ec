//! A real distribution from a disk: Debian with systemd, to its login prompt and
//! off again. Its image is made by `make debian`, its test run by `make test-debian`.

use std::process::Command;
use std::time::Duration;

use tests::files::Scratch;
use tests::{End, Launch, Running, environment, patience};

const PROMPT: &str = ":~# ";

fn run(guest: &mut Running, command: &str) -> String {
    guest.send(format!("{command}; echo 'DO''NE'\r"));
    let said = guest.expect("\nDONE");
    guest.expect(PROMPT);
    said
}

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn debian_boots_from_its_disk_to_the_login_prompt() {
    let scratch = Scratch::new();
    let image = scratch.path().join("debian.img");
    let mut copy = Command::new("cp");
    copy.arg("--sparse=always").arg(environment::debian()).arg(&image);
    assert!(copy.status().unwrap().success());
    let launch = Launch::linux()
        .memory("1G")
        .option(&format!("--block={}", image.display()))
        .option("--tunnet=192.168.19.1")
        .option("--rng")
        .argument("root=/dev/vda")
        .argument("rw");
    let mut guest = launch.on_terminal();
    guest.expect_within("debian login: ", patience() + Duration::from_secs(300));
    guest.send("root\r");
    guest.expect(PROMPT);

    assert!(run(&mut guest, "systemctl is-system-running --wait").contains("running"));
    assert!(run(&mut guest, "ip -br addr show dev eth0").contains("192.168.19.2/24"));
    assert!(run(&mut guest, "ping -c 1 192.168.19.1").contains(" 0% packet loss"));
    let fio = "fio --name=verify --filename=/root/fio --size=8m --bs=4k --rw=randwrite \
               --verify=crc32c --direct=1 --ioengine=libaio --iodepth=32 --minimal \
               > /dev/null && echo FIO-OK";
    assert!(run(&mut guest, fio).contains("FIO-OK"));

    guest.send("poweroff\r");
    assert_eq!(guest.wait(), End::Status(0));
    guest.assert_terminal_restored();
    let check = Command::new("e2fsck").args(["-fn"]).arg(&image).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
