//! Reads the catalogs. Names are bound as values of an unnamed statement within the transaction, which a pooler in
//! transaction mode carries. Once they are resolved the queries contain only identities, which are numbers, and go
//! out together in one message.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::facts::{Facts, Feed, ForeignKey, KeyBeyond, Oid, Sequence, Transaction};
use super::feeds::{FROM_TEXTS, FromText, feeds_by_name};
use super::plan::family;
use super::request::Request;

/// The first version with publications of whole schemas.
const SCHEMA_PUBLICATIONS: i32 = 150_000;

/// Keys, triggers and sequences.
const HANGING: &str = include_str!("hanging.sql");

/// Defaults and publications, which can come without a lock on the table.
const FEEDS: &str = include_str!("feeds.sql");

const PUBLICATIONS: &str = "
SELECT coalesce(json_agg(json_build_object(
    'name', quote_ident(p.pubname), 'all', p.puballtables,
    'relations', coalesce((SELECT json_agg(r.prrelid::bigint) FROM pg_publication_rel r
                           WHERE r.prpubid = p.oid AND r.prrelid = ANY ('{all}')), '[]')
  ) ORDER BY p.pubname), '[]')::text
FROM pg_publication p WHERE p.pubtruncate";

const PUBLICATIONS_WITH_SCHEMAS: &str = "
SELECT coalesce(json_agg(json_build_object(
    'name', quote_ident(p.pubname), 'all', p.puballtables,
    'bySchema', EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid),
    'relations', coalesce((
      SELECT json_agg(oid::bigint) FROM (
        SELECT r.prrelid FROM pg_publication_rel r
        WHERE r.prpubid = p.oid AND r.prrelid = ANY ('{all}')
        UNION
        SELECT c.oid FROM pg_publication_namespace n
        JOIN pg_class c ON c.relnamespace = n.pnnspid AND c.oid = ANY ('{all}')
        WHERE n.pnpubid = p.oid) AS published (oid)), '[]')
  ) ORDER BY p.pubname), '[]')::text
FROM pg_publication p WHERE p.pubtruncate";

/// Locks of this transaction on relations, with the table that each relation is a part of (an
/// index's, a TOAST table's). The system's own relations are left out: reading catalogs locks them, and TRUNCATE
/// writes to them.
const OWN_LOCKS: &str = "
SELECT coalesce(json_agg(json_build_object(
    'oid', o.oid::bigint, 'mode', l.mode,
    'name', coalesce(format('%I.%I', n.nspname, c.relname), o.oid::text))), '[]')::text
FROM pg_locks l
LEFT JOIN pg_index x ON x.indexrelid = l.relation
LEFT JOIN pg_class t ON t.reltoastrelid = coalesce(x.indrelid, l.relation)
CROSS JOIN LATERAL (SELECT coalesce(t.oid, x.indrelid, l.relation)) AS o (oid)
LEFT JOIN pg_class c ON c.oid = o.oid
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
  AND l.relation::bigint >= 16384
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The marks of a transaction that has truncated: see [`Transaction`].
const TRANSACTION: &str = "
SELECT json_build_object('id', pg_current_xact_id()::text, 'table', {table},
                         'file', pg_relation_filenode({table})::bigint)::text";

const SIZES: &str = "
SELECT coalesce(json_object_agg(o.oid::bigint, coalesce(pg_total_relation_size(o.oid), 0)), '{}')::text
FROM unnest('{tables}'::oid[]) AS o (oid)";

/// Sizes from the last VACUUM or ANALYZE. The query opens no file and takes no lock.
const KNOWN_SIZES: &str = "
SELECT coalesce(json_object_agg(o.oid::bigint, (
    SELECT coalesce(sum(r.relpages::bigint), 0) * current_setting('block_size')::bigint
    FROM pg_class c
    JOIN pg_class r ON r.oid IN (c.oid, c.reltoastrelid)
      OR r.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (c.oid, c.reltoastrelid))
    WHERE c.oid = o.oid)), '{}')::text
FROM unnest('{tables}'::oid[]) AS o (oid)";

/// Other holders of locks. A prepared transaction has no session: its lock on its own id tells which it is.
const HOLDERS: &str = "
SELECT DISTINCT CASE
  WHEN a.pid IS NULL THEN format('%s by the prepared transaction %L of role %s (end it with COMMIT PREPARED or '
    'ROLLBACK PREPARED)', c.relname, p.gid, p.owner)
  ELSE format('%s by process %s (%s, %s)', c.relname, a.pid,
    coalesce(nullif(a.application_name, ''), 'no name'),
    -- Hidden from a role that is neither a member of the other nor of pg_read_all_stats.
    coalesce(a.state, a.backend_type, 'of another role')) END
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted
  AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.relation = ANY ($1::bigint[]::oid[])
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (a.pid IS NOT NULL OR p.gid IS NOT NULL)
ORDER BY 1 LIMIT 3";

/// The catalogs could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogError {
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The answer does not parse.
    #[error("the catalogs' answer cannot be read")]
    Form(#[from] serde_json::Error),
}

/// A lock that this transaction holds.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct OwnLock {
    /// The table that the locked relation is or belongs to, or the sequence.
    pub(super) oid: Oid,
    /// That table or sequence, quoted.
    pub(super) name: String,
    /// `pg_locks.mode`.
    pub(super) mode: String,
}

impl OwnLock {
    /// Returns whether it permits writing or more. Only a table to be emptied may have such a lock.
    pub(super) fn is_strong(&self) -> bool {
        !matches!(self.mode.as_str(), "AccessShareLock" | "RowShareLock")
    }

    /// Returns whether it excludes every other session.
    pub(super) fn is_exclusive(&self) -> bool {
        self.mode == "AccessExclusiveLock"
    }
}

/// A transaction that has its locks.
#[derive(Debug)]
pub(super) struct Locked {
    /// Its locks on relations that are not the system's.
    pub(super) locks: Vec<OwnLock>,
    /// Bytes of each table with its indexes and TOAST.
    pub(super) sizes: BTreeMap<Oid, u64>,
}

/// A transaction that has truncated.
#[derive(Debug)]
pub(super) struct Touched {
    /// The facts as before, with the defaults, publications and sessions that may have come meanwhile.
    pub(super) facts: Facts,
    /// Its locks on relations that are not the system's.
    pub(super) locks: Vec<OwnLock>,
    /// Bytes of each table with its indexes and TOAST.
    pub(super) sizes: BTreeMap<Oid, u64>,
    /// Its marks, by which another connection finds it.
    pub(super) transaction: Transaction,
}

/// Reads all facts for the decision. The session looks for tables in the schemas of `path`.
pub(super) async fn facts(
    connection: &mut PgConnection,
    version: i32,
    request: &Request,
    path: &[String],
) -> Result<Facts, CatalogError> {
    let text: String = sqlx::query_scalar(include_str!("catalog.sql"))
        .persistent(false)
        .bind(&request.schema)
        .bind(&request.asked)
        .bind(&request.kept)
        .bind(path)
        .fetch_one(&mut *connection)
        .await?;
    let mut facts: Facts = serde_json::from_str(&text)?;
    let sessions = request.watched.query();
    let queries = [HANGING, FEEDS, FROM_TEXTS, publications(version, request), &sessions];
    let mut answers = ask(connection, &queries, &facts, &[]).await?;
    facts.keys = answers.next()?;
    facts.triggers = answers.next()?;
    facts.sequences = answers.next()?;
    facts.feeds = answers.feeds(&facts.sequences)?;
    facts.publications = answers.next()?;
    facts.sessions = answers.next()?;
    Ok(facts)
}

/// Reads the locks and sizes of a transaction that has locked these tables.
pub(super) async fn locked(
    connection: &mut PgConnection,
    tables: &[Oid],
) -> Result<Locked, CatalogError> {
    let queries = [OWN_LOCKS, SIZES];
    let mut answers = ask(connection, &queries, &Facts::default(), tables).await?;
    Ok(Locked { locks: answers.next()?, sizes: answers.next()? })
}

/// Reads again the facts that the locks on the tables do not protect: columns that use their sequences,
/// publications, and sessions. Reads the effects of TRUNCATE too; `filed` is one of the tables that have a file, or 0.
pub(super) async fn touched(
    connection: &mut PgConnection,
    version: i32,
    request: &Request,
    facts: Facts,
    tables: &[Oid],
    filed: Oid,
) -> Result<Touched, CatalogError> {
    let transaction = TRANSACTION.replace("{table}", &filed.to_string());
    let publications = publications(version, request);
    let sessions = request.watched.query();
    let queries = [FEEDS, FROM_TEXTS, publications, &sessions, OWN_LOCKS, SIZES, &transaction];
    let mut answers = ask(connection, &queries, &facts, tables).await?;
    let (feeds, publications) = (answers.feeds(&facts.sequences)?, answers.next()?);
    Ok(Touched {
        facts: Facts { feeds, publications, sessions: answers.next()?, ..facts },
        locks: answers.next()?,
        sizes: answers.next()?,
        transaction: answers.next()?,
    })
}

fn publications(version: i32, request: &Request) -> &'static str {
    if request.allow_replicated {
        "SELECT '[]'"
    } else if version < SCHEMA_PUBLICATIONS {
        PUBLICATIONS
    } else {
        PUBLICATIONS_WITH_SCHEMAS
    }
}

/// Returns the bytes of each table with its indexes and TOAST. Opens each table for a moment.
pub(super) async fn sizes(
    connection: &mut PgConnection,
    tables: &[Oid],
) -> Result<BTreeMap<Oid, u64>, CatalogError> {
    ask(connection, &[SIZES], &Facts::default(), tables).await?.next()
}

/// Returns the same from the catalogs alone: older numbers, and no lock.
pub(super) async fn known_sizes(
    connection: &mut PgConnection,
    tables: &[Oid],
) -> Result<BTreeMap<Oid, u64>, CatalogError> {
    ask(connection, &[KNOWN_SIZES], &Facts::default(), tables).await?.next()
}

/// Returns at most three other holders of locks on these relations, as text.
pub(super) async fn holders(
    connection: &mut PgConnection,
    oids: &[Oid],
) -> Result<Vec<String>, CatalogError> {
    Ok(sqlx::query_scalar(HOLDERS).persistent(false).bind(oids).fetch_all(connection).await?)
}

/// Sends several queries in one message of the simple protocol. `{below}` in them becomes the
/// relations of `facts` that are to be emptied or below such, `{all}` all of its relations, `{tables}` the
/// tables: only these may be opened.
async fn ask(
    connection: &mut PgConnection,
    queries: &[&str],
    facts: &Facts,
    tables: &[Oid],
) -> Result<Answers, CatalogError> {
    let below = facts.relations.iter().filter(|relation| relation.below);
    let all = facts.relations.iter();
    let text = queries
        .join(";\n")
        .replace("{below}", &array(below.map(|relation| relation.oid)))
        .replace("{all}", &array(all.map(|relation| relation.oid)))
        .replace("{tables}", &array(tables.iter().copied()));
    // Only numbers were put in.
    let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await?;
    Ok(Answers(rows.into_iter()))
}

/// Returns an array of numbers as PostgreSQL reads it.
fn array(oids: impl Iterator<Item = Oid>) -> String {
    let oids: Vec<String> = oids.map(|oid| oid.to_string()).collect();
    format!("{{{}}}", oids.join(","))
}

/// The answers of queries with one row and one column.
struct Answers(std::vec::IntoIter<PgRow>);

impl Answers {
    fn next<T: DeserializeOwned>(&mut self) -> Result<T, CatalogError> {
        let row = self.0.next().ok_or(sqlx::Error::RowNotFound)?;
        Ok(serde_json::from_str(row.try_get(0)?)?)
    }

    /// Returns the columns that use these sequences: the answers to [`FEEDS`] and [`FROM_TEXTS`].
    fn feeds(&mut self, sequences: &[Sequence]) -> Result<Vec<Feed>, CatalogError> {
        let (mut feeds, texts): (Vec<Feed>, Vec<FromText>) = (self.next()?, self.next()?);
        feeds.extend(feeds_by_name(sequences, &texts));
        Ok(feeds)
    }
}

/// Foreign keys that would lead out next if the tables that refer to ours ($1) were added to the
/// list, without those of the relations that are in it ($2).
const KEYS_BEYOND: &str = "
WITH RECURSIVE reached (oid) AS (
  SELECT unnest($1::bigint[]::oid[])
  UNION
  SELECT n.oid
  FROM reached r
  CROSS JOIN LATERAL (
    SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = r.oid
    UNION ALL
    SELECT inhrelid FROM pg_inherits WHERE inhparent = r.oid
  ) AS n (oid)
  WHERE n.oid <> ALL ($2::bigint[]::oid[])
)
SELECT coalesce(json_agg(json_build_object(
    'name', quote_ident(k.conname),
    'heldBy', format('%I.%I', s.nspname, c.relname),
    'refersTo', format('%I.%I', o.nspname, t.relname),
    'extension', (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                      AND (d.classid, d.objid) IN (('pg_class'::regclass, c.oid), ('pg_namespace'::regclass, s.oid))
                    LIMIT 1)
  ) ORDER BY k.oid), '[]')::text
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace s ON s.oid = c.relnamespace
JOIN pg_class t ON t.oid = k.confrelid
JOIN pg_namespace o ON o.oid = t.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid <> k.confrelid
  AND k.confrelid IN (SELECT oid FROM reached) AND k.conrelid <> ALL ($2::bigint[]::oid[])";

/// Returns the foreign keys beyond the tables that refer to ours from outside. Such keys are rare, so that
/// Torpor asks only where it refuses.
pub(super) async fn keys_beyond(
    connection: &mut PgConnection,
    facts: &Facts,
) -> Result<Vec<KeyBeyond>, CatalogError> {
    let family = family(facts);
    let leads_out = |key: &&ForeignKey| family.contains(&key.to) && !family.contains(&key.from);
    let outside: Vec<Oid> = facts.keys.iter().filter(leads_out).map(|key| key.from).collect();
    if outside.is_empty() {
        return Ok(Vec::new());
    }
    let text: String = sqlx::query_scalar(KEYS_BEYOND)
        .persistent(false)
        .bind(outside)
        .bind(family.into_iter().collect::<Vec<Oid>>())
        .fetch_one(connection)
        .await?;
    Ok(serde_json::from_str(&text)?)
}
