//! The database of a case as the generator knows it; nothing is read from a catalog.

use super::chance::Chance;

/// Table names, common ones and awkward ones.
const NAMES: [&str; 26] = [
    "jobs",
    "Orders",
    "select",
    "user table",
    "say \"so\"",
    "naïve",
    "x,y",
    "back\\slash",
    "%s",
    "x; DROP TABLE jobs; --",
    "таблица",
    "two\nlines",
    "it's",
    "$1",
    "pg_class",
    " led",
    "trailed ",
    "a.b",
    "*",
    "e\u{301}",
    "ORDERS",
    "orders",
    "{}",
    "a_name_that_is_exactly_as_long_as_postgresql_lets_a_name_be_____",
    "日本",
    "1st",
];

const SCHEMAS: [&str; 6] = ["public", "App", "s p", "übung", "table", "other"];

/// The database of a case. Objects that PostgreSQL rejects, or that a shrunk case omits, are not
/// `alive`.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) schemas: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) keys: Vec<Key>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) publications: Vec<Publication>,
    pub(crate) views: Vec<View>,
    /// The command runs as a role with the rights of its tables, which may use these schemas.
    pub(crate) role: Option<Vec<bool>>,
}

/// A table. Others refer to it by its index.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) alive: bool,
    pub(crate) schema: usize,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) counter: Counter,
    pub(crate) unlogged: bool,
    pub(crate) row_security: bool,
    pub(crate) right: Right,
    pub(crate) rows: usize,
    /// The sequence that PostgreSQL created for it; known once the table exists.
    pub(crate) own_sequence: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Plain { inherits: Vec<usize> },
    Root,
    Partition { of: usize, from: usize, to: usize, divided: bool, attached: bool },
}

/// The source of the values of column `n`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Counter {
    Nothing,
    Serial,
    Identity,
    Sequence(usize),
    Parent,
}

/// The rights of the role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Right {
    Owns,
    Truncates,
    Nothing,
}

/// A sequence with its own `CREATE SEQUENCE`.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) schema: usize,
    pub(crate) name: String,
    pub(crate) start: usize,
    /// `OWNED BY` a column of this table.
    pub(crate) owner: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) alive: bool,
    pub(crate) name: String,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) not_valid: bool,
    pub(crate) more: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub(crate) alive: bool,
    pub(crate) table: usize,
    pub(crate) name: String,
    pub(crate) event: &'static str,
    pub(crate) mode: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) alive: bool,
    pub(crate) name: String,
    pub(crate) of: Published,
    pub(crate) truncations: bool,
    pub(crate) by_root: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Published {
    All,
    Tables { tables: Vec<usize>, only: bool },
    Schema(usize),
}

/// A relation that is no table.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) schema: usize,
    pub(crate) name: String,
    pub(crate) materialized: bool,
}

impl World {
    /// Generates a world.
    pub(crate) fn by(chance: &mut Chance) -> Self {
        let mut world = Self::default();
        let first = chance.below(SCHEMAS.len());
        for place in 0..chance.within(1, 3) {
            world.schemas.push(SCHEMAS[(first + place) % SCHEMAS.len()].to_owned());
        }
        for number in 0..chance.within(0, 3) {
            let schema = chance.below(world.schemas.len());
            let name = format!("{} {number}", chance.pick(&["Numbers", "numbers", "seq\"s"]));
            let start = *chance.pick(&[1, 1, 50]);
            world.sequences.push(Sequence { schema, name, start, owner: None });
        }
        let wanted = chance.within(2, 8);
        while world.tables.len() < wanted {
            if chance.percent(25) {
                world.tree(chance);
            } else {
                world.plain(chance);
            }
        }
        if chance.percent(20) {
            let schema = chance.below(world.schemas.len());
            let materialized = chance.percent(50);
            world.views.push(View { schema, name: "a View".to_owned(), materialized });
        }
        world.own_sequences(chance);
        world.keys(chance);
        world.others(chance);
        world
    }

    fn name(&self, schema: usize, chance: &mut Chance) -> String {
        loop {
            let mut name = (*chance.pick(&NAMES)).to_owned();
            if chance.percent(30) && name.len() < 60 {
                name.push_str(&chance.below(9).to_string());
            }
            name.truncate(63);
            if self.table(schema, &name).is_none() {
                return name;
            }
        }
    }

    fn add(&mut self, kind: Kind, counter: Counter, chance: &mut Chance) -> usize {
        let schema = chance.below(self.schemas.len());
        let name = self.name(schema, chance);
        let rows = if kind == Kind::Root || chance.percent(85) { chance.within(1, 20) } else { 0 };
        let unlogged = matches!(kind, Kind::Plain { .. }) && chance.percent(10);
        self.tables.push(Table {
            alive: true,
            schema,
            name,
            kind,
            counter,
            unlogged,
            row_security: chance.percent(5),
            right: *chance.pick(&[Right::Owns, Right::Owns, Right::Truncates, Right::Nothing]),
            rows,
            own_sequence: None,
        });
        self.tables.len() - 1
    }

    fn counter(&self, chance: &mut Chance) -> Counter {
        match chance.below(8) {
            0..=2 => Counter::Serial,
            3 | 4 => Counter::Identity,
            5 | 6 if !self.sequences.is_empty() => {
                Counter::Sequence(chance.below(self.sequences.len()))
            }
            _ => Counter::Nothing,
        }
    }

    fn plain(&mut self, chance: &mut Chance) {
        let plain: Vec<usize> = (0..self.tables.len())
            .filter(|table| matches!(self.tables[*table].kind, Kind::Plain { .. }))
            .collect();
        let mut inherits = Vec::new();
        if !plain.is_empty() && chance.percent(25) {
            inherits.push(*chance.pick(&plain));
            let second = *chance.pick(&plain);
            if chance.percent(20) && second != inherits[0] {
                inherits.push(second);
            }
        }
        let counter = if inherits.len() == 1 && chance.percent(60) {
            Counter::Parent
        } else {
            match self.counter(chance) {
                // A column that is merged with its parents' cannot become an identity column, and
                // where two parents have defaults the child needs its own.
                Counter::Identity | Counter::Nothing if !inherits.is_empty() => Counter::Serial,
                other => other,
            }
        };
        self.add(Kind::Plain { inherits }, counter, chance);
    }

    /// Generates a partitioned table, some of whose partitions are partitioned too.
    fn tree(&mut self, chance: &mut Chance) {
        let counter = self.counter(chance);
        let root = self.add(Kind::Root, counter, chance);
        for place in 0..chance.within(1, 3) {
            let (from, to) = (place * 100, place * 100 + 100);
            let part = self.partition(root, from, to, chance);
            if matches!(self.tables[part].kind, Kind::Partition { divided: true, .. }) {
                for half in 0..chance.within(1, 2) {
                    let from = from + half * 50;
                    self.partition(part, from, from + 50, chance);
                }
            }
        }
    }

    fn partition(&mut self, of: usize, from: usize, to: usize, chance: &mut Chance) -> usize {
        let divided = to - from == 100 && chance.percent(25);
        let attached = !divided && chance.percent(25);
        let counter = match chance.below(4) {
            0 if !self.sequences.is_empty() => {
                Counter::Sequence(chance.below(self.sequences.len()))
            }
            _ if attached => Counter::Serial,
            _ => Counter::Parent,
        };
        self.add(Kind::Partition { of, from, to, divided, attached }, counter, chance)
    }

    /// Sets `OWNED BY`: mostly the table that the sequence feeds, sometimes another.
    fn own_sequences(&mut self, chance: &mut Chance) {
        for place in 0..self.sequences.len() {
            let schema = self.sequences[place].schema;
            let near: Vec<usize> =
                (0..self.tables.len()).filter(|t| self.tables[*t].schema == schema).collect();
            if near.is_empty() || chance.percent(35) {
                continue;
            }
            let feeds =
                near.iter().find(|t| self.tables[**t].counter == Counter::Sequence(place)).copied();
            let owner = if chance.percent(75) { feeds } else { None };
            self.sequences[place].owner = Some(owner.unwrap_or_else(|| *chance.pick(&near)));
        }
    }

    fn keys(&mut self, chance: &mut Chance) {
        for number in 0..chance.within(0, 5) {
            let from = chance.below(self.tables.len());
            let to = if chance.percent(10) { from } else { chance.below(self.tables.len()) };
            self.keys.push(Key {
                alive: true,
                name: format!("{} {number}", chance.pick(&["Refers", "refers", "key\"of"])),
                from,
                to,
                not_valid: chance.percent(15),
                more: chance.pick::<&str>(&[
                    "",
                    "",
                    "ON DELETE CASCADE",
                    "DEFERRABLE INITIALLY DEFERRED",
                    "ON DELETE SET NULL DEFERRABLE",
                ]),
            });
        }
    }

    fn others(&mut self, chance: &mut Chance) {
        for number in 0..chance.within(0, 2) {
            if chance.percent(30) {
                self.triggers.push(Trigger {
                    alive: true,
                    table: chance.below(self.tables.len()),
                    name: format!("Fires {number}"),
                    event: chance.pick::<&str>(&[
                        "BEFORE TRUNCATE",
                        "AFTER TRUNCATE",
                        "AFTER INSERT OR TRUNCATE",
                        "AFTER DELETE",
                    ]),
                    mode: chance.pick::<&str>(&[
                        "ENABLE",
                        "ENABLE",
                        "DISABLE",
                        "ENABLE ALWAYS",
                        "ENABLE REPLICA",
                    ]),
                });
            }
            if chance.percent(20) {
                let of = match chance.below(4) {
                    0 => Published::All,
                    1 => Published::Schema(chance.below(self.schemas.len())),
                    _ => Published::Tables {
                        tables: vec![chance.below(self.tables.len())],
                        only: chance.percent(50),
                    },
                };
                self.publications.push(Publication {
                    alive: true,
                    name: format!("Tells {number}"),
                    of,
                    truncations: chance.percent(70),
                    by_root: chance.percent(30),
                });
            }
        }
        if chance.percent(20) {
            self.role = Some(self.schemas.iter().map(|_| chance.percent(90)).collect());
        }
    }

    /// Returns the table of that name in a schema.
    pub(crate) fn table(&self, schema: usize, name: &str) -> Option<usize> {
        self.tables
            .iter()
            .position(|table| table.alive && table.schema == schema && table.name == name)
    }

    /// Returns the indexes of the tables that exist.
    pub(crate) fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.tables.len()).filter(|table| self.tables[*table].alive)
    }

    /// Returns the parents of a table, by inheritance or partitioning.
    pub(crate) fn parents(&self, table: usize) -> &[usize] {
        match &self.tables[table].kind {
            Kind::Plain { inherits } => inherits,
            Kind::Root => &[],
            Kind::Partition { of, .. } => std::slice::from_ref(of),
        }
    }

    /// Returns the parent of a partition.
    pub(crate) fn whole(&self, table: usize) -> Option<usize> {
        match self.tables[table].kind {
            Kind::Partition { of, .. } => Some(of),
            _ => None,
        }
    }

    /// Whether the table holds rows itself.
    pub(crate) fn holds_rows(&self, table: usize) -> bool {
        !matches!(self.tables[table].kind, Kind::Root | Kind::Partition { divided: true, .. })
    }
}
