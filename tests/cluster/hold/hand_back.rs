//! Faults at the second write of a wake, which hands ownership of fields back.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{
    cluster::kubectl,
    config_map::config_map,
    hibernation::{Hibernation, asleep, woken},
    hold::untouched,
    kubectl::{apply, exactly, file},
    namespace::Namespace,
    operator::Operator,
    proxy::{Fate, Proxy, Request},
    scene::Scene,
    workload::{self, manifest},
};

/// Whether a request is the second write of a wake: it removes the record.
fn hands_back(request: &Request) -> bool {
    request.method == Method::PATCH
        && request.body.pointer("/metadata/managedFields").is_some()
        && request.body.pointer("/metadata/labels/torpor.dev~1held") == Some(&Value::Null)
}

/// Held objects that their owner has applied. The operator is behind a proxy.
struct Applied {
    scene: Scene,
    proxy: Proxy,
    hibernation: Hibernation,
    /// The objects as before the hold, by name.
    before: BTreeMap<String, Value>,
    kind: &'static str,
}

impl Applied {
    async fn asleep(test: &str, kind: &'static str, names: &[&str]) -> Self {
        let (proxy, namespace) = (Proxy::start().await, Namespace::create(test).await);
        let scene = Scene { operator: Operator::start_behind(&namespace, &proxy), namespace };
        let mut spec = json!({"state": "Hibernated"});
        for name in names {
            if kind == "Deployment" {
                apply(&scene, "flux", &manifest(name, 1, "1"));
                workload::until_ready(&scene.namespace, name).await;
                spec["workloads"] = json!([{"kind": kind, "all": true}]);
            } else {
                apply(&scene, "flux", &config_map(name, Some(json!({"HIBERNATE_MODE": "no"}))));
                let entries: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
                spec["configMaps"] = json!(entries);
            }
        }
        let as_before =
            |name: &&str| ((*name).to_owned(), exactly(&scene, &format!("{kind}/{name}")));
        let before = names.iter().map(as_before).collect();
        let hibernation = asleep(&scene, spec).await;
        Self { scene, proxy, hibernation, before, kind }
    }

    /// Sets the fate of the first attempt to hand back each object. Later attempts go through.
    fn first_try(&self, mut fate: impl FnMut(&str) -> Fate + Send + 'static) {
        let mut tried = BTreeSet::new();
        self.proxy.rule(move |request| {
            let first = hands_back(request) && tried.insert(request.name().to_owned());
            if first { fate(request.name()) } else { Fate::Pass }
        });
    }

    /// Returns the status of each attempt to hand back an object; `None` if there was no answer.
    fn tries(&self, name: &str) -> Vec<Option<u16>> {
        let requests = self.proxy.requests();
        let tries = requests.iter().filter(|request| hands_back(request) && request.name() == name);
        tries.map(|request| request.answer.as_ref().map(|answer| answer.status)).collect()
    }

    fn assert_as_before(&self, name: &str) {
        let object = format!("{}/{name}", self.kind);
        assert_eq!(exactly(&self.scene, &object), self.before[name], "{object}");
    }
}

#[tokio::test]
async fn who_writes_between_the_two_writes_of_a_wake_loses_nothing_and_owners_have_theirs_back() {
    let names = ["deployed", "labelled"];
    let applied = Applied::asleep("give-back-conflict", "Deployment", &names).await;
    let namespace = applied.scene.namespace.name.clone();
    let deploy = file(&applied.scene, &manifest("deployed", 2, "2"));
    applied.first_try(move |name| {
        let write = if name == "labelled" {
            vec!["label", "deployment/labelled", "touched=yes"]
        } else {
            // As Argo CD and Flux do: until the second write the field is Torpor's.
            let forced = ["--server-side", "--force-conflicts", "--field-manager=flux"];
            [&["apply", "--filename", &deploy], &forced[..]].concat()
        };
        kubectl(&[&["--namespace", &namespace], write.as_slice()].concat());
        Fate::Pass
    });
    woken(&applied.hibernation).await;
    for name in names {
        let tries = applied.tries(name);
        assert_eq!((tries[0], tries.last()), (Some(409), Some(&Some(200))), "{name}: {tries:?}");
    }
    applied.scene.kubectl(&["label", "deployment/labelled", "touched-"]);
    applied.assert_as_before("labelled");
    let deployed = applied.scene.deployment("deployed").await;
    assert_eq!(workload::replicas(&deployed), 2);
    assert!(untouched(&deployed));
    // Nobody meets a conflict.
    for name in names {
        apply(&applied.scene, "flux", &manifest(name, 3, "3"));
    }
}

#[tokio::test]
async fn where_an_answer_to_the_second_write_of_a_wake_is_lost_owners_have_theirs_back() {
    // Nobody else writes these.
    let names = ["answer-lost", "no-answer", "request-lost"];
    let applied = Applied::asleep("give-back-lost", "ConfigMap", &names).await;
    applied.first_try(|name| match name {
        "answer-lost" => Fate::Unanswered,
        "request-lost" => Fate::Lost,
        // Until the operator waits no longer.
        _ => Fate::Held,
    });
    woken(&applied.hibernation).await;
    for name in names {
        applied.assert_as_before(name);
    }
    let tries = names.map(|name| applied.tries(name));
    let ok = Some(200);
    assert_eq!(tries, [vec![ok], vec![None, ok], vec![None, ok]], "what is done is not sent again");
}
