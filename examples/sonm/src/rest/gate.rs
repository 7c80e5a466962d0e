//! The listener of the REST interface, which can go away and come back on the same port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens as long as it is wanted to; otherwise connections are refused.
pub struct Gate {
    address: SocketAddr,
    listener: Option<TcpListener>,
    wanted: watch::Receiver<bool>,
    listens: watch::Sender<bool>,
}

impl Gate {
    /// Begins with a listener; `listens` says when it has done what was `wanted`.
    pub fn new(
        listener: TcpListener,
        wanted: watch::Receiver<bool>,
        listens: watch::Sender<bool>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { address, listener: Some(listener), wanted, listens })
    }
}

impl Listener for Gate {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            match &self.listener {
                Some(_) if !wanted => {
                    self.listener = None;
                    self.listens.send_replace(false);
                }
                None if wanted => match TcpListener::bind(self.address).await {
                    Ok(listener) => {
                        self.listener = Some(listener);
                        self.listens.send_replace(true);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't listen yet");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(listener) => tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok(accepted) => return accepted,
                        Err(error) => {
                            tracing::warn!(%error, "can't accept");
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    },
                    changed = self.wanted.changed() => if changed.is_err() {
                        return std::future::pending().await;
                    },
                },
                None => {
                    if self.wanted.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
