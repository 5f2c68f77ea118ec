//! A command together with other options of a launch.

use std::fs;

use tests::environment::vmlinux;
use tests::files::Scratch;
use tests::{End, Launch};

/// A command with quotes and several lines, which is longer than a kernel command line.
fn command() -> String {
    let long = "ä".repeat(2000);
    format!(
        "printf '%s|' \"it's  one\" 'a \"b\" \\n' €\necho; echo {long} | wc -c\n\
         nproc; id -u; grep -c virtio /proc/interrupts > /tmp/count && wc -c\n\
         ping -c 1 -q 192.168.78.1 | grep -c ' 0% packet loss'"
    )
}

#[test]
fn exec_works_with_config_cpus_network_trace_and_username() {
    let scratch = Scratch::new();
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let trace = scratch.path().join("trace.json");
    let mut launch = Launch::exec(&command());
    for (option, value) in [
        ("--cpus", "2"),
        ("--tunnet", "192.168.78.1"),
        ("--trace", trace.to_str().unwrap()),
        ("--username", "nobody"),
        ("--chroot", empty.to_str().unwrap()),
    ] {
        launch = launch.option(option).option(value);
    }
    let file = scratch.file("guest.toml", launch.option("--print-config").done().well());
    let launch = Launch::kernel(vmlinux()).option("--config").option(file.to_str().unwrap());
    // Without privileges, the launcher cannot remove its directory below /run.
    let mut running = launch.fed(vec![b'x'; 12_345]);
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
    let said = String::from_utf8(running.all_output()).unwrap();
    assert_eq!(said, "it's  one|a \"b\" \\n|€|\n4001\n2\n0\n12345\n1\n");
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("\"vcpu1\"") && trace.contains("net0-tx"), "{} bytes", trace.len());
}
