//! The server. It ends with the process that started it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The running server.
pub(crate) struct Server {
    /// A superuser's URL.
    pub(crate) url: String,
    /// The directory of its socket, `ca.crt` and `server.log`.
    pub(crate) directory: PathBuf,
    /// The server ends when this pipe closes, at the latest with this process.
    _alive: (Child, ChildStdin),
}

/// Returns the server that all tests of this process share.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

/// The exit status of `start.sh` if another process has the port.
const PORT_TAKEN: i32 = 98;

/// The number of ports to try.
const PORTS: usize = 10;

/// Starts a separate server, for a test that harms it.
pub(crate) fn start() -> Server {
    (0..PORTS).find_map(|_| start_at(free_port())).expect("other processes take every port")
}

/// Returns a port that is free now. Another process may take it before it is used.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server at this port. Returns `None` if another process has taken the port.
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
