//! The audience of each token, and when the client requests a new one.

use tokio::time::Duration;
use torpor::deals::client::{Client, Error};
use torpor::deals::problem::ProblemType;

use crate::support::stub::{Reply, Stub};
use crate::support::world::{World, bare, commitments, failed, holder, problem, tells};

fn shown(stub: &Stub) -> Vec<String> {
    let requests = stub.requests();
    requests.iter().map(|request| request.header("authorization")[0].to_owned()).collect()
}

#[tokio::test]
async fn each_object_has_a_token_of_its_own_and_keeps_it() {
    let good = Reply::Say(tells(&commitments()));
    let (mut world, stub) = World::answered(&[good]).await;
    for name in ["worker", "worker", "other", "worker"] {
        world.holder = holder(name);
        world.observe().await.unwrap();
    }
    let clone = world.client.clone();
    clone.observe(&world.server()).await.unwrap();
    world.holder.kind = "Hibernation".to_owned();
    world.observe().await.unwrap();
    let audience = |kind: &str, name: &str| format!("deals.torpor.dev/shop/{kind}/{name}");
    let window = |name: &str| audience("MaintenanceWindow", name);
    let wanted = [window("worker"), window("other"), audience("Hibernation", "worker")];
    assert_eq!(world.api.audiences(), wanted);
    let numbers = [1, 1, 2, 1, 1, 3].map(|number| format!("Bearer secret-{number}"));
    assert_eq!(shown(&stub), numbers);
}

#[tokio::test]
async fn a_token_is_renewed_when_half_its_life_is_over() {
    let (world, stub) = World::answered(&[Reply::Say(bare(204))]).await;
    world.change().await.unwrap();
    for seconds in [299, 2, 299, 2] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        world.change().await.unwrap();
    }
    let numbers = [1, 1, 2, 2, 3].map(|number| format!("Bearer secret-{number}"));
    assert_eq!(shown(&stub), numbers);
}

#[tokio::test]
async fn a_token_that_was_kept_and_is_refused_is_replaced_once() {
    let refused = |kind| Reply::Say(problem(kind, "no"));
    let good = Reply::Say(bare(204));
    let unknown = refused(ProblemType::UnknownKey);
    let old = refused(ProblemType::Unauthenticated);
    let (world, stub) =
        World::answered(&[good.clone(), unknown, good.clone(), old.clone(), old.clone(), good])
            .await;
    world.change().await.unwrap();
    world.change().await.unwrap();
    assert_eq!(world.api.audiences().len(), 2);
    assert_eq!(failed(world.change().await).0, "Unauthenticated");
    assert_eq!(world.api.audiences().len(), 3, "one new one for a call");
    world.change().await.unwrap();
    let numbers = [1, 1, 2, 2, 3, 3].map(|number| format!("Bearer secret-{number}"));
    assert_eq!(shown(&stub), numbers);

    let (world, stub) = World::answered(&[old]).await;
    assert_eq!(failed(world.change().await).0, "Unauthenticated");
    assert_eq!(shown(&stub).len(), 1, "it was new");
}

#[tokio::test]
async fn without_a_token_nobody_is_asked() {
    let (mut world, stub) = World::answered(&[Reply::Say(bare(204))]).await;
    for (status, wanted) in [
        (403, "TokenRefused"),
        (404, "TokenRefused"),
        (409, "ReconcileFailed"),
        (500, "ReconcileFailed"),
    ] {
        world.api.gives(move |_, _| Err(status));
        let (reason, text) = failed(world.change().await);
        assert_eq!(reason, wanted, "{text}");
        assert!(text.contains(&format!("the API server says {status}")), "{text}");
        assert!(reason != "TokenRefused" || text.contains("torpor-system/torpor"), "{text}");
    }
    for odd in ["", "a\r\nb"] {
        world.api.gives(move |_, _| Ok(odd.to_owned()));
        assert_eq!(failed(world.change().await).0, "ReconcileFailed");
    }
    world.client = Client::new(world.api.client(), None);
    let before = world.api.asked().len();
    assert_eq!(world.observe().await, Err(Error::NoServiceAccount));
    let (reason, text) = failed(world.change().await);
    assert_eq!(reason, "NoServiceAccount");
    assert!(text.contains("--service-account NAMESPACE/NAME"), "{text}");
    assert_eq!(world.api.asked().len(), before);
    assert!(stub.requests().is_empty());
}
