//! The directories and devices that programs expect, and that systemd would set up elsewhere.

use tests::Launch;

const COMMAND: &str = "cd /dev; stat -c '%n %a' shm mqueue; \
    stat -c '%n %a' /tmp /run/lock; \
    for place in /dev/shm /dev/mqueue; do grep -c \" $place \" /proc/mounts; done; \
    for name in fd stdin stdout stderr; do readlink $name; done; echo x > shm/x && cat shm/x; \
    echo through | cat /dev/stdin > /dev/stdout; cat /dev/fd/0; uname -n; id -un; \
    grep -c localhost /etc/hosts; ls -d /var/tmp/. /var/lock/.; \
    ping -c 1 -q 127.0.0.1 | grep -c ' 0% packet loss'";

const SAID: &str = "shm 1777\nmqueue 1777\n/tmp 1777\n/run/lock 1777\n1\n1\n/proc/self/fd\n\
    /proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\nx\nthrough\ninput\nguest\nroot\n2\n\
    /var/lock/.\n/var/tmp/.\n1\n";

#[test]
fn the_usual_directories_and_devices_exist() {
    let done = Launch::exec(COMMAND).done_with(b"input\n".to_vec());
    assert_eq!(done.well(), SAID);
}
