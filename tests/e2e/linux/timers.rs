//! Kernels without kvm-clock, and the real-time clock: its date, and its alarm, which wakes a
//! sleeping guest.

use std::time::SystemTime;

use tests::{End, Guest, Launch};

/// Boots with these kernel arguments, and checks that time passes and that the date is the host's.
fn boot(words: &[&str]) -> Guest {
    let launch = words.iter().fold(Launch::linux(), |launch, word| launch.argument(word));
    let mut guest = Guest::of(launch.on_terminal());
    assert_eq!(guest.run("sleep 0.1 && echo slept"), "slept", "{words:?}");
    let date = guest.run("date +%s").parse::<u64>().unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(date) < 60, "{words:?}: {date} is not {now}");
    guest
}

#[test]
fn a_kernel_without_kvm_clock_boots() {
    let mut guest = boot(&["no-kvmclock"]);
    let clocks = "cat /sys/devices/system/clocksource/clocksource0/available_clocksource";
    assert!(!guest.run(clocks).contains("kvm-clock"));
}

#[test]
fn a_kernel_without_kvm_guest_support_boots() {
    boot(&["nopv"]);
}

#[test]
fn other_kernel_arguments_about_timers_work() {
    for words in [&["tsc=unstable"][..], &["nohz=off", "hpet=disable"]] {
        boot(words);
    }
}

#[test]
fn the_clock_has_the_date_and_its_alarm_wakes_the_guest() {
    let mut guest = boot(&[]);
    let name = guest.run("cat /sys/class/rtc/rtc0/name");
    assert!(name.starts_with("rtc_cmos "), "{name}");
    let shown = guest.run("cat /sys/class/rtc/rtc0/since_epoch").parse::<u64>().unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(shown) < 60, "{shown} is not {now}");
    let year = guest.run("date -u +%Y");
    let shown = guest.run("hwclock -u");
    assert!(shown.contains(&year), "{shown}");
    let alarm = "echo +2 > /sys/class/rtc/rtc0/wakealarm";
    assert_eq!(
        guest.run(&format!("{alarm} && echo freeze > /sys/power/state && echo woke")),
        "woke"
    );
    // An unused timer does not tick.
    assert_eq!(guest.run("grep -c ' timer$' /proc/interrupts; true"), "0");
}

#[test]
fn nested_virtualization_exists_on_request() {
    let mut guest = boot(&[]);
    assert_eq!(guest.run("grep -cwE 'svm|vmx' /proc/cpuinfo; true"), "0");
    let mut guest = Guest::of(Launch::linux().option("--cpu").option("nested").on_terminal());
    assert_eq!(guest.run("grep -cwE 'svm|vmx' /proc/cpuinfo"), "1");
}

#[test]
fn an_unknown_cpu_feature_is_refused() {
    let mut running = Launch::linux().option("--cpu=4").piped();
    assert_eq!(running.wait(), End::Status(2));
    assert!(running.stderr().contains("--cpus is the number of CPUs"), "{}", running.stderr());
}
