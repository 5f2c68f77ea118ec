//! Tests of requests as streams of bytes.

use std::io::{Read, Write, pipe};
use std::os::fd::AsFd;

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::{Buffers, Request};
use crate::Memory;
use crate::error::GuestError;
use crate::testing::memory;

mod window;

/// Buffers of these lengths, one after the other in guest memory.
fn buffers<'m>(memory: &'m Memory, lengths: &[usize]) -> Buffers<'m> {
    let (mut buffers, mut at) = (Buffers::default(), 0x1000);
    for length in lengths {
        buffers.push(&memory.get_slice(GuestAddress(at), *length).unwrap());
        at += u64::try_from(*length).unwrap();
    }
    buffers
}

fn contents(memory: &Memory, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    memory.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
    bytes
}

#[test]
fn put_fills_all_buffers_and_no_more() {
    let memory = memory();
    let mut buffers = buffers(&memory, &[3, 1, 4]);

    assert_eq!(buffers.put(b"abcde"), 5);
    assert_eq!((buffers.len(), buffers.done()), (3, 5));
    assert_eq!(buffers.put(b"fghij"), 3);

    assert!(buffers.is_empty());
    assert_eq!(buffers.put(b"k"), 0);
    assert_eq!(contents(&memory, 9), b"abcdefgh\0");
}

#[test]
fn peeking_takes_nothing() {
    let memory = memory();
    memory.write_slice(b"abcdefgh", GuestAddress(0x1000)).unwrap();
    let mut buffers = buffers(&memory, &[3, 1, 4]);
    let mut bytes = [0; 6];

    buffers.consume(2);
    assert_eq!(buffers.peek(&mut bytes), 6);
    assert_eq!(buffers.peek(&mut bytes[..3]), 3);

    assert_eq!(&bytes, b"cdefgh");
    assert_eq!((buffers.len(), buffers.done()), (6, 2));
}

#[test]
fn consuming_more_than_there_is_consumes_all() {
    let memory = memory();
    let mut buffers = buffers(&memory, &[3, 4]);

    buffers.consume(usize::MAX);

    assert_eq!((buffers.len(), buffers.done()), (0, 7));
}

#[test]
fn bytes_that_were_truncated_are_not_touched() {
    let memory = memory();
    let mut buffers = buffers(&memory, &[3, 4, 5]);

    buffers.consume(1);
    buffers.truncate(5);
    buffers.truncate(100);

    assert_eq!((buffers.len(), buffers.done()), (5, 1));
    assert_eq!(buffers.put(b"abcdefgh"), 5);
    assert!(buffers.is_empty());
    assert_eq!(contents(&memory, 8), b"\0abcde\0\0");
}

#[test]
fn the_last_byte_is_set_aside_once_whatever_comes_after_it() {
    let memory = memory();
    let mut buffers = buffers(&memory, &[3, 1, 0, 0]);

    assert!(buffers.set_aside_last());
    assert!(buffers.set_aside_last());
    assert_eq!(buffers.len(), 3);
    assert_eq!(buffers.put(b"abcd"), 3);
    buffers.put_last(b'!');

    assert_eq!((buffers.len(), buffers.done()), (0, 4));
    assert_eq!(contents(&memory, 5), b"abc!\0");
}

#[test]
fn the_last_byte_counts_only_after_all_others() {
    let memory = memory();
    let mut buffers = buffers(&memory, &[4]);

    buffers.set_aside_last();
    buffers.put(b"a");
    buffers.put_last(b'!');

    assert_eq!(buffers.done(), 1);
    assert_eq!(contents(&memory, 5), b"a\0\0!\0");
}

#[test]
fn an_empty_stream_has_no_last_byte() {
    let memory = memory();

    assert!(!buffers(&memory, &[]).set_aside_last());
    assert!(!buffers(&memory, &[0, 0]).set_aside_last());
}

#[test]
fn a_limit_shortens_only_the_transfer() {
    let memory = memory();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789abcdef").unwrap();
    let mut buffers = buffers(&memory, &[3, 5, 4]);

    assert_eq!(buffers.read_from_at(file.as_fd(), 2, 5).unwrap(), 5);
    assert_eq!((buffers.len(), buffers.done()), (7, 5));
    assert_eq!(contents(&memory, 6), b"23456\0");
    assert_eq!(buffers.read_from_at(file.as_fd(), 7, 3).unwrap(), 3);
    assert_eq!(buffers.read_from_at(file.as_fd(), 10, 100).unwrap(), 4);
    assert!(buffers.is_empty());
    assert_eq!(contents(&memory, 13), b"23456789abcd\0");
}

/// R17: the kernel takes 1024 in one call; the rest is left for the next.
#[test]
fn more_segments_than_the_kernel_takes_go_in_two_calls() {
    let memory = memory();
    memory.write_slice(&[b'y'; 1500], GuestAddress(0x1000)).unwrap();
    let (mut reader, mut writer) = pipe().unwrap();

    let mut output = buffers(&memory, &[1; 1500]);
    assert_eq!(output.write_to(writer.as_fd()).unwrap(), 1024);
    assert_eq!(output.write_to(writer.as_fd()).unwrap(), 476);
    assert!(output.is_empty());
    reader.read_exact(&mut [0; 1500]).unwrap();

    writer.write_all(&[b'z'; 1500]).unwrap();
    let mut input = buffers(&memory, &[1; 1500]);
    assert_eq!(input.read_from(reader.as_fd()).unwrap(), 1024);
    assert_eq!(input.read_from(reader.as_fd()).unwrap(), 476);
    assert_eq!(contents(&memory, 1501), [&[b'z'; 1500][..], &[0]].concat());
}

#[test]
fn a_call_that_fails_consumes_nothing() {
    let memory = memory();
    let (reader, writer) = pipe().unwrap();
    let mut buffers = buffers(&memory, &[5]);

    assert!(buffers.write_to(reader.as_fd()).is_err());
    assert!(buffers.read_from(writer.as_fd()).is_err());

    assert_eq!((buffers.len(), buffers.done()), (5, 0));
}

#[test]
fn more_than_4_gib_are_refused_in_one_chain_and_taken_in_two() {
    let memory = Memory::from_ranges(&[(GuestAddress(0), 2 << 30)]).unwrap();
    let slice = memory.get_slice(GuestAddress(0), 2 << 30).unwrap();
    let mut request = Request::default();

    request.begin_chain(0);
    request.push(&slice, true).unwrap();
    assert_eq!(request.push(&slice, false), Err(GuestError::ChainTooLarge));
    request.begin_chain(1);
    request.push(&slice, true).unwrap();

    assert_eq!(request.to_guest.len(), u32::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However it is cut into buffers and pieces, a stream stays the same.
    #[test]
    fn streams_do_not_depend_on_how_they_are_cut(
        lengths in prop::collection::vec(1..50_usize, 1..20),
        pieces in prop::collection::vec(1..80_usize, 1..40),
    ) {
        let memory = memory();
        let total: usize = lengths.iter().sum();
        let data: Vec<u8> = (0..total).map(|n| n.to_le_bytes()[0]).collect();
        let mut to_guest = buffers(&memory, &lengths);
        let mut from_guest = buffers(&memory, &lengths);
        let (mut put, mut got) = (0, Vec::<u8>::new());
        for piece in pieces {
            put += to_guest.put(&data[put..total.min(put + piece)]);
        }
        prop_assert_eq!(u32::try_from(put).unwrap(), to_guest.done());
        while !from_guest.is_empty() {
            let mut bytes = [0; 33];
            let count = from_guest.peek(&mut bytes);
            got.extend(&bytes[..count]);
            from_guest.consume(count);
        }
        prop_assert_eq!(&got[..put], &data[..put]);
        prop_assert!(got[put..].iter().all(|byte| *byte == 0));
    }
}
