//! Packets at a guest, as fast as one thread sends them.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::OrFail;

/// UDP packets to an address, without an end. Dropped, it ends.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Flood {
    /// From the network of the calling thread; the address may be a broadcast address.
    #[must_use]
    #[track_caller]
    pub fn start(address: &str) -> Self {
        // Nobody may be there; and the one CPU is for others as well.
        Self::of_bursts(address, 32)
    }

    /// One packet each millisecond: for a guest that has other work, too, and with the
    /// sender a part of one emulated CPU.
    #[must_use]
    #[track_caller]
    pub fn gentle(address: &str) -> Self {
        Self::of_bursts(address, 1)
    }

    /// So many each millisecond.
    #[track_caller]
    fn of_bursts(address: &str, packets: usize) -> Self {
        let to = format!("{address}:9");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let flood = move || {
            let socket = UdpSocket::bind("0.0.0.0:0").or_fail("opening a socket");
            socket.set_broadcast(true).or_fail("setting SO_BROADCAST");
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                sent += (0..packets).filter(|_| socket.send_to(&[7; 1400], &to).is_ok()).count();
                thread::sleep(Duration::from_millis(1));
            }
            sent
        };
        let thread = thread::Builder::new().name("flood".into()).spawn(flood);
        Self { stop, thread: Some(thread.or_fail("starting a thread")) }
    }

    /// End it; how many packets it was.
    #[track_caller]
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.take().and_then(|thread| thread.join().ok());
        sent.or_fail("waiting for the flood's thread")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
