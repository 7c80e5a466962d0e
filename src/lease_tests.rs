//! Who may claim a lease, when a claim ends, and which epochs are given.

use super::*;

fn params() -> LeaseParams {
    LeaseParams {
        namespace: "torpor".into(),
        name: "torpor".into(),
        identity: "me".into(),
        duration: Duration::from_secs(15),
        renew_every: Duration::from_secs(5),
    }
}

fn lease(version: &str, holder: Option<&str>, seconds: Option<i32>) -> Object {
    Object {
        metadata: ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: holder.map(Into::into),
            lease_duration_seconds: seconds,
            lease_transitions: Some(7),
            ..LeaseSpec::default()
        }),
    }
}

fn term(epoch: i32, seconds: u64) -> Term {
    Term {
        epoch: Epoch(epoch),
        sent: Instant::now(),
        sent_wall: SystemTime::now(),
        valid: Duration::from_secs(seconds),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_free_when_nobody_holds_it_or_it_is_ours() {
    let now = Instant::now();
    let decide = |lease: &Object| decide(lease, &params(), &mut None, (now, Timestamp::UNIX_EPOCH));
    assert_eq!(decide(&lease("1", None, None)), Decision::Take(Epoch(8)));
    assert_eq!(decide(&lease("1", Some(""), Some(15))), Decision::Take(Epoch(8)));
    assert_eq!(decide(&lease("1", Some("me"), Some(15))), Decision::Take(Epoch(8)));
    assert_eq!(decide(&Object::default()), Decision::Take(Epoch(1)));
}

#[tokio::test(start_paused = true)]
async fn another_ones_lease_is_free_when_it_has_not_changed_for_its_duration() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut observed = None;
    let mut decide = |version, at| {
        decide(
            &lease(version, Some("you"), Some(20)),
            &params(),
            &mut observed,
            (after(at), Timestamp::UNIX_EPOCH),
        )
    };
    assert_eq!(decide("1", 0), Decision::Wait(after(20)));
    assert_eq!(decide("1", 19), Decision::Wait(after(20)));
    // Renewed, as late as that may be.
    assert_eq!(decide("2", 19), Decision::Wait(after(39)));
    assert_eq!(decide("2", 38), Decision::Wait(after(39)));
    assert_eq!(decide("2", 39), Decision::Take(Epoch(8)));
}

#[tokio::test(start_paused = true)]
async fn a_claim_ends_by_itself() {
    let (sender, receiver) = watch::channel(None);
    let claim = Claim(receiver);
    assert_eq!(claim.check(), Err(NotLeader));
    sender.send_replace(Some(term(3, 10)));
    assert_eq!(claim.check(), Ok(Epoch(3)));
    assert_eq!(claim.acquired().await, Ok(Epoch(3)));
    tokio::time::advance(Duration::from_millis(9_999)).await;
    assert_eq!(claim.check(), Ok(Epoch(3)));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(claim.check(), Err(NotLeader));
    claim.lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_has_lost_its_claim() {
    let slept = SystemTime::now() - Duration::from_mins(1);
    let (_sender, receiver) = watch::channel(Some(Term { sent_wall: slept, ..term(3, 10) }));
    assert_eq!(Claim(receiver).check(), Err(NotLeader));
}

#[tokio::test(start_paused = true)]
async fn losing_is_told_at_the_end_or_when_it_is_taken() {
    let (sender, receiver) = watch::channel(Some(term(3, 10)));
    let claim = Claim(receiver);
    let start = Instant::now();
    let renewed = async {
        sleep(Duration::from_secs(5)).await;
        sender.send_replace(Some(term(3, 10)));
    };
    tokio::join!(claim.lost(), renewed);
    assert_eq!(start.elapsed().as_secs(), 15);

    sender.send_replace(Some(term(4, 10)));
    let start = Instant::now();
    let another = async {
        sleep(Duration::from_secs(5)).await;
        sender.send_replace(Some(term(5, 10)));
    };
    tokio::join!(claim.lost(), another);
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(sender);
    assert_eq!(claim.check(), Ok(Epoch(5)));
    claim.lost().await;
    assert_eq!(claim.acquired().await, Err(NotLeader));
}

#[test]
fn an_epoch_is_never_given_twice() {
    let wall = Timestamp::from_second(EPOCH_ZERO + 1000).unwrap();
    let after = |transitions| {
        next_epoch(&LeaseSpec { lease_transitions: transitions, ..LeaseSpec::default() }, wall).0
    };
    // New, or restored from long ago: by the clock. A clock that is behind: by the Lease.
    assert_eq!(after(None), 1000);
    assert_eq!(after(Some(7)), 1000);
    assert_eq!(after(Some(2000)), 2001);
}

#[test]
fn identities_differ() {
    assert_ne!(identity("torpor-0"), identity("torpor-0"));
    assert!(identity("torpor-0").starts_with("torpor-0_"));
}
