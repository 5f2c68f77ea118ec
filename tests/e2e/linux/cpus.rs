//! The requested number of CPUs, with KVM's clock and timer.

use tests::{Guest, Launch};

fn boot(cpus: u32) -> Guest {
    let launch = Launch::linux().option("--cpus").option(&cpus.to_string());
    let mut guest = Guest::of(launch.on_terminal());
    assert_eq!(guest.run("nproc"), cpus.to_string());
    for field in ["siblings", "cpu cores"] {
        let values = guest.run(&format!("sed -n 's/^{field}.*: //p' /proc/cpuinfo | sort -u"));
        assert_eq!(values, cpus.to_string(), "{field}");
    }
    // Each CPU is a core of its own, of one processor.
    for (field, wanted) in [("core id", cpus), ("apicid", cpus), ("physical id", 1)] {
        let count = guest.run(&format!("grep ^'{field}' /proc/cpuinfo | sort -u | wc -l"));
        assert_eq!(count, wanted.to_string(), "{field}");
    }
    guest
}

/// Runs a program and timers on each CPU.
fn use_each(guest: &mut Guest, cpus: u32) {
    for cpu in 0..cpus {
        let place = format!("taskset -c {cpu} sh -c 'sleep 0.1; cut -d\" \" -f39 /proc/self/stat'");
        assert_eq!(guest.run(&place), cpu.to_string());
    }
}

#[test]
fn one_cpu_with_the_clock_and_the_timer_of_kvm() {
    let mut guest = boot(1);
    let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    assert_eq!(guest.run(&format!("cat {clock}")), "kvm-clock");
    assert_eq!(guest.run("dmesg | grep -c 'TSC deadline timer available'"), "1");
    assert_eq!(guest.run("grep -c 'Clock Event Device: lapic-deadline' /proc/timer_list"), "1");
    // The time of day is that of the host.
    let date = guest.run("date +%s").parse::<u64>().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(date) < 60, "{date} is not {now}");
}

#[test]
fn two_cpus() {
    let mut guest = boot(2);
    use_each(&mut guest, 2);
    assert!(guest.process().thread("vcpu1").is_some(), "{:?}", guest.process().threads());
}

#[test]
fn four_cpus() {
    let mut guest = boot(4);
    use_each(&mut guest, 4);
}

#[test]
#[ignore = "takes many minutes on one emulated CPU"]
fn sixty_four_cpus() {
    boot(64);
}
