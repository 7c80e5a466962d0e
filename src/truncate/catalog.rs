//! Asks the database what it has. Every query goes out with its values apart, as an unnamed
//! statement within the transaction, so that a pooler in transaction mode carries it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgConnection;

use super::facts::{Facts, Oid, Publication};
use super::request::Request;

/// First version with publications of whole schemas.
const SCHEMA_PUBLICATIONS: i32 = 150_000;

const PUBLICATIONS: &str = "
SELECT coalesce(json_agg(json_build_object(
    'name', quote_ident(p.pubname), 'all', p.puballtables,
    'relations', coalesce((SELECT json_agg(r.prrelid::bigint) FROM pg_publication_rel r
                           WHERE r.prpubid = p.oid AND r.prrelid = ANY ($1::bigint[]::oid[])), '[]')
  ) ORDER BY p.pubname), '[]')::text
FROM pg_publication p WHERE p.pubtruncate";

const PUBLICATIONS_WITH_SCHEMAS: &str = "
SELECT coalesce(json_agg(json_build_object(
    'name', quote_ident(p.pubname), 'all', p.puballtables,
    'relations', coalesce((
      SELECT json_agg(oid::bigint) FROM (
        SELECT r.prrelid FROM pg_publication_rel r
        WHERE r.prpubid = p.oid AND r.prrelid = ANY ($1::bigint[]::oid[])
        UNION
        SELECT c.oid FROM pg_publication_namespace n
        JOIN pg_class c ON c.relnamespace = n.pnnspid AND c.oid = ANY ($1::bigint[]::oid[])
        WHERE n.pnpubid = p.oid) AS published (oid)), '[]')
  ) ORDER BY p.pubname), '[]')::text
FROM pg_publication p WHERE p.pubtruncate";

/// Locks of this transaction on relations, with the table that each relation is a part of (an
/// index's, a TOAST table's). What came with the database system is left out: reading catalogs
/// locks them, and TRUNCATE writes to them.
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

const SIZES: &str = "
SELECT coalesce(json_object_agg(o.oid::bigint, coalesce(pg_total_relation_size(o.oid), 0)), '{}')::text
FROM unnest($1::bigint[]::oid[]) AS o (oid)";

/// Sizes as the last VACUUM or ANALYZE saw them: no file is looked at and no lock is taken.
const KNOWN_SIZES: &str = "
SELECT coalesce(json_object_agg(o.oid::bigint, (
    SELECT coalesce(sum(r.relpages::bigint), 0) * current_setting('block_size')::bigint
    FROM pg_class c
    JOIN pg_class r ON r.oid IN (c.oid, c.reltoastrelid)
      OR r.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (c.oid, c.reltoastrelid))
    WHERE c.oid = o.oid)), '{}')::text
FROM unnest($1::bigint[]::oid[]) AS o (oid)";

const HOLDERS: &str = "
SELECT DISTINCT format('%s by process %s (%s, %s)', c.relname, a.pid,
    coalesce(nullif(a.application_name, ''), 'no name'),
    -- Hidden from a role that is neither a member of the other nor of pg_read_all_stats.
    coalesce(a.state, a.backend_type, 'of another role'))
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.relation = ANY ($1::bigint[]::oid[])
ORDER BY 1 LIMIT 3";

/// The catalogs could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogError {
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The answer has not the form that the query gives it.
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
    /// It permits writing or more: what only a table that was asked for may have.
    pub(super) fn is_strong(&self) -> bool {
        !matches!(self.mode.as_str(), "AccessShareLock" | "RowShareLock")
    }

    /// It keeps everybody else out.
    pub(super) fn is_exclusive(&self) -> bool {
        self.mode == "AccessExclusiveLock"
    }
}

/// Everything that the decision rests on, as of now.
pub(super) async fn look(
    connection: &mut PgConnection,
    version: i32,
    request: &Request,
) -> Result<Facts, CatalogError> {
    let text: String = sqlx::query_scalar(include_str!("catalog.sql"))
        .persistent(false)
        .bind(&request.schema)
        .bind(&request.asked)
        .bind(&request.kept)
        .fetch_one(&mut *connection)
        .await?;
    let mut facts: Facts = serde_json::from_str(&text)?;
    if !request.allow_replicated {
        let oids: Vec<Oid> = facts.relations.iter().map(|relation| relation.oid).collect();
        let query =
            if version < SCHEMA_PUBLICATIONS { PUBLICATIONS } else { PUBLICATIONS_WITH_SCHEMAS };
        facts.publications = document::<Vec<Publication>>(connection, query, &oids).await?;
    }
    Ok(facts)
}

/// The locks that this transaction holds on relations that are not the system's.
pub(super) async fn own_locks(connection: &mut PgConnection) -> Result<Vec<OwnLock>, CatalogError> {
    let text: String =
        sqlx::query_scalar(OWN_LOCKS).persistent(false).fetch_one(connection).await?;
    Ok(serde_json::from_str(&text)?)
}

/// Bytes of each table with its indexes and TOAST. Opens each table for a moment.
pub(super) async fn sizes(
    connection: &mut PgConnection,
    oids: &[Oid],
) -> Result<BTreeMap<Oid, u64>, CatalogError> {
    document(connection, SIZES, oids).await
}

/// The same from the catalogs alone: older, but never in anybody's way.
pub(super) async fn known_sizes(
    connection: &mut PgConnection,
    oids: &[Oid],
) -> Result<BTreeMap<Oid, u64>, CatalogError> {
    document(connection, KNOWN_SIZES, oids).await
}

/// Who else has locks on these relations, in words; three at most.
pub(super) async fn holders(
    connection: &mut PgConnection,
    oids: &[Oid],
) -> Result<Vec<String>, CatalogError> {
    Ok(sqlx::query_scalar(HOLDERS).persistent(false).bind(oids).fetch_all(connection).await?)
}

async fn document<T: DeserializeOwned>(
    connection: &mut PgConnection,
    query: &'static str,
    oids: &[Oid],
) -> Result<T, CatalogError> {
    let text: String =
        sqlx::query_scalar(query).persistent(false).bind(oids).fetch_one(connection).await?;
    Ok(serde_json::from_str(&text)?)
}
