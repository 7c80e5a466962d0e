//! The operator's rights are sufficient and minimal: the API server's audit log of its features is compared with the
//! rights that the chart grants.
//!
//! `docs/rbac.md` has a table of both; with `TORPOR_WRITE_DOCS=1` the test rewrites it.

mod features;
mod page;

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::support::{
    audit::{self, Asked, Right},
    chart, cluster,
    namespace::Namespace,
    other_kinds::presets,
    rights,
};

/// Requests that Kubernetes itself permits to every account, by the roles `system:basic-user`, `system:discovery` and
/// `system:service-account-issuer-discovery`.
const OF_EVERYBODY: [(&str, &str, &str); 4] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    ("", "/.well-known/openid-configuration", "get"),
    ("", "/openapi/v3/apis/torpor.dev/v1alpha1", "get"),
    ("", "/openid/v1/jwks", "get"),
];

fn of_everybody() -> BTreeSet<Right> {
    let right = |group: &str, resource: String, verb: &str| Right {
        group: group.to_owned(),
        resource,
        verb: verb.to_owned(),
    };
    let fixed = OF_EVERYBODY
        .iter()
        .map(|(group, resource, verb)| right(group, (*resource).to_owned(), verb));
    // Whether the cluster serves a kind of the table, and whether its schema has the lever.
    let of_kinds = presets().iter().flat_map(|kind| {
        let version = format!("{}/{}", kind.group, kind.version);
        [format!("/apis/{version}"), format!("/openapi/v3/apis/{version}")]
    });
    fixed.chain(of_kinds.map(|path| right("", path, "get"))).collect()
}

/// Returns the requests of an account, once all of these rights are among them. The API server writes a line of its log
/// after the answer; that takes no longer than a moment.
async fn asked(user: &str, expected: &BTreeSet<Right>) -> Asked {
    for _ in 0..20 {
        let asked = audit::asked(user);
        if asked.used.is_superset(expected) {
            return asked;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    audit::asked(user)
}

fn lines<'a>(rights: impl IntoIterator<Item = &'a Right>) -> String {
    let mut lines: Vec<_> = rights.into_iter().map(|right| format!("  {right}\n")).collect();
    lines.sort();
    lines.concat()
}

/// Panics if an account was refused something, used a right that everybody has or nobody, or did not use its rights.
fn assert_exact(granted: &BTreeSet<Right>, asked: &Asked) {
    assert!(asked.refused.is_empty(), "refused:\n{}", lines(&asked.refused));
    let unused: Vec<_> = granted.difference(&asked.used).collect();
    assert!(unused.is_empty(), "granted, and used by nothing:\n{}", lines(unused));
    let others: BTreeSet<_> = asked.used.difference(granted).cloned().collect();
    let everybody = of_everybody();
    let more: Vec<_> = others.difference(&everybody).collect();
    assert!(more.is_empty(), "used, and not granted by the chart:\n{}", lines(more));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_right_that_the_chart_grants_is_used_and_nothing_more_is_asked_for() {
    let granted = rights::granted(&rights::with_presets("torpor-system"));
    let features = features::all().await;
    let mut all = Asked::default();
    for (_, asked) in &features {
        all.used.extend(asked.used.iter().cloned());
        all.refused.extend(asked.refused.iter().cloned());
    }
    assert_exact(&granted, &all);
    page::compare(&granted, &features);
}

#[tokio::test]
async fn the_self_test_of_the_chart_uses_each_right_that_it_is_granted() {
    let namespace = Namespace::create("self-test").await;
    let objects = rights::in_one_namespace(&namespace.name, "tests/self-test.yaml");
    let is = |kinds: &'static [&str]| {
        move |object: &Value| kinds.contains(&object["kind"].as_str().unwrap_or_default())
    };
    let roles = objects.iter().filter(|object| is(&["Role"])(object)).cloned().collect::<Vec<_>>();
    let bound = objects.into_iter().filter(is(&["Role", "RoleBinding"])).collect();
    let user = rights::grant_to(&namespace, "torpor-self-test", bound).await;
    let kubeconfig = rights::kubeconfig(&namespace, "torpor-self-test").await;
    let _operator = crate::support::operator::Operator::start(&namespace);
    let arguments =
        ["self-test", "--namespace", &namespace.name, "--image", crate::support::operator::IMAGE];
    let output = cluster::torpor_as(&kubeconfig, &arguments).await;
    assert!(output.contains("all is as it was"), "{output}");
    let granted = rights::granted(&roles);
    assert_exact(&granted, &asked(&user, &granted).await);
}

#[test]
fn an_installation_for_all_namespaces_grants_what_one_for_some_does() {
    let roles =
        |values: &[&str]| rights::granted(&chart::rendered("torpor-system", "rbac.yaml", values));
    let (all, some) = (roles(&[]), roles(&["watchNamespaces={shop}"]));
    let more: Vec<_> = all.difference(&some).map(|right| right.resource.as_str()).collect();
    assert_eq!(more, ["/.well-known/openid-configuration", "/openid/v1/jwks"]);
    assert!(some.is_subset(&all));
}

/// Returns the entries in a list of a rule.
fn listed<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule[key].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn nobody_is_granted_secrets_a_wildcard_or_a_way_to_more_rights() {
    let mut granted = 0;
    let templates = ["rbac.yaml", "cluster-roles.yaml", "tests/self-test.yaml"];
    let values: [&[&str]; 2] = [&[], &["watchNamespaces={shop}"]];
    let roles = values.into_iter().flat_map(|values| {
        templates.iter().flat_map(|name| chart::rendered("torpor-system", name, values))
    });
    for role in roles {
        for rule in role["rules"].as_array().into_iter().flatten() {
            granted += 1;
            let said = ["apiGroups", "resources", "verbs", "nonResourceURLs"]
                .into_iter()
                .flat_map(|key| listed(rule, key));
            for word in said {
                assert!(!word.contains('*'), "a wildcard: {rule}");
                assert!(!["escalate", "bind", "impersonate"].contains(&word), "{rule}");
            }
            let groups: Vec<_> = listed(rule, "apiGroups").collect();
            assert!(!groups.iter().any(|group| group.contains("rbac.authorization")), "{rule}");
            for resource in listed(rule, "resources") {
                let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
                assert_ne!(resource, "secrets", "{rule}");
                // A token is its account's rights, and a shell in a pod is the pod's.
                let own = listed(rule, "resourceNames").eq(["torpor"]);
                assert!(resource != "serviceaccounts" || own, "{rule}");
                assert!(resource != "pods" || sub.is_empty(), "{rule}");
                let changes = listed(rule, "verbs").any(|v| !["get", "list", "watch"].contains(&v));
                assert!(!(resource == "pods" && changes), "{rule}");
            }
        }
    }
    assert!(granted > 20, "{granted} rules were read");
}
