//! A snapshot of a database: the rows of every table, the state of every sequence, their file
//! nodes, and a digest of every catalog.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

/// Everything that a truncation could change.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// By schema and name.
    pub(crate) relations: BTreeMap<(String, String), Relation>,
    catalogs: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Relation {
    /// The row count and a digest of a table, or the state of a sequence.
    pub(crate) contents: String,
    /// TRUNCATE creates a new file node even for an empty table.
    file: i64,
}

const RELATIONS: &str = "
SELECT n.nspname::text, c.relname::text, coalesce(pg_relation_filenode(c.oid)::bigint, 0),
  CASE WHEN c.relkind IN ('r', 'm') THEN query_to_xml(format(
    'SELECT count(*) AS c, md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '''')) AS h
     FROM ONLY %I.%I AS t', n.nspname, c.relname), false, true, '')::text
  WHEN c.relkind = 'S' THEN query_to_xml(format(
    'SELECT last_value, is_called FROM %I.%I', n.nspname, c.relname), false, true, '')::text
  ELSE '' END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'S', 'v') AND n.nspname <> 'pg_toast'";

const CATALOGS: &str = "
SELECT 'pg_class', md5(string_agg((to_jsonb(c) - ARRAY['relfilenode', 'relpages', 'reltuples',
    'relallvisible', 'relfrozenxid', 'relminmxid'])::text, '' ORDER BY c.oid))
  FROM pg_class c WHERE c.oid >= 16384
UNION ALL SELECT 'pg_attribute', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_attribute t WHERE attrelid >= 16384
UNION ALL SELECT 'pg_attrdef', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_attrdef t
UNION ALL SELECT 'pg_constraint', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_constraint t
UNION ALL SELECT 'pg_trigger', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_trigger t
UNION ALL SELECT 'pg_index', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_index t WHERE indrelid >= 16384
UNION ALL SELECT 'pg_inherits', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_inherits t
UNION ALL SELECT 'pg_sequence', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_sequence t
UNION ALL SELECT 'pg_depend', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_depend t WHERE objid >= 16384
UNION ALL SELECT 'pg_namespace', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_namespace t
UNION ALL SELECT 'pg_proc', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_proc t WHERE oid >= 16384
UNION ALL SELECT 'pg_publication', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_publication t
UNION ALL SELECT 'pg_publication_rel', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_publication_rel t
UNION ALL SELECT 'pg_publication_namespace', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pg_publication_namespace t";

impl Snapshot {
    pub(crate) async fn at(on: &mut PgConnection) -> Self {
        let mut relations = BTreeMap::new();
        for row in sqlx::query(RELATIONS).fetch_all(&mut *on).await.expect("tables are read") {
            let relation = Relation { contents: row.get(3), file: row.get(2) };
            relations.insert((row.get(0), row.get(1)), relation);
        }
        let rows = sqlx::query(CATALOGS).fetch_all(on).await.expect("catalogs are read");
        let digest = |row: &sqlx::postgres::PgRow| {
            (row.get(0), row.get::<Option<String>, _>(1).unwrap_or_default())
        };
        Self { relations, catalogs: rows.iter().map(digest).collect() }
    }

    /// Returns the differences to `after`.
    pub(crate) fn differences(&self, after: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, was) in &self.relations {
            match after.relations.get(name) {
                Some(is) if is == was => {}
                is => differences.push(format!("{name:?} was {was:?} and is {is:?}")),
            }
        }
        for name in after.relations.keys().filter(|name| !self.relations.contains_key(*name)) {
            differences.push(format!("{name:?} is new"));
        }
        for ((name, was), (_, is)) in self.catalogs.iter().zip(&after.catalogs) {
            if was != is {
                differences.push(format!("the catalog {name} has changed"));
            }
        }
        differences
    }
}
