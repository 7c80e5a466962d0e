use super::facts::{Facts, Lack};
use std::sync::Arc;

use super::kinds::{Entry, Source};
use super::operator::{Operator, Term};
use super::*;
use crate::hold::kinds::{PRESETS, Unusable, parse};
use crate::plugin::golden;
use crate::version::VERSION;

fn now() -> Timestamp {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

fn well() -> Facts {
    let renewed = "2026-11-30T09:59:57Z".parse().ok();
    let operator = Operator {
        namespace: "torpor-system".to_owned(),
        name: "torpor".to_owned(),
        version: Some(VERSION.to_owned()),
        image: "registry.example/torpor:1".to_owned(),
        desired: 2,
        ready: 2,
        watched: Vec::new(),
        lease: Some(Term { holder: "torpor-7d9_0af3".to_owned(), renewed, seconds: 15 }),
        table: Some(Source { config_map: "torpor-kinds".to_owned(), key: "kinds.yaml".to_owned() }),
        kinds: Some(Ok(entries(PRESETS))),
    };
    let purposes = ["hibernate and wake", "plan"];
    Facts {
        server: Ok(("1".to_owned(), "35+".to_owned())),
        definitions: Ok(Vec::new()),
        operators: Ok(vec![operator]),
        policies: Ok((1, 1)),
        lacking: Ok(purposes.map(|purpose| Lack { purpose, rights: Vec::new() }).into()),
        objects: Ok(vec![golden::object("hibernated")]),
    }
}

/// Returns the entries of a table in a cluster that serves all its kinds.
fn entries(text: &str) -> Vec<Entry> {
    let entry = |kind| Entry { kind: Arc::new(kind), problems: Vec::new() };
    parse(text).unwrap().into_iter().map(entry).collect()
}

fn screen(facts: &Facts) -> String {
    let text = render(&judge(facts, "shop", now()), Screen::plain());
    // A new version changes no golden file.
    text.replace(VERSION, "VERSION")
}

#[test]
fn a_sound_installation_is_all_ticks() {
    golden::check("check", &screen(&well()));
}

#[test]
fn each_problem_has_a_hint() {
    let mut facts = well();
    facts.definitions = Ok(vec!["the cluster has no definition of Hibernation".to_owned()]);
    facts.policies = Ok((1, 0));
    facts.lacking = Ok(vec![Lack {
        purpose: "hibernate and wake",
        rights: vec!["patch hibernations.torpor.dev".to_owned(), "list jobs.batch".to_owned()],
    }]);
    facts.objects = Ok(vec![golden::object("new"), golden::object("stalled")]);
    if let Ok(operators) = &mut facts.operators {
        operators[0].ready = 0;
        operators[0].version = Some("0.0.1".to_owned());
        operators[0].watched = vec!["web".to_owned()];
        operators[0].lease = Some(Term {
            renewed: "2026-11-30T09:00:00Z".parse().ok(),
            ..operators[0].lease.clone().unwrap()
        });
        let widgets = |kind: &str, lever: &str| {
            format!(
                "- {{kind: {kind}, group: example.com, version: v1, plural: widgets, lever: {lever}, value: true}}\n"
            )
        };
        let mut entries =
            entries(&(widgets("Gadget", "/spec/off") + &widgets("Widget", "/spec/asleep")));
        entries[0].problems = vec![Unusable::NotServed];
        entries[1].problems = vec![Unusable::NoField("/spec/asleep".to_owned())];
        operators[0].kinds = Some(Ok(entries));
    }
    golden::check("check-problems", &screen(&facts));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let no = || "forbidden".to_owned();
    let refused = Facts {
        server: Ok(("1".to_owned(), "32".to_owned())),
        definitions: Err(no()),
        operators: Err(no()),
        policies: Err(no()),
        lacking: Err(no()),
        objects: Err(no()),
    };
    let lines = judge(&refused, "shop", now());
    assert_eq!(lines.iter().filter(|line| line.level == Level::Failed).count(), 1);
    assert!(lines[0].hint.contains("1.33 or newer"), "{lines:?}");
    let mut operators = well().operators.unwrap();
    operators[0].kinds = Some(Err(no()));
    let unread = screen(&Facts { operators: Ok(operators), ..well() });
    assert!(unread.contains("! cannot read the table of kinds"), "{unread}");
    let gone = Facts { server: Err("no route".to_owned()), ..refused };
    assert_eq!(judge(&gone, "shop", now()).len(), 1);
    let none = Facts { operators: Ok(Vec::new()), ..well() };
    assert!(screen(&none).contains("✗ there is no Deployment of the operator"));
}
