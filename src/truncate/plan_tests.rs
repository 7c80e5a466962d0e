use proptest::prelude::*;

use super::super::facts::{Elsewhere, Feed, ForeignKey, Publication, Sequence, Trigger};
use super::*;

fn table(oid: Oid) -> Relation {
    Relation {
        oid,
        name: format!("public.t{oid}"),
        listed_as: Some(format!("t{oid}")),
        kind: "r".to_owned(),
        logged: true,
        may_truncate: true,
        ..Relation::default()
    }
}

fn asked(oid: Oid) -> Relation {
    Relation { asked: true, ..table(oid) }
}

/// A request for, and facts of, these relations.
fn of(relations: Vec<Relation>) -> (Request, Facts) {
    let names = |wanted: fn(&Relation) -> bool| {
        relations.iter().filter(|r| wanted(r)).filter_map(|r| r.listed_as.clone()).collect()
    };
    let request = Request {
        schema: "public".to_owned(),
        asked: names(|relation| relation.asked),
        kept: names(|relation| relation.kept),
        ..Request::default()
    };
    let facts = Facts {
        schema: "public".to_owned(),
        schema_exists: true,
        schema_usable: true,
        relations,
        ..Facts::default()
    };
    (request, facts)
}

fn reasons(decision: Result<Plan, Vec<Refusal>>) -> Vec<String> {
    decision.expect_err("it was not refused").into_iter().map(|refusal| refusal.reason).collect()
}

#[test]
fn tables_are_named_with_only_and_partitioned_ones_without() {
    let parted = Relation { kind: "p".to_owned(), ..asked(3) };
    let partition = Relation { partition: true, parents: vec![3], ..table(2) };
    let (request, facts) = of(vec![asked(1), partition, parted]);
    let plan = decide(&request, &facts).unwrap();
    assert_eq!(plan.table_list(), "ONLY public.t1, public.t3");
    assert_eq!(
        plan.tables.iter().map(|t| (t.oid, t.asked)).collect::<Vec<_>>(),
        [(1, true), (2, false), (3, true)]
    );
    assert!(plan.covers(2) && !plan.covers(4));
}

#[test]
fn a_name_that_the_session_finds_elsewhere_is_refused_once_for_each_schema() {
    let (request, mut facts) = of(vec![asked(1)]);
    let elsewhere = |schema: &str, number: i32| Elsewhere {
        name: format!("t{number}"),
        schema: schema.to_owned(),
    };
    facts.elsewhere = (1..9).map(|number| elsewhere("tenant", number)).collect();
    facts.elsewhere.push(elsewhere("old", 9));
    let refusals = decide(&request, &facts).expect_err("it was not refused");
    assert_eq!(refusals.iter().map(|r| r.object.as_str()).collect::<Vec<_>>(), ["old", "tenant"]);
    let message = &refusals[1].message;
    assert!(message.contains("\"t5\" and 3 more in schema \"tenant\""), "{message}");
    assert!(message.contains("Write --schema tenant"), "{message}");
}

#[test]
fn a_mistyped_preserved_table_is_refused_but_a_default_one_is_not() {
    let (mut request, facts) = of(vec![asked(1)]);
    request.kept = vec!["users".to_owned()];
    assert!(decide(&request, &facts).is_ok());
    request.kept_by_name = vec!["usres".to_owned()];
    assert_eq!(reasons(decide(&request, &facts)), ["MissingTable"]);
}

#[test]
fn a_sequence_of_another_owner_is_refused() {
    let (request, mut facts) = of(vec![asked(1), Relation { kept: true, ..table(2) }]);
    let name = "public.s".to_owned();
    let sequence = Sequence { oid: 9, name, table: 1, own: true, ..Sequence::default() };
    facts.sequences = vec![sequence.clone()];
    facts.feeds =
        vec![Feed { sequence: 9, table: 1, column: "public.t1.id".to_owned(), ..Feed::default() }];
    assert!(decide(&request, &facts).unwrap().covers(9));
    facts.sequences = vec![Sequence { own: false, ..sequence }];
    facts.feeds.push(Feed {
        sequence: 9,
        table: 2,
        column: "public.t2.id".to_owned(),
        ..Feed::default()
    });
    assert_eq!(reasons(decide(&request, &facts)), ["MissingPrivilege", "SharedSequence"]);
}

#[test]
fn replication_is_allowed_only_by_name() {
    let (mut request, mut facts) = of(vec![asked(1)]);
    let publication = |all, relations| Publication {
        name: "p".to_owned(),
        all,
        relations,
        ..Publication::default()
    };
    facts.publications = vec![publication(false, vec![7])];
    assert!(decide(&request, &facts).is_ok());
    facts.publications = vec![publication(false, vec![1]), publication(true, vec![])];
    assert_eq!(reasons(decide(&request, &facts)), ["Replicated", "Replicated"]);
    request.allow_replicated = true;
    assert!(decide(&request, &facts).is_ok());
}

#[test]
fn a_table_of_another_schema_cannot_be_added() {
    let (request, mut facts) = of(vec![asked(1)]);
    for (held_by, here) in
        [("public.notes", true), ("other.notes", false), ("publications.notes", false)]
    {
        facts.keys = vec![ForeignKey {
            from: 7,
            to: 1,
            held_by: held_by.to_owned(),
            ..ForeignKey::default()
        }];
        let refusals = decide(&request, &facts).expect_err("it was not refused");
        let message = &refusals[0].message;
        assert_eq!(message.contains(&format!("add {held_by} to the list")), here, "{message}");
        assert_ne!(message.contains("cannot be added"), here, "{message}");
    }
}

#[test]
fn a_publication_of_a_root_tells_of_its_partitions_and_of_nothing_that_only_inherits() {
    let above = Relation { listed_as: None, ..table(2) };
    let partition = Relation { partition: true, parents: vec![2], ..asked(1) };
    let (request, mut facts) = of(vec![partition, above]);
    facts.publications =
        vec![Publication { name: "p".to_owned(), relations: vec![2], ..Publication::default() }];
    assert_eq!(reasons(decide(&request, &facts)), ["Replicated"]);
    facts.relations[0].partition = false;
    assert!(decide(&request, &facts).is_ok());
}

/// Any small catalog: who is listed, what inherits, what refers to what.
fn any_facts() -> impl Strategy<Value = Facts> {
    let relation = (0..3_u8, prop::option::of(1..8_i64), any::<bool>());
    let pairs = || prop::collection::vec((1..8_i64, 1..8_i64), 0..4);
    (prop::collection::vec(relation, 7), pairs(), pairs(), prop::collection::vec(1..8_i64, 0..2))
        .prop_map(|(relations, keys, feeds, triggers)| {
            let relations = relations.into_iter().zip(1..).map(|((listed, parent, part), oid)| {
                // A parent has a lower number: there are no circles in a catalog.
                let parents: Vec<Oid> = parent.filter(|parent| *parent < oid).into_iter().collect();
                Relation {
                    asked: listed == 1,
                    kept: listed == 2,
                    listed_as: (listed > 0).then(|| format!("t{oid}")),
                    partition: part && !parents.is_empty(),
                    parents,
                    ..table(oid)
                }
            });
            Facts {
                schema: "public".to_owned(),
                schema_exists: true,
                schema_usable: true,
                elsewhere: Vec::new(),
                sessions: Vec::new(),
                keys_beyond: Vec::new(),
                relations: relations.collect(),
                keys: keys
                    .into_iter()
                    .zip(100..)
                    .map(|((from, to), root)| ForeignKey {
                        root,
                        from,
                        to,
                        ..ForeignKey::default()
                    })
                    .collect(),
                sequences: (1..8)
                    .map(|t| Sequence { oid: 50 + t, table: t, own: true, ..Sequence::default() })
                    .collect(),
                feeds: feeds
                    .into_iter()
                    .map(|(s, table)| Feed { sequence: 50 + s, table, ..Feed::default() })
                    .collect(),
                triggers: triggers
                    .into_iter()
                    .map(|table| Trigger { table, ..Trigger::default() })
                    .collect(),
                publications: Vec::new(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn nothing_leads_out_of_a_plan_and_nothing_kept_is_in_it(facts in any_facts()) {
        let (request, facts) = {
            let (request, with_relations) = of(facts.relations.clone());
            (request, Facts { relations: with_relations.relations, ..facts })
        };
        let Ok(plan) = decide(&request, &facts) else { return Ok(()) };
        let inside = |oid: Oid| plan.tables.iter().any(|table| table.oid == oid);
        for relation in &facts.relations {
            prop_assert_eq!(
                inside(relation.oid),
                relation.asked
                    || relation.partition && relation.parents.iter().any(|parent| inside(*parent))
            );
            prop_assert!(!(inside(relation.oid) && relation.kept));
            // Neither a child outside of a table inside, nor a kept table above one.
            for parent in &relation.parents {
                prop_assert!(inside(relation.oid) || !inside(*parent));
                let above = facts.relations.iter().find(|r| r.oid == *parent);
                prop_assert!(
                    !(relation.asked && above.is_some_and(|above| above.kept)),
                    "{relation:?}"
                );
            }
        }
        for key in &facts.keys {
            prop_assert!(!inside(key.to) || inside(key.from));
        }
        for feed in &facts.feeds {
            prop_assert!(!inside(feed.sequence - 50) || inside(feed.table));
        }
        for trigger in &facts.triggers {
            prop_assert!(!inside(trigger.table));
        }
    }

    #[test]
    fn what_is_refused_has_a_reason(facts in any_facts()) {
        let (request, _) = of(facts.relations.clone());
        if let Err(refusals) = decide(&request, &facts) {
            prop_assert!(!refusals.is_empty());
            for refusal in refusals {
                prop_assert!(!refusal.reason.is_empty() && !refusal.message.is_empty());
            }
        }
    }
}
