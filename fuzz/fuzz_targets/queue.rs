//! A queue alone: whatever is in the rings, the walk ends in requests or an error.

#![no_main]

use devices::request::Request;
use fuzz::Guest;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// No chain holds more than 4 GiB, and some of it is enough.
const SOME: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut guest = Guest::new(input, 128)?;
    let mut queue = guest.queue(input.arbitrary()?);
    let mut bytes = [0; SOME];
    while !input.is_empty() {
        guest.act(input)?;
        let memory = guest.memory.clone();
        let mut request = Request::default();
        match queue.pop(&memory, &mut request) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => return Ok(()),
        }
        let (there, room) = (request.from_guest.len(), request.to_guest.len());
        let peeked = request.from_guest.peek(&mut bytes);
        assert_eq!(peeked, SOME.min(there as usize));
        request.from_guest.consume(peeked);
        assert_eq!(request.from_guest.len() as usize, there as usize - peeked);
        request.to_guest.truncate(input.arbitrary()?);
        let last = input.arbitrary()? && request.to_guest.set_aside_last();
        let put = request.to_guest.put(&bytes[..peeked]);
        if last {
            request.to_guest.put_last(0);
        }
        assert!(request.to_guest.done() <= room && put <= room as usize);
        assert!(request.chains_for(request.to_guest.done()) <= 1);
        if input.ratio(1, 8)? {
            let before = queue.position();
            queue.requeue(&mut request);
            assert_eq!(queue.position().next_avail, before.next_avail.wrapping_sub(1));
            continue;
        }
        if queue.add_used(&memory, &mut request).is_err() || queue.signal(&memory).is_err() {
            return Ok(());
        }
        guest.check(&queue);
    }
    Ok(())
}
