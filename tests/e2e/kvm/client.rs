//! A client that speaks the control protocol itself (docs/control.md): quicker than
//! a process each, and as ill-mannered as a test wants it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
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

    /// Type on a console, as far as there is room: so many bytes.
    #[track_caller]
    pub(super) fn send(&mut self, console: usize, keys: &[u8]) -> usize {
        let data = BASE64.encode(keys);
        let answer = self.ask(json!({ "do": "send", "console": console, "data": data }));
        usize::try_from(answer["taken"].as_u64().unwrap()).unwrap()
    }

    /// Sit down at a console; the rest of the connection are frames.
    pub(super) fn attach(&mut self, console: usize, mode: &str) -> io::Result<()> {
        let answer = self.request(json!({
            "do": "attach", "console": console, "mode": mode, "rows": 0, "columns": 0,
        }))?;
        let refused = answer["error"]["text"].as_str().map(str::to_string);
        refused.map_or(Ok(()), |text| Err(io::Error::other(text)))
    }

    /// Write a frame.
    pub(super) fn write_frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.write(&[&[kind], length.to_le_bytes().as_slice(), payload].concat())
    }

    /// The next frame: its kind, and what it carries.
    pub(super) fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.0.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok((kind, payload))
    }

    /// Read what the guest prints until it ends so.
    pub(super) fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut printed = Vec::new();
        while !printed.ends_with(end) {
            match self.read_frame()? {
                (b'd', bytes) => printed.extend(bytes),
                (kind, _) => return Err(io::Error::other(format!("a frame {}", kind as char))),
            }
        }
        Ok(printed)
    }

    /// This connection, for another thread. What has been read ahead stays here.
    #[track_caller]
    pub(super) fn again(&self) -> Self {
        Self(BufReader::new(self.0.get_ref().try_clone().or_fail("duplicating a socket")))
    }

    /// Nothing more is said.
    pub(super) fn hush(&self) {
        // Fails for a connection that is gone, on which nothing is said either.
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }
}

/// The bytes of an answer.
#[track_caller]
pub(super) fn data(answer: &Value) -> Vec<u8> {
    BASE64.decode(answer["data"].as_str().unwrap()).or_fail("decoding what a guest said")
}
