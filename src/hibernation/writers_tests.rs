//! Nothing is truncated while a pod or workload may still write, and the object names it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hibernation::test_world::{World, emptying};
use crate::hold::lever::RESTART_ANNOTATION;
use crate::hold::subject::Controller;
use crate::transition::job::Watch;
use crate::transition::pod::PodView;
use crate::transition::test_world::{deployment, owned_by, pod, replica_set};

/// Returns a world in which `worker` is to be stopped and a truncation is asked for.
fn world(workloads: Value) -> World {
    let mut spec = emptying(json!({}));
    spec["workloads"] = workloads;
    World::new(spec, [deployment("worker", 2)])
}

fn named() -> World {
    world(json!([{"kind": "Deployment", "name": "worker"}]))
}

/// Returns a running pod with the labels of `app` and that owner.
fn owned(app: &str, kind: &str, owner: &str) -> PodView {
    let (kind, name, uid) = (kind.to_owned(), owner.to_owned(), format!("uid-of-{owner}"));
    let owners = vec![Controller { kind, name, uid }];
    PodView { owners, terminating: false, ..pod(app, None) }
}

/// Runs the world for a while. Returns the message of the object, where nothing was truncated.
fn kept_back(world: &mut World) -> Option<String> {
    world.run();
    for _ in 0..4 {
        world.after(5);
    }
    world.created.is_empty().then(|| world.status.message.clone().unwrap_or_default())
}

#[track_caller]
fn keeps_back(mut world: World, named: &[&str]) {
    let message = kept_back(&mut world).expect("tables are truncated under a writer");
    for name in named {
        assert!(message.contains(name), "{name} in {message:?}");
    }
    assert_eq!(world.replicas("worker"), 0, "everything else goes to sleep");
    world.pods.clear();
    world.replica_sets.clear();
    world.jobs.clear();
    world.after(15);
    world.after(5);
    assert_eq!(world.created.len(), 1, "it goes on by itself");
}

#[test]
fn a_pod_of_a_deployment_that_was_deleted_keeps_the_truncation_back() {
    let mut world = named();
    world.pods = vec![owned("mailer", "ReplicaSet", "mailer-1")];
    keeps_back(world, &["Pod mailer-pod may write", "ReplicaSet mailer-1 is gone"]);

    let mut world = named();
    world.pods = vec![owned("mailer", "ReplicaSet", "mailer-1")];
    world.replica_sets = vec![replica_set("mailer", 1, &owned_by("Deployment", "mailer"))];
    keeps_back(world, &["Pod mailer-pod may write", "Deployment mailer is gone"]);
}

#[test]
fn a_pod_of_a_deployment_that_is_being_deleted_keeps_the_truncation_back() {
    let mut world = named();
    let mut mailer = deployment("mailer", 1);
    mailer["metadata"]["deletionTimestamp"] = json!("2026-12-01T00:00:00Z");
    world.objects.push(mailer);
    world.replica_sets = vec![replica_set("mailer", 1, &owned_by("Deployment", "mailer"))];
    world.pods = vec![owned("mailer", "ReplicaSet", "mailer-1")];
    keeps_back(world, &["Pod mailer-pod may write", "Deployment mailer is being deleted"]);
}

#[test]
fn a_replica_set_that_its_deployment_left_behind_keeps_the_truncation_back() {
    let mut world = named();
    world.replica_sets = vec![replica_set("mailer", 1, &json!([]))];
    world.pods = vec![owned("mailer", "ReplicaSet", "mailer-1")];
    keeps_back(world, &["Pod mailer-pod may write", "delete ReplicaSet mailer-1"]);
}

#[test]
fn a_job_whose_cron_job_was_deleted_keeps_the_truncation_back_without_a_pod_too() {
    let mut world = named();
    world.jobs = vec![json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "namespace": "ns", "name": "nightly-1", "uid": "u", "resourceVersion": "1",
            "ownerReferences": owned_by("CronJob", "nightly"),
        },
    })];
    keeps_back(world, &["Job nightly-1 may write", "CronJob nightly is gone"]);
}

#[test]
fn a_pod_without_an_owner_keeps_the_truncation_back_unless_the_spec_ignores_it() {
    let mut world = named();
    world.pods = vec![PodView { terminating: false, ..pod("debug", None) }];
    keeps_back(world, &["Pod debug-pod may write: it has no owner", "ignorePods"]);

    let mut spec = emptying(json!({"ignorePods": {"matchLabels": {"app": "debug"}}}));
    spec["workloads"] = json!([{"kind": "Deployment", "name": "worker"}]);
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.pods = vec![PodView { terminating: false, ..pod("debug", None) }];
    assert_eq!(kept_back(&mut world), None);
}

#[test]
fn a_pod_with_the_labels_of_a_stopped_workload_keeps_the_truncation_back_whoever_owns_it() {
    let mut world = named();
    world.pods = vec![owned("worker", "Rollout", "shop")];
    keeps_back(world, &["has the labels of Deployment worker", "Rollout shop owns it"]);
}

#[test]
fn pods_of_a_workload_that_nobody_asked_to_stop_keep_nothing_back() {
    let mut world = named();
    world.objects.push(deployment("database", 1));
    world.replica_sets = vec![replica_set("database", 1, &owned_by("Deployment", "database"))];
    world.pods =
        vec![owned("database", "ReplicaSet", "database-1"), owned("queue", "Kafka", "queue")];
    assert_eq!(kept_back(&mut world), None);
}

#[test]
fn a_name_that_matches_nothing_is_told_while_awake_and_keeps_the_truncation_back() {
    let workloads = json!([
        {"kind": "Deployment", "name": "worker"},
        {"kind": "Deployment", "name": "mailr"},
    ]);
    let mut world = world(workloads);
    world.ask(crate::api::schedule::DesiredState::Awake);
    assert_eq!(world.stalled(), Some("WorkloadNotFound"));
    world.ask(crate::api::schedule::DesiredState::Hibernated);
    let message = kept_back(&mut world).expect("tables are truncated under a writer");
    assert!(message.contains("Deployment mailr does not exist"), "{message}");
    assert_eq!((world.replicas("worker"), world.stalled()), (0, Some("WorkloadNotFound")));
    world.objects.push(deployment("mailr", 1));
    world.after(15);
    world.after(5);
    world.after(5);
    assert_eq!((world.created.len(), world.replicas("mailr")), (1, 0));
}

#[test]
fn a_workload_that_an_operator_controls_is_skipped_and_may_write() {
    let mut world = world(json!([{"kind": "Deployment", "all": true}]));
    let mut collector = deployment("collector", 1);
    collector["metadata"]["ownerReferences"] = owned_by("Collector", "logs");
    world.objects.push(collector);
    let message = kept_back(&mut world).expect("tables are truncated under a writer");
    assert!(message.contains("stop Collector logs, or list collector in"), "{message}");
    assert_eq!((world.replicas("worker"), world.replicas("collector")), (0, 1));
    let workloads = &world.status.hold.workloads;
    let states: Vec<_> = workloads.iter().map(|w| (w.name.as_str(), w.state.as_str())).collect();
    assert_eq!(states, [("collector", "Skipped"), ("worker", "Down")]);
}

#[test]
fn a_workload_that_an_operator_controls_keeps_nobody_awake_where_nothing_is_truncated() {
    let spec = json!({"state": "Hibernated", "workloads": [{"kind": "Deployment", "all": true}]});
    let mut collector = deployment("collector", 1);
    collector["metadata"]["ownerReferences"] = owned_by("Collector", "logs");
    let mut world = World::new(spec, [deployment("worker", 2), collector]);
    world.run();
    world.after(5);
    assert_eq!((world.replicas("worker"), world.stalled()), (0, None));
    assert_eq!(world.status.phase, Some(crate::api::hibernation::Phase::Hibernated));
}

/// Returns a running pod of a Deployment `mailer`, which nobody asks to stop, and adds the Deployment.
fn mailer(world: &mut World) -> PodView {
    world.objects.push(deployment("mailer", 1));
    world.replica_sets = vec![replica_set("mailer", 1, &owned_by("Deployment", "mailer"))];
    let addresses = vec!["10.1.2.3".parse().unwrap()];
    PodView { addresses, ..owned("mailer", "ReplicaSet", "mailer-1") }
}

/// A report about one session from the address of `mailer`.
fn connected(outcome: &str) -> Value {
    let detail = "role app, application mail, idle, process 7";
    let session = json!({"address": "10.1.2.3", "count": 1, "detail": detail});
    let totals = json!({"tables": 3, "rows": 7, "bytes": 9});
    json!({"outcome": outcome, "totals": totals, "sessions": [session], "message": "", "hiddenSessions": 2})
}

/// The Job ends because a session of `mailer` keeps it back.
fn job_is_kept_back(world: &mut World) {
    world.job.finished = true;
    world.job.terminated = vec![(4, connected("KeptBack").to_string())];
}

#[test]
fn a_session_of_another_workload_keeps_the_truncation_back_until_it_has_gone() {
    let mut world = named();
    let pod = mailer(&mut world);
    world.pods = vec![pod];
    assert_eq!(kept_back(&mut world), None, "its owner accounts for it");
    assert_eq!(world.job.watched, ["10.1.2.3".parse().unwrap()].into());
    job_is_kept_back(&mut world);
    world.after(1);
    let message = world.status.message.clone().unwrap();
    assert_eq!(world.stalled(), Some("PossibleWriter"), "{message}");
    for part in ["Pod mailer-pod of Deployment mailer has 1 session", "process 7", "ignorePods"] {
        assert!(message.contains(part), "{part} in {message:?}");
    }
    let episode = world.episode();
    assert_eq!(episode.truncation, crate::api::hold_state::EpisodeTruncation::Pending);
    // It is tried again by itself, and meanwhile nobody is told anything else.
    let since = world.status.conditions.clone();
    for _ in 0..3 {
        let tries = world.created.len();
        for _ in 0..10 {
            world.after(1);
            assert_eq!(world.stalled(), Some("PossibleWriter"));
        }
        world.after(160);
        assert_eq!(world.created.len(), tries + 1);
        assert_eq!(world.stalled(), Some("PossibleWriter"));
        job_is_kept_back(&mut world);
        world.after(1);
    }
    assert_eq!(world.status.conditions, since, "conditions change with the world alone");
    world.after(160);
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.episode().truncation, crate::api::hold_state::EpisodeTruncation::Done);
    assert_eq!(world.stalled(), None);
}

#[test]
fn a_pod_that_comes_up_while_the_job_runs_gets_a_job_that_knows_it() {
    let mut world = named();
    assert_eq!(kept_back(&mut world), None);
    assert_eq!(world.job.watched, [].into());
    let pod = mailer(&mut world);
    // Without an address it is not connected.
    world.pods = vec![PodView { addresses: Vec::new(), ..pod.clone() }];
    world.after(1);
    assert_eq!(world.deleted, Vec::<String>::new());
    world.pods = vec![pod];
    world.after(1);
    assert_eq!(world.deleted, world.created);
    for _ in 0..50 {
        world.after(5);
    }
    assert_eq!(world.created.len(), 2);
    assert_eq!(world.job.watched, ["10.1.2.3".parse().unwrap()].into());
}

#[test]
fn the_preflight_names_the_sessions_of_pods_that_a_hibernation_does_not_stop() {
    let mut world = named();
    let pod = mailer(&mut world);
    world.pods = vec![pod];
    world.preflight_report = Some(connected("Planned"));
    world.spec.dry_run = true;
    world.ask(crate::api::schedule::DesiredState::Awake);
    let passed = world.status.conditions.iter().find(|c| c.type_ == "PreflightPassed").unwrap();
    assert_eq!(passed.status, "True");
    for part in ["Pod mailer-pod of Deployment mailer has 1 session", "2 sessions of other roles"] {
        assert!(passed.message.contains(part), "{}", passed.message);
    }
    let plan = &world.status.plan;
    assert!(
        plan.iter().any(|line| line.contains("wait: Pod mailer-pod of Deployment")),
        "{plan:?}"
    );
}

#[test]
fn who_counts_is_what_the_spec_says() {
    let restarted = json!([
        {"kind": "Deployment", "name": "worker"},
        {"kind": "Deployment", "name": "mailer", "action": "Restart"},
    ]);
    let others = json!([{"kind": "Deployment", "name": "worker"}]);
    let late = json!([
        {"kind": "Deployment", "name": "worker"},
        {"kind": "Deployment", "name": "mailer", "stage": 3},
    ]);
    let address: std::collections::BTreeSet<std::net::IpAddr> =
        ["10.1.2.3".parse().unwrap()].into();
    for (truncate, workloads, watch) in [
        (json!({}), &others, Watch::From(address.clone())),
        (json!({}), &restarted, Watch::From([].into())),
        (json!({"beforeStage": 3}), &late, Watch::From(address)),
        (
            json!({"ignorePods": {"matchLabels": {"app": "mailer"}}}),
            &others,
            Watch::From([].into()),
        ),
        (json!({"sessions": "RefuseAll"}), &others, Watch::All),
        (json!({"sessions": "Ignore"}), &others, Watch::Nobody),
    ] {
        let mut spec = emptying(truncate);
        spec["workloads"] = workloads.clone();
        let mut world = World::new(spec, [deployment("worker", 2)]);
        let pod = mailer(&mut world);
        world.replica_sets[0]["metadata"]["labels"] = json!({"app": "mailer"});
        world.pods = vec![pod];
        // The worker is down, and the restart is written.
        for _ in 0..3 {
            world.after(5);
        }
        let digest = world.object("mailer")["spec"]["template"]["metadata"]["annotations"]
            [RESTART_ANNOTATION]
            .as_str()
            .map(str::to_owned);
        world.pods[0].configuration = digest.clone();
        world.replica_sets[0]["spec"]["template"]["metadata"]["annotations"] =
            json!({RESTART_ANNOTATION: digest});
        for _ in 0..4 {
            world.after(5);
        }
        let message = &world.status.message;
        assert_eq!(world.watches.first(), Some(&watch), "{workloads}: {message:?}");
    }
}

/// A pod of a generated namespace, by where it comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// A Deployment that nobody asks to stop.
    Bystander,
    /// A controller of a kind that Torpor does not know.
    Operator,
    /// A Job of Torpor's own.
    Torpor,
    /// A Deployment that is gone, and its ReplicaSet too.
    Deleted,
    /// A Deployment that is gone; its ReplicaSet is still there.
    DeletedInPart,
    /// A ReplicaSet that its Deployment left behind.
    Orphan,
    /// Nobody.
    Bare,
    /// The stopped Deployment, without its labels.
    Relabelled,
    /// An unknown controller that took the labels of the stopped Deployment.
    Copy,
    /// The stopped Deployment: its ReplicaSet has not followed yet.
    Stopped,
}

impl Origin {
    /// The judge: it knows the pod's origin, and nothing of the plan.
    fn may_write(self) -> bool {
        !matches!(self, Self::Bystander | Self::Operator | Self::Torpor)
    }

    /// The judge: a session from such a pod may write. It knows nothing of the plan either.
    fn may_be_connected(self) -> bool {
        !matches!(self, Self::Torpor)
    }

    fn address(self, number: usize) -> std::net::IpAddr {
        [10, 0, u8::from(self.may_be_connected()), u8::try_from(number).unwrap()].into()
    }

    fn add(self, world: &mut World) {
        let mut pod = match self {
            Self::Bystander => owned("bystander", "ReplicaSet", "bystander-1"),
            Self::Operator => owned("queue", "Kafka", "queue"),
            Self::Torpor => {
                let mut own = owned("job", "Job", "project-truncate");
                own.labels.insert("app.kubernetes.io/managed-by".into(), "torpor".into());
                own
            }
            Self::Deleted => owned("mailer", "ReplicaSet", "mailer-1"),
            Self::DeletedInPart => owned("mailer", "ReplicaSet", "sender-1"),
            Self::Orphan => owned("mailer", "ReplicaSet", "left-1"),
            Self::Bare => pod("debug", None),
            Self::Relabelled => owned("debug", "ReplicaSet", "worker-1"),
            Self::Copy => owned("worker", "Rollout", "shop"),
            Self::Stopped => owned("worker", "ReplicaSet", "worker-1"),
        };
        pod.terminating = world.pods.len().is_multiple_of(2);
        pod.addresses = vec![self.address(world.pods.len())];
        pod.name = format!("{}-{}", pod.name, world.pods.len());
        world.pods.push(pod);
    }
}

proptest! {
    /// The Job is created in no world with a pod that may write, and in every world without one.
    #[test]
    fn no_truncation_begins_under_a_writer(
        picks in prop::collection::vec(0..10_usize, 0..6),
        target in 0..3_usize,
        late in 0..30_i64,
    ) {
        const ORIGINS: [Origin; 10] = [
            Origin::Bystander, Origin::Operator, Origin::Torpor, Origin::Deleted,
            Origin::DeletedInPart, Origin::Orphan, Origin::Bare, Origin::Relabelled, Origin::Copy,
            Origin::Stopped,
        ];
        let targets = [
            json!([{"kind": "Deployment", "name": "worker"}]),
            json!([{"kind": "Deployment", "selector": {"matchLabels": {"app": "worker"}}}]),
            json!([{"kind": "Deployment", "all": true, "except": ["bystander"]}]),
        ];
        let mut world = world(targets[target].clone());
        world.object("worker")["metadata"]["labels"] = json!({"app": "worker"});
        world.objects.push(deployment("bystander", 1));
        world.replica_sets = vec![
            replica_set("worker", 0, &owned_by("Deployment", "worker")),
            replica_set("bystander", 1, &owned_by("Deployment", "bystander")),
            replica_set("sender", 0, &owned_by("Deployment", "sender")),
            replica_set("left", 0, &json!([])),
        ];
        let origins: Vec<Origin> = picks.iter().map(|pick| ORIGINS[*pick]).collect();
        // Half of the pods are there from the beginning, the others come while it goes down.
        let (early, later) = origins.split_at(origins.len() / 2);
        for origin in early {
            origin.add(&mut world);
        }
        world.run();
        world.after(late % 5);
        let begun = !world.created.is_empty();
        prop_assert!(!begun || !early.iter().any(|origin| origin.may_write()));
        for origin in later {
            origin.add(&mut world);
        }
        for _ in 0..5 {
            world.after(5);
        }
        let writers = origins.iter().any(|origin| origin.may_write());
        let live = world.created.len() - world.deleted.len();
        let late = !begun || later.iter().all(|origin| !origin.may_be_connected());
        if late {
            prop_assert_eq!(live > 0, !writers, "{:?}: {:?}", origins, world.status.message);
        }
        // Whatever Job is there looks for a session of every pod that may have one, and of no other.
        if live > 0 {
            let pods = world.pods.iter().flat_map(|pod| &pod.addresses);
            let connected: std::collections::BTreeSet<_> =
                pods.copied().filter(|address| address.to_string().starts_with("10.0.1.")).collect();
            prop_assert_eq!(&world.job.watched, &connected);
        }
    }
}
