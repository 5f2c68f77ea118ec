//! Every byte arrives unchanged, in both directions. On the console of the kernel's messages, Linux
//! takes ^O as the SysRq key; these guests print their messages elsewhere.

use std::time::Duration;

use tests::{Guest, Launch, Running, patience, until};

/// Returns pseudo-random bytes, in which all values occur next to all others.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    // Each value comes first, because a rare one might be missing from the rest.
    (0..=255).chain(std::iter::repeat_with(&mut next)).take(length).collect()
}

/// Sends bytes to a guest with a raw terminal, which stores them and then sends them back.
fn there_and_back(running: &mut Running, length: usize) {
    let sent = noise(length);
    let keep = format!("echo READY; head -c {length} > /tmp/kept; wc -c < /tmp/kept");
    running.send(format!("stty raw -echo; {keep}; cat /tmp/kept; stty sane; echo END\n"));
    running.expect("READY\n");
    running.send_beside(sent.clone());
    running.expect_within(&format!("{length}\n"), patience() + Duration::from_secs(60));
    let start = running.output().len() - running.output().unseen().len();
    let all = || (running.output().len() >= start + length).then_some(());
    until("all bytes came back", all);
    let all = running.output().bytes();
    let first = all[start..].iter().zip(&sent).position(|(got, sent)| got != sent);
    assert_eq!(first, None, "the first byte that came back changed");
    running.expect("END");
}

#[test]
fn a_terminal_changes_no_byte() {
    let mut guest = Guest::of(Launch::linux().argument("console=ttyS0").on_terminal());
    there_and_back(&mut guest, 1 << 20);
    guest.expect("guest# ");
    // These are keys that terminals like to handle themselves, and ^C for the guest's programs.
    guest.type_line("stty raw -echo; echo KEYS; head -c 5 | od -An -tx1; stty sane");
    guest.expect("KEYS\n");
    guest.send(b"\r\x13\x11\x1a\x03");
    guest.expect(" 0d 13 11 1a 03\n");
    guest.expect("guest# ");
    guest.type_line("sh -c 'echo SLEEP\"\"ING; exec sleep 1000'");
    guest.expect("SLEEPING");
    guest.press(3);
    guest.expect("guest# ");
    assert_eq!(guest.run("echo alive"), "alive");
}

#[test]
fn pipes_change_no_byte() {
    let mut running = Launch::linux().argument("console=ttyS0").piped();
    running.expect("guest# ");
    there_and_back(&mut running, 2 << 20);
}
