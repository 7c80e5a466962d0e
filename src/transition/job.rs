//! The manifests of Torpor's Jobs: the preflight and the truncation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clap::ValueEnum;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::spec::{DatabaseEntry, Login};
use crate::api::database::{Connection, SecretKeyRef};
use crate::api::hold_state::Attempt;
use crate::api::labels::{MANAGED_BY, TORPOR};
use crate::api::pod::hardened;
use crate::truncate::table_name::TableNames;
use crate::truncate::{
    CA_VARIABLE, EXIT_KEPT_BACK, EXIT_REFUSED, EXIT_USAGE, PASSWORD_VARIABLE, URL_VARIABLE,
    USER_VARIABLE,
};

/// The container.
pub const CONTAINER: &str = "truncate";
/// Where the certificate authority is mounted.
const CA_DIRECTORY: &str = "/etc/torpor/ca";
/// Its file there.
const CA_FILE: &str = "ca.crt";
/// The exit statuses of wrong arguments and of a refusal: another try would end the same way.
pub(super) const REFUSED: [i32; 2] = [EXIT_USAGE as i32, EXIT_REFUSED as i32];
/// The exit status where sessions keep the truncation back. The operator names them before it tries again.
pub(super) const KEPT_BACK: i32 = EXIT_KEPT_BACK as i32;
/// The option with the addresses of sessions, and how many one argument holds: Linux bounds each argument.
const SESSIONS_FROM: &str = "--sessions-from=";
const ADDRESSES_AT_ONCE: usize = 1000;

/// The purpose of a Job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The dry run: read only.
    Preflight,
    /// The real thing.
    Truncation,
}

/// The sessions that keep the truncation of a Job back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Watch {
    /// None.
    Nobody,
    /// Those from these addresses.
    From(BTreeSet<IpAddr>),
    /// All.
    All,
}

/// The object that a Job belongs to.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Returns the Job of one attempt.
pub fn manifest(
    owner: &Owner,
    database: &DatabaseEntry,
    attempt: &Attempt,
    purpose: Purpose,
    watch: &Watch,
    image: &str,
) -> Value {
    let truncate = &database.spec.truncate;
    let pod = truncate.pod.clone().unwrap_or_default();
    let resources = pod.resources.map_or_else(
        || json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}),
        |resources| json!(resources),
    );
    let purpose_label = match purpose {
        Purpose::Preflight => "preflight",
        Purpose::Truncation => "truncation",
    };
    let labels = BTreeMap::from([
        (MANAGED_BY, TORPOR),
        ("torpor.dev/hibernation", owner.name),
        ("torpor.dev/job", purpose_label),
    ]);
    let mut pod_labels = json!(pod.labels);
    for (key, value) in &labels {
        pod_labels[*key] = json!(value);
    }
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": attempt.job,
            "namespace": owner.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "torpor.dev/v1alpha1",
                "kind": "Hibernation",
                "name": owner.name,
                "uid": owner.uid,
                "controller": true,
            }],
        },
        "spec": {
            "backoffLimit": 2,
            // Longer than an attempt may take: one that can't even start leaves nothing behind.
            "activeDeadlineSeconds": 240,
            // What is refused stays refused; a node that is drained is nobody's fault.
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onExitCodes":
                    {"containerName": CONTAINER, "operator": "In", "values": [REFUSED[0], REFUSED[1], KEPT_BACK]}},
                {"action": "Ignore", "onPodConditions":
                    [{"type": "DisruptionTarget", "status": "True"}]},
            ]},
            "template": {
                "metadata": {"labels": pod_labels, "annotations": pod.annotations},
                "spec": hardened(json!({
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 10,
                    "nodeSelector": pod.node_selector,
                    "tolerations": pod.tolerations,
                    "imagePullSecrets": pod.image_pull_secrets,
                    "containers": [{
                        "name": CONTAINER,
                        "image": image,
                        "args": arguments(database, attempt, purpose, watch),
                        "env": environment(&database.login),
                        "resources": resources,
                    }],
                })),
            },
        },
    });
    if let Some(ca) = &database.spec.ca_secret_ref {
        mount(&mut job["spec"]["template"]["spec"], ca);
    }
    if purpose == Purpose::Preflight {
        // A truncation's Job stays until the wake is complete; this one is only a message.
        job["spec"]["ttlSecondsAfterFinished"] = json!(600);
    }
    job
}

/// Returns the addresses for whose sessions a Job of Torpor's own looks.
pub(super) fn watched(job: &Job) -> BTreeSet<IpAddr> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let own = containers.iter().find(|container| container.name == CONTAINER);
    let arguments = own.and_then(|container| container.args.as_ref()).into_iter().flatten();
    arguments
        .filter_map(|argument| argument.strip_prefix(SESSIONS_FROM))
        .flat_map(|addresses| addresses.split(','))
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// Returns the arguments of the command.
fn arguments(
    database: &DatabaseEntry,
    attempt: &Attempt,
    purpose: Purpose,
    watch: &Watch,
) -> Vec<String> {
    let truncate = &database.spec.truncate;
    let mut args = vec![
        "truncate".to_owned(),
        format!("--scope={:?}", truncate.scope),
        format!("--runtime={}", TableNames::of(&truncate.tables.runtime)),
        format!("--opportunities={}", TableNames::of(&truncate.tables.opportunities)),
        format!("--preserved={}", TableNames::of(&truncate.tables.preserved)),
        format!("--lock-timeout={}", truncate.lock_timeout),
        format!("--not-after={}", attempt.not_after.0),
        "--report=/dev/termination-log".to_owned(),
        "--of-hibernation".to_owned(),
    ];
    if let Login::Parts(connection) = &database.login {
        args.push(format!("--host={}", connection.host));
        args.push(format!("--port={}", connection.port));
        args.push(format!("--dbname={}", connection.name));
        let mode = connection.ssl_mode.and_then(|mode| mode.to_possible_value());
        args.extend(mode.map(|mode| format!("--sslmode={}", mode.get_name())));
    }
    args.extend(truncate.schema.as_ref().map(|name| format!("--schema={name}")));
    args.extend(truncate.confirm.as_ref().map(|name| format!("--confirm={name}")));
    if truncate.allow_replicated {
        args.push("--allow-replicated".to_owned());
    }
    match watch {
        Watch::Nobody => {}
        Watch::From(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let lists = addresses.chunks(ADDRESSES_AT_ONCE).map(|some| some.join(","));
            args.extend(lists.map(|list| format!("{SESSIONS_FROM}{list}")));
        }
        Watch::All => args.push("--refuse-all-sessions".to_owned()),
    }
    if purpose == Purpose::Preflight {
        args.push("--dry-run".to_owned());
    }
    args
}

/// Returns the environment variables that read the Secret.
fn environment(login: &Login) -> Value {
    let variable = |variable: &str, name: &str, key: &str| json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}});
    match login {
        Login::Url(url) => json!([variable(URL_VARIABLE, &url.name, &url.key)]),
        Login::Parts(Connection { secret_name, user_key, password_key, .. }) => json!([
            variable(USER_VARIABLE, secret_name, user_key),
            variable(PASSWORD_VARIABLE, secret_name, password_key),
        ]),
    }
}

/// Mounts the certificate authority into a pod, and sets the variable with its path.
fn mount(pod: &mut Value, ca: &SecretKeyRef) {
    pod["volumes"] = json!([{"name": "ca", "secret": {
        "secretName": ca.name,
        "items": [{"key": ca.key, "path": CA_FILE}],
        // A pod that waits for a volume doesn't say why. Without the file the container tells, at once.
        "optional": true,
    }}]);
    let container = &mut pod["containers"][0];
    container["volumeMounts"] =
        json!([{"name": "ca", "mountPath": CA_DIRECTORY, "readOnly": true}]);
    if let Some(variables) = container["env"].as_array_mut() {
        variables.push(json!({"name": CA_VARIABLE, "value": format!("{CA_DIRECTORY}/{CA_FILE}")}));
    }
}

/// Returns the name of a Job, cut so that it fits into a label.
pub fn name(owner: &str, purpose: Purpose, id: &str, number: i32) -> String {
    let purpose = match purpose {
        Purpose::Preflight => "preflight",
        Purpose::Truncation => "truncate",
    };
    let suffix = format!("-{purpose}-{id}-{number}");
    let kept: String = owner.chars().take(63_usize.saturating_sub(suffix.len())).collect();
    format!("{}{suffix}", kept.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::transition::spec::database_entry;

    fn job(database: Value) -> Job {
        watching(database, &Watch::Nobody)
    }

    fn watching(database: Value, watch: &Watch) -> Job {
        let entry = database_entry(&serde_json::from_value(database).unwrap()).unwrap();
        let attempt = Attempt {
            number: 1,
            job: "a-preflight-1".to_owned(),
            not_after: Time(Timestamp::UNIX_EPOCH),
            settings: String::new(),
            ended: None,
            message: None,
            kept_back: false,
            retry_at: None,
        };
        let owner = Owner { namespace: "n", name: "a", uid: "u" };
        let manifest = manifest(&owner, &entry, &attempt, Purpose::Preflight, watch, "image");
        serde_json::from_value(manifest).unwrap()
    }

    fn arguments(job: &Job) -> &[String] {
        let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.containers[0].args.as_ref().unwrap()
    }

    #[test]
    fn a_job_has_all_addresses_in_arguments_that_linux_takes() {
        let url = json!({"secretRef": {"name": "db", "key": "URL"}});
        let long = |number: u16| {
            IpAddr::from([0xfd00, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, number])
        };
        let addresses: BTreeSet<IpAddr> = (0..5000).map(long).collect();
        let job = watching(url.clone(), &Watch::From(addresses.clone()));
        // MAX_ARG_STRLEN.
        assert!(arguments(&job).iter().all(|argument| argument.len() < 128 * 1024));
        assert_eq!(watched(&job), addresses);
        let has = |job: &Job, option: &str| arguments(job).iter().any(|a| a.starts_with(option));
        let job = watching(url, &Watch::All);
        assert!(has(&job, "--refuse-all-sessions") && !has(&job, SESSIONS_FROM));
    }

    #[test]
    fn what_the_command_may_do_and_the_spec_does_not_say_is_no_argument() {
        let url = json!({"name": "db", "key": "URL"});
        let job = |truncate: Value| job(json!({"secretRef": url, "truncate": truncate}));
        let options = ["--schema=", "--allow-replicated"];
        let given = |truncate: Value| {
            let job = job(truncate);
            options.map(|option| arguments(&job).iter().any(|a| a.starts_with(option)))
        };
        assert_eq!(given(json!({})), [false, false]);
        assert_eq!(given(json!({"schema": "app", "allowReplicated": true})), [true, true]);
    }

    #[test]
    fn a_login_without_a_url_shows_no_secret() {
        let connection = json!({
            "host": "db.shop.svc", "port": 6432, "name": "shop", "secretName": "shop-owner",
            "passwordKey": "pass", "sslMode": "verify-ca",
        });
        let job = job(json!({"connection": connection}));
        let given = ["--host=db.shop.svc", "--port=6432", "--dbname=shop", "--sslmode=verify-ca"];
        for argument in given {
            assert!(arguments(&job).iter().any(|given| given == argument), "{argument}");
        }
        let pod = job.spec.unwrap().template.spec.unwrap();
        let variables = pod.containers[0].env.as_deref().unwrap_or_default();
        let keys = variables.iter().filter_map(|variable| {
            let key = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
            Some((variable.name.as_str(), key.name.as_str(), key.key.as_str()))
        });
        let expected = [("PGUSER", "shop-owner", "username"), ("PGPASSWORD", "shop-owner", "pass")];
        assert_eq!(keys.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_authority_of_a_secret_is_mounted_read_only_and_named_to_the_command() {
        let url = json!({"name": "db", "key": "URL"});
        let with_ca = json!({"secretRef": url, "caSecretRef": {"name": "tls", "key": "root.pem"}});
        let pod = job(with_ca).spec.unwrap().template.spec.unwrap();
        let volumes = pod.volumes.unwrap();
        let secret = volumes[0].secret.as_ref().unwrap();
        assert_eq!(secret.secret_name.as_deref(), Some("tls"));
        assert_eq!(secret.optional, Some(true));
        let item = &secret.items.as_ref().unwrap()[0];
        let container = &pod.containers[0];
        let mount = &container.volume_mounts.as_ref().unwrap()[0];
        assert_eq!((mount.name.as_str(), mount.read_only), (volumes[0].name.as_str(), Some(true)));
        let file = format!("{}/{}", mount.mount_path, item.path);
        let variable = container.env.iter().flatten().find(|v| v.name == "DATABASE_CA_FILE");
        assert_eq!(
            (item.key.as_str(), variable.unwrap().value.as_ref()),
            ("root.pem", Some(&file))
        );
        // The URL stays where it was.
        assert!(container.env.iter().flatten().any(|v| v.name == "DATABASE_URL"));

        let pod = job(json!({"secretRef": url})).spec.unwrap().template.spec.unwrap();
        assert!(pod.volumes.is_none() && pod.containers[0].volume_mounts.is_none());
        assert!(!pod.containers[0].env.iter().flatten().any(|v| v.name == "DATABASE_CA_FILE"));
    }
}
