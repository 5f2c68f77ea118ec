//! A guest made of the fuzzer's bytes: it lays out rings, descriptors and buffers as the
//! bytes say, most of them nearly right, and changes them under way. The targets have it
//! play against a queue alone, or against one queue of a device ([`Guest::play`]); they
//! are in `fuzz_targets/`, one for each, and `make fuzz` runs them all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use devices::Memory;
use devices::device::{Device, Service};
use devices::error::ServeError;
use devices::interrupt::Interrupt;
use devices::queue::{QueueLayout, Virtqueue};
use devices::request::Request;
use devices::stop::StopFlag;
use devices::testing::ring::{Desc, INDIRECT, NEXT, WRITE};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

/// RAM begins at 0 and ends here; and there is a page of it at [`HIGH`].
const RAM: u64 = 0x4_0000;
const HIGH: u64 = 1 << 32;

/// Where the parts of the queue are.
const TABLE: u64 = 0;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
/// Tables of indirect descriptors, and buffers with bytes of the fuzzer's.
const INDIRECT_TABLE: u64 = 0x3000;
const BUFFERS: u64 = 0x4000;

/// Requests that are served in one run; and how often a service is called for each.
const REQUESTS: usize = 32;
const CALLS: usize = 64;

/// A queue, and a driver that writes what the fuzzer says.
pub struct Guest {
    /// The guest's.
    pub memory: Memory,
    layout: QueueLayout,
    /// The driver's.
    avail_index: u16,
    /// How many chains the device has handed back.
    used: u16,
}

impl Guest {
    /// A guest with a queue, and the features that it has accepted: of those of the
    /// ring, and of the device.
    ///
    /// # Errors
    /// When the input has too few bytes.
    pub fn new(input: &mut Unstructured<'_>, most: u16) -> Result<Self> {
        let low = (GuestAddress(0), RAM as usize);
        let memory = Memory::from_ranges(&[low, (GuestAddress(HIGH), 0x1000)]);
        let size = (1 << input.int_in_range(0..=7)?).min(most);
        let layout = QueueLayout { size, descriptors: TABLE, avail: AVAIL, used: USED };
        let memory = memory.expect("memory of the guest");
        Ok(Self { memory, layout, avail_index: 0, used: 0 })
    }

    /// The device's side of the queue.
    pub fn queue(&self, accepted: u64) -> Virtqueue {
        let bell = Arc::new(EventFd::new(0).expect("an eventfd"));
        // The queue does not sleep for long: the doorbell has rung already.
        bell.write(1).expect("ringing");
        let interrupt = Arc::new(EventFd::new(0).expect("an eventfd"));
        let interrupt = Interrupt::new(Some(interrupt));
        Virtqueue::new(self.layout, &self.memory, accepted, bell, interrupt).expect("a queue")
    }

    /// The driver does something: mostly, it makes a request.
    ///
    /// # Errors
    /// When the input has too few bytes.
    pub fn act(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=15)? {
            0 => self.store(AVAIL + 2, input.arbitrary()?),
            1 => self.store(AVAIL, input.arbitrary()?),
            2 => self.store(USED + input.int_in_range(0..=0x400)?, input.arbitrary()?),
            3 => self.store(BUFFERS + input.int_in_range(0..=0xfff)?, input.arbitrary()?),
            _ => self.request(input)?,
        }
        Ok(())
    }

    /// Bytes into the buffers, a chain of descriptors, and its head into the ring.
    fn request(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let length = input.int_in_range(0..=64)?;
        let bytes = input.bytes(length.min(input.len()))?;
        let at = BUFFERS + 16 * input.int_in_range(0..=15)?;
        let _ = self.memory.write_slice(bytes, GuestAddress(at));
        let first = input.int_in_range(0..=self.layout.size - 1)?;
        let table = match input.ratio(1, 4)? {
            true => INDIRECT_TABLE,
            false => TABLE,
        };
        let count = input.int_in_range(1..=8)?;
        let readable = input.int_in_range(0..=count)?;
        let start = if table == TABLE { first } else { 0 };
        for number in 0..count {
            let desc = self.desc(input, (number, readable, count), start)?;
            let slot = (start + number) % self.layout.size.max(8);
            self.set_desc(table, slot, desc);
        }
        if table == INDIRECT_TABLE {
            let len = match input.ratio(1, 8)? {
                true => input.arbitrary()?,
                false => 16 * u32::from(count),
            };
            let desc = Desc { addr: INDIRECT_TABLE, len, flags: INDIRECT, next: 0 };
            self.set_desc(TABLE, first, desc);
        }
        let head = if input.ratio(1, 16)? { input.arbitrary()? } else { first };
        let slot = u64::from(self.avail_index % self.layout.size);
        self.store(AVAIL + 4 + 2 * slot, head);
        self.avail_index = self.avail_index.wrapping_add(1);
        self.store(AVAIL + 2, self.avail_index);
        Ok(())
    }

    /// Descriptor `number` of a chain of `count`, of which `readable` are device-readable. Seven
    /// of eight are legal.
    fn desc(
        &self,
        input: &mut Unstructured<'_>,
        (number, readable, count): (u16, u16, u16),
        start: u16,
    ) -> Result<Desc> {
        let addr = match input.int_in_range(0..=7)? {
            0 => input.arbitrary()?,
            1 => RAM - input.int_in_range(0..=0x20)?,
            2 => HIGH + input.int_in_range(0..=0x1000)?,
            3 => input.int_in_range(0..=BUFFERS)?,
            _ => BUFFERS + 16 * input.int_in_range(0..=15)?,
        };
        let len = match input.int_in_range(0..=7)? {
            0 => input.arbitrary()?,
            1 => u32::from(input.arbitrary::<u16>()?),
            2 => 1,
            3 | 5 => 16,
            4 => 512 * u32::from(input.int_in_range::<u8>(0..=16)?),
            _ => u32::from(input.arbitrary::<u8>()?),
        };
        let more = if number + 1 < count { NEXT } else { 0 };
        let write = if number >= readable { WRITE } else { 0 };
        let next = (start + number + 1) % self.layout.size.max(8);
        Ok(match input.ratio(1, 8)? {
            true => Desc { addr, len, flags: input.arbitrary()?, next: input.arbitrary()? },
            false => Desc { addr, len, flags: more | write, next },
        })
    }

    /// Play against one queue of a device. `input_comes` is called each time before the
    /// service is, for a device that would wait for the world outside.
    ///
    /// # Errors
    /// When the input has too few bytes. A service that reports an error of the host panics: no
    /// guest may bring one about.
    pub fn play(
        &mut self,
        input: &mut Unstructured<'_>,
        (device, queue, accepted): (&dyn Device, usize, u64),
        mut input_comes: impl FnMut(&mut Unstructured<'_>),
    ) -> Result<()> {
        let mut service = device.service(queue, accepted).expect("a service");
        let mut queue = self.queue(accepted);
        for _ in 0..REQUESTS {
            if input.is_empty() {
                break;
            }
            self.act(input)?;
            let memory = self.memory.clone();
            let mut request = Request::default();
            match queue.pop(&memory, &mut request) {
                Ok(true) => {}
                Ok(false) => continue,
                // A queue thread ends here.
                Err(_) => return Ok(()),
            }
            let comes = || input_comes(input);
            let served = serve(&mut queue, service.as_mut(), (&memory, &mut request), comes);
            queue.requeue(&mut request);
            match served {
                Ok(()) | Err(ServeError::Again | ServeError::Interrupted) => self.check(&queue),
                Err(ServeError::Guest(_)) => return Ok(()),
                Err(ServeError::Host(error)) => panic!("a guest made the host fail: {error}"),
            }
        }
        Ok(())
    }

    /// The used index only grows, and says what has been handed back.
    pub fn check(&mut self, queue: &Virtqueue) {
        let position = queue.position();
        let grown = position.next_used.wrapping_sub(self.used);
        assert!(grown <= self.layout.size, "{position:?} after {}", self.used);
        assert!(
            position.next_avail.wrapping_sub(position.next_used) <= self.layout.size,
            "{position:?}: more handed back than taken"
        );
        self.used = position.next_used;
    }

    fn set_desc(&self, table: u64, index: u16, desc: Desc) {
        let at = table + 16 * u64::from(index);
        let [low, high] = [
            desc.addr,
            u64::from(desc.len) | u64::from(desc.flags) << 32 | u64::from(desc.next) << 48,
        ];
        let _ = self.memory.write_obj([low.to_le(), high.to_le()], GuestAddress(at));
    }

    /// At an address that need not be aligned; where it is not, nothing happens.
    fn store(&self, at: u64, value: u16) {
        let _ = self.memory.store(value.to_le(), GuestAddress(at & !1), Ordering::SeqCst);
    }
}

/// What a queue thread does with a request, without the sleeping.
fn serve<'m>(
    queue: &mut Virtqueue,
    service: &mut dyn Service,
    (memory, request): (&'m Memory, &mut Request<'m>),
    mut input_comes: impl FnMut(),
) -> std::result::Result<(), ServeError> {
    if service.may_block(request) {
        queue.signal(memory)?;
    }
    for _ in 0..CALLS {
        input_comes();
        if let Some(input) = service.gathers() {
            queue.gather(memory, request, &input, &StopFlag::default())?;
        }
        match service.serve(request) {
            Err(ServeError::Again | ServeError::Interrupted) => {}
            other => {
                other?;
                queue.add_used(memory, request)?;
                return Ok(queue.signal(memory)?);
            }
        }
    }
    Err(ServeError::Again)
}

/// What a driver has accepted: any of what it was offered.
///
/// # Errors
/// When the input has too few bytes.
pub fn accepted(input: &mut Unstructured<'_>, device: &dyn Device) -> Result<u64> {
    let offered = device.features() | devices::queue::RING_FEATURES;
    Ok(offered & !input.arbitrary::<u64>()?)
}
