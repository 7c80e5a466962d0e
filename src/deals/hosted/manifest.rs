//! Manifests of a bridge. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::Keys;
use crate::api::database::SecretKeyRef;
use crate::api::deals::{DealsSource, PostgresSource, SonmSource};
use crate::api::labels::{APP, MANAGED_BY, TORPOR};
use crate::api::pod::hardened_with_secret_files;
use crate::deals::client::audience;
use crate::deals::{Account, files};
use crate::hold::lever::digest;
use crate::hold::record::Holder;
use crate::lease::Epoch;
use crate::truncate::{CA_VARIABLE, URL_VARIABLE};

/// The port of every bridge's Service.
pub const PORT: i32 = 8080;
/// Name of the port.
const PORT_NAME: &str = "deals";
/// Label of everything that belongs to one object's bridge.
pub const BRIDGE_OF: &str = "torpor.dev/bridge-of";
/// Value of the application label of a bridge.
const BRIDGE: &str = "torpor-bridge";
/// Name of the container.
pub(super) const CONTAINER: &str = "bridge";
/// Annotation of a pod: digest of the settings that it runs with.
pub const SETTINGS: &str = "torpor.dev/settings";
/// Annotation with the digest of the applied manifest. It shows that an older Torpor has applied fields that
/// this one does not.
const MANIFEST: &str = "torpor.dev/manifest";
/// Mount path of the epoch.
const CONFIG_DIRECTORY: &str = "/etc/torpor/bridge";
/// Mount path of a Secret, in a folder of its name, so that messages about the file name the Secret.
const SECRETS_DIRECTORY: &str = "/etc/torpor/secrets";
/// Fields that are compared as a whole, as one more entry would change their meaning.
const WHOLE: [&str; 3] = ["selector", "podSelector", "namespaceSelector"];

/// A market for which the operator runs the bridge.
#[derive(Clone, Copy, Debug)]
pub(super) enum Market<'a> {
    /// `deals.source.sonm`
    Sonm(&'a SonmSource),
    /// `deals.source.postgres`
    Postgres(&'a PostgresSource),
}

impl<'a> Market<'a> {
    /// Returns `None` for a server that is not run by the operator.
    pub(super) fn of(source: &'a DealsSource) -> Option<Self> {
        let sonm = source.sonm.as_ref().map(Self::Sonm);
        sonm.or_else(|| source.postgres.as_ref().map(Self::Postgres))
    }

    /// Returns the digest of the settings, which hold no secret.
    pub(super) fn digest(self) -> String {
        // Structs of strings always serialise.
        digest(
            &match self {
                Self::Sonm(sonm) => serde_json::to_string(&json!({"sonm": sonm})),
                Self::Postgres(postgres) => serde_json::to_string(&json!({"postgres": postgres})),
            }
            .unwrap_or_default(),
        )
    }

    fn command(self) -> &'static str {
        match self {
            Self::Sonm(_) => "sonm",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Returns the Secret to mount: the node's key, or the database's certificate authority.
    fn mounted(self) -> Option<&'a SecretKeyRef> {
        match self {
            Self::Sonm(sonm) => sonm.key_secret_ref.as_ref(),
            Self::Postgres(postgres) => postgres.ca_secret_ref.as_ref(),
        }
    }

    fn environment(self) -> Vec<Value> {
        let file = self.mounted().map(file);
        // A setting that is added and not handed on here fails to compile.
        match self {
            Self::Sonm(SonmSource { node, worker, key_secret_ref: _, insecure_node }) => [
                Some(literal("TORPOR_BRIDGE_SONM_NODE", node)),
                Some(literal("TORPOR_BRIDGE_SONM_WORKER", worker)),
                file.map(|file| literal("TORPOR_BRIDGE_SONM_KEY_FILE", &file)),
                insecure_node.then(|| literal("TORPOR_BRIDGE_SONM_INSECURE_NODE", "true")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Self::Postgres(PostgresSource {
                secret_ref,
                ca_secret_ref: _,
                query,
                announce,
                drain,
                resume,
            }) => {
                let statement =
                    |name: &str, sql: &Option<String>| sql.as_ref().map(|sql| literal(name, sql));
                [
                    Some(json!({"name": URL_VARIABLE, "valueFrom": {"secretKeyRef": {
                        "name": secret_ref.name, "key": secret_ref.key,
                    }}})),
                    file.map(|file| literal(CA_VARIABLE, &file)),
                    Some(literal("TORPOR_BRIDGE_POSTGRES_QUERY", query)),
                    statement("TORPOR_BRIDGE_POSTGRES_ANNOUNCE", announce),
                    statement("TORPOR_BRIDGE_POSTGRES_DRAIN", drain),
                    statement("TORPOR_BRIDGE_POSTGRES_RESUME", resume),
                ]
                .into_iter()
                .flatten()
                .collect()
            }
        }
    }
}

/// Returns a variable with exactly this value. Kubernetes would expand `$(NAME)` and replace `$$`, which
/// quotes strings in SQL, by `$`.
fn literal(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value.replace('$', "$$")})
}

/// Returns the path of a Secret's file.
fn file(secret: &SecretKeyRef) -> String {
    format!("{SECRETS_DIRECTORY}/{}/{}", secret.name, secret.key)
}

/// Returns the name of the Deployment, the Service and the NetworkPolicy.
pub(super) fn name(holder: &Holder) -> String {
    let kind = match holder.kind.as_str() {
        "MaintenanceWindow" => "mw".to_owned(),
        "Hibernation" => "hib".to_owned(),
        other => other.to_lowercase(),
    };
    format!("torpor-{kind}-{}", holder.name)
}

/// Returns the name of the ConfigMap with the epoch.
pub(super) fn config_name(holder: &Holder) -> String {
    format!("{}-bridge", name(holder))
}

/// Returns the value of the label [`BRIDGE_OF`].
pub(crate) fn bridge_of(holder: &Holder) -> String {
    format!("{}.{}", holder.kind.to_lowercase(), holder.name)
}

fn pod_labels(holder: &Holder) -> Value {
    json!({APP: BRIDGE, BRIDGE_OF: bridge_of(holder)})
}

/// Returns the label selector of the bridge's objects.
pub(super) fn selector(holder: &Holder) -> String {
    format!("{MANAGED_BY}={TORPOR},{}", pod_selector(holder))
}

/// Returns the label selector of the bridge's pods.
pub(super) fn pod_selector(holder: &Holder) -> String {
    format!("{APP}={BRIDGE},{BRIDGE_OF}={}", bridge_of(holder))
}

/// Returns a manifest with the metadata of a bridge's object and this body.
fn object(holder: &Holder, kind: (&str, &str), name: &str, body: Value) -> Value {
    let (api_version, kind) = kind;
    let mut manifest = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": holder.namespace,
            "labels": {MANAGED_BY: TORPOR, APP: BRIDGE, BRIDGE_OF: bridge_of(holder)},
        },
    });
    if let (Some(manifest), Value::Object(body)) = (manifest.as_object_mut(), body) {
        manifest.extend(body);
    }
    manifest["metadata"]["annotations"] = json!({MANIFEST: digest(&manifest.to_string())});
    manifest
}

/// Returns the ConfigMap with the epoch. A running pod sees it change.
pub(super) fn config(holder: &Holder, epoch: Epoch) -> Value {
    let data = json!({"data": {files::EPOCH: epoch.0.to_string()}});
    object(holder, ("v1", "ConfigMap"), &config_name(holder), data)
}

/// Returns the epoch in the data of the ConfigMap.
pub(super) fn epoch(data: &BTreeMap<String, String>) -> Option<Epoch> {
    data.get(files::EPOCH)?.trim().parse().ok().map(Epoch)
}

pub(super) fn service(holder: &Holder) -> Value {
    let spec = json!({"spec": {
        "type": "ClusterIP",
        "selector": pod_labels(holder),
        "ports": [{"name": PORT_NAME, "port": PORT, "protocol": "TCP", "targetPort": PORT_NAME}],
    }});
    object(holder, ("v1", "Service"), &name(holder), spec)
}

/// Returns the NetworkPolicy: ingress from the operator alone. It says nothing of egress: policies add up, and any
/// pod may carry these labels, so a rule would let an author's pods out where the namespace denies it.
pub(super) fn network_policy(holder: &Holder, account: &Account) -> Value {
    let spec = json!({"spec": {
        "podSelector": {"matchLabels": pod_labels(holder)},
        "policyTypes": ["Ingress"],
        "ingress": [{
            "from": [{
                "namespaceSelector":
                    {"matchLabels": {"kubernetes.io/metadata.name": account.namespace}},
                "podSelector": {"matchLabels": {APP: TORPOR}},
            }],
            "ports": [{"port": PORT_NAME, "protocol": "TCP"}],
        }],
    }});
    object(holder, ("networking.k8s.io/v1", "NetworkPolicy"), &name(holder), spec)
}

/// Returns the Deployment, hardened like the truncation Job. Keys and issuer are in it and not in the ConfigMap: whoever
/// may change a Deployment may mount the Secret anyway, and a running pod keeps its environment.
pub(super) fn deployment(
    holder: &Holder,
    market: Market,
    account: &Account,
    image: &str,
    keys: &Keys,
) -> Value {
    let Account { namespace, name: account } = account;
    let mut environment = vec![
        literal("TORPOR_BRIDGE_LISTEN", &format!("0.0.0.0:{PORT}")),
        literal("TORPOR_BRIDGE_CONFIG_DIR", CONFIG_DIRECTORY),
        literal("TORPOR_BRIDGE_AUDIENCE", &audience(holder)),
        literal("TORPOR_BRIDGE_ISSUER", &keys.issuer),
        literal("TORPOR_BRIDGE_JWKS", &keys.jwks),
        literal("TORPOR_BRIDGE_SUBJECT", &format!("system:serviceaccount:{namespace}:{account}")),
    ];
    environment.extend(market.environment());
    let mut volumes = vec![json!({"name": "bridge", "configMap": {
        "name": config_name(holder),
        "items": [{"key": files::EPOCH, "path": files::EPOCH}],
    }})];
    let mut mounts =
        vec![json!({"name": "bridge", "mountPath": CONFIG_DIRECTORY, "readOnly": true})];
    if let Some(SecretKeyRef { name, key }) = market.mounted() {
        // Optional: the command reports a missing file by name, where the kubelet would only wait.
        volumes.push(json!({"name": "secret", "secret": {
            "secretName": name,
            "optional": true,
            "items": [{"key": key, "path": key, "mode": 0o400}],
        }}));
        mounts.push(json!({
            "name": "secret",
            "mountPath": format!("{SECRETS_DIRECTORY}/{name}"),
            "readOnly": true,
        }));
    }
    let probe = |path: &str, more: Value| {
        let mut probe = json!({"httpGet": {"path": path, "port": PORT_NAME}});
        if let (Some(probe), Value::Object(more)) = (probe.as_object_mut(), more) {
            probe.extend::<Map<String, Value>>(more);
        }
        probe
    };
    let spec = json!({"spec": {
        // Two bridges would not know of each other's drains.
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": pod_labels(holder)},
        "template": {
            "metadata": {
                "labels": {MANAGED_BY: TORPOR, APP: BRIDGE, BRIDGE_OF: bridge_of(holder)},
                "annotations": {SETTINGS: market.digest()},
            },
            "spec": hardened_with_secret_files(json!({
                "terminationGracePeriodSeconds": 30,
                "containers": [{
                    "name": CONTAINER,
                    "image": image,
                    "args": ["bridge", market.command()],
                    "env": environment,
                    "ports": [{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
                    // The bridge listens once it has checked its statements, or has given up on the database.
                    "livenessProbe": probe("/healthz", json!(
                        {"initialDelaySeconds": 60, "periodSeconds": 10, "failureThreshold": 3})),
                    "readinessProbe": probe("/readyz", json!({"periodSeconds": 2})),
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "128Mi"},
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            })),
        },
    }});
    object(holder, ("apps/v1", "Deployment"), &name(holder), spec)
}

/// Returns whether an object has every field of the manifest. Fields and named entries that the API server
/// or another field manager adds do not count, as an apply would leave them. A list without names and a selector
/// must be equal.
pub(super) fn is_so(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => wanted.iter().all(|(key, wanted)| {
            there.get(key).is_some_and(|there| {
                if WHOLE.contains(&key.as_str()) { wanted == there } else { is_so(wanted, there) }
            })
        }),
        (Value::Array(wanted), Value::Array(there)) if wanted.iter().all(has_name) => {
            wanted.iter().all(|wanted| {
                let named = there.iter().find(|there| there["name"] == wanted["name"]);
                named.is_some_and(|there| is_so(wanted, there))
            })
        }
        (Value::Array(wanted), Value::Array(there)) => {
            wanted.len() == there.len()
                && wanted.iter().zip(there).all(|(wanted, there)| is_so(wanted, there))
        }
        (wanted, there) => wanted == there,
    }
}

fn has_name(entry: &Value) -> bool {
    entry.get("name").is_some()
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
