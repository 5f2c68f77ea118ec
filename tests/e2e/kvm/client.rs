//! A client that speaks the control protocol directly (docs/control.md). This is faster than a
//! process for each request, and the client can break the protocol.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tests::{OrFail, Running, patience};

/// A connection to a control socket.
pub(super) struct Client(BufReader<UnixStream>);

impl Client {
    /// Connects to the guest of this launcher.
    #[track_caller]
    pub(super) fn of(running: &Running, name: &str) -> Self {
        Self::below(running.runtime(), name).or_fail("connecting to a guest")
    }

    /// Connects to the guest of this name, below this runtime directory.
    pub(super) fn below(runtime: &Path, name: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(runtime.join("lguest").join(name).join("control"))?;
        stream.set_read_timeout(Some(patience()))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Writes bytes unchanged.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Sends a request, and returns the answer. The version is added to the request.
    pub(super) fn request(&mut self, mut request: Value) -> io::Result<Value> {
        request["version"] = 1.into();
        self.write(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Sends a request that must succeed, and returns its result.
    #[track_caller]
    pub(super) fn ask(&mut self, request: Value) -> Value {
        let answer = self.request(request).or_fail("asking a guest");
        assert!(answer["error"].is_null(), "{answer}");
        answer["ok"].clone()
    }

    /// Returns the buffered output of a console.
    #[track_caller]
    pub(super) fn log(&mut self, console: usize) -> Vec<u8> {
        data(&self.ask(json!({ "do": "log", "console": console })))
    }

    /// Types on a console, and returns how many bytes there was room for.
    #[track_caller]
    pub(super) fn send(&mut self, console: usize, keys: &[u8]) -> usize {
        let data = BASE64.encode(keys);
        let answer = self.ask(json!({ "do": "send", "console": console, "data": data }));
        usize::try_from(answer["taken"].as_u64().unwrap()).unwrap()
    }

    /// Attaches to a console. The rest of the connection consists of frames.
    pub(super) fn attach(&mut self, console: usize, mode: &str) -> io::Result<()> {
        let answer = self.request(json!({
            "do": "attach", "console": console, "mode": mode, "rows": 0, "columns": 0,
        }))?;
        let refused = answer["error"]["text"].as_str().map(str::to_string);
        refused.map_or(Ok(()), |text| Err(io::Error::other(text)))
    }

    /// Writes a frame.
    pub(super) fn write_frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.write(&[&[kind], length.to_le_bytes().as_slice(), payload].concat())
    }

    /// Reads the next frame: its kind and its contents.
    pub(super) fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.0.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok((kind, payload))
    }

    /// Reads output until it ends with `end`, and returns it.
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

    /// Returns a second handle of this connection for another thread. Bytes that were read ahead
    /// stay with this handle.
    #[track_caller]
    pub(super) fn again(&self) -> Self {
        Self(BufReader::new(self.0.get_ref().try_clone().or_fail("duplicating a socket")))
    }

    /// Shuts down the writing side.
    pub(super) fn hush(&self) {
        // This fails for a connection that is closed, which is fine.
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }
}

/// Decodes the bytes in an answer.
#[track_caller]
pub(super) fn data(answer: &Value) -> Vec<u8> {
    BASE64.decode(answer["data"].as_str().unwrap()).or_fail("decoding what a guest said")
}
