//! The judge predicts the outcome from the world and the command line alone.

use std::collections::{BTreeMap, BTreeSet};

use torpor::truncate::report::Refusal;

use super::asked::Asked;
use super::snapshot::Snapshot;
use super::world::{Counter, Publication, Published, Right, World};

/// An obstacle to the truncation.
#[derive(Clone, Debug)]
pub(crate) struct Obstacle {
    reason: &'static str,
    /// The object that the refusal must name.
    names: Vec<String>,
    /// Whether the refusal must name the obstacle. Otherwise it may: the obstacle only shows once
    /// another one is gone, or caution is acceptable.
    must: bool,
}

/// The predicted outcome.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) obstacles: Vec<Obstacle>,
    /// The tables that must be empty afterwards.
    emptied: BTreeSet<usize>,
    /// The sequences that must restart, by schema and name, with their start value.
    restarted: BTreeMap<(String, String), usize>,
}

impl Obstacle {
    fn new(reason: &'static str, names: impl IntoIterator<Item = String>) -> Self {
        Self { reason, names: names.into_iter().collect(), must: true }
    }

    /// Whether the refusal would be that this table does not exist.
    fn is_missing(&self, name: &str) -> bool {
        self.reason == "MissingTable" && self.names == [name]
    }

    fn is(&self, refusal: &Refusal) -> bool {
        let text = plain(&format!("{} {}", refusal.object, refusal.message));
        refusal.reason == self.reason && self.names.iter().all(|name| text.contains(&plain(name)))
    }
}

/// Removes quotation marks and replaces control characters, as messages do.
fn plain(text: &str) -> String {
    text.chars().filter(|c| *c != '"').map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Verdict {
    /// Whether the command must refuse.
    pub(crate) fn is_refusal(&self) -> bool {
        self.obstacles.iter().any(|obstacle| obstacle.must)
    }

    /// Whether the command must not refuse.
    pub(crate) fn is_done(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// Returns the faults of a refusal.
    pub(crate) fn wrong_with(&self, refusals: &[Refusal], omitted: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        for refusal in refusals {
            if !self.obstacles.iter().any(|obstacle| obstacle.is(refusal)) {
                wrong.push(format!("nothing of the kind is in the way: {refusal:?}"));
            }
        }
        for obstacle in self.obstacles.iter().filter(|obstacle| obstacle.must) {
            if omitted == 0 && !refusals.iter().any(|refusal| obstacle.is(refusal)) {
                wrong.push(format!("it does not name {obstacle:?}"));
            }
        }
        wrong
    }

    /// Returns the faults of a truncation, from the snapshots before and after it.
    pub(crate) fn wrong_between(
        &self,
        world: &World,
        before: &Snapshot,
        after: &Snapshot,
    ) -> Vec<String> {
        let mut expected = before.clone();
        let mut wrong = Vec::new();
        for table in &self.emptied {
            let key = (
                world.schemas[world.tables[*table].schema].clone(),
                world.tables[*table].name.clone(),
            );
            let (Some(was), Some(is)) =
                (expected.relations.get_mut(&key), after.relations.get(&key))
            else {
                wrong.push(format!("{key:?} is gone"));
                continue;
            };
            if world.holds_rows(*table) && !is.contents.contains("<c>0</c>") {
                wrong.push(format!("{key:?} is not empty: {}", is.contents));
            }
            *was = is.clone();
        }
        for (key, start) in &self.restarted {
            let (Some(was), Some(is)) = (expected.relations.get_mut(key), after.relations.get(key))
            else {
                wrong.push(format!("{key:?} is gone"));
                continue;
            };
            let again = format!("<last_value>{start}</last_value>");
            if !is.contents.contains(&again) || !is.contents.contains("<is_called>false") {
                wrong.push(format!("{key:?} does not begin again: {}", is.contents));
            }
            *was = is.clone();
        }
        wrong.extend(expected.differences(after));
        wrong
    }

    /// Returns the number of truncated tables, partitioned ones included.
    pub(crate) fn tables(&self) -> u64 {
        self.emptied.len() as u64
    }
}

/// Derives the verdict.
pub(crate) fn judge(world: &World, asked: &Asked) -> Verdict {
    let mut verdict =
        Verdict { obstacles: Vec::new(), emptied: BTreeSet::new(), restarted: BTreeMap::new() };
    // Errors in the command line are reported alone.
    let mut alone = Vec::new();
    let (empty, stay) = asked.names();
    for name in empty.iter().chain(&stay) {
        let lists = asked.lists.iter().filter(|list| list.iter().any(|n| n == name)).count();
        if lists > 1 {
            alone.push(Obstacle::new("ListedTwice", [(*name).to_owned()]));
        }
    }
    if empty.is_empty() {
        alone.push(Obstacle::new("InvalidArgument", []));
    }
    if asked.scope == 3 && asked.confirm.is_none() {
        alone.push(Obstacle::new("NotConfirmed", []));
    }
    if alone.is_empty() && asked.confirm == Some(false) {
        alone.push(Obstacle::new("NotConfirmed", []));
    }
    let schema = world.schemas.iter().position(|schema| *schema == asked.schema);
    if alone.is_empty() && schema.is_none() {
        alone.push(Obstacle::new("MissingSchema", [asked.schema.clone()]));
    }
    let (true, Some(schema)) = (alone.is_empty(), schema) else {
        verdict.obstacles = alone;
        return verdict;
    };

    let mut case =
        Case { world, schema, listed: BTreeSet::new(), kept: BTreeSet::new(), found: Vec::new() };
    case.resolve(&empty, &stay);
    case.schemas(&empty, asked.search_path.as_deref());
    let family = case.family();
    case.relatives(&family);
    case.references(&family);
    case.sequences(&family);
    case.rights(&family);
    case.triggers(&family);
    if !asked.allow_replicated {
        case.publications(&family);
    }
    verdict.obstacles = case.found;
    for table in &family {
        for (_, key, start) in owned_sequences(world, *table) {
            verdict.restarted.insert(key, start);
        }
    }
    verdict.emptied = family;
    verdict
}

/// Returns the sequences that restart with a table: index, schema, name and start value.
fn owned_sequences(world: &World, table: usize) -> Vec<(Option<usize>, (String, String), usize)> {
    let own = world.tables[table].own_sequence.iter().map(|name| (None, name.clone(), 1));
    let given = world.sequences.iter().enumerate().filter(|(_, s)| s.owner == Some(table));
    own.chain(given.map(|(place, sequence)| {
        let name = (world.schemas[sequence.schema].clone(), sequence.name.clone());
        (Some(place), name, sequence.start)
    }))
    .collect()
}

struct Case<'a> {
    world: &'a World,
    schema: usize,
    listed: BTreeSet<usize>,
    kept: BTreeSet<usize>,
    found: Vec<Obstacle>,
}

impl Case<'_> {
    fn name(&self, table: usize) -> String {
        self.world.tables[table].name.clone()
    }

    fn resolve(&mut self, empty: &BTreeSet<&str>, stay: &BTreeSet<&str>) {
        let world = self.world;
        let view =
            |name: &str| world.views.iter().any(|v| v.schema == self.schema && v.name == name);
        for (names, emptied) in [(empty, true), (stay, false)] {
            for name in names {
                match world.table(self.schema, name) {
                    Some(table) if emptied => _ = self.listed.insert(table),
                    Some(table) => _ = self.kept.insert(table),
                    None if view(name) && emptied => {
                        self.found.push(Obstacle::new("NotATable", [(*name).to_owned()]));
                    }
                    None if view(name) => {}
                    None => self.found.push(Obstacle::new("MissingTable", [(*name).to_owned()])),
                }
            }
        }
    }

    /// Finds the requested names that a session with this search_path finds in another schema.
    fn schemas(&mut self, empty: &BTreeSet<&str>, search_path: Option<&[usize]>) {
        let world = self.world;
        let public = world.schemas.iter().position(|schema| schema == "public");
        let searched: Vec<usize> = match search_path {
            Some(schemas) => schemas.to_vec(),
            None => public.into_iter().collect(),
        };
        for name in empty {
            let there = |schema: &&usize| {
                let usable = world.role.as_ref().is_none_or(|usable| usable[**schema]);
                let view = || world.views.iter().any(|v| v.schema == **schema && v.name == *name);
                usable && (world.table(**schema, name).is_some() || view())
            };
            let Some(found) = searched.iter().find(there).filter(|found| **found != self.schema)
            else {
                continue;
            };
            self.found.retain(|obstacle| !obstacle.is_missing(name));
            let names = [world.schemas[*found].clone()];
            self.found.push(Obstacle::new("OtherSchema", names));
        }
    }

    /// Returns the listed tables with all of their partitions.
    fn family(&self) -> BTreeSet<usize> {
        let within = |table: usize| {
            std::iter::successors(Some(table), |table| self.world.whole(*table))
                .any(|whole| self.listed.contains(&whole))
        };
        self.world.living().filter(|table| within(*table)).collect()
    }

    /// Finds inheriting tables that are not listed, and preserved parents and children.
    fn relatives(&mut self, family: &BTreeSet<usize>) {
        let world = self.world;
        let mut below = family.clone();
        for table in world.living() {
            // Parents precede their children, so one loop reaches all.
            if family.contains(&table) {
                continue;
            }
            if let Some(parent) = world.parents(table).iter().find(|parent| below.contains(parent))
            {
                let must = world.parents(table).iter().any(|parent| family.contains(parent));
                let names = [self.name(table), self.name(*parent)];
                let names = if must { vec![names[0].clone()] } else { names.into() };
                below.insert(table);
                self.found.push(Obstacle { must, ..Obstacle::new("InheritanceChild", names) });
            }
        }
        for table in family.iter().filter(|table| self.kept.contains(table)) {
            self.found.push(Obstacle::new("PreservedPartition", [self.name(*table)]));
        }
        for table in self.listed.clone() {
            let mut above = BTreeSet::new();
            let mut next = world.parents(table).to_vec();
            while let Some(parent) = next.pop() {
                if above.insert(parent) {
                    next.extend(world.parents(parent));
                }
            }
            for parent in above.intersection(&self.kept) {
                let names = [self.name(table), self.name(*parent)];
                self.found.push(Obstacle::new("PreservedParent", names));
            }
        }
    }

    /// Finds foreign keys from tables that are not listed, however valid or deferred, and further
    /// ones behind those.
    fn references(&mut self, family: &BTreeSet<usize>) {
        let world = self.world;
        let mut reached = family.clone();
        let mut first = true;
        loop {
            let mut more = BTreeSet::new();
            for key in world.keys.iter().filter(|key| key.alive) {
                // A key to a partitioned table is one to each of its partitions.
                let touches = reached.iter().any(|table| {
                    std::iter::successors(Some(*table), |table| world.whole(*table))
                        .any(|whole| whole == key.to)
                });
                // A foreign key of a partitioned table belongs to each partition, so the whole
                // table must be listed. The refusal may also name further keys of a table that it
                // names already.
                if touches && !family.contains(&key.from) {
                    let names = [key.name.clone(), self.name(key.from)];
                    self.found.push(Obstacle { must: first, ..Obstacle::new("ForeignKey", names) });
                    if !reached.contains(&key.from) {
                        more.insert(key.from);
                    }
                }
            }
            if more.is_empty() {
                return;
            }
            reached.extend(more);
            first = false;
        }
    }

    fn sequences(&mut self, family: &BTreeSet<usize>) {
        let world = self.world;
        for table in family {
            for (given, (_, name), _) in owned_sequences(world, *table) {
                let feeds = |other: usize| match source(world, other) {
                    Some(Source::Of(owner)) => given.is_none() && owner == *table,
                    Some(Source::Given(sequence)) => given == Some(sequence),
                    None => false,
                };
                for other in world.living().filter(|other| !family.contains(other)) {
                    if feeds(other) {
                        let names = [name.clone(), self.name(other)];
                        self.found.push(Obstacle::new("SharedSequence", names));
                    }
                }
            }
        }
    }

    fn rights(&mut self, family: &BTreeSet<usize>) {
        let Some(usable) = &self.world.role else { return };
        if !usable[self.schema] {
            let name = self.world.schemas[self.schema].clone();
            self.found.push(Obstacle::new("MissingPrivilege", [name]));
        }
        for table in family {
            let right = self.world.tables[*table].right;
            if right == Right::Nothing && self.listed.contains(table) {
                self.found.push(Obstacle::new("MissingPrivilege", [self.name(*table)]));
            }
            if right != Right::Owns {
                for (_, (_, name), _) in owned_sequences(self.world, *table) {
                    self.found.push(Obstacle::new("MissingPrivilege", [name]));
                }
            }
        }
    }

    fn triggers(&mut self, family: &BTreeSet<usize>) {
        for trigger in self.world.triggers.iter().filter(|trigger| trigger.alive) {
            let fires = trigger.event.ends_with("TRUNCATE")
                && matches!(trigger.mode, "ENABLE" | "ENABLE ALWAYS");
            if fires && family.contains(&trigger.table) {
                let names = [trigger.name.clone(), self.name(trigger.table)];
                self.found.push(Obstacle::new("TruncateTrigger", names));
            }
        }
    }

    fn publications(&mut self, family: &BTreeSet<usize>) {
        let world = self.world;
        for publication in world.publications.iter().filter(|p| p.alive && p.truncations) {
            let sent = family.iter().any(|table| sends(world, publication, *table));
            // A partition that is published as its root's, and the root not emptied as a whole.
            let member = family.iter().any(|table| published(world, publication, *table).1);
            if sent || member {
                let names = [publication.name.clone()];
                self.found.push(Obstacle { must: sent, ..Obstacle::new("Replicated", names) });
            }
        }
    }
}

enum Source {
    Of(usize),
    Given(usize),
}

/// Returns the sequence that feeds column `n` of a table.
fn source(world: &World, table: usize) -> Option<Source> {
    match world.tables[table].counter {
        Counter::Nothing => None,
        Counter::Serial | Counter::Identity => Some(Source::Of(table)),
        Counter::Sequence(sequence) => Some(Source::Given(sequence)),
        // A default is inherited, an identity is not.
        Counter::Parent => {
            let parent = *world.parents(table).first()?;
            let identity = world.tables[parent].counter == Counter::Identity;
            source(world, parent).filter(|_| !identity)
        }
    }
}

/// Returns the table under which a publication publishes this table, and whether it does.
fn published(world: &World, publication: &Publication, table: usize) -> (usize, bool) {
    if world.tables[table].unlogged {
        return (table, false);
    }
    let member = |table: usize| match &publication.of {
        Published::All => true,
        Published::Schema(schema) => world.tables[table].schema == *schema,
        Published::Tables { tables, only } => {
            tables.contains(&table) || (!only && tables.iter().any(|t| inherits(world, table, *t)))
        }
    };
    let chain = std::iter::successors(Some(table), |table| world.whole(*table));
    let topmost = chain.filter(|table| member(*table)).last();
    match topmost {
        Some(topmost) if publication.by_root => (topmost, true),
        Some(_) => (table, true),
        None => (table, false),
    }
}

/// Whether a table inherits from another, directly or not. A publication of a parent includes these
/// children.
fn inherits(world: &World, table: usize, from: usize) -> bool {
    world.whole(table).is_none()
        && world.parents(table).iter().any(|p| *p == from || inherits(world, *p, from))
}

/// Whether a publication replicates the truncation of this table; for a partitioned table only by
/// its root.
fn sends(world: &World, publication: &Publication, table: usize) -> bool {
    let (published_as, is) = published(world, publication, table);
    is && published_as == table && (world.holds_rows(table) || publication.by_root)
}
