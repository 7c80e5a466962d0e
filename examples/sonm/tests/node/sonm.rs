//! The stand-in as a process, and a client of its protocol that shares no code
//! with it: HTTP over a plain socket, and the envelope made by hand from the block cipher.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The built stand-in.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_sonm");
/// The header that selects a worker.
const SELECTOR: &str = "X-Worker-Eth-Addr";
/// How long anything may take before it is missing.
const PATIENCE: Duration = Duration::from_mins(10);

/// A process of the stand-in, which ends with this value.
pub(crate) struct Process {
    child: Child,
    /// What it printed first: `sonm NAME=VALUE ...`.
    line: String,
}

impl Process {
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut child =
            Command::new(BINARY).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("sonm "), "it printed {line:?}");
        Self { child, line: line.trim().to_owned() }
    }

    /// A value of the line.
    pub(crate) fn value(&self, name: &str) -> &str {
        let mut parts = self.line.split(' ').filter_map(|part| part.split_once('='));
        parts.find(|(known, _)| *known == name).unwrap().1
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file that is gone with this value.
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn new(text: &str) -> Self {
        let file = Self::absent();
        std::fs::write(&file.0, text).unwrap();
        file
    }

    /// Its path alone.
    pub(crate) fn absent() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sonm-{}-{count}", std::process::id());
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running Node and how to talk to it.
pub(crate) struct Node {
    _process: Process,
    pub(crate) rest: SocketAddr,
    pub(crate) control: SocketAddr,
    /// What is hashed for the envelope; none: the insecure mode.
    pub(crate) private: Option<Vec<u8>>,
    _files: Vec<TemporaryFile>,
}

impl Node {
    /// With encryption.
    pub(crate) fn start(scenario: &Value) -> Self {
        Self::start_with(scenario, Some(&[7; 32]), &[])
    }

    /// With a key of one's choice, or none, and further arguments.
    pub(crate) fn start_with(scenario: &Value, key: Option<&[u8]>, more: &[&str]) -> Self {
        let scenario = TemporaryFile::new(&scenario.to_string());
        let mut arguments =
            vec!["node", "--port", "0", "--control", "127.0.0.1:0", "--scenario", scenario.path()];
        let hex = |key: &[u8]| {
            let digits: Vec<_> = key.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.concat()
        };
        let file = TemporaryFile::new(&key.map(hex).unwrap_or_default());
        match key {
            Some(_) => arguments.extend(["--key", file.path()]),
            None => arguments.push("--insecure"),
        }
        arguments.extend(more);
        let process = Process::start(arguments);
        let [rest, control] = ["node", "control"].map(|name| process.value(name).parse().unwrap());
        let private = key.map(<[u8]>::to_vec);
        Self { _process: process, rest, control, private, _files: vec![scenario, file] }
    }

    /// A call of the protocol.
    pub(crate) fn call(&self, worker: Option<&str>, method: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.raw(worker, method, body.to_string().as_bytes()).unwrap();
        let answer = serde_json::from_slice(&text);
        (status, answer.unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii())))
    }

    /// A call of the protocol with any text; the answer's text.
    pub(crate) fn raw(
        &self,
        worker: Option<&str>,
        method: &str,
        text: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let headers: Vec<_> = worker.map(|worker| (SELECTOR, worker)).into_iter().collect();
        let body = match &self.private {
            Some(private) => seal(private, text),
            None => text.to_vec(),
        };
        let (status, answer) = http(self.rest, "POST", &format!("/{method}"), &headers, &body)?;
        let answer = match &self.private {
            Some(private) => unseal(private, &answer),
            None => answer,
        };
        Ok((status, answer))
    }

    /// Sends an encrypted call and leaves its answer to be read from the connection.
    pub(crate) fn send(&self, worker: &str, method: &str, text: &[u8]) -> TcpStream {
        let body = seal(self.private.as_ref().unwrap(), text);
        let head = head(self.rest, "POST", &format!("/{method}"), &[(SELECTOR, worker)], &body);
        let mut connection = TcpStream::connect(self.rest).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        connection
    }

    /// A call of the control interface that has to succeed.
    pub(crate) fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_control(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// A call of the control interface.
    pub(crate) fn try_control(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let (status, answer) = http(self.control, method, path, &[], body.as_bytes()).unwrap();
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// The whole truth.
    pub(crate) fn state(&self) -> Value {
        self.control("GET", "/state", &json!({}))
    }

    /// Waits until the truth is like that.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let state = self.state();
            if holds(&state) {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "waited for: {what}; there is {state:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One HTTP exchange on a connection of its own.
pub(crate) fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let head = head(address, method, path, headers, body);
    connection.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.ok_or_else(|| std::io::Error::other("no HTTP answer"))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no HTTP status"))?;
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "its length is told");
    Ok((status, answer[end + 4..].to_vec()))
}

/// What comes before the body of a request.
fn head(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let mut lines = String::new();
    for (name, value) in headers {
        lines += &[name, ": ", value, "\r\n"].concat();
    }
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{lines}\r\n"
    )
}

/// An envelope: IV, and each block of the text XOR the encryption of the block before.
pub(crate) fn seal(private: &[u8], text: &[u8]) -> Vec<u8> {
    // Which IV doesn't matter to the other side; it depends on the text, so that it isn't always the same.
    let mut envelope = Sha256::digest(text)[..16].to_vec();
    for part in text.chunks(16) {
        let stream = encrypt(private, &envelope[envelope.len() - 16..]);
        envelope.extend(part.iter().zip(stream).map(|(byte, stream)| byte ^ stream));
    }
    envelope
}

/// The text of an envelope.
pub(crate) fn unseal(private: &[u8], envelope: &[u8]) -> Vec<u8> {
    assert!(envelope.len() >= 16, "no envelope: {envelope:?}");
    let body = envelope[16..].chunks(16);
    let before = envelope.chunks(16);
    body.zip(before)
        .flat_map(|(part, before)| {
            let stream = encrypt(private, before);
            part.iter().zip(stream).map(|(byte, stream)| byte ^ stream).collect::<Vec<_>>()
        })
        .collect()
}

fn encrypt(private: &[u8], block: &[u8]) -> [u8; 16] {
    let start = private.iter().take_while(|byte| **byte == 0).count();
    let key: [u8; 32] = Sha256::digest(&private[start..]).into();
    let mut block = <[u8; 16]>::try_from(block).unwrap().into();
    Aes256::new(&key.into()).encrypt_block(&mut block);
    block.into()
}
