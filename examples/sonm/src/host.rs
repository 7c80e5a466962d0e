//! The worker's process as a cluster sees it: a pod. It tells the stand-in when it starts and when it
//! is stopped, so that the stand-in can tell which promises that broke.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::model::Address;

/// Tells the stand-in's control interface (`host:port`) what happens to a worker: `start` or `stop`.
pub async fn tell(control: &str, worker: &Address, what: &str) -> io::Result<()> {
    let mut connection = TcpStream::connect(control).await?;
    let request = format!(
        "POST /workers/{worker}/{what} HTTP/1.1\r\nhost: {control}\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        let line = answer.lines().next().unwrap_or_default();
        Err(io::Error::other(format!("{what} of {worker}: {line}")))
    }
}
