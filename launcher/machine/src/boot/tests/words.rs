//! The kernel command line.

use std::path::Path;

use super::*;

/// The line that these words give.
fn line(words: &[&str]) -> String {
    Start::with(&elf(), &[], words, 32).line()
}

/// The line that these words give in a request that `change` has changed.
fn line_of(words: &[&str], change: impl FnOnce(&mut BootRequest<'_>)) -> String {
    let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    let kernel = NamedFile::new(Path::new("vmlinux"), unwatched);
    let mut request = BootRequest { arguments: &arguments, ..request(&kernel) };
    change(&mut request);
    crate::boot::cmdline::build(&request, 2047).unwrap().into_string().unwrap()
}

/// The line that these words give with a serial port.
fn line_with_serial(words: &[&str]) -> String {
    line_of(words, |request| request.serial = true)
}

#[test]
fn network_addresses_are_added_unless_the_user_gave_one() {
    let addresses = &["ip=192.168.19.2::192.168.19.1:255.255.255.0::eth0:off", "ip=b"];
    let line = |words: &[&str]| {
        line_of(words, |request| request.addresses = addresses.map(String::from).to_vec())
    };
    assert_eq!(line(&["ro"]), format!("{DEFAULTS} {} net.ifnames=0 ro", addresses.join(" ")));
    assert_eq!(line(&["ip=dhcp", "ro"]), format!("{DEFAULTS} ip=dhcp ro"));
    assert_eq!(
        line(&["--", "ip=x"]),
        format!("{DEFAULTS} {} net.ifnames=0 -- ip=x", addresses.join(" "))
    );
}

const DEFAULTS: &str = "console=hvc0 quiet 8250.nr_uarts=0 cryptomgr.notests";

#[test]
fn the_defaults_come_before_the_words() {
    assert_eq!(line(&["root=/dev/vda", "ro"]), format!("{DEFAULTS} root=/dev/vda ro"));
}

#[test]
fn a_users_parameter_replaces_the_default() {
    assert!(!line(&["console=ttyS0"]).contains("hvc0"));
    assert!(!line(&["console=ttyS0"]).contains("nr_uarts"));
    assert!(line(&["console=tty0"]).contains("nr_uarts"));
    assert!(!line(&["debug"]).contains("quiet"));
    assert!(!line(&["loglevel=7"]).contains("quiet"));
    assert!(!line(&["ignore-loglevel"]).contains("quiet"));
    assert!(line(&["debugger"]).contains("quiet"));
}

/// `quiet` would hide most of the output that a boot test examines.
#[test]
fn a_kernel_prints_what_a_boot_test_examines() {
    let line = |words: &[&str], verbosity, serial| {
        line_of(words, |request| (request.verbosity, request.serial) = (verbosity, serial))
    };
    assert_eq!(
        line(&[], KernelVerbosity::Warnings, false),
        DEFAULTS.replace("quiet", "loglevel=5")
    );
    assert_eq!(line(&[], KernelVerbosity::All, false), DEFAULTS.replace("quiet ", ""));
    for words in [["loglevel=7"], ["quiet"], ["debug"]] {
        for verbosity in [KernelVerbosity::Quiet, KernelVerbosity::Warnings, KernelVerbosity::All] {
            let line = line(&words, verbosity, false);
            assert_eq!(line, format!("{} {}", DEFAULTS.replace("quiet ", ""), words[0]));
        }
    }
    let line = line(&[], KernelVerbosity::Warnings, true);
    assert!(!line.contains("loglevel"), "a serial port is for all that it says");
}

#[test]
fn words_for_init_replace_no_default() {
    assert_eq!(line(&["--", "debug"]), format!("{DEFAULTS} -- debug"));
}

#[test]
fn a_serial_port_brings_early_messages() {
    let expected = "console=hvc0 cryptomgr.notests earlycon=uart8250,io,0x3f8,115200 root=/dev/vda";
    assert_eq!(line_with_serial(&["root=/dev/vda"]), expected);
    assert!(line_with_serial(&["earlycon=ttyS0"]).ends_with("notests earlycon=ttyS0"));
}

#[test]
fn blanks_are_quoted_as_linux_reads_them() {
    assert!(line(&["init=/bin/a b"]).ends_with(r#" init="/bin/a b""#));
    assert!(line(&["a b"]).ends_with(r#" "a b""#));
    assert!(line(&[r#"x="a b""#]).ends_with(r#" x="a b""#));
}

#[test]
fn letters_beyond_ascii_are_accepted() {
    assert!(line(&["name=Zoë"]).ends_with(" name=Zoë"));
    // The second byte of "à" is a blank for Linux.
    assert!(line(&["name=à"]).ends_with(" name=\"à\""));
}

#[test]
fn a_word_that_linux_cannot_parse_is_refused() {
    let start = Start::with(&elf(), &[], &[r#"x="a"#], 32);
    assert!(start.error().contains("without its partner"));
}

#[test]
fn a_line_that_is_too_long_is_refused_with_both_lengths() {
    let word = "x".repeat(2100);
    let start = Start::with(&elf(), &[], &[&word], 32);
    let length = DEFAULTS.len() + 1 + 2100;
    assert!(start.error().contains(&format!("has {length} bytes")), "{}", start.error());
    assert!(start.error().contains("takes 2047"));
}

#[test]
fn a_line_may_be_as_long_as_the_kernel_takes() {
    let word = "x".repeat(2047 - DEFAULTS.len() - 1);
    assert_eq!(line(&[&word]).len(), 2047);
}

#[test]
fn a_users_parameter_replaces_an_added_word() {
    let line =
        |words: &[&str]| line_of(words, |request| request.more = vec!["panic=-1".to_string()]);
    assert_eq!(line(&["ro"]), format!("{DEFAULTS} panic=-1 ro"));
    assert_eq!(line(&["panic=5"]), format!("{DEFAULTS} panic=5"));
    assert_eq!(line(&["--", "panic=5"]), format!("{DEFAULTS} panic=-1 -- panic=5"));
}
