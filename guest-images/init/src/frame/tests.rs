use super::*;

fn frames<F: Frame>(bytes: &[u8], piece: usize) -> (Vec<F>, Result<(), Broken>) {
    let (mut parser, mut frames) = (Parser::default(), Vec::new());
    let mut push = |bytes| parser.push(bytes, |frame| frames.push(frame));
    let ended = bytes.chunks(piece).try_for_each(&mut push);
    (frames, ended)
}

#[test]
fn what_is_encoded_is_decoded_however_it_comes() {
    let from_guest = [
        FromGuest::Ready(VERSION),
        FromGuest::Stdout(b"\0\xff\n".to_vec()),
        FromGuest::Stderr(vec![7; MOST]),
        FromGuest::Stdout(Vec::new()),
        FromGuest::Taken(0x0102_0304),
        FromGuest::Failed("no".into()),
        FromGuest::Ended(7),
    ];
    let to_guest = [
        ToGuest::Stdin(b"abc".to_vec()),
        ToGuest::StdinEnd,
        ToGuest::Window { columns: 100, rows: 30 },
        ToGuest::Written(1 << 20),
    ];
    for piece in [1, 3, 4096, 1 << 20] {
        let bytes = from_guest.each_ref().map(FromGuest::encode).concat();
        assert_eq!(frames(&bytes, piece), (from_guest.to_vec(), Ok(())));
        let bytes = to_guest.each_ref().map(ToGuest::encode).concat();
        assert_eq!(frames(&bytes, piece), (to_guest.to_vec(), Ok(())));
    }
}

#[test]
fn what_nobody_would_send_ends_it() {
    for (bytes, broken) in [
        (&[0, 0, 0, 0, 0][..], Broken::Kind(0)),
        (&[0xff; 5], Broken::Kind(0xff)),
        (b"[    0.0", Broken::Kind(b'[')),
        // This kind belongs to the other direction.
        (&[STDIN, 0, 0, 0, 0], Broken::Kind(STDIN)),
        (&[STDOUT, 1, 0x40, 0, 0], Broken::Length(STDOUT, 0x4001)),
        (&[STDOUT, 0xff, 0xff, 0xff, 0xff], Broken::Length(STDOUT, u32::MAX)),
        (&[ENDED, 0, 0, 0, 0], Broken::Length(ENDED, 0)),
        (&[ENDED, 2, 0, 0, 0], Broken::Length(ENDED, 2)),
        (&[TAKEN, 3, 0, 0, 0], Broken::Length(TAKEN, 3)),
        (&[READY, 0, 0, 0, 1], Broken::Length(READY, 1 << 24)),
    ] {
        let said = FromGuest::Stdout(b"before".to_vec());
        let bytes = [&said.encode(), bytes].concat();
        assert_eq!(frames(&bytes, 1), (vec![said], Err(broken)));
    }
}

/// A frame that is too long is refused as soon as its header is there, before any memory is used
/// for it.
#[test]
fn a_frame_that_is_too_long_is_not_waited_for() {
    let mut parser = Parser::default();
    let ended = parser.push::<FromGuest>(&[STDOUT, 0, 0, 0, 0x80], |_| {});
    assert_eq!(ended, Err(Broken::Length(STDOUT, 1 << 31)));
}

#[test]
fn of_what_is_not_whole_nothing_is_handed_out() {
    let whole = FromGuest::Failed("why".into()).encode();
    for length in 0..whole.len() {
        assert_eq!(frames::<FromGuest>(&whole[..length], 64), (Vec::new(), Ok(())));
    }
}

/// Random bytes never cause a panic, and the parser never keeps more than one frame.
#[test]
fn noise() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let (mut parser, mut ended) = (Parser::default(), Ok(()));
        for _ in 0..8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // This makes a kind that may exist and a length that may be valid.
            let [kind, length, ..] = state.to_le_bytes();
            let header = [kind % 8, length, u8::from(length > 200), 0, 0];
            let bytes = [&header[..], &state.to_le_bytes()].concat();
            ended = ended.and_then(|()| parser.push::<FromGuest>(&bytes, |_| {}));
        }
        assert!(parser.bytes.len() <= HEADER + MOST);
    }
}
