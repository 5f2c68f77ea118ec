//! `lguest restore`: what the user chooses anew for a guest that is restored.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use host::disk::BlockConfig;
use host::net::card::Tunnet;
use wire::{Name, parse_name};

use super::console::{self, ConsoleConfig};
use super::{block, tunnet};

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
    pub(crate) console: Vec<NumberedConsole>,

    /// The host ends of all network cards, eth0 first, instead of the saved ones
    #[arg(long, value_name = "HOST-END", value_parser = tunnet::parse)]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) tunnet: Vec<Tunnet>,

    /// The file of disk N (0 is vda), instead of the saved one; it must have the same contents
    #[arg(long, value_name = "N=FILE[,OPTION]...", value_hint = ValueHint::Other)]
    #[arg(value_parser = OsStringValueParser::new().try_map(|value| numbered_block(&value)))]
    pub(crate) block: Vec<NumberedBlock>,

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

/// A console, and its number.
#[derive(Debug, Clone)]
pub(crate) struct NumberedConsole {
    pub(crate) number: usize,
    pub(crate) console: ConsoleConfig,
}

/// A disk, and its number.
#[derive(Debug, Clone)]
pub(crate) struct NumberedBlock {
    pub(crate) number: usize,
    pub(crate) block: BlockConfig,
}

fn numbered_console(value: &OsStr) -> Result<NumberedConsole, String> {
    let (number, rest) = split_number(value)?;
    Ok(NumberedConsole { number, console: console::parse(&rest)? })
}

fn numbered_block(value: &OsStr) -> Result<NumberedBlock, String> {
    let (number, rest) = split_number(value)?;
    Ok(NumberedBlock { number, block: block::parse(&rest)? })
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
        assert_eq!(config.console[0].number, 2);
        assert_eq!(config.console[0].console, ConsoleConfig::parsed("file=a=b"));
        assert_eq!(config.block[0].number, 1);
        assert!(config.block[0].block.read_only);
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
