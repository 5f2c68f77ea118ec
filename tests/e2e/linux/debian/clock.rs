//! The real-time clock with Debian's own programs: `hwclock` reads its date, and `rtcwake` sleeps
//! until its alarm.

use std::time::SystemTime;

use super::*;

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn hwclock_reads_the_date_and_rtcwake_sleeps_until_the_alarm() {
    let mut guest = Debian::boot(&[]);

    // It waits for the clock's next second, by an interrupt.
    let shown = guest.run("date --date=\"$(hwclock --show --utc)\" +%s").parse::<u64>().unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(shown) < 60, "{shown} is not {now}");

    assert_eq!(guest.run("rtcwake --utc --mode show"), "alarm: off");
    guest.run("rtcwake --utc --mode no --seconds 3600");
    let alarm = guest.run("rtcwake --utc --mode show");
    assert!(alarm.starts_with("alarm: on "), "{alarm}");
    guest.run("rtcwake --utc --mode disable");
    assert_eq!(guest.run("rtcwake --utc --mode show"), "alarm: off");

    // Long enough for a slow host to fall asleep before.
    let slept = "cat /sys/power/suspend_stats/success";
    assert_eq!(guest.run(slept), "0");
    let said = guest.run("rtcwake --utc --mode freeze --seconds 10");
    assert!(said.contains("wakeup from \"freeze\" using /dev/rtc0"), "{said}");
    assert_eq!(guest.run(slept), "1");
    guest.power_off();
}
