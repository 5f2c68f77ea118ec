//! `lguest restore`: what the user chooses anew for a guest that is restored.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use wire::{Name, parse_name};

use super::{block, console, split, tunnet};

/// The options of `lguest restore`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreConfig {
    /// The snapshot
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,

    /// The guest's name for other commands; without it, lguest chooses one
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub(crate) name: Option<Name>,

    /// Print the guest's name once it runs, and leave it in the background with its consoles
    #[arg(long)]
    pub(crate) detach: bool,

    /// The host end of console N, instead of the saved one
    #[arg(long, value_name = "N=HOST-END", value_hint = ValueHint::Other)]
    #[arg(value_parser = OsStringValueParser::new().try_map(|value| numbered_console(&value)))]
    pub(crate) console: Vec<Numbered>,

    /// The host ends of all network cards, eth0 first, instead of the saved ones
    #[arg(long, value_name = "HOST-END", value_parser = checked_tunnet)]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) tunnet: Vec<String>,

    /// The file of disk N (0 is vda), instead of the saved one; it must have the same contents
    #[arg(long, value_name = "N=FILE[,OPTION]...", value_hint = ValueHint::Other)]
    #[arg(value_parser = OsStringValueParser::new().try_map(|value| numbered_block(&value)))]
    pub(crate) block: Vec<Numbered>,

    /// Become this user before the guest runs; for root
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Username)]
    pub(crate) username: Option<String>,

    /// Change the root directory to DIR before the guest runs; needs --username
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) chroot: Option<PathBuf>,

    /// Read the whole memory of the guest first, and compare its checksum
    #[arg(long)]
    pub(crate) verify: bool,

    /// Log each step to stderr
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// The value of an option for the device with a number. The value has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) number: usize,
    pub(crate) value: OsString,
}

fn numbered_console(value: &OsStr) -> Result<Numbered, String> {
    let (number, value) = split_number(value)?;
    console::parse(&value)?;
    Ok(Numbered { number, value })
}

fn numbered_block(value: &OsStr) -> Result<Numbered, String> {
    let (number, value) = split_number(value)?;
    block::parse(&value)?;
    Ok(Numbered { number, value })
}

fn checked_tunnet(text: &str) -> Result<String, String> {
    tunnet::parse(text).map(|_| text.to_string())
}

/// A value of `--block` in which relative paths count from `directory`. A disk that has no queues or
/// serial number of its own keeps those of the value `old`.
pub(crate) fn anchored_block(value: &OsStr, old: &OsStr, directory: &Path) -> OsString {
    let mut words = split(value.as_bytes());
    if let Some(file) = words.first_mut() {
        *file = anchored(file, directory);
    }
    for word in words.iter_mut().skip(1) {
        if let Some(path) = word.strip_prefix(b"cow=") {
            *word = [b"cow=".as_slice(), &anchored(path, directory)].concat();
        }
    }
    keep(&mut words, old, &[b"queues=", b"serial="]);
    joined(words)
}

/// A value of `--console` in which a relative path counts from `directory`. A console that has no
/// name or size of its own keeps those of the value `old`.
pub(crate) fn anchored_console(value: &OsStr, old: &OsStr, directory: &Path) -> OsString {
    let mut words = split(value.as_bytes());
    if let Some(end) = words.first_mut()
        && let Some(at) = end.iter().position(|byte| *byte == b'=')
    {
        let (kind, path) = end.split_at(at.saturating_add(1));
        *end = [kind, &anchored(path, directory)].concat();
    }
    // A console that keeps nothing takes no size.
    match words.first().is_some_and(|end| end == b"null") {
        true => keep(&mut words, old, &[b"name="]),
        false => keep(&mut words, old, &[b"name=", b"buffer="]),
    }
    joined(words)
}

/// Add the words of the value `old` that begin like this, unless there are such words already.
fn keep(words: &mut Vec<Vec<u8>>, old: &OsStr, beginnings: &[&[u8]]) {
    for beginning in beginnings {
        let is_of = |word: &Vec<u8>| word.starts_with(beginning);
        if !words.iter().any(is_of) {
            words.extend(split(old.as_bytes()).into_iter().skip(1).find(is_of));
        }
    }
}

fn anchored(path: &[u8], directory: &Path) -> Vec<u8> {
    directory.join(OsStr::from_bytes(path)).into_os_string().into_vec()
}

/// Join words by commas. A comma in a word is written twice.
fn joined(words: impl IntoIterator<Item = Vec<u8>>) -> OsString {
    let doubled =
        |word: Vec<u8>| word.split(|byte| *byte == b',').collect::<Vec<_>>().join(&b",,"[..]);
    let words: Vec<_> = words.into_iter().map(doubled).collect();
    OsString::from_vec(words.join(&b','))
}

/// Split "N=REST".
fn split_number(value: &OsStr) -> Result<(usize, OsString), String> {
    let bytes = value.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=');
    let (number, rest) = at.map_or((bytes, None), |at| {
        let (number, rest) = bytes.split_at(at);
        (number, rest.get(1..))
    });
    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    match (number, rest) {
        (Some(number), Some(rest)) => Ok((number, OsStr::from_bytes(rest).to_os_string())),
        _ => Err("it begins with a number and an equals sign, such as 0=".into()),
    }
}

#[cfg(test)]
impl RestoreConfig {
    /// The options of `lguest restore DIR` with these words.
    pub(crate) fn of(words: &[&str]) -> Self {
        use clap::Parser;

        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            restore: RestoreConfig,
        }
        Line::parse_from([&["restore", "DIR"], words].concat()).restore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_end_has_the_number_of_its_device() {
        let config = RestoreConfig::of(&["--console=2=file=a=b", "--block", "1=disk.img,ro"]);
        assert_eq!(config.console, [Numbered { number: 2, value: "file=a=b".into() }]);
        assert_eq!(config.block, [Numbered { number: 1, value: "disk.img,ro".into() }]);
    }

    #[test]
    fn relative_paths_count_from_a_directory() {
        let block = |value: &str, old: &str| {
            anchored_block(value.as_ref(), old.as_ref(), Path::new("/a,b"))
        };
        assert_eq!(block("d,,1,ro", "d,cow"), "/a,,b/d,,1,ro");
        assert_eq!(block("/d,cow=p,serial=x", "d,serial=y"), "/d,cow=/a,,b/p,serial=x");
        assert_eq!(block("/d", "d,ro,queues=3,serial=y"), "/d,queues=3,serial=y");
        let console = |value: &str, old: &str| {
            anchored_console(value.as_ref(), old.as_ref(), Path::new("/d"))
        };
        assert_eq!(console("file=log,append", "stdio"), "file=/d/log,append");
        assert_eq!(console("sock", "stdio,name=n,buffer=16M"), "sock,name=n,buffer=16M");
        assert_eq!(console("sock,name=m", "stdio,name=n"), "sock,name=m");
        assert_eq!(console("null", "stdio,buffer=16M"), "null");
    }

    #[test]
    fn a_value_without_a_number_is_refused() {
        for value in ["sock", "=sock", "x=sock", "-1=sock", "1"] {
            let refusal = numbered_console(value.as_ref()).unwrap_err();
            assert!(refusal.contains("begins with a number"), "{value}: {refusal}");
        }
        assert!(numbered_block("0=".as_ref()).unwrap_err().contains("no file name"));
    }
}
