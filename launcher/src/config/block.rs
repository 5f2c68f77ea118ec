//! Parses `--block FILE[,OPTION]...`. [`host::disk`] opens FILE.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use devices::block::SERIAL_BYTES;
use host::disk::{BlockConfig, PrivatePart};

use super::split;

/// The most queues of a disk. Each has a thread; more threads are of no use to anybody.
const MOST_QUEUES: u16 = 64;

/// Parse the value of the option. A comma of FILE itself is written twice.
pub(super) fn parse(value: &OsStr) -> Result<BlockConfig, String> {
    let mut words = split(value.as_bytes()).into_iter();
    let path = words.next().unwrap_or_default();
    if path.is_empty() {
        return Err("there is no file name".into());
    }
    let path = PathBuf::from(OsString::from_vec(path));
    let mut config = BlockConfig { path, ..BlockConfig::default() };
    for word in words {
        if let Some(part) = parse_cow(&word)? {
            config.cow = Some(part);
            continue;
        }
        let word = OsStr::from_bytes(&word).to_string_lossy().into_owned();
        match word.split_once('=') {
            None if word == "ro" => config.read_only = true,
            None if word == "direct" => config.direct = true,
            Some(("serial", serial)) => config.serial = parse_serial(serial)?,
            Some(("queues", number)) => config.queues = Some(parse_queues(number)?),
            Some(("sync", "full")) => config.no_sync = false,
            Some(("sync", "off")) => config.no_sync = true,
            Some(("sync", _)) => return Err("sync is full or off".into()),
            Some(("format", "raw")) => config.raw = true,
            Some(("format", _)) => {
                return Err("format is raw, as lguest takes no other: qemu-img convert -O raw \
                            FILE NEW makes a raw image"
                    .into());
            }
            _ => {
                return Err(format!(
                    "no option {word:?}: there are ro, cow, cow=PRIVATE, direct, serial=S, \
                     queues=N, sync=full, sync=off and format=raw; a comma of the file name is \
                     written twice"
                ));
            }
        }
    }
    match (&config.cow, config.read_only, config.direct) {
        (Some(_), true, _) => Err("cow is for a guest that writes, and with ro it cannot: leave \
                                   out one of them"
            .into()),
        (Some(_), _, true) => Err("cow uses the host's page cache, and direct bypasses it: leave \
                                   out one of them"
            .into()),
        _ => Ok(config),
    }
}

/// Parse `cow` or `cow=PRIVATE`. Returns None for any other option.
fn parse_cow(word: &[u8]) -> Result<Option<PrivatePart>, String> {
    match word.strip_prefix(b"cow") {
        Some([]) => Ok(Some(PrivatePart::Temporary)),
        Some([b'=']) => Err("cow=PRIVATE has the name of a file, or is cow alone".into()),
        Some([b'=', path @ ..]) => {
            Ok(Some(PrivatePart::Kept(OsStr::from_bytes(path).to_os_string().into())))
        }
        _ => Ok(None),
    }
}

fn parse_serial(serial: &str) -> Result<String, String> {
    let printable = serial.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if serial.is_empty() || serial.len() > SERIAL_BYTES || !printable {
        return Err(format!("a serial number is 1 to {SERIAL_BYTES} printable ASCII characters"));
    }
    Ok(serial.into())
}

fn parse_queues(number: &str) -> Result<u16, String> {
    let number = number.parse().ok().filter(|number| (1..=MOST_QUEUES).contains(number));
    number.ok_or_else(|| format!("queues is a number from 1 to {MOST_QUEUES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> BlockConfig {
        parse(value.as_ref()).unwrap()
    }

    #[test]
    fn a_file_alone_is_a_disk() {
        let wanted = BlockConfig { path: "disk.img".into(), ..BlockConfig::default() };
        assert_eq!(parsed("disk.img"), wanted);
        assert_eq!(parsed("disk.img,sync=full"), wanted);
    }

    #[test]
    fn every_option_is_taken() {
        let wanted = BlockConfig {
            path: "/dev/sdb".into(),
            read_only: true,
            direct: true,
            serial: "my disk".into(),
            queues: Some(3),
            no_sync: true,
            raw: true,
            ..BlockConfig::default()
        };
        let value = "/dev/sdb,ro,direct,serial=my disk,queues=3,sync=off,format=raw";
        assert_eq!(parsed(value), wanted);
    }

    #[test]
    fn the_private_part_of_a_disk_may_have_a_name() {
        assert_eq!(parsed("a,cow").cow, Some(PrivatePart::Temporary));
        assert_eq!(parsed("a,cow=b,,c,serial=d").cow, Some(PrivatePart::Kept("b,c".into())));
        assert_eq!(parsed("a,cow=b=c").cow, Some(PrivatePart::Kept("b=c".into())));
        assert_eq!(parsed("a").cow, None);
        let path = OsString::from_vec(b"a,cow=\xff".to_vec());
        let name = OsString::from_vec(vec![0xff]);
        assert_eq!(parse(&path).unwrap().cow, Some(PrivatePart::Kept(name.into())));
    }

    #[test]
    fn a_comma_written_twice_is_part_of_the_name() {
        assert_eq!(parsed("a,,b.img").path, PathBuf::from("a,b.img"));
        assert_eq!(parsed(",,,,ro,ro").path, PathBuf::from(",,ro"));
        assert!(parsed(",,,,ro,ro").read_only);
    }

    #[test]
    fn names_need_not_be_utf_8() {
        let path = OsString::from_vec(vec![b'a', 0xff]);
        assert_eq!(parse(&path).unwrap().path, PathBuf::from(path));
    }

    #[test]
    fn any_other_value_is_refused_with_the_reason() {
        let long = format!("a,serial={}", "x".repeat(21));
        let rows = [
            ("", "no file name"),
            (",ro", "no file name"),
            ("a,rw", "\"rw\""),
            ("a,", "\"\""),
            ("a,ro=1", "\"ro=1\""),
            ("a,queues", "\"queues\""),
            ("a,queues=0", "1 to 64"),
            ("a,queues=65", "1 to 64"),
            ("a,queues=two", "1 to 64"),
            ("a,sync=maybe", "full or off"),
            ("a,format=qcow2", "format is raw"),
            ("a,format", "\"format\""),
            ("a,serial=", "1 to 20"),
            (&long, "1 to 20"),
            ("a,serial=\t", "1 to 20"),
            ("a,cow=", "the name of a file"),
            ("a,cows", "\"cows\""),
            ("a,cow,ro", "with ro it cannot"),
            ("a,ro,cow=b", "with ro it cannot"),
            ("a,direct,cow", "direct bypasses it"),
        ];
        for (value, words) in rows {
            let error = parse(value.as_ref()).unwrap_err();
            assert!(error.contains(words), "{value}: {error}");
        }
    }
}
