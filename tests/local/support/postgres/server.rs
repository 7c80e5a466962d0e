//! The server: it ends with the process that has started it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The running server.
pub(crate) struct Server {
    /// A superuser's URL.
    pub(crate) url: String,
    /// Where its socket and `ca.crt` are.
    pub(crate) directory: PathBuf,
    /// Kept open: the server ends when it is closed, which the end of this process does.
    _alive: (Child, ChildStdin),
}

/// The server that all tests of this process share.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

/// The exit status of `start.sh` where somebody else has the port.
const PORT_TAKEN: i32 = 98;

/// How many ports are tried.
const PORTS: usize = 10;

/// A server of its own, for a test that harms it.
pub(crate) fn start() -> Server {
    (0..PORTS).find_map(|_| start_at(free_port())).expect("other processes take every port")
}

/// A port that is free now, and may be somebody else's before it is used.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts one at this port, unless somebody else has it by now.
fn start_at(port: u16) -> Option<Server> {
    let mut child =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/local/support/postgres/start.sh"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    let alive = child.stdin.take().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if let Some((url, directory)) = line.trim().split_once(' ') {
        let directory = directory.into();
        return Some(Server { url: url.to_owned(), directory, _alive: (child, alive) });
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(PORT_TAKEN), "PostgreSQL did not start");
    None
}
