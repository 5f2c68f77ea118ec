//! `--exec` and its other options, read into a plain struct. [`crate::exec`] gives them their
//! meaning.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueHint};

/// One command in the guest, and the files and modules that it needs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "One command")]
#[command(group = ArgGroup::new("init").args(["exec", "agent"]))]
pub(crate) struct ExecConfig {
    /// Run this command (sh -c) in the guest, and end with its status
    #[arg(id = "exec", long = "exec", value_name = "CMD", conflicts_with = "detach")]
    #[arg(value_hint = ValueHint::CommandString)]
    pub(crate) command: Option<OsString>,

    /// Let lguest exec run commands in the guest, beside its own init
    #[arg(long)]
    pub(crate) agent: bool,

    /// Give the command your terminal
    #[arg(long, requires = "exec")]
    pub(crate) tty: bool,

    /// The kernel's modules (/lib/modules/RELEASE); lguest loads those that it needs
    #[arg(long, value_name = "DIR", requires = "init", value_hint = ValueHint::DirPath)]
    pub(crate) modules: Option<PathBuf>,

    /// Load a module before the command: one of DIR by its name, or a .ko file
    #[arg(long, value_name = "MODULE", requires = "exec", value_hint = ValueHint::FilePath)]
    pub(crate) load: Vec<OsString>,

    /// Copy a file or directory of the host into the guest, to /NAME or to GUEST
    #[arg(long, value_name = "HOST[:GUEST]", requires = "exec", value_hint = ValueHint::AnyPath)]
    #[arg(value_parser = OsStringValueParser::new().try_map(|value| parse_file(&value)))]
    pub(crate) file: Vec<FileConfig>,

    /// Start from a snapshot of the booted guest in DIR; make it, if it does not exist or is out of
    /// date
    #[arg(long, value_name = "DIR", requires = "exec", value_hint = ValueHint::DirPath)]
    #[arg(conflicts_with_all = ["username", "chroot"])]
    pub(crate) warm: Option<PathBuf>,
}

/// A file for the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileConfig {
    pub(crate) host: PathBuf,
    /// An absolute path.
    pub(crate) guest: String,
}

fn parse_file(value: &OsStr) -> Result<FileConfig, String> {
    let bytes = value.as_bytes();
    let colon = bytes.iter().rposition(|byte| *byte == b':');
    let (host, guest) = match colon.and_then(|colon| bytes.split_at_checked(colon)) {
        Some((host, guest)) => (host, guest.get(1..)),
        None => (bytes, None),
    };
    let host = PathBuf::from(OsString::from_vec(host.to_vec()));
    if host.as_os_str().is_empty() {
        return Err("there is no file name".into());
    }
    let guest = match guest {
        Some(guest) => String::from_utf8(guest.to_vec()).ok(),
        None => {
            let name = std::path::absolute(&host).ok();
            let name = name.as_deref().and_then(|path| path.file_name()?.to_str());
            name.map(|name| format!("/{name}"))
        }
    };
    let is_good = |path: &String| path.starts_with('/') && !path.contains('\n');
    match guest.filter(is_good) {
        Some(guest) if guest.trim_end_matches('/').is_empty() => {
            Err("GUEST is the place of the file itself: /dir/name".into())
        }
        Some(guest) => Ok(FileConfig { host, guest: guest.trim_end_matches('/').to_string() }),
        None => Err("GUEST is an absolute path: HOST:/dir/name".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_parsed() {
        let file = |host: &str, guest: &str| {
            Ok(FileConfig { host: host.into(), guest: guest.to_string() })
        };
        assert_eq!(parse_file("test.sh".as_ref()), file("test.sh", "/test.sh"));
        assert_eq!(parse_file("a/b/".as_ref()), file("a/b/", "/b"));
        assert_eq!(parse_file("a:b:/c/d/".as_ref()), file("a:b", "/c/d"));
        for wrong in ["", ":/a", "a:", "a:b", "a:/", "/", ".."] {
            assert!(parse_file(wrong.as_ref()).is_err(), "{wrong}");
        }
    }
}
