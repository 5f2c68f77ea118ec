//! Debian with systemd on a disk, from its login prompt to its power-off, and what its programs do
//! to our devices. `make debian` creates the image, and `make test-debian` runs these tests.

mod clock;
mod disk;
mod kexec;
mod login;
mod network;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::files::Scratch;
use tests::{End, Launch, Network, Running, environment, patience};

const PROMPT: &str = ":~# ";

/// A guest with Debian, and a root shell on its console.
struct Debian {
    running: Running,
    image: PathBuf,
    commands: u32,
    _scratch: Scratch,
}

impl Debian {
    /// Boots a copy of the disk with these options.
    fn boot(options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let image = scratch.path().join("debian.img");
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(environment::debian()).arg(&image);
        assert!(copy.status().unwrap().success());
        let launch = Launch::linux().memory("1G").option(&format!("--block={}", image.display()));
        let launch = options.iter().fold(launch, |launch, option| launch.option(option));
        let launch = launch.argument("root=/dev/vda").argument("rw").argument("net.ifnames=0");
        let running = launch.on_terminal();
        let mut debian = Self { running, image, commands: 0, _scratch: scratch };
        debian.log_in();
        debian
    }

    /// Waits for the kernel to start, and logs in.
    fn log_in(&mut self) {
        self.running.expect_within("debian login: ", patience() + Duration::from_secs(300));
        self.running.send("root\r");
        self.running.expect(PROMPT);
    }

    /// Runs a command, asserts that it succeeds, and returns what it prints.
    fn run(&mut self, command: &str) -> String {
        // The shell also echoes the line. The quotes in it keep the echo from containing the marks.
        self.commands += 1;
        let mark = self.commands;
        self.running.send(format!("echo '<'{mark}; {command}; echo $?'>'{mark}\r"));
        self.running.expect(&format!("<{mark}\r\n"));
        let time = patience() + Duration::from_secs(240);
        let said = self.running.expect_within(&format!(">{mark}\r\n"), time);
        self.running.expect(PROMPT);
        let said = said.replace("\r\n", "\n");
        let (output, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        assert_eq!(status, "0", "`{command}` failed in the guest: {output}");
        output.to_string()
    }

    /// Powers off as a user does, and checks the file system.
    fn power_off(mut self) {
        self.running.send("poweroff\r");
        assert_eq!(self.running.wait(), End::Status(0));
        self.running.assert_terminal_restored();
        assert_clean(&self.image);
    }
}

fn assert_clean(image: &Path) {
    let check = Command::new("e2fsck").args(["-fn"]).arg(image).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn debian_boots_from_its_disk_to_the_login_prompt() {
    let _network = Network::new();
    let mut guest = Debian::boot(&["--tunnet=192.168.19.1", "--rng"]);
    assert_eq!(guest.run("systemctl is-system-running --wait"), "running");
    assert!(guest.run("ip -br addr show dev eth0").contains("192.168.19.2/24"));
    assert!(guest.run("ping -c 1 192.168.19.1").contains(" 0% packet loss"));
    assert_eq!(guest.run("cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0");
    // Linux requests 64 bytes at a time. Random data cannot be compressed.
    guest.run("dd if=/dev/hwrng of=random bs=1k count=64 iflag=fullblock status=none");
    assert_eq!(guest.run("wc -c < random"), "65536");
    let packed = guest.run("gzip < random | wc -c");
    assert!(packed.parse::<u32>().unwrap() > 65536, "{packed}");
    guest.power_off();
}
