use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// The rules of the chart. They contain no template.
fn chart() -> Vec<Value> {
    let template = include_str!("../../charts/torpor/templates/rbac.yaml");
    let (_, rules) = template.split_once("{{- define \"torpor.rules\" -}}\n").unwrap();
    let (rules, _) = rules.split_once("{{- end }}").unwrap();
    serde_saphyr::from_str(rules).unwrap()
}

#[test]
fn the_operator_needs_the_rights_that_the_chart_grants_and_no_other() {
    let mut granted = BTreeSet::new();
    for rule in chart() {
        let words = |key: &str| {
            let words = rule[key].as_array().unwrap().clone();
            words.into_iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for group in words("apiGroups") {
            for resource in words("resources") {
                granted.extend(
                    words("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)),
                );
            }
        }
    }
    let needed = SCOPED.iter().flat_map(|right| {
        let owned =
            |verb: &&str| (right.group.to_owned(), right.resource.to_owned(), (*verb).to_owned());
        right.verbs.iter().map(owned)
    });
    assert_eq!(needed.collect::<BTreeSet<_>>(), granted);
}

#[test]
fn missing_rights_are_named_by_scope_and_resource() {
    let jobs = Right { group: "batch", resource: "jobs", verbs: &["create", "delete"] };
    let status = Right { group: "torpor.dev", resource: "hibernations/status", verbs: &["patch"] };
    let mut refused: Vec<_> = questions(&jobs, Some("shop"), None).collect();
    refused.extend(questions(&status, None, None));
    let lines = in_words(&refused);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with(
            "the operator may not patch hibernations/status.torpor.dev in all namespaces: grant"
        ),
        "{lines:?}"
    );
    assert!(
        lines[1]
            .starts_with("the operator may not create, delete jobs.batch in namespace shop: grant"),
        "{lines:?}"
    );
}
