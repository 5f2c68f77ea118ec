//! Unusual rings that a device must put up with.

use super::*;
use crate::testing::ring::{Desc, INDIRECT, NEXT, WRITE};
use crate::testing::{HIGH_RAM, RAM_END};

/// An indirect table, not even aligned.
const TABLE: u64 = 0x30_0004;

fn from_guest(addr: u64, len: u32) -> Desc {
    Desc { addr, len, flags: 0, next: 0 }
}

fn to_guest(addr: u64, len: u32) -> Desc {
    Desc { flags: WRITE, ..from_guest(addr, len) }
}

fn popped(fixture: &mut Fixture) -> (Vec<u8>, u32) {
    let chain = fixture.pop().unwrap().unwrap();
    (chain.from_guest, chain.to_guest)
}

/// R8: two VMMs had this wrong, and guests lost data.
#[test]
fn a_buffer_that_ends_exactly_with_ram_is_accepted() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    fixture.ring.write(RAM_END - 4, b"last");
    fixture.ring.write(HIGH_RAM, b"next");

    let high_end = HIGH_RAM + 0x1000 - 512;
    let parts = [from_guest(RAM_END - 4, 4), from_guest(HIGH_RAM, 4), to_guest(high_end, 512)];
    fixture.ring.offer_chain(&parts);

    assert_eq!(popped(&mut fixture), (b"lastnext".to_vec(), 512));
}

#[test]
fn the_whole_of_ram_may_be_one_buffer() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let all = u32::try_from(RAM_END).unwrap();

    fixture.ring.offer_chain(&[to_guest(0, all)]);

    assert_eq!(popped(&mut fixture), (vec![], all));
}

/// R9: wherever they point, in either direction, in any order.
#[test]
fn empty_descriptors_are_tolerated_anywhere() {
    let mut fixture = Fixture::new(16, RING_FEATURES);
    let data = fixture.ring.buffer(FromGuest(b"data"));
    let chain = [
        to_guest(u64::MAX, 0),
        from_guest(0, 0),
        data,
        from_guest(RAM_END, 0),
        to_guest(0xc000_0000, 0),
        from_guest(u64::MAX, 0),
        to_guest(0x20_0000, 7),
        to_guest(0, 0),
        from_guest(0, 0),
    ];

    fixture.ring.offer_chain(&chain[..7]);

    assert_eq!(popped(&mut fixture), (b"data".to_vec(), 7));
}

#[test]
fn a_chain_of_nothing_but_empty_descriptors_is_a_request() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let head = fixture.ring.offer_chain(&[from_guest(0, 0), to_guest(0, 0), to_guest(!0, 0)]);

    fixture.serve(b"no room");

    assert_eq!(fixture.ring.take_used(), Some(Used { id: head.into(), len: 0 }));
}

#[test]
fn an_indirect_table_is_followed() {
    let mut fixture = Fixture::new(4, RING_FEATURES);
    let parts = [FromGuest(b"over "), FromGuest(b"there"), ToGuest(3), ToGuest(4)];
    for (index, part) in (0..).zip(parts) {
        let part = fixture.ring.buffer(part);
        let more = if index < 3 { NEXT } else { 0 };
        let part = Desc { flags: part.flags | more, next: index + 1, ..part };
        fixture.ring.set_desc_in(TABLE, index, part);
    }

    let table = Desc { flags: INDIRECT, ..from_guest(TABLE, 64) };
    fixture.ring.offer_chain(&[table]);

    assert_eq!(popped(&mut fixture), (b"over there".to_vec(), 7));
}

/// R15, 2.7.5.3.2: and the table descriptor's WRITE flag means nothing.
#[test]
fn descriptors_may_come_before_an_indirect_one_with_write() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let [first, second] = [b"first, ", b"second "].map(|text| fixture.ring.buffer(FromGuest(text)));
    fixture.ring.set_desc_in(TABLE, 0, Desc { flags: NEXT, next: 1, ..second });
    fixture.ring.set_desc_in(TABLE, 1, to_guest(0x20_0000, 9));

    let table = Desc { flags: INDIRECT | WRITE, ..from_guest(TABLE, 32) };
    fixture.ring.offer_chain(&[first, table]);

    assert_eq!(popped(&mut fixture), (b"first, second ".to_vec(), 9));
}

#[test]
fn a_table_need_not_be_used_in_order_or_to_its_end() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let [a, b] = [b"a", b"b"].map(|text| fixture.ring.buffer(FromGuest(text)));
    fixture.ring.set_desc_in(TABLE, 0, Desc { flags: NEXT, next: 2, ..a });
    fixture.ring.set_desc_in(TABLE, 1, Desc { flags: !0, next: !0, addr: !0, len: !0 });
    fixture.ring.set_desc_in(TABLE, 2, b);

    let table = Desc { flags: INDIRECT, ..from_guest(TABLE, 8 * 16) };
    fixture.ring.offer_chain(&[table]);

    assert_eq!(popped(&mut fixture), (b"ab".to_vec(), 0));
}

/// 2.7.5.3.1 bounds the chain, and not the table: one of 65537 entries is more than any
/// descriptor can refer to.
#[test]
fn a_table_may_be_longer_than_the_queue() {
    for entries in [5, 300, 0x1_0000, 0x1_0001] {
        let mut fixture = Fixture::new(4, RING_FEATURES);
        let last = u16::try_from((entries - 1).min(0xffff)).unwrap();
        let [a, b] = [b"a", b"b"].map(|text| fixture.ring.buffer(FromGuest(text)));
        fixture.ring.set_desc_in(TABLE, 0, Desc { flags: NEXT, next: last, ..a });
        fixture.ring.set_desc_in(TABLE, last, b);

        let table = Desc { flags: INDIRECT, ..from_guest(TABLE, 16 * entries) };
        fixture.ring.offer_chain(&[table]);

        assert_eq!(popped(&mut fixture), (b"ab".to_vec(), 0), "{entries}");
    }
}

#[test]
fn a_chain_in_a_table_may_be_as_long_as_the_queue() {
    let mut fixture = Fixture::new(4, RING_FEATURES);
    for index in 0..4 {
        let part = fixture.ring.buffer(FromGuest(b"x"));
        let flags = if index < 3 { NEXT } else { 0 };
        fixture.ring.set_desc_in(TABLE, index, Desc { flags, next: index + 1, ..part });
    }

    fixture.ring.offer_chain(&[Desc { flags: INDIRECT, ..from_guest(TABLE, 100 * 16) }]);

    assert_eq!(popped(&mut fixture), (b"xxxx".to_vec(), 0));
}

#[test]
fn an_indirect_table_may_end_exactly_with_ram() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let data = fixture.ring.buffer(FromGuest(b"edge"));
    fixture.ring.set_desc_in(RAM_END - 16, 0, data);

    fixture.ring.offer_chain(&[Desc { flags: INDIRECT, ..from_guest(RAM_END - 16, 16) }]);

    assert_eq!(popped(&mut fixture), (b"edge".to_vec(), 0));
}

#[test]
fn a_chain_may_use_every_descriptor() {
    let mut fixture = Fixture::new(8, RING_FEATURES);

    fixture.ring.offer(&[FromGuest(b"x"); 8]);

    assert_eq!(popped(&mut fixture), (b"xxxxxxxx".to_vec(), 0));
}

#[test]
fn unknown_descriptor_flags_mean_nothing() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let data = fixture.ring.buffer(FromGuest(b"flags"));

    fixture.ring.offer_chain(&[Desc { flags: 0xfff8, ..data }]);

    assert_eq!(popped(&mut fixture), (b"flags".to_vec(), 0));
}
