//! The database's URL and certificate authority come from Secrets: the authority reaches the Job, and
//! of the URL nothing shows.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::{
    ResourceExt,
    api::LogParams,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use crate::support::{
    cluster::{kubectl, variable},
    database::Database,
    hibernation::{Hibernation, condition, message},
    namespace::Namespace,
    operator::Operator,
    workload::{self, WELL_BEHAVED},
};

async fn secret(namespace: &Namespace, name: &str, key: &str, value: &str) {
    let secret: Secret = workload::object(json!({
        "metadata": {"name": name},
        "stringData": {key: value},
    }));
    workload::create(namespace, &secret).await;
}

/// Awake, with a worker that may not even be there: only the dry run of the truncation runs.
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

/// All that pods and events of a namespace have said, from now on.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl Heard {
    fn add(&self, text: &str) {
        self.0.lock().expect("nobody panics with it").push_str(text);
    }

    fn listen(namespace: &Namespace) -> Self {
        let heard = Self::default();
        let (pods, events) = (namespace.api::<Pod>(), namespace.api::<Event>());
        let to = heard.clone();
        tokio::spawn(async move {
            let mut seen =
                std::pin::pin!(watcher(pods.clone(), watcher::Config::default()).touched_objects());
            while let Some(pod) = seen.next().await {
                let Ok(pod) = pod else { continue };
                to.add(&serde_json::to_string(&pod).expect("a pod is JSON"));
                // Once it has started; and a Job's pod may be gone again.
                if let Ok(log) = pods.logs(&pod.name_any(), &LogParams::default()).await {
                    to.add(&log);
                }
            }
        });
        let to = heard.clone();
        tokio::spawn(async move {
            let mut seen =
                std::pin::pin!(watcher(events, watcher::Config::default()).touched_objects());
            while let Some(event) = seen.next().await {
                if let Ok(event) = event {
                    to.add(&serde_json::to_string(&event).expect("an event is JSON"));
                }
            }
        });
        heard
    }

    fn all(&self) -> String {
        self.0.lock().expect("nobody panics with it").clone()
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
    done.set_state("Hibernated").await;
    done.until_phase("Hibernated").await;

    // Failures of each kind. The role of the right URL is called like the database, which is no secret:
    // theirs is not.
    let (host, right) = (variable("TORPOR_POSTGRES_SERVICE"), database.url(""));
    let at = right.rsplit('@').next().expect("a host");
    let failures = [
        ("password", format!("postgresql://us3r:s3cr3t@{at}"), "SQLSTATE"),
        ("host", "postgresql://us3r:s3cr3t@h0st.invalid/d".to_owned(), "cannot be reached"),
        ("tls", format!("{right}?sslmode=verify-full"), "not trusted"),
        ("url", "postgresql://us3r:s3cr3t@h0st:port/d".to_owned(), "a port in the URL"),
        ("other", "mysql://us3r:s3cr3t@h0st/d".to_owned(), "MySQL"),
        ("quoted", "'postgresql://us3r:s3cr3t@h0st/d'".to_owned(), ""),
    ];
    let mut hibernations = Vec::new();
    for (name, url, says) in &failures {
        secret(&namespace, name, "URL", url).await;
        let spec = awake(&json!({"secretRef": {"name": name, "key": "URL"}}));
        hibernations.push((Hibernation::create(&namespace, name, spec).await, says));
    }
    for (hibernation, says) in hibernations {
        hibernation
            .until(&format!("the failure: {says}"), |status| {
                condition(status, "PreflightPassed") == "False"
                    && message(status, "PreflightPassed").contains(*says)
            })
            .await;
    }
    drop(done);

    let objects = kubectl(&[
        "--namespace",
        &namespace.name,
        "get",
        "hibernations,jobs,pods,events,configmaps,deployments",
        "--output=json",
    ]);
    let said = [heard.all(), objects, operator.output()].concat();
    // It was listened to: what the Job said, and that there were events.
    assert!(said.contains("Emptied ") && said.contains("Would empty "), "no log was heard");
    assert!(said.contains("\"reason\":\"Hibernated\""), "no event was heard");
    for part in ["p@ss", "p%40ss", "us3r", "s3cr3t", "h0st", host.as_str(), "mysql:", "asyncpg"] {
        let found = said.find(part).map(|at| {
            let start = said[..at].char_indices().rev().nth(300).map_or(0, |(start, _)| start);
            said[start..].chars().take(600).collect::<String>()
        });
        assert_eq!(found, None, "{part} shows");
    }
}
