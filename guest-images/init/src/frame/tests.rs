use super::*;

fn frames<F: Frame>(bytes: &[u8], piece: usize) -> (Vec<F>, Result<(), Broken>) {
    let (mut parser, mut frames) = (Parser::default(), Vec::new());
    let mut push = |bytes| parser.push(bytes, |frame| frames.push(frame));
    let ended = bytes.chunks(piece).try_for_each(&mut push);
    (frames, ended)
}

#[test]
fn what_is_encoded_is_decoded_however_it_comes() {
    let from = FromGuest::Command;
    let from_guest = [
        FromGuest::Hello(VERSION),
        FromGuest::Ready,
        FromGuest::Failed("no".into()),
        from(0, FromCommand::Stdout(b"\0\xff\n".to_vec())),
        from(0x1234, FromCommand::Stderr(vec![7; MOST])),
        from(2, FromCommand::Taken(0x0102_0304)),
        from(3, FromCommand::Ended(7)),
        from(4, FromCommand::NotStarted("why".into())),
    ];
    let to = ToGuest::Command;
    let to_guest = [
        ToGuest::Restored { seconds: u64::MAX, nanoseconds: 999_999_999, seed: [7; SEED] },
        to(7, ToCommand::Archive(b"070701".to_vec())),
        to(0, ToCommand::Order(b"abc".to_vec())),
        to(0, ToCommand::Start),
        to(0x1234, ToCommand::Stdin(b"abc".to_vec())),
        to(1, ToCommand::StdinEnd),
        to(2, ToCommand::Window { columns: 100, rows: 30 }),
        to(3, ToCommand::Written(1 << 20)),
        to(4, ToCommand::HangUp),
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
        (&[0, 0, 0, 0, 0, 0, 0][..], Broken::Kind(0)),
        (&[0xff; HEADER], Broken::Kind(0xff)),
        (b"[    0.0", Broken::Kind(b'[')),
        // This kind belongs to the other direction.
        (&[STDIN, 0, 0, 0, 0, 0, 0], Broken::Kind(STDIN)),
        (&[STDOUT, 0, 0, 1, 0x40, 0, 0], Broken::Length(STDOUT, 0x4001)),
        (&[STDOUT, 0, 0, 0xff, 0xff, 0xff, 0xff], Broken::Length(STDOUT, u32::MAX)),
        (&[STDERR, 0, 0, 0, 0, 0, 0], Broken::Length(STDERR, 0)),
        (&[ENDED, 0, 0, 0, 0, 0, 0], Broken::Length(ENDED, 0)),
        (&[ENDED, 0, 0, 2, 0, 0, 0], Broken::Length(ENDED, 2)),
        (&[TAKEN, 0, 0, 3, 0, 0, 0], Broken::Length(TAKEN, 3)),
        (&[HELLO, 0, 0, 0, 0, 0, 1], Broken::Length(HELLO, 1 << 24)),
        (&[READY, 0, 0, 1, 0, 0, 0], Broken::Length(READY, 1)),
    ] {
        let said = FromGuest::Command(0, FromCommand::Stdout(b"before".to_vec()));
        let bytes = [&said.encode(), bytes].concat();
        assert_eq!(frames(&bytes, 1), (vec![said], Err(broken)));
    }
    let short = [RESTORED, 0, 0, 4, 0, 0, 0];
    assert_eq!(frames::<ToGuest>(&short, 64).1, Err(Broken::Length(RESTORED, 4)));
}

/// A frame that is too long is refused as soon as its header is there, before any memory is used
/// for it.
#[test]
fn a_frame_that_is_too_long_is_not_waited_for() {
    let mut parser = Parser::default();
    let ended = parser.push::<FromGuest>(&[STDOUT, 0, 0, 0, 0, 0, 0x80], |_| {});
    assert_eq!(ended, Err(Broken::Length(STDOUT, 1 << 31)));
}

#[test]
fn of_what_is_not_complete_nothing_is_handed_out() {
    let complete = FromGuest::Failed("why".into()).encode();
    for length in 0..complete.len() {
        assert_eq!(frames::<FromGuest>(&complete[..length], 64), (Vec::new(), Ok(())));
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
            let [kind, length, command, ..] = state.to_le_bytes();
            let header = [kind % 10, command, 0, length, u8::from(length > 200), 0, 0];
            let bytes = [&header[..], &state.to_le_bytes()].concat();
            ended = ended.and_then(|()| parser.push::<FromGuest>(&bytes, |_| {}));
        }
        assert!(parser.bytes.len() <= HEADER + MOST);
    }
}
