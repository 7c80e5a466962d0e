//! The operator's rights are sufficient and minimal.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{
    chart,
    namespace::Namespace,
    operator::Operator,
    project::Project,
    proxy::{Proxy, Request},
    rights,
};

/// Returns the entries in a list of a rule.
fn listed<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule[key].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[tokio::test]
async fn with_the_rights_that_it_is_shipped_with_it_is_refused_nothing_and_asks_for_no_secret() {
    let namespace = Namespace::create("rights").await;
    let proxy = Proxy::start_as(rights::grant(&namespace).await).await;
    let _operator = Operator::start_behind(&namespace, &proxy);
    let project = Project::create(namespace).await;
    proxy.forget();
    project.hibernate().await;
    project.until_down().await;
    project.hibernation().set_state("Awake").await;
    project.until_awake().await;
    project.assert_as_before().await;
    let requests = proxy.requests();
    let refused = requests.iter().filter(|request| request.met(401) || request.met(403));
    assert_eq!(refused.map(Request::title).collect::<Vec<_>>(), Vec::<String>::new());
    let asked_for: BTreeSet<_> = requests.iter().map(Request::resource).collect();
    assert!(asked_for.contains("jobs") && !asked_for.contains("secrets"), "{asked_for:?}");
}

#[test]
fn nobody_is_granted_secrets_a_wildcard_or_a_way_to_more_rights() {
    let mut granted = 0;
    let templates = ["rbac.yaml", "cluster-roles.yaml"];
    for role in templates.iter().flat_map(|name| chart::rendered("torpor-system", name, &[])) {
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
    assert!(granted > 10, "{granted} rules were read");
}
