//! A queue of a disk, of each kind. Whatever is asked of it, its file stays as long as it
//! was, and if it is read-only or copy-on-write, as it was.

#![no_main]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::Arc;

use devices::block::{Block, FileStamp, Image, PrivateFile};
use fuzz::Guest;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// Bytes of the disk. It is small, so that many requests lie at its end or behind it.
const LENGTH: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut file = tempfile::tempfile_in("/dev/shm").expect("a file in memory");
    file.write_all(&[0x5a; LENGTH]).expect("filling the disk");
    let (read_only, cow) = (input.arbitrary()?, input.arbitrary()?);
    let mut image = if cow { copy_on_write(&file) } else { image(&file) };
    if read_only {
        image = image.read_only();
    }
    if input.arbitrary()? {
        image = image.direct(4096);
    }
    let device = Block { image: Arc::new(image), serial: "fuzz".into(), queues: 1 };
    let played = disk(input, &device);
    let mut contents = Vec::new();
    file.rewind().expect("rewinding");
    file.read_to_end(&mut contents).expect("reading");
    assert_eq!(contents.len(), LENGTH);
    assert!(!(read_only || cow) || contents.iter().all(|byte| *byte == 0x5a));
    played
}

fn disk(input: &mut Unstructured<'_>, device: &Block) -> Result<()> {
    let mut guest = Guest::new(input, 128)?;
    let accepted = fuzz::accepted(input, device)?;
    guest.play(input, (device, 0, accepted), |_| ())
}

fn image(file: &File) -> Image {
    let file = file.try_clone().expect("duplicating");
    Image::new(file, "fuzz", LENGTH as u64).expect("making the image")
}

fn copy_on_write(file: &File) -> Image {
    let stamp = FileStamp::new(&file.metadata().expect("asking for the length"), LENGTH as u64);
    let private = tempfile::tempfile_in("/dev/shm").expect("a file in memory");
    let private = PrivateFile::kept(private, stamp).expect("making the private part");
    let file = file.try_clone().expect("duplicating");
    Image::copy_on_write(file, private, "fuzz").expect("making the image")
}
