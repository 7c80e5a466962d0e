//! One schema, one command, one outcome: how the tables of cases are run.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::page;
use crate::support::postgres::{Database, Ended, truncate_at};

/// The tables that each case begins with, as the page shows them.
pub(crate) fn base() -> &'static str {
    let page = include_str!("page.md");
    page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap()
}

/// Two tables that are asked for and one that is to stay.
pub(crate) const LISTS: [&str; 4] = ["--runtime", "jobs,logs", "--preserved", "accounts"];

/// [`LISTS`] and more.
pub(crate) fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    LISTS.iter().chain(more).copied().collect()
}

/// A database with the tables that each case has.
pub(crate) async fn database(name: &str) -> Database {
    let mut db = Database::new(name).await;
    db.run(base()).await;
    db.run("ANALYZE").await;
    db
}

/// That somebody waits for this table, in SQL.
pub(crate) fn waited_for(table: &str) -> String {
    format!("EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass)")
}

/// A case of the page.
pub(crate) struct Case {
    /// What holds.
    pub(crate) title: &'static str,
    /// SQL on top of the tables that each case has.
    setup: &'static str,
    arguments: &'static [&'static str],
    status: i32,
    /// What is true afterwards, in SQL.
    after: &'static str,
    /// Another role than a superuser, which exists before `setup`.
    role: Option<&'static str>,
    /// Another URL than the database's.
    url: Option<&'static str>,
}

impl Case {
    /// It ends well, and `after` is true then.
    pub(crate) const fn done(
        title: &'static str,
        setup: &'static str,
        arguments: &'static [&'static str],
        after: &'static str,
    ) -> Self {
        Self { title, setup, arguments, status: 0, after, role: None, url: None }
    }

    /// It is refused for good.
    pub(crate) const fn refused(
        title: &'static str,
        setup: &'static str,
        arguments: &'static [&'static str],
    ) -> Self {
        Self { status: 3, ..Self::done(title, setup, arguments, "true") }
    }

    /// The command line is wrong.
    pub(crate) const fn wrong(title: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { status: 2, ..Self::done(title, "", arguments, "true") }
    }

    /// The URL leads to no database.
    pub(crate) const fn with_url(title: &'static str, url: &'static str) -> Self {
        Self { url: Some(url), ..Self::refused(title, "", &LISTS) }
    }

    /// The same by this role, whose name no other case has.
    pub(crate) const fn by(self, role: &'static str) -> Self {
        Self { role: Some(role), ..self }
    }

    async fn run(&self, database: &str) {
        let mut db = Database::new(database).await;
        let url = match (self.url, self.role) {
            (Some(url), _) => url.to_owned(),
            (None, Some(role)) => db.role(role).await,
            (None, None) => db.url.clone(),
        };
        db.run(base()).await;
        db.run(self.setup).await;
        db.run("ANALYZE").await;

        let before = snapshot(&mut db).await;
        let planned = truncate_at(&url, &[self.arguments, &["--dry-run"]].concat()).await;
        assert_eq!(planned.status, self.status, "{}: {planned:?}", self.title);
        assert_eq!(snapshot(&mut db).await, before, "{}: the dry run wrote", self.title);

        let ended = truncate_at(&url, self.arguments).await;
        assert_eq!(ended.status, self.status, "{}: {ended:?}", self.title);
        let after = snapshot(&mut db).await;
        if self.status == 0 {
            self.emptied(&ended, &before, &after);
        } else {
            assert_eq!(after, before, "{}: it wrote", self.title);
            assert_eq!(planned.stderr, ended.stderr, "{}: the dry run says else", self.title);
        }
        let held = db.text(&format!("SELECT ({})::text", self.after)).await;
        assert_eq!(held, "true", "{}: {}", self.title, self.after);
        page::check(self.title, self.setup, &ended);
    }

    /// What the report names is empty and counts anew; everything else is as it was.
    fn emptied(&self, ended: &Ended, before: &Snapshot, after: &Snapshot) {
        let named: Vec<&str> =
            ended.report().tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(before.len(), after.len(), "{}", self.title);
        for (name, found) in after {
            // A report has no control characters.
            let emptied =
                |table: &str| named.contains(&table.replace(char::is_control, " ").as_str());
            if emptied(name) {
                assert_eq!(found.rows.as_deref(), Some("0"), "{}: {name}", self.title);
            } else if found.owner.as_deref().is_some_and(emptied) {
                assert_eq!(found.content.as_deref(), Some("fresh"), "{}: {name}", self.title);
            } else {
                assert_eq!(Some(found), before.get(name), "{}: {name} changed", self.title);
            }
        }
    }
}

/// Runs cases one after the other.
pub(crate) async fn hold(section: &str, cases: &[Case]) {
    for (position, case) in cases.iter().enumerate() {
        case.run(&format!("{section}_{position}")).await;
    }
}

type Snapshot = BTreeMap<String, Found>;

/// One table or sequence as it is.
#[derive(Debug, Deserialize, Eq, PartialEq)]
struct Found {
    rows: Option<String>,
    /// A digest of all rows with their versions and places, or where a sequence is.
    content: Option<String>,
    /// The file that it is in: TRUNCATE makes a new one.
    file: i64,
    /// The table that a sequence belongs to.
    owner: Option<String>,
}

/// Every table, materialized view and sequence.
async fn snapshot(db: &mut Database) -> Snapshot {
    const ALL: &str = r"
SELECT coalesce(json_object_agg(format('%I.%I', s.nspname, c.relname), json_build_object(
    'rows', CASE WHEN c.relkind <> 'S' THEN q.x[1]::text END,
    'content', q.y[1]::text,
    'file', pg_relation_filenode(c.oid)::bigint,
    'owner', (SELECT format('%I.%I', os.nspname, o.relname)
              FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid
              JOIN pg_namespace os ON os.oid = o.relnamespace
              WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))), '{}')::text
FROM pg_class c
JOIN pg_namespace s ON s.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT query_to_xml(CASE c.relkind
    WHEN 'S' THEN format('SELECT 0 AS n, CASE WHEN is_called OR last_value <> %s
                            THEN last_value::text ELSE ''fresh'' END AS d FROM %I.%I',
                         (SELECT seqstart FROM pg_sequence WHERE seqrelid = c.oid), s.nspname, c.relname)
    ELSE format('SELECT count(*) AS n,
                   md5(string_agg(t::text || t.ctid || t.xmin, '','' ORDER BY t.ctid)) AS d
                 FROM ONLY %I.%I t', s.nspname, c.relname) END, true, false, '') AS xml) AS document
CROSS JOIN LATERAL (SELECT xpath('/table/row/n/text()', document.xml) AS x,
                           xpath('/table/row/d/text()', document.xml) AS y) AS q
WHERE c.relkind IN ('r', 'm', 'S') AND c.oid >= 16384
  AND s.nspname <> 'pg_toast' AND s.nspname NOT LIKE 'pg\_t%temp\_%'";
    serde_json::from_str(&db.text(ALL).await).unwrap()
}
