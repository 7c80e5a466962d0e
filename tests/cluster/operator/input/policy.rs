//! The admission policy of the chart refuses an author rights that the author does not have.

use axum::http::Request;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use super::{Row, Written, create};
use crate::support::{chart, hibernation::Hibernation, namespace::Namespace, wait, workload};

/// The text above the table.
pub(super) const ABOUT: &str = "The admission policy of the chart, with all of its `kindPresets`, refuses these: an author gets through \
    the operator only what they may do themselves. The object is not\nstored. `jane` may create \
    Hibernations and MaintenanceWindows in the namespace `project`, get the Secret `readable` and the Service \
    `reachable`, and nothing\nelse. The users `no-...` may also create the objects of a bridge, but for those in \
    their name. `deals` of a MaintenanceWindow have the same answers.";

const TEMPLATE: &str = "admission-policy.yaml";
const ALL_PRESETS: &str = "kindPresets={keda,argoRollouts,flux,cloudnativepg}";
const POLICY: &str = "torpor-authors";
const AUTHOR: &str = "jane";

/// What `jane` writes.
const WRITTEN: [&str; 24] = [
    "database: {secretRef: {name: cornice-db, key: DATABASE_URL}}",
    "database: {secretRef: {name: readable, key: DATABASE_URL}, caSecretRef: {name: cornice-ca, key: ca.crt}}",
    "database: {connection: {host: db, name: cornice, secretName: cornice-db}}",
    "database: {connection: {host: db, name: cornice, secretName: readable}}",
    "database: {secretRef: {name: readable, key: DATABASE_URL}}",
    DEALS[0],
    DEALS[1],
    DEALS[2],
    DEALS[3],
    DEALS[4],
    "configMaps: [{name: cornice-env}]",
    "workloads: [{kind: Deployment, name: worker}]",
    "workloads: [{kind: StatefulSet, all: true}]",
    "workloads: [{kind: ReplicaSet, name: worker}]",
    "workloads: [{kind: DaemonSet, name: agent}]",
    "workloads: [{kind: CronJob, name: nightly}]",
    "workloads: [{kind: Job, name: import}]",
    "workloads: [{kind: ScaledObject, name: worker}]",
    "workloads: [{kind: ScaledJob, name: import}]",
    "workloads: [{kind: Rollout, name: api}]",
    "workloads: [{kind: Kustomization, name: apps}]",
    "workloads: [{kind: HelmRelease, name: app}]",
    "workloads: [{kind: Cluster, name: db}]",
    "workloads: [{kind: Unicorn, name: worker}]",
];

/// Markets, each with a right that `jane` does not have.
const DEALS: [&str; 5] = [
    "deals: {source: {sonm: {node: \"http://sonm-node:15031\", worker: \"0x8125721C2413d99a33E351e1F6Bb4e56b6b633FD\", keySecretRef: {name: sonm-key, key: master.key}}}}",
    "deals: {source: {postgres: {secretRef: {name: cornice-db, key: DATABASE_URL}, query: SELECT 1}}}",
    "deals: {source: {postgres: {secretRef: {name: readable, key: DATABASE_URL}, caSecretRef: {name: cornice-ca, key: ca.crt}, query: SELECT 1}}}",
    "deals: {source: {sonm: {node: \"http://sonm-node:15031\", worker: \"0x8125721C2413d99a33E351e1F6Bb4e56b6b633FD\", insecureNode: true}}}",
    "deals: {source: {service: {name: market, port: 8080}}}",
];

/// A market with a bridge that needs no Secret. It needs the right to create each of these.
const BRIDGE: &str = DEALS[3];
const OF_A_BRIDGE: [(&str, &str); 4] = [
    ("apps", "deployments"),
    ("", "services"),
    ("networking.k8s.io", "networkpolicies"),
    ("", "configmaps"),
];

/// Creates a user with the rights of `jane`, and the right to create these objects.
async fn author(namespace: &Namespace, name: &str, creates: &[(&str, &str)]) {
    let mut rules = vec![
        json!({"apiGroups": ["torpor.dev"], "resources": ["hibernations", "maintenancewindows"], "verbs": ["create", "patch"]}),
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["readable"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["services"], "resourceNames": ["reachable"], "verbs": ["get"]}),
    ];
    rules.extend(creates.iter().map(
        |(group, plural)| json!({"apiGroups": [group], "resources": [plural], "verbs": ["create"]}),
    ));
    let role: Role = workload::object(json!({"metadata": {"name": name}, "rules": rules}));
    workload::create(namespace, &role).await;
    let bound: RoleBinding = workload::object(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }));
    workload::create(namespace, &bound).await;
}

/// Creates the users that lack one right of a bridge, and `all`, who lacks none. Returns their names.
async fn authors_of_bridges(namespace: &Namespace) -> Vec<String> {
    let mut names = Vec::new();
    for lacking in OF_A_BRIDGE {
        let creates: Vec<_> = OF_A_BRIDGE.into_iter().filter(|right| *right != lacking).collect();
        let name = format!("no-{}", lacking.1);
        author(namespace, &name, &creates).await;
        names.push(name);
    }
    // The last one: when its rights are known, so are those of the others.
    author(namespace, "all", &OF_A_BRIDGE).await;
    names
}

/// Returns the rows with the answers.
pub(super) async fn rows() -> Vec<Row> {
    let namespace = Namespace::create("policy").await;
    author(&namespace, AUTHOR, &[]).await;
    let lacking = authors_of_bridges(&namespace).await;
    put_in_force(&namespace).await;

    let answer = async |written: &str, author: &str| {
        let manifest = Written::from(written).manifest("project");
        create(&namespace, manifest, true, Some(author)).await
    };
    // The API server learns of rights and policies after a moment, which nothing announces.
    wait::poll("the policy is in force", async || {
        let in_force = answer("state: Awake", AUTHOR).await.is_ok()
            && answer(BRIDGE, "all").await.is_ok()
            && answer(WRITTEN[0], AUTHOR).await.is_err_and(|message| message.contains(POLICY));
        in_force.then_some(())
    })
    .await;

    let mut rows = Vec::new();
    let by_jane = WRITTEN.iter().map(|written| (*written, AUTHOR));
    let of_bridges = lacking.iter().map(|author| (BRIDGE, author.as_str()));
    for (written, author) in by_jane.chain(of_bridges) {
        let Err(message) = answer(written, author).await else {
            panic!("{written} by {author} was admitted")
        };
        rows.push(Row {
            written: written.to_owned(),
            caught: "policy".to_owned(),
            message: message.replace(&namespace.name, "project"),
        });
    }
    assert_windows_are_answered_the_same(&namespace, &rows).await;
    assert_who_may_not_stop_it_may_not_release_it(&namespace).await;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(namespace.client.clone());
    bindings.delete(&namespace.name, &DeleteParams::default()).await.expect("it is deleted");
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(namespace.client.clone());
    policies.delete(POLICY, &DeleteParams::default()).await.expect("it is deleted");
    assert_every_validation_is_shown(&rows);
    rows
}

/// Checks that a market in a `MaintenanceWindow` needs the same rights, and that a Service that the author may
/// get is admitted.
async fn assert_windows_are_answered_the_same(namespace: &Namespace, rows: &[Row]) {
    let answer = async |kind: &str, spec: &str| {
        let path = format!(
            "/apis/torpor.dev/v1alpha1/namespaces/{}/{}s?fieldValidation=Strict&dryRun=All",
            namespace.name,
            kind.to_lowercase()
        );
        let manifest = format!(
            "apiVersion: torpor.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: project}}\nspec:\n  {spec}\n"
        );
        let request = Request::post(path)
            .header("content-type", "application/yaml")
            .header("impersonate-user", AUTHOR)
            .body(manifest.into_bytes())
            .expect("a request");
        namespace.client.request::<Value>(request).await
    };
    let window = async |deals: &str| {
        answer("MaintenanceWindow", &format!("start: \"2036-12-01T02:00:00Z\"\n  {deals}")).await
    };
    for deals in DEALS {
        let said = window(deals).await.expect_err("it was admitted").to_string();
        let row = rows.iter().find(|row| row.written == deals).expect("a row");
        let (_, same) = row.message.split_once("denied request: ").expect("an answer");
        let same = same.replace("namespace project", &format!("namespace {}", namespace.name));
        assert!(said.contains(POLICY) && said.contains(&same), "{said}");
    }
    let served = "deals: {source: {service: {name: reachable, port: 8080}}}";
    window(served).await.expect("it is admitted");
    let hibernation = format!("state: Awake\n  {served}");
    answer("Hibernation", &hibernation).await.expect("it is admitted");
}

/// Checks that removing an entry from the spec needs the same rights as adding it, as it releases
/// the entry's objects.
async fn assert_who_may_not_stop_it_may_not_release_it(namespace: &Namespace) {
    for (name, field, named, may_not) in [
        ("one", "workloads", json!([{"kind": "CronJob", "name": "nightly"}]), "patch CronJobs"),
        ("third", "workloads", json!([{"kind": "Rollout", "name": "api"}]), "patch Rollouts"),
        ("other", "configMaps", json!([{"name": "env"}]), "patch ConfigMaps"),
    ] {
        Hibernation::create(namespace, name, json!({"state": "Awake", field: named})).await;
        let request = Request::patch(format!(
            "/apis/torpor.dev/v1alpha1/namespaces/{}/hibernations/{name}",
            namespace.name
        ))
        .header("content-type", "application/merge-patch+json")
        .header("impersonate-user", AUTHOR)
        .body(json!({"spec": {field: null}}).to_string().into_bytes())
        .expect("a request");
        let answer = namespace.client.request::<Value>(request).await;
        let said = answer.expect_err("it was admitted").to_string();
        assert!(said.contains(POLICY) && said.contains(may_not), "{said}");
    }
}

/// Returns the policy of the chart and its binding.
fn shipped() -> (Value, Value) {
    let objects = chart::rendered("torpor-system", TEMPLATE, &[ALL_PRESETS]);
    let [policy, binding] = objects.try_into().expect("a policy and its binding");
    (policy, binding)
}

/// Installs the policy of the chart. Its binding is limited to this namespace, so that other tests
/// run without it.
async fn put_in_force(namespace: &Namespace) {
    let (policy, mut binding) = shipped();
    let name = &namespace.name;
    binding["metadata"]["name"] = json!(name);
    binding["spec"]["matchResources"] =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    for (kind, name, manifest) in [
        ("validatingadmissionpolicies", POLICY, policy),
        ("validatingadmissionpolicybindings", name, binding),
    ] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
        let request = Request::patch(format!("{path}?fieldManager=test&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(manifest.to_string().into_bytes())
            .expect("a request");
        namespace.client.request::<Value>(request).await.expect("it is applied");
    }
}

/// Checks that every validation of the policy has refused a row: a row contains the texts of its
/// message expression in order.
fn assert_every_validation_is_shown(rows: &[Row]) {
    let (policy, _) = shipped();
    let validations = policy["spec"]["validations"].as_array().expect("validations");
    assert!(validations.len() > 23, "{policy}");
    for validation in validations {
        let texts: Vec<&str> = match validation["messageExpression"].as_str() {
            Some(expression) => expression.split('\'').skip(1).step_by(2).collect(),
            None => vec![validation["message"].as_str().expect("a message")],
        };
        let shown = |row: &&Row| {
            let mut rest = row.message.as_str();
            texts.iter().all(|text| match rest.split_once(text) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
        };
        let said: Vec<_> = rows.iter().map(|row| &row.message).collect();
        assert!(rows.iter().any(|row| shown(&row)), "none with {texts:?}: {said:#?}");
    }
}
