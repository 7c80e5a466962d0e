//! The token appears in the request only.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use torpor::deals::problem::ProblemType;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::stub::Reply;
use crate::support::world::{World, bare, commitments, problem, tells};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const SECRET: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJkZWFscyJ9.c2lnbmF0dXJl";

#[tokio::test]
async fn neither_a_log_nor_an_error_shows_the_token() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // For all threads: tracing caches per call site that nothing listens, and a thread of another
    // test could be the first there.
    tracing::subscriber::set_global_default(subscriber).expect("this is the only one that listens");
    let echo = format!("you are {SECRET}");
    let mut quoting = commitments();
    quoting["orders"][0]["id"] = serde_json::json!(SECRET);
    for reply in [
        Reply::Say(tells(&commitments())),
        Reply::Say(bare(204)),
        Reply::Say(Bytes::new()),
        Reply::Say(format!("{SECRET}\r\n\r\n").into()),
        Reply::Say(problem(ProblemType::Unauthenticated, &echo)),
        Reply::Say(problem(ProblemType::MarketRefused, &echo)),
        Reply::Say(tells(&quoting)),
    ] {
        let (world, _stub) = World::answered(&[reply]).await;
        world.api.gives(|_, _| Ok(SECRET.to_owned()));
        for asked in [world.observe().await.map(|_| ()), world.change().await] {
            if let Err(error) = asked {
                let shown = format!("{error} {error:?} {}", error.reason());
                assert!(!shown.contains(SECRET), "{shown}");
            }
        }
    }
    // An invalid answer to a token request may contain a token too.
    let (world, _stub) = World::answered(&[Reply::Say(bare(204))]).await;
    world.api.gives(|_, _| Ok(format!("{SECRET}\n")));
    let error = world.change().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("asked") && log.contains("market.shop.svc"), "nothing is logged: {log}");
    assert!(!log.contains(SECRET), "{log}");
}
