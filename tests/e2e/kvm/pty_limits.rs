//! Limits of pseudo-terminals: `--console pty` in mount namespaces with a devpts of their own, so
//! that other terminals are not counted.

use std::path::Path;

use tests::{End, Pty, environment, program, with_own_mounts};

use super::probe;

/// The mount namespace has a devpts that allows only a few pseudo-terminals.
#[test]
fn a_host_without_free_ptys_is_reported() {
    let launch = probe("console").option("--console=pty").option("--console=pty");
    let few = "mount -t devpts -o newinstance,max=1,ptmxmode=666 devpts /dev/pts && \
               mount --bind /dev/pts/ptmx /dev/ptmx";
    let line = format!("{few} && exec {}", launch.shell_line());
    let Some(words) = with_own_mounts(&line) else { return };
    let mut running = program(&words, Path::new("/"), Pty::new(24, 80));
    assert_eq!(running.wait(), End::Status(1));
    assert!(
        running.stderr().contains("no free pseudo-terminals (kernel.pty.max="),
        "{}",
        running.stderr()
    );
    assert_eq!(running.stderr().lines().count(), 1, "{}", running.stderr());
    running.assert_nothing_left();
}

/// [`environment::ptys`] is the number of all pseudo-terminals. Each belongs to its owner alone,
/// even where the host would let a group write to it.
#[test]
fn launchers_leave_no_pty_behind() {
    let all = environment::ptys();
    let launch = (0..25).fold(probe("console"), |launch, _| launch.option("--console=pty"));
    let line = launch.shell_line();
    let script = format!(
        "mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts /dev/pts && \
         mount --bind /dev/pts/ptmx /dev/ptmx && \
         for round in $(seq {}); do \
             {line} < /dev/null & \
             until [ $(ls /dev/pts | wc -l) = 26 ]; do :; done; \
             until [ $(stat -c %a /dev/pts/24) = 600 ]; do :; done; \
             case $round in *[13579]) kill -9 $!;; *) kill $!;; esac; wait $!; \
             ls /dev/pts; \
         done > /dev/tty; echo all done > /dev/tty",
        all / 25
    );
    let Some(words) = with_own_mounts(&script) else { return };
    let mut running = program(&words, Path::new("/"), Pty::new(24, 80));
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
    running.expect("all done");
    let left = running.text().replace('\r', "");
    assert_eq!(left, "ptmx\n".repeat(all / 25) + "all done\n");
}
