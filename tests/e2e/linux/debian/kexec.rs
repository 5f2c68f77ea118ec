//! A kernel that starts another one by kexec while its devices are busy: Debian's kexec, and Debian
//! again.

use tests::{Flood, Held, within};

use super::*;

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn debian_starts_its_kernel_anew_by_kexec_under_load() {
    let network = Network::new();
    let mut options = vec!["--rng"];
    if network.is_some() {
        options.push("--tunnet=192.168.19.1");
    }
    let mut guest = Debian::boot(&options);
    let process = guest.running.process();
    let before = Held::at_rest(process);
    let booted = guest.run("cat /proc/sys/kernel/random/boot_id");

    // Debian's initial file system spins without a console, and has no driver for hvc0. systemd
    // notices hvc0 only later, and starts a login on it because this command enables it.
    guest.run("systemctl enable serial-getty@hvc0");
    guest.run(
        "kexec --kexec-file-syscall --load /vmlinuz --initrd=/initrd.img \
               --command-line=\"console=tty0 $(cat /proc/cmdline)\"",
    );
    guest.run("echo kept > file; sync");
    let flood = network.as_ref().map(|_| Flood::gentle("192.168.19.2"));
    guest.run(
        "(while :; do dd if=/dev/urandom of=load bs=1M count=8 conv=fsync; done) \
               > /dev/null 2>&1 & (while :; do cat /dev/hwrng; done) > /dev/null 2>&1 & :",
    );
    guest.run("until [ $(awk '{ print $7 }' /sys/block/vda/stat) -gt 60000 ]; do sleep 1; done");
    let card = || process.thread("net0-rx").map(|thread| thread.id);
    let of_old_kernel = card();
    // This happens at once, as with reboot -f. The new kernel's driver finds the flood, which then
    // ends.
    guest.running.send("kexec --exec\r");
    if let Some(flood) = flood {
        let waited = within(patience() * 4, || (card()? != of_old_kernel?).then_some(()));
        assert!(waited.is_some(), "no new kernel has started the network card");
        assert!(flood.stop() > 0);
    }
    guest.log_in();

    assert_ne!(guest.run("cat /proc/sys/kernel/random/boot_id"), booted);
    assert_eq!(guest.run("cat file"), "kept");
    guest.run("rm load; sync; dd if=/dev/hwrng of=/dev/null bs=1k count=16 iflag=fullblock");
    if let Some(network) = &network {
        guest.run("ip addr add 192.168.19.2/24 dev eth0; ip link set eth0 up; true");
        network.expect_answer("192.168.19.2");
    }
    before.assert_again(process);
    guest.power_off();
}
