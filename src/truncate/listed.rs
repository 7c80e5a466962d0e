//! Refusals of what the lists name: names that lead elsewhere, to nothing, or to no table that can be truncated.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Oid};
use super::report::{Refusal, RefusalReason};
use super::request::Request;
use super::setting::Setting;
use crate::api::text::first;

/// Names in one message; of more the number is told.
const MOST_NAMES: usize = 5;

/// Returns a refusal for each other schema in which the session finds requested names: the application works there.
pub(super) fn elsewhere(request: &Request, facts: &Facts) -> Vec<Refusal> {
    let mut by_schema: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for found in &facts.elsewhere {
        by_schema.entry(&found.schema).or_default().push(format!("\"{}\"", found.name));
    }
    let refuse = |(found, names): (&str, Vec<String>)| {
        let asked = &request.schema;
        let message = format!(
            "the application finds {names} in schema \"{found}\", and not in \"{asked}\": a session of this URL \
             looks there first. Write {write}; or, if \"{asked}\" is meant, give the role a search_path \
             that begins with it",
            names = first(&names, MOST_NAMES),
            write = Setting::Schema.with(request.reader, found),
        );
        RefusalReason::OtherSchema.refuse(found, message)
    };
    by_schema.into_iter().map(refuse).collect()
}

/// Returns a refusal for each name that no relation has. A name in a list that a person wrote counts even where the
/// scope leaves it alone: a preserved table with a typo in its name would not be preserved.
pub(super) fn missing(request: &Request, facts: &Facts) -> Vec<Refusal> {
    let there: BTreeSet<&str> =
        facts.relations.iter().filter_map(|relation| relation.listed_as.as_deref()).collect();
    let elsewhere = |name: &String| facts.elsewhere.iter().any(|found| found.name == *name);
    let absent = |names: &[String]| -> Vec<String> {
        let absent = names.iter().filter(|name| !there.contains(name.as_str()));
        absent.filter(|name| !elsewhere(name)).cloned().collect()
    };
    let mut refusals: Vec<Refusal> = absent(&request.asked)
        .into_iter()
        .map(|name| {
            // Here a dot is a part of a table's name.
            let hint =
                if name.contains('.') { " (names are given without their schema)" } else { "" };
            let message = format!(
                "table \"{name}\" does not exist in schema \"{}\": correct {} or {}{hint}",
                request.schema,
                Setting::Lists.name(request.reader),
                Setting::Schema.name(request.reader),
            );
            RefusalReason::MissingTable.refuse(name, message)
        })
        .collect();
    refusals.extend(absent(&request.kept_by_name).into_iter().map(|name| {
        let message = format!(
            "the table \"{name}\", which is to be preserved, is not in schema \"{}\": correct its name, \
             or remove it from its list",
            request.schema
        );
        RefusalReason::MissingTable.refuse(name, message)
    }));
    refusals
}

/// Returns a refusal for each relation of the family that can't be truncated.
pub(super) fn unfit(facts: &Facts, family: &BTreeSet<Oid>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for relation in facts.relations.iter().filter(|relation| family.contains(&relation.oid)) {
        let name = &relation.name;
        let what = match relation.kind.as_str() {
            "r" | "p" => None,
            "v" => Some("a view"),
            "m" => Some("a materialized view"),
            "f" => Some("a foreign table, whose rows are in another database"),
            "S" => Some("a sequence"),
            "i" | "I" => Some("an index"),
            "c" => Some("a composite type"),
            _ => Some("no table"),
        };
        if let Some(what) = what {
            let message = if relation.asked {
                format!("{name} is {what}: remove it from the list")
            } else if let Some(extension) = &relation.extension {
                format!(
                    "the partition {name} is {what}, and the extension \"{extension}\" keeps it: list the other \
                     partitions instead of their parent"
                )
            } else {
                format!(
                    "the partition {name} is {what}: detach it, or list the other partitions \
                     instead of their parent"
                )
            };
            refusals.push(RefusalReason::NotATable.refuse(name, message));
        } else if relation.system || relation.temporary {
            let whose =
                if relation.system { "the database system" } else { "one session (temporary)" };
            let message = format!("{name} belongs to {whose}: remove it from the list");
            refusals.push(RefusalReason::SystemTable.refuse(name, message));
        } else if relation.asked && !relation.may_truncate {
            let message =
                format!("the role may not truncate {name}: GRANT TRUNCATE ON {name} TO that role");
            refusals.push(RefusalReason::MissingPrivilege.refuse(name, message));
        }
    }
    refusals
}
