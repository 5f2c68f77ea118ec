//! The queues of a network card with two queue pairs: receive, transmit, control. A
//! datagram socket stands for the tap; a frame is there before each request is served.

#![no_main]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use devices::net::{Interface, Link, Net};
use fuzz::Guest;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

struct Nowhere;

impl Interface for Nowhere {
    fn set_offloads(&self, _accepted: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_pairs(&self, pairs: u16) -> io::Result<()> {
        assert!((1..=2).contains(&pairs), "{pairs} queue pairs");
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let queue = input.int_in_range(0..=4)?;
    let (wire, tap) = UnixDatagram::pair().expect("a pair of sockets");
    let tap = File::from(OwnedFd::from(tap));
    // The target does not read the frames that the guest sends.
    let pair = || match queue % 2 {
        0 => tap.try_clone(),
        _ => File::options().write(true).open("/dev/null"),
    };
    let device = Net {
        pairs: vec![pair().expect("a tap"), pair().expect("a tap")],
        interface: Arc::new(Nowhere),
        link: Arc::new(Link::new(2).expect("a link")),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        offloads: devices::net::features::OFFLOADS,
    };
    let mut guest = Guest::new(input, 128)?;
    let accepted = fuzz::accepted(input, &device)?;
    // One frame at a time: if the guest did not take it, the next send fails.
    wire.set_nonblocking(true).expect("a socket that does not wait");
    let frame = vec![0x5a; 70_000];
    guest.play(input, (&device, queue, accepted), |input| {
        // An empty one would be the end of the tap.
        let length = input.int_in_range(1..=frame.len()).unwrap_or(1);
        let _ = wire.send(&frame[..length]);
    })
}
