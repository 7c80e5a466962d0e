//! Runs the tables of cases: one schema, one command, one outcome each.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use serde::Deserialize;

use super::page;
use crate::support::postgres::{Database, Ended, truncate_at};

/// Returns the SQL of the tables that each case starts with, as the page shows it.
pub(crate) fn base() -> &'static str {
    let page = include_str!("page.md");
    page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap()
}

/// Two tables to truncate and one to preserve.
pub(crate) const LISTS: [&str; 4] = ["--runtime", "jobs,logs", "--preserved", "accounts"];

/// Returns [`LISTS`] followed by more arguments.
pub(crate) fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    LISTS.iter().chain(more).copied().collect()
}

/// Creates a database with the tables of every case.
pub(crate) async fn database(name: &str) -> Database {
    let mut db = Database::new(name).await;
    db.run(base()).await;
    analyze(&mut db).await;
    db
}

/// Refreshes the statistics of the application's tables. A plain `ANALYZE` spends its time on the catalogs.
pub(crate) async fn analyze(db: &mut Database) {
    db.run(
        "DO $$ DECLARE it oid; BEGIN FOR it IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'm') \
        AND relpersistence <> 't' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') \
        LOOP EXECUTE format('ANALYZE %s', it::regclass); END LOOP; END $$",
    )
    .await;
}

/// Returns an SQL condition: a session waits for a lock on this table.
pub(crate) fn waited_for(table: &str) -> String {
    format!("EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass)")
}

/// A case of the page.
pub(crate) struct Case {
    /// The title on the page: the statement that the case proves.
    pub(crate) title: &'static str,
    /// SQL on top of the tables that each case has.
    setup: &'static str,
    arguments: &'static [&'static str],
    status: i32,
    /// An SQL condition that must be true after the run.
    after: &'static str,
    /// The role that runs the command, if not a superuser. It exists before `setup`.
    role: Option<&'static str>,
    /// The URL, if not that of the database.
    url: Option<&'static str>,
}

impl Case {
    /// Expects success, and `after` to be true.
    pub(crate) const fn done(
        title: &'static str,
        setup: &'static str,
        arguments: &'static [&'static str],
        after: &'static str,
    ) -> Self {
        Self { title, setup, arguments, status: 0, after, role: None, url: None }
    }

    /// Expects a refusal.
    pub(crate) const fn refused(
        title: &'static str,
        setup: &'static str,
        arguments: &'static [&'static str],
    ) -> Self {
        Self { status: 3, ..Self::done(title, setup, arguments, "true") }
    }

    /// Expects a usage error.
    pub(crate) const fn wrong(title: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { status: 2, ..Self::done(title, "", arguments, "true") }
    }

    /// Expects a refusal of this URL.
    pub(crate) const fn with_url(title: &'static str, url: &'static str) -> Self {
        Self { url: Some(url), ..Self::refused(title, "", &LISTS) }
    }

    /// Runs the case as this role. Its name must be unique among all cases.
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
        analyze(&mut db).await;

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

    /// Checks that the reported tables are empty, that their sequences restarted, and that nothing
    /// else changed.
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

/// Cases of one section at once: most of the time each waits for the server or the command.
const AT_ONCE: usize = 3;

/// Runs the cases, each in its own database.
pub(crate) async fn hold(section: &str, cases: &[Case]) {
    stream::iter(cases.iter().enumerate())
        .for_each_concurrent(AT_ONCE, async |(position, case)| {
            case.run(&format!("{section}_{position}")).await;
        })
        .await;
}

type Snapshot = BTreeMap<String, Found>;

/// The state of one table or sequence.
#[derive(Debug, Deserialize, Eq, PartialEq)]
struct Found {
    rows: Option<String>,
    /// A digest of all rows with `xmin` and `ctid`, or the position of a sequence.
    content: Option<String>,
    /// The file node. TRUNCATE creates a new one.
    file: i64,
    /// The table that a sequence belongs to.
    owner: Option<String>,
}

/// Reads the state of every table, materialized view and sequence.
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
