//! When a Lease is free, when a claim ends, and the epochs.

use super::*;

fn params() -> LeaseParams {
    LeaseParams {
        namespace: "torpor".into(),
        name: "torpor".into(),
        identity: "me".into(),
        duration: Duration::from_secs(15),
        renew_every: Duration::from_secs(5),
        release: Some("torpor/torpor".into()),
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
async fn a_lease_is_free_without_a_holder_or_when_this_process_holds_it() {
    let now = Instant::now();
    let decide = |lease: &Object| decide(lease, &params(), &mut None, (now, Timestamp::UNIX_EPOCH));
    assert_eq!(decide(&lease("1", None, None)), Decision::Take(Epoch(8)));
    assert_eq!(decide(&lease("1", Some(""), Some(15))), Decision::Take(Epoch(8)));
    assert_eq!(decide(&lease("1", Some("me"), Some(15))), Decision::Take(Epoch(8)));
    assert_eq!(decide(&Object::default()), Decision::Take(Epoch(1)));
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_another_process_is_free_when_it_has_not_changed_for_its_duration() {
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
    // Renewed at the last moment.
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
async fn a_machine_that_was_suspended_has_lost_its_claim() {
    let slept = SystemTime::now() - Duration::from_mins(1);
    let (_sender, receiver) = watch::channel(Some(Term { sent_wall: slept, ..term(3, 10) }));
    assert_eq!(Claim(receiver).check(), Err(NotLeader));
}

#[tokio::test(start_paused = true)]
async fn lost_returns_when_the_term_ends_or_another_begins() {
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
fn an_epoch_is_never_repeated() {
    let wall = Timestamp::from_second(EPOCH_ZERO + 1000).unwrap();
    let after = |transitions| {
        next_epoch(&LeaseSpec { lease_transitions: transitions, ..LeaseSpec::default() }, wall).0
    };
    // By the clock for a Lease that is new or restored from an old backup; by the Lease for a slow clock.
    assert_eq!(after(None), 1000);
    assert_eq!(after(Some(7)), 1000);
    assert_eq!(after(Some(2000)), 2001);
}

#[test]
fn identities_differ() {
    assert_ne!(identity("torpor-0"), identity("torpor-0"));
    assert!(identity("torpor-0").starts_with("torpor-0_"));
}

#[test]
fn a_holder_of_another_release_is_named_and_one_that_says_none_is_of_an_earlier_version() {
    let of = |holder: &str, release: Option<&str>| {
        let mut lease = lease("1", Some(holder), None);
        let release = release.map(|release| (RELEASE.to_owned(), release.to_owned()));
        lease.metadata.annotations = release.map(|release| [release].into());
        foreign(&lease, &params()).map(|foreign| foreign.release)
    };
    assert_eq!(of("you", Some("mine/torpor")).as_deref(), Some("mine/torpor"));
    assert_eq!(of("you", Some("torpor/torpor")), None);
    assert_eq!(of("you", None), None);
    // Released by its holder.
    assert_eq!(of("", Some("mine/torpor")), None);
}
