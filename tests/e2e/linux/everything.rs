//! Every device is busy in both directions when the guest's drivers are unloaded, the guest
//! restarts, or the launcher is ended.
//!
//! Each of these kernels must have [`NO_TX_NAPI`]. Without it, Linux 6.1.192 may spin forever when
//! it powers off, restarts or executes another kernel while its network card is busy.
//! device_shutdown() marks all virtqueues as broken (virtio_dev_shutdown), so virtqueue_get_buf()
//! returns nothing. A frame that was sent before keeps virtqueue_enable_cb_delayed() false.
//! virtnet_poll_cleantx() calls both again and again, in ksoftirqd, with the lock of the transmit
//! queue, for which the other CPU spins. With napi_tx=0 the driver has no such loop. Seen in the
//! guest's memory: `broken` 1, `last_used_idx` 0x35f, used index 0x360, `system_state`
//! SYSTEM_POWER_OFF.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::Signal;
use tests::files::{self, Scratch};
use tests::{End, Flood, Guest, Held, Launch, Network, PROMPT, Process, kernel, until};

use super::block::{MIB, assert_clean, ext4, image};

const HOST: &str = "192.168.19.1";
const GUEST: &str = "192.168.19.2";

/// lguest adds this argument for a kernel that it starts with a card, but not for a kernel that
/// this one starts.
const NO_TX_NAPI: &str = "virtio_net.napi_tx=0";

/// How many interrupts a busy device must have had since the last look.
const WORK: u64 = 30;

/// A guest with a device of each kind, and a peer on its network.
struct Everything {
    guest: Guest,
    network: Network,
    disk: PathBuf,
    _flood: Flood,
    scratch: Scratch,
}

impl Everything {
    fn boot(options: &[&str], programs: &[(&str, &[u8])]) -> Option<Self> {
        let network = Network::new()?;
        let scratch = Scratch::new();
        let disk = image(&scratch, "disk", 64 * MIB);
        let kernels = kernels(&scratch);
        let launch = Launch::linux().initrd(scratch.file("programs", files::initrd(programs)));
        let launch = launch.option("--cpus").option("2").option("--rng");
        let launch = launch.option(&format!("--block={},queues=2", disk.display()));
        let launch = launch.option(&format!("--block={},ro", kernels.display()));
        let launch = launch.option(&format!("--tunnet={HOST},queues=2"));
        let launch = options.iter().fold(launch, |launch, option| launch.option(option));
        let mut guest = Guest::of(launch.on_terminal());
        network.expect_answer(GUEST);
        swallow();
        guest.run("yes kept | dd of=/dev/vda bs=64k count=1 iflag=fullblock conv=fsync");
        let flood = Flood::gentle(GUEST);
        Some(Self { guest, network, disk, _flood: flood, scratch })
    }

    /// Keeps all devices busy, until they are removed.
    fn load(&mut self) {
        let loops = [
            // dd uses a device node of its own. If /dev/vda had just disappeared, dd would create a
            // file of this name in its place.
            "while dev=$(cat /sys/block/vda/dev); do \
             rm -f /tmp/disk; mknod /tmp/disk b ${dev%:*} ${dev#*:}; \
             dd if=/dev/zero of=/tmp/disk bs=64k seek=16 count=64 conv=fsync; done",
            "while :; do cat /dev/hwrng; sleep 0.1; done",
        ];
        for each in loops.map(String::from) {
            self.guest.run(&format!("({each}) > /dev/null 2>&1 &"));
        }
        let send = format!("while :; do nc {HOST} 7777; sleep 0.1; done");
        self.guest.run(&format!("({send}) < /dev/zero > /dev/null 2>&1 &"));
        self.expect_work();
    }

    /// Waits until each driver was interrupted again. On a busy machine it may take long until
    /// there were [`WORK`] interrupts, but each of them comes soon.
    fn expect_work(&mut self) {
        let before = interrupts(&mut self.guest);
        for driver in ["virtio_blk", "virtio_net", "virtio_rng"] {
            let count = |all: &BTreeMap<String, u64>| all.get(driver).copied().unwrap_or(0);
            let mut last = count(&before);
            while last <= count(&before) + WORK {
                let more = || Some(count(&interrupts(&mut self.guest))).filter(|now| *now > last);
                last = until(&format!("{driver} has work"), more);
            }
        }
    }

    /// Prints as fast as possible, so that the console is busy as well. The next command in the
    /// guest waits for a key, and no prompt comes before that.
    fn load_console(&mut self, next: &str) {
        self.guest.type_line(&format!(
            "(yes 'output and more output' > /dev/hvc0) & read -r key; {next}"
        ));
        let lines = ["output and more output\r\n"; 20].concat();
        self.guest.expect(&lines);
    }

    /// Asserts that unused parts of the disk are unchanged, and that all devices work.
    fn expect_kept(&mut self) {
        self.guest.run("test -b /dev/vda");
        self.guest.run("yes kept | head -c 65536 | cmp - /dev/vda -n 65536");
        self.guest.run("dd if=/dev/hwrng bs=64 count=4 iflag=fullblock of=/dev/null");
        self.network.expect_answer(GUEST);
        // The flood leaves little room for answers, and some are lost.
        let ping = format!("ping -c 1 -W 5 {HOST} && break");
        self.guest.run(&format!("for try in 1 2 3 4 5 6 7 8; do {ping}; done > /dev/null"));
    }
}

/// Creates a disk with a kernel and an initial file system, for a guest that starts another kernel.
fn kernels(scratch: &Scratch) -> PathBuf {
    let root = scratch.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::copy(tests::environment::bzimage(), root.join("vmlinuz")).unwrap();
    std::fs::copy(tests::environment::initramfs(), root.join("initramfs")).unwrap();
    ext4(scratch, "kernels", 64 * MIB, &[])
}

/// Accepts every connection, and discards what the guest sends.
fn swallow() {
    let listener = TcpListener::bind((HOST, 7777)).unwrap();
    let swallow = move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = io::copy(&mut stream.by_ref(), &mut io::sink());
        }
    };
    thread::Builder::new().name("swallow".into()).spawn(swallow).unwrap();
}

/// Returns how many interrupts each driver has had.
fn interrupts(guest: &mut Guest) -> BTreeMap<String, u64> {
    let links = guest.run("cd /sys/bus/virtio/drivers; ls -d */virtio*; cd");
    let driver_of: BTreeMap<_, _> = links
        .split_whitespace()
        .filter_map(|link| link.split_once('/'))
        .map(|(d, v)| (v, d))
        .collect();
    let mut counts = BTreeMap::new();
    for line in guest.run("grep virtio /proc/interrupts").lines() {
        let name = line.split_whitespace().last().unwrap();
        let driver = driver_of.get(name.split('-').next().unwrap());
        let cpus = line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok());
        *counts.entry(driver.unwrap_or(&"none").to_string()).or_default() += cpus.sum::<u64>();
    }
    counts
}

/// Waits until only the console's device threads are left.
fn expect_no_queue_threads(process: Process) {
    until("the queues' threads have ended", || {
        let threads = process.threads();
        let of_queue = |name: &String| {
            ["blk", "net", "rng"].iter().any(|kind| name.starts_with(&format!("{kind}0-")))
        };
        (!threads.iter().any(of_queue)).then_some(())
    });
}

#[test]
fn all_drivers_are_unloaded_and_loaded_again_under_load() {
    let Some(mut all) = Everything::boot(&[], &[]) else { return };
    let process = all.guest.process();
    let before = Held::at_rest(process);
    let configure = format!("ip addr add {GUEST}/24 dev eth0; ip link set eth0 up");

    // All devices at once.
    all.load();
    let each = "for link in */virtio*; do case $link in virtio_console*) continue;; esac;";
    all.guest.run(&format!(
        "cd /sys/bus/virtio/drivers; links=$(echo */virtio*); pids=; \
         {each} echo ${{link#*/}} > ${{link%/*}}/unbind & pids=\"$pids $!\"; done; wait $pids"
    ));
    expect_no_queue_threads(process);
    all.guest
        .run("for link in $links; do [ -e $link ] || echo ${link#*/} > ${link%/*}/bind; done; cd");
    all.guest.run(&configure);
    all.expect_kept();

    // A disk's driver can only be unbound while nobody has the disk open: between two writers.
    all.load();
    all.guest.run("rmmod virtio_net; rmmod virtio_rng");
    all.guest.run("until rmmod virtio_blk 2> /dev/null; do :; done");
    expect_no_queue_threads(process);
    all.guest.run("rm -f /dev/vda; modprobe -a virtio_blk virtio_net virtio-rng");
    all.guest.run(&configure);
    all.expect_kept();
    all.load();

    before.assert_again(process);
    assert_eq!(all.guest.power_off(), End::Status(0));
    assert_eq!(all.guest.stderr(), "");
    all.network.wait_for("lg0", false);
}

#[test]
fn a_busy_guest_reboots_and_its_launcher_is_ended() {
    let Some(mut all) = Everything::boot(&[], &[]) else { return };
    let process = all.guest.process();
    let before = Held::at_rest(process);

    all.load();
    all.load_console("reboot -f");
    all.guest.type_line("");
    all.guest.expect(PROMPT);
    all.expect_kept();
    assert_eq!(Held::now(process), before);

    all.load();
    all.load_console("");
    process.signal(Signal::SIGTERM);
    assert_eq!(all.guest.wait(), End::Status(143));
    all.guest.assert_terminal_restored();
    all.guest.assert_nothing_left();
    all.network.wait_for("lg0", false);
    let after = std::fs::read(&all.disk).unwrap();
    assert_eq!(after.len(), 64 << 20);
    assert!(after[..1 << 16] == *"kept\n".repeat(1 << 14).as_bytes().get(..1 << 16).unwrap());
}

/// The old kernel leaves its queues behind, and the new one does not know about them.
#[test]
fn a_busy_guest_starts_another_kernel_by_kexec() {
    let address = format!("ip={GUEST}::{HOST}:255.255.255.0::eth0:off");
    let words = format!("console=hvc0 quiet kexec=yes {NO_TX_NAPI} {address}");
    let kexec = kernel::kexec_program(&words);
    let Some(mut all) = Everything::boot(&["--no-reboot"], &[("kexec", &kexec)]) else { return };
    let process = all.guest.process();
    let before = Held::at_rest(process);

    all.guest.run("mount -t ext4 -o ro /dev/vdb /mnt");
    all.load();
    all.guest.type_line("/kexec 3< /mnt/vmlinuz 4< /mnt/initramfs");
    all.guest.expect("initramfs\r\n");
    all.guest.expect_within(PROMPT, tests::patience() * 2);

    assert!(all.guest.run("cat /proc/cmdline").contains("kexec=yes"));
    all.expect_kept();
    all.load();
    before.assert_again(process);
    assert_eq!(all.guest.power_off(), End::Status(0));
    assert_eq!(all.guest.stderr(), "");
    assert_clean(&all.scratch.path().join("kernels"));
}
