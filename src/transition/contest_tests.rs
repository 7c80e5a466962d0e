use serde_json::json;

use super::*;
use crate::hold::fields::Owner;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Returns a write of `manager` to a field.
fn foreign(manager: &str, pointer: &str) -> Foreign {
    Foreign {
        pointer: pointer.to_owned(),
        value: Some(json!(3)),
        owner: Some(Owner {
            manager: manager.to_owned(),
            operation: "Apply".to_owned(),
            subresource: String::new(),
        }),
        rollout: true,
        restores: Some(json!(3)),
        unseen: false,
    }
}

/// Returns the contest after writes at these times.
fn contest(times: impl IntoIterator<Item = i64>) -> Contest {
    let mut contests = Contests::new();
    for seconds in times {
        let written = [foreign("argocd-controller", "/spec/replicas")];
        record(&mut contests, "Deployment web", "e", &written, at(seconds));
    }
    contests.remove("Deployment web").unwrap()
}

#[test]
fn an_autoscaler_is_told_of_its_minimum() {
    let mut contest = contest([0, 60, 120]);
    contest.writes.manager = Some("kube-controller-manager".to_owned());
    let message = describe(&[("Deployment api".to_owned(), &contest.writes)]);
    assert!(
        message.contains("HorizontalPodAutoscaler") && message.contains("minReplicas"),
        "{message}"
    );
}

#[test]
fn argo_cds_back_off_is_a_contest_from_its_third_heal_on_and_is_never_slowed_down_for() {
    let heals = [0, 2, 8, 26, 80, 242, 542, 842, 1142];
    for count in 1..=heals.len() {
        let contest = contest(heals[..count].iter().copied());
        let last = heals[count - 1];
        let next = heals.get(count).copied().unwrap_or(last + 300);
        assert_eq!(contest.pause(at(next)), None, "heal {count}");
        let ends = ends(&contest.writes);
        assert_eq!(ends.is_some(), count >= 3);
        assert!(ends.is_none_or(|ends| ends > at(next)), "it lasts until the next heal");
    }
}

#[test]
fn a_rival_that_writes_every_ten_seconds_is_reverted_at_once() {
    for count in 1..20 {
        let contest = contest((0..count).map(|n| n * 10));
        assert_eq!(contest.pause(at(count * 10)), None, "{count}");
    }
    let fast = contest((0..6).map(|n| n * 9));
    assert_eq!(fast.pause(at(54)), Some(SignedDuration::from_secs(3)));
}

#[test]
fn the_fields_of_all_writes_are_known_and_a_node_selector_as_a_whole() {
    let mut contests = Contests::new();
    let selector = "/spec/template/spec/nodeSelector/torpor.dev~1held";
    for pointer in ["/spec/replicas", selector, "/spec/replicas"] {
        let written = [foreign("kustomize-controller", pointer)];
        record(&mut contests, "DaemonSet agent", "e", &written, at(0));
    }
    let fields = &contests["DaemonSet agent"].writes.fields;
    assert_eq!(*fields, ["/spec/replicas", "/spec/template/spec/nodeSelector"]);
}

#[test]
fn flux_has_to_ignore_the_counter_of_templates_beside_a_node_selector() {
    for (manager, told) in
        [("kustomize-controller", true), ("helm-controller", true), ("argocd-controller", false)]
    {
        let mut contests = Contests::new();
        let written = [foreign(manager, "/spec/template/spec/nodeSelector/torpor.dev~1held")];
        record(&mut contests, "DaemonSet agent", "e", &written, at(0));
        let message =
            describe(&[("DaemonSet agent".to_owned(), &contests["DaemonSet agent"].writes)]);
        let paths = "[/spec/template/spec/nodeSelector, /metadata/annotations/deprecated.daemonset.template.generation]";
        assert_eq!(message.contains(paths), told, "{message}");
    }
}

#[test]
fn each_field_manager_gets_its_own_advice() {
    let writes = |manager: &str| {
        let mut contests = Contests::new();
        let written = [foreign(manager, "/spec/replicas")];
        record(&mut contests, "Deployment web", "e", &written, at(0));
        contests.remove("Deployment web").unwrap().writes
    };
    let flux = writes("kustomize-controller");
    let argo = writes("argocd-controller");
    let unknown = ForeignWrites { manager: None, ..argo.clone() };
    let contested = [
        ("Deployment web".to_owned(), &flux),
        ("Deployment api".to_owned(), &flux),
        ("StatefulSet queue".to_owned(), &argo),
        ("CronJob nightly".to_owned(), &unknown),
    ];
    let message = describe(&contested);
    for part in [
        "kustomize-controller keeps changing held fields of Deployment web (/spec/replicas), Deployment api (/spec/replicas), and Torpor reverts each change",
        "{target: {labelSelector: torpor.dev/held}, paths: [/spec/replicas]}",
        "argocd-controller keeps changing held fields of StatefulSet queue",
        "managedFieldsManagers: [torpor]",
        "RespectIgnoreDifferences=true",
        "an unknown client keeps changing held fields of CronJob nightly",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(
        describe(&[("HelmRelease".to_owned(), &writes("helm-controller"))])
            .contains("driftDetection")
    );
    assert!(describe(&[("x".to_owned(), &writes("keda"))]).contains("paused-replicas"));
    assert!(describe(&[("x".to_owned(), &writes("my-tool"))]).contains("Make my-tool ignore"));
}
