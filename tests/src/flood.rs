//! Sends packets to a guest as fast as one thread can.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::OrFail;

/// A thread that sends UDP packets to an address. Dropping the value stops it.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Flood {
    /// Starts in the network of the calling thread. The address may be a broadcast address.
    #[must_use]
    #[track_caller]
    pub fn start(address: &str) -> Self {
        // Sending may fail if nobody has the address. Bursts leave time for the guest, which may
        // share the only CPU.
        Self::of_bursts(address, 32)
    }

    /// Starts with one packet per millisecond, for a guest that also has other work and shares its
    /// only CPU with the sender.
    #[must_use]
    #[track_caller]
    pub fn gentle(address: &str) -> Self {
        Self::of_bursts(address, 1)
    }

    /// Starts with this number of packets per millisecond.
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

    /// Stops sending, and returns the number of packets that were sent.
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
