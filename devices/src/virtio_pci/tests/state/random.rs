//! Devices that are saved and restored at any time, by drivers that do anything legal.

use proptest::prelude::*;

use super::*;
use crate::testing::machine::FakeMachine;

/// One step of the test.
#[derive(Debug, Clone)]
enum Step {
    /// Offer requests, and notify the device or not.
    Offer { queue: usize, count: u16, notify: bool },
    /// Wait until some of the requests have been answered.
    Wait { queue: usize, count: u16 },
    /// Mask or unmask a vector.
    Mask { vector: u16, masked: bool },
    /// Save, and continue on a new device.
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let offer = (0..2_usize, 1..9_u16, any::<bool>());
    let mask = (0..3_u16, any::<bool>());
    prop_oneof![
        3 => offer.prop_map(|(queue, count, notify)| Step::Offer { queue, count, notify }),
        2 => (0..2_usize, 0..9_u16).prop_map(|(queue, count)| Step::Wait { queue, count }),
        1 => mask.prop_map(|(vector, masked)| Step::Mask { vector, masked }),
        4 => Just(Step::Restore),
    ]
}

/// The numbers of the requests that were served, by queue.
type Served = Arc<Mutex<[Vec<u32>; 2]>>;

fn counting(served: &Served) -> impl Device + use<> {
    let served = Arc::clone(served);
    FakeDevice::new(move |queue, request| {
        let mut number = [0; 4];
        request.from_guest.peek(&mut number);
        served.lock().unwrap()[queue].push(u32::from_le_bytes(number));
        crate::testing::device::answer(request);
        Ok(())
    })
}

/// A driver with numbered requests.
struct Driver {
    guest: FakeGuest,
    served: Served,
    /// Heads of the requests that have not been answered, with their numbers.
    waiting: [std::collections::VecDeque<(u16, u32)>; 2],
    next: [u32; 2],
}

impl Driver {
    fn new(without: u64) -> Self {
        let served = Served::default();
        let mut guest = FakeGuest::found(counting(&served));
        guest.without = without;
        guest.start();
        Self { guest, served, waiting: Default::default(), next: [0; 2] }
    }

    fn obey(&mut self, step: &Step) {
        match *step {
            Step::Offer { queue, count, notify } => {
                // As many as the ring has room for: each has two descriptors.
                let room = usize::from(self.guest.rings[queue].layout.size / 2);
                let room = room - self.waiting[queue].len();
                for _ in 0..usize::from(count).min(room) {
                    self.offer(queue);
                }
                if notify {
                    self.guest.notify(queue);
                }
            }
            Step::Wait { queue, count } => {
                self.guest.notify(queue);
                for _ in 0..count {
                    self.take(queue);
                }
            }
            Step::Mask { vector, masked } => self.guest.mask(vector, masked),
            Step::Restore => self.restore(),
        }
    }

    fn offer(&mut self, queue: usize) {
        let number = self.next[queue];
        self.next[queue] += 1;
        // The driver wants an interrupt for the last one, and sleeps until then.
        let ring = &mut self.guest.rings[queue];
        let index = ring.avail_index;
        ring.set_used_event(index);
        let head = ring.offer(&[FromGuest(&number.to_le_bytes()), ToGuest(4)]);
        self.waiting[queue].push_back((head, number));
    }

    fn take(&mut self, queue: usize) {
        let Some((head, number)) = self.waiting[queue].pop_front() else { return };
        let used = self.guest.wait_used(queue);
        assert_eq!(used, Used { id: head.into(), len: 4 });
        assert_eq!(self.guest.bytes(queue, head), number.to_le_bytes());
    }

    /// All interrupts that the guest got are forgotten: it may have had none of them.
    fn restore(&mut self) {
        let state = self.guest.save();
        let memory = self.guest.memory.clone();
        let device = counting(&self.served);
        let mut restored = self.guest.restored_in(memory, &state, device).unwrap();
        assert_eq!(restored.device.state().unwrap(), state);
        restored.resume();
        self.guest = restored;
    }

    /// Sleeps until the last request of each queue interrupts the guest.
    fn finish(mut self) {
        for vector in 0..3 {
            self.guest.mask(vector, false);
        }
        for queue in [0, 1] {
            self.guest.notify(queue);
            let line = u32::try_from(queue).unwrap() + 1;
            let machine: Arc<FakeMachine> = Arc::clone(&self.guest.machine);
            while self.guest.rings[queue].used_index() != self.guest.rings[queue].avail_index {
                machine.wait_interrupt(line);
            }
            while !self.waiting[queue].is_empty() {
                self.take(queue);
            }
            assert_eq!(self.guest.rings[queue].take_used(), None);
            let served = self.served.lock().unwrap()[queue].clone();
            assert!(served.iter().copied().eq(0..self.next[queue]), "{served:?}");
        }
        assert!(self.guest.machine.failures().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// About a thousand restores.
    #[test]
    fn no_request_is_lost_and_none_is_served_twice(
        event_idx: bool, steps in prop::collection::vec(step(), 20..60),
    ) {
        let mut driver = Driver::new(if event_idx { 0 } else { EVENT_IDX });
        for step in &steps {
            driver.obey(step);
        }
        driver.finish();
    }
}
