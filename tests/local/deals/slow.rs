//! Slow servers. The clock is paused once the server has the request and then advances only while
//! all tasks wait, so these tests are fast.

use axum::body::Bytes;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Duration, Instant};
use torpor::deals::client::Error;

use crate::support::stub::{Reply, Stub};
use crate::support::wait::poll;
use crate::support::world::{World, failed};

/// Waits until the server has the request, and then pauses the clock.
async fn time_flies(stub: &Stub) {
    let asked = async || (!stub.requests().is_empty()).then_some(());
    poll("the server is asked", asked).await;
    tokio::time::pause();
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_no_longer_than_a_minute() {
    let began = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for said in [Bytes::new(), Bytes::from(&began[..20]), Bytes::from(began)] {
        let (world, stub) = World::answered(&[Reply::Stall(said)]).await;
        let ((asked, took), ()) = tokio::join!(
            async {
                let began = Instant::now();
                (world.observe().await, began.elapsed())
            },
            time_flies(&stub)
        );
        tokio::time::resume();
        let (reason, text) = failed(asked);
        assert_eq!(reason, "MarketTimeout", "{text}");
        assert!(text.contains("60 s"), "{text}");
        assert!(took >= Duration::from_secs(59), "{took:?}");
        assert_eq!(stub.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_change_is_waited_for_half_a_minute() {
    let (world, stub) = World::answered(&[Reply::Stall(Bytes::new())]).await;
    let (changed, ()) = tokio::join!(world.change(), time_flies(&stub));
    assert_eq!(changed, Err(Error::Timeout(Duration::from_secs(30))));
    assert_eq!(failed(changed).0, "MarketTimeout");
    assert_eq!(stub.requests().len(), 1, "what may have been made is not made again");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_come_about_is_waited_for_five_seconds() {
    // Its backlog has room for one connection, which nothing accepts.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let world = World::at(address);
    assert_eq!(world.observe().await, Err(Error::Timeout(Duration::from_secs(5))));
}
