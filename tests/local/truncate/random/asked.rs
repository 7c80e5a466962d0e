//! The random command line of a case: lists, scope, and common mistakes.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::chance::Chance;
use super::world::World;

/// A command line.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) schema: String,
    /// Runtime, opportunities, preserved.
    pub(crate) lists: [Vec<String>; 3],
    /// The number of lists to truncate.
    pub(crate) scope: usize,
    pub(crate) confirm: Option<bool>,
    pub(crate) allow_replicated: bool,
    /// The schemas of the search_path that the URL names, by index. Without it the search_path is the default.
    pub(crate) search_path: Option<Vec<usize>>,
    /// A dry run comes first.
    pub(crate) dry_run: bool,
}

impl Asked {
    pub(crate) fn by(chance: &mut Chance, world: &World) -> Self {
        let some = chance.below(world.tables.len());
        let schema = world.tables[some].schema;
        let mut lists: [Vec<String>; 3] = Default::default();
        let scope = *chance.pick(&[1, 1, 2, 3]);
        let near: Vec<usize> =
            world.living().filter(|table| world.tables[*table].schema == schema).collect();
        let mut chosen: BTreeSet<usize> =
            near.iter().copied().filter(|_| chance.percent(50)).collect();
        if chance.percent(95) {
            chosen.insert(some);
        }
        if chance.percent(60) {
            close(world, schema, &mut chosen);
        }
        for table in near {
            let name = world.tables[table].name.clone();
            if chosen.contains(&table) {
                lists[chance.below(scope)].push(name);
            } else if scope < 3 && chance.percent(30) {
                lists[chance.within(scope, 2)].push(name);
            }
        }
        for view in world.views.iter().filter(|view| view.schema == schema) {
            if chance.percent(30) {
                lists[chance.below(3)].push(view.name.clone());
            }
        }
        if chance.percent(5) {
            lists[chance.below(3)].push("not there".to_owned());
        }
        if chance.percent(4)
            && let Some(name) = lists.iter().flatten().next().cloned()
        {
            lists[chance.below(3)].push(name);
        }
        Self {
            schema: if chance.percent(2) {
                "no such schema".to_owned()
            } else {
                world.schemas[schema].clone()
            },
            lists,
            scope,
            confirm: match chance.below(20) {
                0 => None,
                1 => Some(false),
                _ => Some(true),
            },
            allow_replicated: chance.percent(30),
            search_path: match chance.below(10) {
                // A careful person: the tables of the list come first.
                0..5 => Some(vec![schema]),
                5 => Some(vec![schema, chance.below(world.schemas.len())]),
                6 => Some(vec![chance.below(world.schemas.len()), schema]),
                7 => Some(Vec::new()),
                _ => None,
            },
            dry_run: chance.percent(25),
        }
    }

    /// Returns the command line for a database of this name.
    pub(crate) fn arguments(&self, database: &str) -> Vec<String> {
        let mut arguments = vec![
            format!("--scope={}", ["Runtime", "Opportunities", "All"][self.scope - 1]),
            format!("--schema={}", self.schema),
        ];
        for (option, list) in ["runtime", "opportunities", "preserved"].iter().zip(&self.lists) {
            let names: Vec<String> =
                list.iter().map(|name| name.replace('\\', "\\\\").replace(',', "\\,")).collect();
            arguments.push(format!("--{option}={}", names.join(",")));
        }
        arguments.extend(self.confirm.map(|right| {
            format!("--confirm={}", if right { database } else { "another database" })
        }));
        if self.allow_replicated {
            arguments.push("--allow-replicated".to_owned());
        }
        arguments
    }

    /// Returns the URL with the search_path.
    pub(crate) fn url(&self, url: &str, world: &World) -> String {
        let Some(schemas) = &self.search_path else { return url.to_owned() };
        let quoted =
            |schema: &usize| format!("\"{}\"", world.schemas[*schema].replace('"', "\"\""));
        let path = schemas.iter().map(quoted).collect::<Vec<_>>().join(",");
        format!("{url}?search_path={}", utf8_percent_encode(&path, NON_ALPHANUMERIC))
    }

    /// Returns the names to truncate and the names to preserve.
    pub(crate) fn names(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let of = |lists: &[Vec<String>]| -> BTreeSet<String> {
            lists.iter().flatten().cloned().collect()
        };
        let (empty, stay) = (of(&self.lists[..self.scope]), of(&self.lists[self.scope..]));
        let borrow = |names: BTreeSet<String>| -> BTreeSet<&str> {
            let all = self.lists.iter().flatten().map(String::as_str);
            all.filter(|name| names.contains(*name)).collect()
        };
        (borrow(empty), borrow(stay))
    }
}

/// Adds the tables of the schema that refer to a listed table or inherit from it, as a careful
/// person would.
fn close(world: &World, schema: usize, chosen: &mut BTreeSet<usize>) {
    loop {
        let before = chosen.len();
        for key in &world.keys {
            if chosen.contains(&key.to) {
                chosen.insert(key.from);
            }
        }
        for table in world.living() {
            if world.parents(table).iter().any(|parent| chosen.contains(parent)) {
                chosen.insert(table);
            }
        }
        chosen.retain(|table| world.tables[*table].schema == schema);
        if chosen.len() == before {
            return;
        }
    }
}
