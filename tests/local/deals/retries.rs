//! Which requests the client retries.

use axum::body::Bytes;
use tokio::time::Instant;
use torpor::deals::problem::ProblemType;

use crate::support::stub::Reply;
use crate::support::world::{World, bare, commitments, failed, problem, says, tells};

fn broken() -> Reply {
    Reply::Say(Bytes::new())
}

fn busy() -> Reply {
    Reply::Say(says(503, "text/plain", "no healthy upstream"))
}

#[tokio::test]
async fn an_observation_is_taken_again_where_the_connection_broke_or_somebody_was_busy() {
    let good = Reply::Say(tells(&commitments()));
    let (world, stub) = World::answered(&[broken(), busy(), good.clone()]).await;
    world.observe().await.unwrap();
    assert_eq!(stub.requests().len(), 3);

    let (world, stub) = World::answered(&[broken(), broken(), busy(), good]).await;
    assert_eq!(failed(world.observe().await).0, "MarketUnreachable");
    assert_eq!(stub.requests().len(), 3, "three times are enough");
    assert_eq!(world.api.audiences().len(), 1, "with the same token");
}

#[tokio::test]
async fn who_says_when_to_come_again_is_not_asked_before() {
    let answer = problem(ProblemType::MarketUnreachable, "the chain is away");
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let answer = text.replacen("\r\n", "\r\nretry-after: 5\r\n", 1);
    let (world, stub) = World::answered(&[Reply::Say(answer.into())]).await;
    let (reason, text) = failed(world.observe().await);
    assert_eq!(reason, "MarketUnreachable", "{text}");
    assert!(text.contains("the chain is away"), "{text}");
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_change_is_made_again_once_where_no_answer_came() {
    let (world, stub) = World::answered(&[broken(), Reply::Say(bare(204))]).await;
    world.change().await.unwrap();
    assert_eq!(stub.requests().len(), 2);

    let (world, stub) = World::answered(&[broken()]).await;
    assert_eq!(failed(world.change().await).0, "MarketUnreachable");
    assert_eq!(stub.requests().len(), 2);

    for answer in [busy(), Reply::Say(problem(ProblemType::MarketTimeout, "late"))] {
        let (world, stub) = World::answered(&[answer]).await;
        failed(world.change().await);
        assert_eq!(stub.requests().len(), 1, "it was answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_nobody_serves_is_unreachable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::at(taken.local_addr().unwrap());
    drop(taken);
    // The paused clock only advances during the pauses.
    let began = Instant::now();
    let (reason, text) = failed(world.observe().await);
    assert_eq!(reason, "MarketUnreachable", "{text}");
    assert!(text.contains("refused"), "{text}");
    assert!(began.elapsed().as_millis() >= 500, "100 ms and 400 ms later it is tried again");
    assert_eq!(failed(world.change().await).0, "MarketUnreachable");
}
