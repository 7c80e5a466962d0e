//! `torpor truncate` on random schemas and lists. A judge predicts the outcome from the generated
//! world, and compares every table, sequence and catalog before and after.
//!
//! `TORPOR_CASES` is the number of cases (by default a fixed sample), `TORPOR_SEED` the seed of the
//! first. A case that fails is shrunk and printed with its seed.

mod asked;
mod build;
mod chance;
mod judge;
mod snapshot;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use asked::Asked;
use build::ROLE;
use chance::Chance;
use judge::judge;
use snapshot::Snapshot;
use world::World;

use crate::support::postgres::{Database, Ended, truncate_at};

/// The sample of every run.
const CASES: u64 = 150;
const SEED: u64 = 1;

/// The number of databases. Each runs one case after the other.
const AT_ONCE: usize = 3;

/// Empties the database, which is much faster than creating a new one.
const CLEAR: &str = "
DO $$ DECLARE it name; BEGIN
  FOR it IN SELECT pubname FROM pg_publication LOOP EXECUTE format('DROP PUBLICATION %I', it); END LOOP;
  FOR it IN SELECT nspname FROM pg_namespace WHERE nspname = 'public' OR oid >= 16384 LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', it);
  END LOOP;
  CREATE SCHEMA public;
  GRANT USAGE ON SCHEMA public TO public;
END $$";

/// The command of a case and its outcome.
struct Tried {
    script: Vec<String>,
    arguments: Vec<String>,
    /// The reasons of a refusal; empty after success.
    reasons: Vec<String>,
    wrong: Vec<String>,
}

/// Creates the world, runs the command, judges the outcome and cleans up.
async fn try_it(database: &mut Database, mut world: World, asked: &Asked) -> (World, Tried) {
    let url = if world.role.is_some() { database.role(ROLE).await } else { database.url.clone() };
    let url = asked.url(&url, &world);
    let script = world.build(&mut database.admin).await;
    let name = database.text("SELECT current_database()::text").await;
    let arguments = asked.arguments(&name);
    let verdict = judge(&world, asked);
    let mut wrong = Vec::new();

    let before = Snapshot::at(&mut database.admin).await;
    let strs: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let planned = if asked.dry_run {
        let planned = truncate_at(&url, &[&strs[..], &["--dry-run"]].concat()).await;
        let after = Snapshot::at(&mut database.admin).await;
        wrong.extend(before.differences(&after).into_iter().map(|d| format!("the dry run: {d}")));
        Some(planned)
    } else {
        None
    };
    let ended = truncate_at(&url, &strs).await;
    let after = Snapshot::at(&mut database.admin).await;
    if let Some(planned) = planned
        && (planned.status != ended.status || reasons(&planned) != reasons(&ended))
    {
        wrong.push(format!("the dry run ended otherwise: {planned:?}"));
    }
    match ended.status {
        0 if verdict.is_refusal() => {
            wrong.push(format!("it was not refused, though: {:?}", verdict.obstacles));
        }
        0 => {
            wrong.extend(verdict.wrong_between(&world, &before, &after));
            let reported = ended.report().totals.tables;
            if reported != verdict.tables() {
                wrong.push(format!("it reports {reported} tables instead of {}", verdict.tables()));
            }
        }
        3 => {
            wrong.extend(before.differences(&after));
            if verdict.is_done() {
                wrong.push(format!("it was refused without a reason: {ended:?}"));
            }
            let report = ended.report();
            wrong.extend(verdict.wrong_with(&report.refusals, report.omitted_refusals));
        }
        _ => wrong.push(format!("it was neither done nor refused: {ended:?}")),
    }
    database.run(CLEAR).await;
    let tried = Tried { script, arguments, reasons: reasons(&ended), wrong };
    (world, tried)
}

fn reasons(ended: &Ended) -> Vec<String> {
    let refusals = ended.report.iter().flat_map(|report| &report.refusals);
    refusals.map(|refusal| refusal.reason.clone()).collect()
}

/// Returns the case without one object or argument, if nothing else depends on it.
fn without(world: &World, asked: &Asked, place: usize) -> Option<(World, Asked)> {
    let (mut world, mut asked) = (world.clone(), asked.clone());
    let mut place = place;
    let mut within = |length: usize| {
        let here = place;
        place = place.wrapping_sub(length);
        (here < length).then_some(here)
    };
    if let Some(key) = within(world.keys.len()) {
        std::mem::replace(&mut world.keys[key].alive, false).then_some(())?;
    } else if let Some(trigger) = within(world.triggers.len()) {
        std::mem::replace(&mut world.triggers[trigger].alive, false).then_some(())?;
    } else if let Some(publication) = within(world.publications.len()) {
        std::mem::replace(&mut world.publications[publication].alive, false).then_some(())?;
    } else if let Some(sequence) = within(world.sequences.len()) {
        world.sequences[sequence].owner.take()?;
    } else if let Some(table) = within(world.tables.len()) {
        let of = world.living().any(|other| world.parents(other).contains(&table));
        if of || !std::mem::replace(&mut world.tables[table].alive, false) {
            return None;
        }
        let name = world.tables[table].name.clone();
        if asked.schema == world.schemas[world.tables[table].schema] {
            asked.lists.iter_mut().for_each(|list| list.retain(|listed| *listed != name));
        }
    } else if within(1).is_some() {
        world.role.take()?;
    } else {
        return None;
    }
    Some((world, asked))
}

/// Shrinks a failing case, and returns its description.
async fn smallest(
    seed: u64,
    database: &mut Database,
    mut world: World,
    mut asked: Asked,
    mut tried: Tried,
) -> String {
    let things = |world: &World| {
        world.keys.len()
            + world.triggers.len()
            + world.publications.len()
            + world.sequences.len()
            + world.tables.len()
            + 1
    };
    let mut shrunk = true;
    while shrunk {
        shrunk = false;
        for place in 0..things(&world) {
            let Some((smaller, less)) = without(&world, &asked, place) else { continue };
            let (smaller, again) = try_it(database, smaller, &less).await;
            if !again.wrong.is_empty() {
                (world, asked, tried, shrunk) = (smaller, less, again, true);
            }
        }
    }
    format!(
        "TORPOR_SEED={seed} TORPOR_CASES=1\n{}\n\n{};\n\ntorpor truncate {:?}{} with search_path {:?}\n",
        tried.wrong.join("\n"),
        tried.script.join(";\n"),
        tried.arguments,
        if world.role.is_some() { format!(" as {ROLE}") } else { String::new() },
        asked.search_path,
    )
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn whatever_the_schema_what_was_asked_for_is_emptied_and_nothing_else() {
    let (cases, seed) = (variable("TORPOR_CASES", CASES), variable("TORPOR_SEED", SEED));
    Database::new("chance").await.role(ROLE).await;
    let worker = |place: u64| async move {
        let mut database = Database::new(&format!("chance_{place}")).await;
        let (mut all_reasons, mut failures) = (Vec::new(), Vec::new());
        for seed in (seed + place..seed + cases).step_by(AT_ONCE) {
            let mut chance = Chance::new(seed);
            let world = World::by(&mut chance);
            let asked = Asked::by(&mut chance, &world);
            let (world, tried) = try_it(&mut database, world, &asked).await;
            if tried.wrong.is_empty() {
                all_reasons.push(tried.reasons);
            } else {
                failures.push(smallest(seed, &mut database, world, asked, tried).await);
            }
            if failures.len() == 2 {
                break;
            }
        }
        (all_reasons, failures)
    };
    let ends = futures::future::join_all((0..AT_ONCE as u64).map(worker)).await;
    let (mut counts, mut failures) = (BTreeMap::<String, u64>::new(), Vec::new());
    for (all_reasons, failed) in ends {
        failures.extend(failed);
        for mut reasons in all_reasons {
            if reasons.is_empty() {
                reasons.push("done".to_owned());
            }
            for reason in BTreeSet::from_iter(reasons) {
                *counts.entry(reason).or_default() += 1;
            }
        }
    }
    println!("{cases} cases from seed {seed}: {counts:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    if cases >= CASES {
        // A sample without these outcomes would prove nothing about them.
        for reason in [
            "done",
            "ForeignKey",
            "InheritanceChild",
            "MissingPrivilege",
            "MissingTable",
            "OtherSchema",
            "PreservedParent",
            "PreservedPartition",
            "Replicated",
            "SharedSequence",
            "TruncateTrigger",
        ] {
            assert!(counts.get(reason).copied().unwrap_or_default() > 0, "{reason}: {counts:?}");
        }
    }
}
