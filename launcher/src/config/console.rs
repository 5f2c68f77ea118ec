//! `--console HOST-END[,OPTION]...`, read into a plain struct. Files are opened in
//! [`crate::console`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::split;

/// One console, as the user described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsoleConfig {
    pub(crate) backend: Backend,
}

impl ConsoleConfig {
    /// Is it to be on this terminal?
    pub(crate) fn is_stdio(&self) -> bool {
        self.backend == Backend::Stdio
    }
}

/// What is at its host end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// stdin and stdout.
    Stdio,
    /// Output goes to this file.
    File { path: PathBuf, append: bool },
    /// Nobody.
    Null,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { backend: Backend::Stdio }
    }
}

/// From the value of the option. A comma of a file name is written twice.
pub(super) fn parse(value: &OsStr) -> Result<ConsoleConfig, String> {
    let mut words = split(value.as_bytes()).into_iter();
    let end = words.next().unwrap_or_default();
    let mut backend = match end.strip_prefix(b"file=") {
        Some([]) => return Err("there is no file name".into()),
        Some(path) => {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            Backend::File { path, append: false }
        }
        None if end == b"stdio" => Backend::Stdio,
        None if end == b"null" => Backend::Null,
        None => {
            let end = String::from_utf8_lossy(&end).into_owned();
            return Err(format!("no host end {end:?}: there are stdio, file=PATH and null"));
        }
    };
    for word in words {
        match &mut backend {
            Backend::File { append, .. } if word == b"append" => *append = true,
            _ => {
                let word = String::from_utf8_lossy(&word).into_owned();
                return Err(format!(
                    "no option {word:?} here: there is append, of file=PATH; a comma of the file \
                     name is written twice"
                ));
            }
        }
    }
    Ok(ConsoleConfig { backend })
}

#[cfg(test)]
impl ConsoleConfig {
    /// What this value of the option means.
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
    fn host_ends() {
        assert_eq!(parsed("stdio"), Backend::Stdio);
        assert_eq!(parsed("null"), Backend::Null);
        assert_eq!(parsed("file=log"), file("log", false));
        assert_eq!(parsed("file=a,,b,append"), file("a,b", true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, named) in [
            ("", "\"\""),
            ("multiport", "multiport"),
            ("file=", "no file name"),
            ("file=log,foo=1", "foo=1"),
            ("stdio,append", "append"),
        ] {
            let error = parse(value.as_ref()).unwrap_err();
            assert!(error.contains(named), "{value}: {error}");
        }
    }
}
