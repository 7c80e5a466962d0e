//! A proxy before PostgreSQL that pauses at one message of the client, so that a test can act at
//! exactly that moment.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::wait::TIMEOUT;

/// What the proxy does with the message.
enum Order {
    Pass,
    Cut,
    Swallow,
}

/// The proxy. It pauses once, at the first message that contains its word.
pub(crate) struct PausingProxy {
    /// The database's URL through the proxy.
    pub(crate) url: String,
    reached: Receiver<()>,
    orders: Sender<Order>,
}

impl PausingProxy {
    /// Starts a proxy that pauses before the message that contains this word.
    pub(crate) async fn before(url: &str, word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (start, database) = url.rsplit_once('/').unwrap();
        let (user, upstream) = start.split_once('@').unwrap();
        let through = format!("{user}@127.0.0.1:{port}/{database}?sslmode=disable");
        let (tell, reached) = channel(1);
        let (orders, mut ordered) = channel(1);
        let upstream = upstream.to_owned();
        tokio::spawn(async move {
            let mut armed = true;
            while let Ok((client, _)) = listener.accept().await {
                // The server is restarting: close the client's connection.
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                if armed {
                    // One connection at a time until the message came, as the command has only one.
                    armed = !carry(client, server, Some((word, &tell, &mut ordered))).await;
                } else {
                    tokio::spawn(carry(client, server, None));
                }
            }
        });
        Self { url: through, reached, orders }
    }

    /// Waits until the proxy has the message, which the server has not got yet.
    pub(crate) async fn reached(&mut self) {
        timeout(TIMEOUT, self.reached.recv()).await.expect("it never came");
    }

    /// Forwards the message.
    pub(crate) async fn pass(&self) {
        self.orders.send(Order::Pass).await.unwrap();
    }

    /// Cuts the connection; the message never arrives.
    pub(crate) async fn cut(&self) {
        self.orders.send(Order::Cut).await.unwrap();
    }

    /// Forwards the message and withholds the answer. A cut should follow.
    pub(crate) async fn swallow_answer(&mut self) {
        self.orders.send(Order::Swallow).await.unwrap();
        self.reached().await;
    }
}

type Stop<'a> = (&'static str, &'a Sender<()>, &'a mut Receiver<Order>);

/// Forwards one connection until it ends. Returns whether the message came.
async fn carry(mut client: TcpStream, mut server: TcpStream, mut stop: Option<Stop<'_>>) -> bool {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut stopped = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return stopped };
                let message = &up[..length];
                if let Some((word, tell, orders)) = &mut stop
                    && !stopped
                    && message.windows(word.len()).any(|part| part == word.as_bytes())
                {
                    stopped = true;
                    tell.send(()).await.unwrap();
                    match orders.recv().await {
                        Some(Order::Pass) => {}
                        Some(Order::Swallow) => {
                            server.write_all(message).await.unwrap();
                            answer(&mut server).await;
                            tell.send(()).await.unwrap();
                            orders.recv().await;
                            return stopped;
                        }
                        Some(Order::Cut) | None => return stopped,
                    }
                }
                if server.write_all(message).await.is_err() {
                    return stopped;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return stopped };
                if client.write_all(&down[..length]).await.is_err() {
                    return stopped;
                }
            }
        }
    }
}

/// Reads up to the server's ReadyForQuery: `Z`, the length 5, and the transaction status.
async fn answer(server: &mut TcpStream) {
    let mut all = Vec::new();
    while !(all.ends_with(b"Z\0\0\0\x05I") || all.ends_with(b"Z\0\0\0\x05T")) {
        let mut buffer = [0; 4096];
        match server.read(&mut buffer).await {
            Ok(length @ 1..) => all.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
}
