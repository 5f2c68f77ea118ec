//! `--console HOST-END[,OPTION]...`, read into a plain struct. [`crate::console`] opens what the
//! value names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use wire::Name;

use super::split;

/// The size of a console's output buffer if the user sets none, in bytes.
pub(crate) const BUFFER: usize = 1 << 20;

/// The sizes that a user may set, in bytes: enough for a screen, and little enough for an answer of
/// the control socket.
const LEAST_BUFFER: usize = 4 << 10;
const MOST_BUFFER: usize = 16 << 20;

/// A console, as the user described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsoleConfig {
    pub(crate) backend: Backend,
    /// The size of the output buffer in bytes.
    pub(crate) buffer: usize,
    /// A name for the console, besides its number.
    pub(crate) name: Option<Name>,
}

/// The host end of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The launcher's stdin and stdout.
    Stdio,
    /// Clients of `lguest console`, and of the console's own socket if it has a path.
    Socket { path: Option<PathBuf> },
    /// The programs that open a pseudo-terminal. A symbolic link to it is optional.
    Pty { link: Option<PathBuf> },
    /// A file that the output is written to.
    File { path: PathBuf, append: bool },
    /// No host end: clients cannot attach, and nothing is typed.
    Null,
    /// The streams of a command (`--exec`). Users cannot ask for this backend.
    Exec {
        /// The command has a terminal, which is the launcher's.
        tty: bool,
    },
    /// The commands of `lguest exec` in a guest with an init of its own (`--agent`). Users cannot ask
    /// for this backend.
    Agent,
}

impl ConsoleConfig {
    /// Whether the console is on the launcher's terminal.
    pub(crate) fn is_stdio(&self) -> bool {
        self.backend == Backend::Stdio
    }

    /// The path that the user gave for the host end.
    pub(crate) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match &mut self.backend {
            Backend::Socket { path } | Backend::Pty { link: path } => path.as_mut(),
            Backend::File { path, .. } => Some(path),
            Backend::Stdio | Backend::Null | Backend::Exec { .. } | Backend::Agent => None,
        }
    }
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { backend: Backend::Stdio, buffer: BUFFER, name: None }
    }
}

/// Parse the value of the option. A comma of a file name is written twice.
pub(super) fn parse(value: &OsStr) -> Result<ConsoleConfig, String> {
    let mut words = split(value.as_bytes()).into_iter();
    let backend = parse_backend(&words.next().unwrap_or_default())?;
    let mut console = ConsoleConfig { backend, ..ConsoleConfig::default() };
    if console.backend == Backend::Null {
        console.buffer = 0;
    }
    for word in words {
        let word = String::from_utf8_lossy(&word).into_owned();
        match (word.split_once('='), &mut console.backend) {
            (None, Backend::File { append, .. }) if word == "append" => *append = true,
            (Some(("buffer", _)), Backend::Null) => {
                return Err("null keeps nothing: it has no buffer".into());
            }
            (Some(("buffer", size)), _) => console.buffer = parse_buffer(size)?,
            (Some(("name", text)), _) => console.name = Some(parse_name(text)?),
            _ => {
                return Err(format!(
                    "no option {word:?} here: there are buffer=SIZE, name=NAME and, of file=PATH, \
                     append; a comma of a file name is written twice"
                ));
            }
        }
    }
    Ok(console)
}

fn parse_backend(end: &[u8]) -> Result<Backend, String> {
    let at = end.iter().position(|byte| *byte == b'=');
    let (kind, path) = match at.and_then(|at| end.split_at_checked(at)) {
        Some((kind, path)) => (kind, Some(path.get(1..).unwrap_or_default())),
        None => (end, None),
    };
    if path.is_some_and(<[u8]>::is_empty) {
        return Err("there is no file name".into());
    }
    let path = path.map(|path| PathBuf::from(OsString::from_vec(path.to_vec())));
    match (kind, path) {
        (b"stdio", None) => Ok(Backend::Stdio),
        (b"sock", path) => Ok(Backend::Socket { path }),
        (b"pty", link) => Ok(Backend::Pty { link }),
        (b"file", Some(path)) => Ok(Backend::File { path, append: false }),
        (b"null", None) => Ok(Backend::Null),
        _ => {
            let end = String::from_utf8_lossy(end).into_owned();
            Err(format!(
                "no host end {end:?}: there are stdio, sock[=PATH], pty[=LINK], file=PATH and null"
            ))
        }
    }
}

/// Parse a size, such as "65536", "64K" or "1M", into bytes.
fn parse_buffer(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 0), |digits| (digits, 20)),
    };
    let size = digits.parse::<usize>().ok().and_then(|size| size.checked_mul(1 << shift));
    size.filter(|size| (LEAST_BUFFER..=MOST_BUFFER).contains(size))
        .ok_or_else(|| format!("buffer={text}: a buffer has 4K to 16M"))
}

/// Parse a name. A name of digits alone would be taken for a number.
fn parse_name(text: &str) -> Result<Name, String> {
    let name = wire::parse_name(text).map_err(|error| format!("name={text}: {error}"))?;
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Err(format!("name={text}: that is a number, and another console may have it")),
        false => Ok(name),
    }
}

#[cfg(test)]
impl ConsoleConfig {
    /// The console that this value of the option describes.
    pub(crate) fn parsed(value: &str) -> Self {
        parse(value.as_ref()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Backend {
        parse(value.as_ref()).unwrap().backend
    }

    fn file(path: &str, append: bool) -> Backend {
        Backend::File { path: path.into(), append }
    }

    #[test]
    fn host_ends_are_parsed() {
        assert_eq!(parsed("stdio"), Backend::Stdio);
        assert_eq!(parsed("null"), Backend::Null);
        assert_eq!(parsed("sock"), Backend::Socket { path: None });
        assert_eq!(parsed("sock=/a=b"), Backend::Socket { path: Some("/a=b".into()) });
        assert_eq!(parsed("pty"), Backend::Pty { link: None });
        assert_eq!(parsed("pty=con1"), Backend::Pty { link: Some("con1".into()) });
        assert_eq!(parsed("file=log"), file("log", false));
        assert_eq!(parsed("file=a,,b,append"), file("a,b", true));
    }

    #[test]
    fn options_are_parsed() {
        let console = ConsoleConfig::parsed("file=log,buffer=64K,append,name=daemon");
        assert_eq!(console.backend, file("log", true));
        assert_eq!(console.buffer, 65536);
        assert_eq!(console.name.as_ref().map(Name::as_str), Some("daemon"));
        assert_eq!(ConsoleConfig::parsed("sock,buffer=5000").buffer, 5000);
        assert_eq!(ConsoleConfig::parsed("pty,buffer=16M").buffer, 16 << 20);
        assert_eq!(ConsoleConfig::parsed("stdio").buffer, 1 << 20);
        assert_eq!(ConsoleConfig::parsed("null").buffer, 0);
    }

    #[test]
    fn an_error_names_the_wrong_part() {
        for (value, named) in [
            ("", "\"\""),
            ("multiport", "multiport"),
            ("file", "file"),
            ("file=", "no file name"),
            ("sock=", "no file name"),
            ("stdio=1", "stdio=1"),
            ("file=log,foo=1", "foo=1"),
            ("stdio,append", "append"),
            ("sock,append=1", "append=1"),
            ("null,buffer=1M", "null"),
            ("sock,buffer=1", "4K to 16M"),
            ("sock,buffer=17M", "4K to 16M"),
            ("sock,buffer=99999999999999999999M", "4K to 16M"),
            ("sock,buffer=", "4K to 16M"),
            ("sock,name=a/b", "a/b"),
            ("sock,name=12", "12"),
        ] {
            let error = parse(value.as_ref()).unwrap_err();
            assert!(error.contains(named), "{value}: {error}");
        }
    }
}
