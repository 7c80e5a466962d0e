//! The decision: the facts of the catalogs become one closed list of tables, or every refusal.
//!
//! Pure; [`super::catalog`] reads the facts. The rule: the truncation empties and restarts nothing outside the
//! request. Only a partition of a requested table goes along: its rows are that table's rows.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Oid, Relation, Sequence};
use super::listed::{elsewhere, missing, unfit};
use super::report::{Refusal, RefusalReason};
use super::request::Request;
use super::setting::{Reader, Setting};

/// One table to be emptied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// Its identity.
    pub(super) oid: Oid,
    /// Schema and name, quoted by the database: the only text that becomes part of a statement.
    pub(super) name: String,
    /// Whether the request names it. Otherwise it is a partition of a requested table.
    pub(super) asked: bool,
    /// The requested table: itself, or the table of which it is a partition.
    pub(super) with: Oid,
    /// Whether it is partitioned: it holds no rows, and statements on it reach its partitions.
    pub(super) partitioned: bool,
    /// Rows, estimated.
    pub(super) rows: u64,
}

/// A closed list of tables: nothing outside it refers to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Plan {
    /// The tables, in the order of their identity, which is the order in which they are locked.
    pub(super) tables: Vec<Target>,
    /// The sequences that restart.
    pub(super) sequences: Vec<Sequence>,
}

impl Plan {
    /// Returns the list of tables for TRUNCATE and LOCK TABLE. `ONLY` names the very table that was read. A
    /// partitioned table allows no `ONLY`, and all its partitions are in the plan. Partitions that go along are not
    /// named: their parent's name covers them, privileges included.
    pub(super) fn table_list(&self) -> String {
        let listed = self.tables.iter().filter(|table| table.asked).map(|table| {
            if table.partitioned { table.name.clone() } else { format!("ONLY {}", table.name) }
        });
        listed.collect::<Vec<_>>().join(", ")
    }

    /// Returns whether the truncation may touch a relation.
    pub(super) fn covers(&self, oid: Oid) -> bool {
        self.tables.iter().any(|table| table.oid == oid)
            || self.sequences.iter().any(|sequence| sequence.oid == oid)
    }
}

/// Returns the plan, or every refusal.
pub(super) fn decide(request: &Request, facts: &Facts) -> Result<Plan, Vec<Refusal>> {
    let mut refusals = Vec::new();
    if !facts.schema_exists {
        return Err(vec![RefusalReason::MissingSchema.refuse(
            &request.schema,
            format!(
                "schema \"{}\" does not exist in this database: correct {}",
                request.schema,
                Setting::Schema.name(request.reader)
            ),
        )]);
    }
    if !facts.schema_usable {
        refusals.push(RefusalReason::MissingPrivilege.refuse(
            &request.schema,
            format!(
                "the role may not use the schema: GRANT USAGE ON SCHEMA {} TO that role",
                facts.schema
            ),
        ));
    }
    refusals.extend(elsewhere(request, facts));
    refusals.extend(missing(request, facts));

    let by_oid: BTreeMap<Oid, &Relation> =
        facts.relations.iter().map(|relation| (relation.oid, relation)).collect();
    let family = family(facts);
    refusals.extend(unfit(facts, &family));
    refusals.extend(kin(facts, &by_oid, &family));
    refusals.extend(keys(facts, &by_oid, &family));
    refusals.extend(sequences(facts, &by_oid, &family));
    refusals.extend(side_effects(request, facts, &by_oid, &family));
    if !refusals.is_empty() {
        return Err(refusals);
    }

    let tables = family.iter().filter_map(|oid| by_oid.get(oid)).map(|relation| Target {
        oid: relation.oid,
        name: relation.name.clone(),
        asked: relation.asked,
        with: asked_above(relation, &by_oid),
        partitioned: relation.kind == "p",
        rows: relation.rows,
    });
    let sequences = facts.sequences.iter().filter(|sequence| family.contains(&sequence.table));
    Ok(Plan { tables: tables.collect(), sequences: sequences.cloned().collect() })
}

/// Returns the nearest requested table, from here upwards.
fn asked_above(relation: &Relation, by_oid: &BTreeMap<Oid, &Relation>) -> Oid {
    let mut at = relation;
    while !at.asked {
        // A partition has one parent.
        match at.parents.first().and_then(|parent| by_oid.get(parent)) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at.oid
}

/// Returns the requested tables and all partitions below them.
pub(super) fn family(facts: &Facts) -> BTreeSet<Oid> {
    let mut family: BTreeSet<Oid> =
        facts.relations.iter().filter(|relation| relation.asked).map(|r| r.oid).collect();
    loop {
        let more: Vec<Oid> = facts
            .relations
            .iter()
            .filter(|relation| relation.partition && !family.contains(&relation.oid))
            .filter(|relation| relation.parents.iter().any(|parent| family.contains(parent)))
            .map(|relation| relation.oid)
            .collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

/// Returns the remedies for a table that depends on the list: to add it, where that is possible, or `otherwise`.
fn ways_out(facts: &Facts, table: &str, otherwise: &str) -> String {
    if is_here(facts, table) {
        format!("add {table} to the list, or {otherwise}")
    } else {
        format!("{otherwise} (it {ELSEWHERE})")
    }
}

/// Returns the warning about a table that an extension has made, as TimescaleDB does the chunks of a table: what an
/// author may do to another would tear it apart.
fn keep_off(table: &str, extension: &str) -> String {
    format!("the extension \"{extension}\" keeps {table}: leave {table} as it is")
}

/// The cause by which a table of another schema cannot be added.
const ELSEWHERE: &str = "cannot be added: one run empties tables of one schema";

/// Returns whether a quoted name is one of the requested schema.
fn is_here(facts: &Facts, name: &str) -> bool {
    // Quoted as the database does, a schema's name is followed by a dot only as such.
    name.strip_prefix(&facts.schema).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the remedies for a foreign key of `holder` that leads to a table of the list.
fn of_key(facts: &Facts, holder: &str, name: &str, to: &str, extension: Option<&str>) -> String {
    match extension {
        Some(extension) => format!(
            "{}, and drop the key of the table that {holder} is a part of, or remove {to} from the list",
            keep_off(holder, extension)
        ),
        None => ways_out(
            facts,
            holder,
            &format!("drop the key with ALTER TABLE {holder} DROP CONSTRAINT {name}"),
        ),
    }
}

/// Returns a refusal for each child outside the list, and each preserved table above or below it.
fn kin(facts: &Facts, by_oid: &BTreeMap<Oid, &Relation>, family: &BTreeSet<Oid>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for relation in &facts.relations {
        let name = &relation.name;
        let leads_up = |parent: &Relation| {
            family.contains(&parent.oid)
                || ancestors(parent, by_oid).any(|above| family.contains(&above.oid))
        };
        let mut parents = relation.parents.iter().filter_map(|parent| by_oid.get(parent));
        if let Some(parent) = parents.find(|parent| leads_up(parent)) {
            let of = &parent.name;
            if relation.kept && relation.partition {
                let ways = match &relation.extension {
                    Some(extension) => {
                        format!("{}, and remove it from its list", keep_off(name, extension))
                    }
                    None => format!("detach {name}, or remove it from its list"),
                };
                let message = format!(
                    "{name} is to be preserved, but it is a partition of {of}, which is to be emptied: {ways}"
                );
                refusals.push(RefusalReason::PreservedPartition.refuse(name, message));
            } else if relation.detaching {
                let message = format!(
                    "{name} is half detached from {of}, so that TRUNCATE would lock it and leave its \
                     rows: finish the detachment with ALTER TABLE {of} DETACH PARTITION {name} FINALIZE"
                );
                refusals.push(RefusalReason::DetachingPartition.refuse(name, message));
            } else if !family.contains(&relation.oid) {
                let ways = match &relation.extension {
                    Some(extension) => format!(
                        "{}, remove {of} from the list, and empty {of} as the extension provides for",
                        keep_off(name, extension)
                    ),
                    None => ways_out(
                        facts,
                        name,
                        &format!("end that with ALTER TABLE {name} NO INHERIT {of}"),
                    ),
                };
                let message = format!(
                    "{name} inherits from {of}, so that its rows are also rows of {of}: {ways}"
                );
                refusals.push(RefusalReason::InheritanceChild.refuse(name, message));
            }
        }
        if relation.asked {
            for above in ancestors(relation, by_oid).filter(|above| above.kept) {
                let message = format!(
                    "the rows of {name}, which is to be emptied, are also rows of {}, which is to be \
                     preserved: remove one of the two from its list",
                    above.name
                );
                refusals.push(RefusalReason::PreservedParent.refuse(name, message));
            }
        }
    }
    refusals
}

fn ancestors<'a>(
    relation: &Relation,
    by_oid: &'a BTreeMap<Oid, &'a Relation>,
) -> impl Iterator<Item = &'a Relation> {
    let mut seen = BTreeSet::new();
    let mut next = relation.parents.clone();
    while let Some(oid) = next.pop() {
        if seen.insert(oid) {
            next.extend(by_oid.get(&oid).map_or(&[][..], |parent| &parent.parents));
        }
    }
    seen.into_iter().filter_map(|oid| by_oid.get(&oid).copied())
}

/// Returns the tables that a partition is a part of, up to the root. A mere child is a part of nothing: a
/// publication of its parent lists it as a member, or does not publish it.
fn wholes<'a>(
    relation: &Relation,
    by_oid: &'a BTreeMap<Oid, &'a Relation>,
) -> impl Iterator<Item = &'a Relation> {
    let whole = |part: &Relation| {
        let parent = part.parents.first().filter(|_| part.partition)?;
        by_oid.get(parent).copied()
    };
    std::iter::successors(whole(relation), move |above| whole(above))
}

/// Returns a refusal for each foreign key that leads out, once whatever the number of partitions.
fn keys(facts: &Facts, by_oid: &BTreeMap<Oid, &Relation>, family: &BTreeSet<Oid>) -> Vec<Refusal> {
    let mut seen = BTreeSet::new();
    let mut refusals = Vec::new();
    for key in &facts.keys {
        if family.contains(&key.to) && !family.contains(&key.from) && seen.insert(key.root) {
            let to = by_oid.get(&key.to).map_or("a table", |relation| relation.name.as_str());
            let why = if by_oid.get(&key.from).is_some_and(|relation| relation.kept) {
                "is to be preserved"
            } else {
                "is not to be emptied"
            };
            let message = format!(
                "{holder}, which {why}, refers to {to}: {ways}",
                holder = key.held_by,
                ways = of_key(facts, &key.held_by, &key.name, to, key.extension.as_deref()),
            );
            let object = format!("{} on {}", key.name, key.held_by);
            refusals.push(RefusalReason::ForeignKey.refuse(object, message));
        }
    }
    for key in &facts.keys_beyond {
        let message = format!(
            "{holder} refers to {to}, and would have to be added with it: {ways}",
            holder = key.held_by,
            to = key.refers_to,
            ways = of_key(facts, &key.held_by, &key.name, &key.refers_to, key.extension.as_deref()),
        );
        let object = format!("{} on {}", key.name, key.held_by);
        refusals.push(RefusalReason::ForeignKey.refuse(object, message));
    }
    refusals
}

/// Returns a refusal for each sequence that must not, or cannot, restart.
fn sequences(
    facts: &Facts,
    by_oid: &BTreeMap<Oid, &Relation>,
    family: &BTreeSet<Oid>,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for sequence in facts.sequences.iter().filter(|sequence| family.contains(&sequence.table)) {
        let name = &sequence.name;
        let of = by_oid.get(&sequence.table).map_or("a table", |table| table.name.as_str());
        if !sequence.own {
            let message = format!(
                "the role may not restart the sequence: it belongs to {of}, and only the owner of {of} may. GRANT \
                 that owner TO the role, or ALTER TABLE {of} OWNER TO the role"
            );
            refusals.push(RefusalReason::MissingPrivilege.refuse(name, message));
        }
        for feed in facts.feeds.iter().filter(|feed| feed.sequence == sequence.oid) {
            if !family.contains(&feed.table) {
                let column = &feed.column;
                let mut own = "give the column a sequence of its own".to_owned();
                if feed.by_name {
                    let meant = format!(
                        " (or, if another sequence of that name is meant, name it in the default \
                         with its schema, as in 'schema.{}')",
                        sequence.plain
                    );
                    own.push_str(&meant);
                }
                let fed = by_oid.get(&feed.table);
                let ways = match fed.and_then(|fed| Some((&fed.name, fed.extension.as_ref()?))) {
                    Some((fed, extension)) => keep_off(fed, extension),
                    None if is_here(facts, column) => {
                        format!("add that table to the list, or {own}")
                    }
                    None => format!("{own}; its table {ELSEWHERE}"),
                };
                let message = format!(
                    "the sequence belongs to {of} and would restart, but {column}, which is not to be emptied, \
                     takes its values from it too: {ways}"
                );
                refusals.push(RefusalReason::SharedSequence.refuse(name, message));
            }
        }
    }
    refusals
}

/// Returns a refusal for each trigger and publication that the truncation would set off.
fn side_effects(
    request: &Request,
    facts: &Facts,
    by_oid: &BTreeMap<Oid, &Relation>,
    family: &BTreeSet<Oid>,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for trigger in facts.triggers.iter().filter(|trigger| family.contains(&trigger.table)) {
        let table = by_oid.get(&trigger.table).map_or("a table", |table| table.name.as_str());
        let message = format!(
            "the trigger runs on TRUNCATE of {table} and may change anything: ALTER TABLE {table} DISABLE \
             TRIGGER {}, or drop the trigger",
            trigger.name
        );
        refusals.push(
            RefusalReason::TruncateTrigger.refuse(format!("{} on {table}", trigger.name), message),
        );
    }
    if request.allow_replicated {
        return refusals;
    }
    for publication in &facts.publications {
        let published: Vec<&str> = family
            .iter()
            .filter_map(|oid| by_oid.get(oid))
            .filter(|table| table.logged)
            .filter(|table| {
                publication.all
                    || publication.relations.contains(&table.oid)
                    || wholes(table, by_oid).any(|above| publication.relations.contains(&above.oid))
            })
            .map(|table| table.name.as_str())
            .collect();
        if let Some(first) = published.first() {
            let more = match published.len() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            // One for all tables, or for a schema, leaves none of them out.
            let remove = if publication.all || publication.by_schema {
                ""
            } else {
                ", remove the tables from the publication"
            };
            let allow = match request.reader {
                Reader::OfCommand => Setting::AllowReplicated.name(request.reader).to_owned(),
                Reader::OfHibernation => Setting::AllowReplicated.with(request.reader, "true"),
            };
            let message = format!(
                "the publication would empty {first}{more} on its subscribers too: ALTER \
                 PUBLICATION {name} SET (publish = 'insert, update, delete'){remove}, or allow it with {allow}",
                name = publication.name
            );
            refusals.push(RefusalReason::Replicated.refuse(&publication.name, message));
        }
    }
    refusals
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
