//! A TCP forwarder, for beside a Node: the Node listens on loopback only.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Hands every connection on, until the process ends.
pub async fn serve(listener: TcpListener, to: SocketAddr) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = pass(client, to).await {
                        tracing::debug!(%error, %to, "a connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of files, say: others may end meanwhile.
                tracing::warn!(%error, "can't accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Both directions, each ended as its sender ends it.
async fn pass(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut node = TcpStream::connect(to).await?;
    tokio::io::copy_bidirectional(&mut client, &mut node).await?;
    Ok(())
}
