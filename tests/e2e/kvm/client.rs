//! A client that speaks the control protocol itself (docs/control.md): quicker than
//! a process each, and as ill-mannered as a test wants it.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tests::{OrFail, Running, patience};

/// One connection.
pub(super) struct Client(BufReader<UnixStream>);

impl Client {
    /// To the guest of this launcher.
    #[track_caller]
    pub(super) fn of(running: &Running, name: &str) -> Self {
        Self::below(running.runtime(), name).or_fail("connecting to a guest")
    }

    /// To the guest of this name, below this runtime directory.
    pub(super) fn below(runtime: &Path, name: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(runtime.join("lguest").join(name).join("control"))?;
        stream.set_read_timeout(Some(patience()))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Write what is said as it is.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The answer to a request, which need not name the version.
    pub(super) fn request(&mut self, mut request: Value) -> io::Result<Value> {
        request["version"] = 1.into();
        self.write(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// What is answered to a request that is granted.
    #[track_caller]
    pub(super) fn ask(&mut self, request: Value) -> Value {
        let answer = self.request(request).or_fail("asking a guest");
        assert!(answer["error"].is_null(), "{answer}");
        answer["ok"].clone()
    }

    /// All that is kept of what a console has printed.
    #[track_caller]
    pub(super) fn log(&mut self, console: usize) -> Vec<u8> {
        data(&self.ask(json!({ "do": "log", "console": console })))
    }
}

/// The bytes of an answer.
#[track_caller]
pub(super) fn data(answer: &Value) -> Vec<u8> {
    BASE64.decode(answer["data"].as_str().unwrap()).or_fail("decoding what a guest said")
}
