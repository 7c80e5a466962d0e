//! The database's URL and certificate authority come from Secrets. The Job gets the authority, and
//! no part of the URL is visible anywhere.

use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::{
    ResourceExt,
    api::{ListParams, LogParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    cluster::{kubectl, variable},
    database::Database,
    hibernation::{Hibernation, condition, message},
    namespace::Namespace,
    operator::Operator,
    wait,
    workload::{self, WELL_BEHAVED},
};

async fn secret(namespace: &Namespace, name: &str, key: &str, value: &str) {
    let secret: Secret = workload::object(json!({
        "metadata": {"name": name},
        "stringData": {key: value},
    }));
    workload::create(namespace, &secret).await;
}

/// Returns the spec of an awake Hibernation of a worker that need not exist: only the truncation's
/// dry run runs.
fn awake(database: &Value) -> Value {
    json!({
        "state": "Awake",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
        "database": database,
    })
}

#[tokio::test]
async fn the_certificate_authority_of_a_secret_is_what_the_job_trusts() {
    let namespace = Namespace::create("authority").await;
    let database = Database::seeded(&namespace).await;
    let ca = std::fs::read_to_string(variable("TORPOR_POSTGRES_CA")).expect("it is readable");
    secret(&namespace, "authority", "ca.crt", &ca).await;
    // Another's, and the path is one in the application's container.
    let client_ca = kubectl(&[
        "--namespace=kube-system",
        "get",
        "configmap/extension-apiserver-authentication",
        "--output=jsonpath={.data.requestheader-client-ca-file}",
    ]);
    secret(&namespace, "another", "ca.crt", &client_ca).await;
    let parameters = "?sslmode=verify-full&sslrootcert=/app/ca.crt";
    secret(&namespace, "url", "URL", &database.url(parameters)).await;
    let _operator = Operator::start(&namespace);

    let with = |name: &str, key: &str| json!({"secretRef": {"name": "url", "key": "URL"}, "caSecretRef": {"name": name, "key": key}});
    let hibernation =
        Hibernation::create(&namespace, "project", awake(&with("authority", "ca.crt"))).await;
    hibernation.until_condition("PreflightPassed", "True").await;

    for (name, key, says) in [
        ("absent", "ca.crt", "cannot be read here"),
        ("authority", "absent.crt", "cannot be read here"),
        ("another", "ca.crt", "authority that is not trusted"),
    ] {
        hibernation.patch(json!({"spec": {"database": with(name, key)}})).await;
        hibernation
            .until(&format!("{name} {key}: {says}"), |status| {
                condition(status, "PreflightPassed") == "False"
                    && message(status, "PreflightPassed").contains(says)
            })
            .await;
    }
    hibernation.patch(json!({"spec": {"database": with("authority", "ca.crt")}})).await;
    hibernation.until_condition("PreflightPassed", "True").await;
}

/// The texts of a namespace's pods and events.
#[derive(Default)]
struct Said {
    text: String,
    pods: Vec<Pod>,
}

impl Said {
    /// Returns the pod of a Hibernation's dry run that has this text in its termination message.
    fn ended(&self, hibernation: &str, says: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| {
            let label = |name: &str| pod.labels().get(name).map(String::as_str);
            label("torpor.dev/hibernation") == Some(hibernation)
                && label("torpor.dev/job") == Some("preflight")
                && termination_message(pod).is_some_and(|message| message.contains(says))
        })
    }
}

fn termination_message(pod: &Pod) -> Option<&str> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.first()?.state.as_ref()?.terminated.as_ref()?.message.as_deref()
}

/// Records the texts from watches, which miss no pod, however short-lived; a pod's log may be gone
/// by then.
struct Heard(watch::Sender<Said>);

impl Heard {
    fn listen(namespace: &Namespace) -> Self {
        let heard = watch::Sender::new(Said::default());
        let (pods, to) = (namespace.api::<Pod>(), heard.clone());
        tokio::spawn(async move {
            let mut seen = pin!(watcher(pods, watcher::Config::default()).touched_objects());
            while let Some(pod) = seen.next().await {
                let Ok(pod) = pod else { continue };
                let text = serde_json::to_string(&pod).expect("a pod is JSON");
                to.send_modify(|said| {
                    said.text.push_str(&text);
                    said.pods.push(pod);
                });
            }
        });
        let (events, to) = (namespace.api::<Event>(), heard.clone());
        tokio::spawn(async move {
            let mut seen = pin!(watcher(events, watcher::Config::default()).touched_objects());
            while let Some(event) = seen.next().await {
                let Ok(event) = event else { continue };
                let text = serde_json::to_string(&event).expect("an event is JSON");
                to.send_modify(|said| said.text.push_str(&text));
            }
        });
        Self(heard)
    }

    /// Waits until this text was recorded.
    async fn until(&self, what: &str, mut is_there: impl FnMut(&Said) -> bool) {
        let mut said = self.0.subscribe();
        let heard = tokio::time::timeout(wait::TIMEOUT, said.wait_for(|said| is_there(said))).await;
        assert!(matches!(heard, Ok(Ok(_))), "it was never heard: {what}");
    }

    /// Waits until a Hibernation's dry run has ended with this text in its termination message.
    /// Returns the log of an equal pod that nothing deletes in the meantime.
    async fn dry_run(&self, namespace: &Namespace, hibernation: &str, says: &str) -> String {
        let what = format!("{hibernation}: {says}");
        self.until(&what, |said| said.ended(hibernation, says).is_some()).await;
        let spec = self.0.borrow().ended(hibernation, says).and_then(|pod| pod.spec.clone());
        let mut spec = spec.expect("a pod has a spec");
        spec.node_name = None;
        for argument in spec.containers.iter_mut().filter_map(|one| one.args.as_mut()) {
            argument.retain(|argument| !argument.starts_with("--not-after"));
        }
        let name = format!("again-{hibernation}");
        let again: Pod = workload::object(json!({"metadata": {"name": name}, "spec": spec}));
        workload::create(namespace, &again).await;
        let pods = namespace.api::<Pod>();
        let again =
            wait::until(&pods, &name, "it has ended", |pod| termination_message(pod).is_some())
                .await;
        let message = termination_message(&again).expect("it has one");
        assert!(message.contains(says), "{what}, and the other pod says {message}");
        pods.logs(&name, &LogParams::default()).await.expect("it has a log")
    }
}

#[tokio::test]
async fn nothing_of_the_url_shows_in_logs_events_status_or_termination_messages() {
    let namespace = Namespace::create("secrecy").await;
    let database = Database::seeded(&namespace).await;
    workload::create(&namespace, &workload::deployment("worker", 1, WELL_BEHAVED, 1)).await;
    workload::until_ready(&namespace, "worker").await;
    let heard = Heard::listen(&namespace);
    let operator = Operator::start(&namespace);

    // Success, awake and asleep.
    let url = json!({"secretRef": {"name": "cornice-db", "key": "DATABASE_URL"}});
    let done = Hibernation::create(&namespace, "done", awake(&url)).await;
    done.until_condition("PreflightPassed", "True").await;
    let mut logs = vec![heard.dry_run(&namespace, "done", "nothing is in the way").await];
    assert!(logs[0].contains("Would empty "), "{logs:?}");
    done.set_state("Hibernated").await;
    done.until_phase("Hibernated").await;
    // Until the wake is complete, nobody deletes this Job.
    let emptied = namespace.api::<Pod>();
    let labels = "torpor.dev/hibernation=done,torpor.dev/job=truncation";
    let list = emptied.list(&ListParams::default().labels(labels)).await.expect("pods are listed");
    for pod in list {
        let log = emptied.logs(&pod.name_any(), &LogParams::default()).await;
        logs.push(log.expect("it has a log"));
    }
    assert!(logs.iter().any(|log| log.contains("Emptied ")), "{logs:?}");

    // Failures of each kind. The role of the right URL is called like the database, which is no secret:
    // theirs is not.
    let (host, right) = (variable("TORPOR_POSTGRES_SERVICE"), database.url(""));
    let at = right.rsplit('@').next().expect("a host");
    let (failed, refused) = ("Failed; another try may work", "Refused; nothing was changed");
    let failures = [
        ("password", format!("postgresql://us3r:s3cr3t@{at}"), "SQLSTATE", failed),
        ("host", "postgresql://us3r:s3cr3t@h0st.invalid/d".to_owned(), "cannot be reached", failed),
        ("tls", format!("{right}?sslmode=verify-full"), "not trusted", failed),
        ("url", "postgresql://us3r:s3cr3t@h0st:port/d".to_owned(), "a port in the URL", refused),
        ("other", "mysql://us3r:s3cr3t@h0st/d".to_owned(), "MySQL", refused),
        ("quoted", "'postgresql://us3r:s3cr3t@h0st/d'".to_owned(), "quotation marks", refused),
    ];
    let mut hibernations = Vec::new();
    for (name, url, says, ends) in &failures {
        secret(&namespace, name, "URL", url).await;
        let spec = awake(&json!({"secretRef": {"name": name, "key": "URL"}}));
        hibernations.push((Hibernation::create(&namespace, name, spec).await, says, ends));
    }
    for (hibernation, says, ends) in hibernations {
        hibernation
            .until(&format!("the failure: {says}"), |status| {
                condition(status, "PreflightPassed") == "False"
                    && message(status, "PreflightPassed").contains(*says)
            })
            .await;
        let log = heard.dry_run(&namespace, &hibernation.name, says).await;
        assert!(log.contains(says) && log.contains(ends), "{says}: {log}");
        logs.push(log);
    }
    let slept = "\"reason\":\"Hibernated\"";
    heard.until("an event", |said| said.text.contains(slept)).await;
    drop(done);

    let objects = kubectl(&[
        "--namespace",
        &namespace.name,
        "get",
        "hibernations,jobs,pods,events,configmaps,deployments",
        "--output=json",
    ]);
    let said = [heard.0.borrow().text.clone(), logs.concat(), objects, operator.output()].concat();
    for part in ["p@ss", "p%40ss", "us3r", "s3cr3t", "h0st", host.as_str(), "mysql:", "asyncpg"] {
        let found = said.find(part).map(|at| {
            let start = said[..at].char_indices().rev().nth(300).map_or(0, |(start, _)| start);
            said[start..].chars().take(600).collect::<String>()
        });
        assert_eq!(found, None, "{part} shows");
    }
}
