//! The facts about the tables before the decision: plain values, as `catalog.sql` returns them.

use serde::Deserialize;

use super::sessions::ClientSession;

/// An object identifier; unsigned 32 bits in the database, which has no such type in JSON.
pub(super) type Oid = i64;

/// All facts for the decision in [`super::plan`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Facts {
    /// The schema's name, quoted.
    pub(super) schema: String,
    /// Whether the schema exists.
    pub(super) schema_exists: bool,
    /// Whether the role has USAGE on it.
    pub(super) schema_usable: bool,
    /// Requested names that a session of this URL finds in another schema.
    pub(super) elsewhere: Vec<Elsewhere>,
    /// Named relations, their ancestors, and the descendants of the requested ones.
    pub(super) relations: Vec<Relation>,
    /// Foreign keys that refer to a requested relation or a descendant of one. These and the following fields are
    /// read apart from the relations, see [`super::catalog`].
    #[serde(skip)]
    pub(super) keys: Vec<ForeignKey>,
    /// Triggers on TRUNCATE there that would fire.
    #[serde(skip)]
    pub(super) triggers: Vec<Trigger>,
    /// Sequences that a RESTART IDENTITY of those would restart.
    #[serde(skip)]
    pub(super) sequences: Vec<Sequence>,
    /// Columns that take their values from those sequences.
    #[serde(skip)]
    pub(super) feeds: Vec<Feed>,
    /// Foreign keys that lead on from those that lead out; read apart, see [`super::catalog`].
    #[serde(skip)]
    pub(super) keys_beyond: Vec<KeyBeyond>,
    /// Publications that replicate a truncation.
    #[serde(skip)]
    pub(super) publications: Vec<Publication>,
    /// Other sessions of the database, where any keeps the truncation back.
    #[serde(skip)]
    pub(super) sessions: Vec<ClientSession>,
}

/// A requested name that the session finds in another schema than the requested one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Elsewhere {
    /// The name, as a list names it.
    pub(super) name: String,
    /// The schema, as it is.
    pub(super) schema: String,
}

/// A relation of any kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Relation {
    /// Its identity.
    pub(super) oid: Oid,
    /// Schema and name, quoted by the database.
    pub(super) name: String,
    /// Whether a list in the scope names it.
    pub(super) asked: bool,
    /// Whether a list outside the scope names it.
    pub(super) kept: bool,
    /// The plain name under which a list names it.
    pub(super) listed_as: Option<String>,
    /// `pg_class.relkind`.
    pub(super) kind: String,
    /// Whether it belongs to one session.
    pub(super) temporary: bool,
    /// Whether it is logged, so that it can be replicated.
    pub(super) logged: bool,
    /// Whether it is the database system's own.
    pub(super) system: bool,
    /// Whether it is requested, or a descendant of a requested relation.
    pub(super) below: bool,
    /// Whether it is a partition (and not merely a child).
    pub(super) partition: bool,
    /// Whether it is half detached: `DETACH PARTITION ... CONCURRENTLY` has done its first half.
    pub(super) detaching: bool,
    /// Its parents.
    pub(super) parents: Vec<Oid>,
    /// Whether the role has TRUNCATE on it.
    pub(super) may_truncate: bool,
    /// The extension that it, or its schema, belongs to.
    pub(super) extension: Option<String>,
    /// Rows, estimated; 0 for what holds none itself.
    pub(super) rows: u64,
}

/// A foreign key, or the copy of one that a partition has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ForeignKey {
    /// The constraint that a person made; the same for all its copies.
    pub(super) root: Oid,
    /// The root's name, quoted.
    pub(super) name: String,
    /// The table that the root belongs to.
    pub(super) held_by: String,
    /// The referencing table of this copy.
    pub(super) from: Oid,
    /// The referenced table of this copy.
    pub(super) to: Oid,
    /// The extension that the table of the root, or its schema, belongs to.
    pub(super) extension: Option<String>,
}

/// A foreign key of a table that is not in the family to another that is not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct KeyBeyond {
    /// Its name, quoted.
    pub(super) name: String,
    /// The table that it belongs to, quoted.
    pub(super) held_by: String,
    /// The table that it refers to, quoted.
    pub(super) refers_to: String,
    /// The extension that its table, or that table's schema, belongs to.
    pub(super) extension: Option<String>,
}

/// A trigger on TRUNCATE.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trigger {
    /// Its name, quoted.
    pub(super) name: String,
    /// The table that it is on.
    pub(super) table: Oid,
}

/// A sequence that belongs to a column, as that of a serial or identity column does.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sequence {
    /// Its identity.
    pub(super) oid: Oid,
    /// Schema and name, quoted.
    pub(super) name: String,
    /// The name alone, as it is.
    pub(super) plain: String,
    /// The schema, as it is.
    pub(super) schema: String,
    /// The table that it belongs to.
    pub(super) table: Oid,
    /// The role owns it, as RESTART IDENTITY demands.
    pub(super) own: bool,
}

/// A column whose default takes values from a sequence.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Feed {
    /// The sequence.
    pub(super) sequence: Oid,
    /// The table of the column.
    pub(super) table: Oid,
    /// Schema, table and column, quoted.
    pub(super) column: String,
    /// It names the sequence in a text, and another of that name may be meant.
    #[serde(skip)]
    pub(super) by_name: bool,
}

/// A publication that publishes truncations.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Publication {
    /// Its name, quoted.
    pub(super) name: String,
    /// It publishes every table there is.
    pub(super) all: bool,
    /// It publishes whole schemas.
    pub(super) by_schema: bool,
    /// Otherwise the relations of this family that it publishes.
    pub(super) relations: Vec<Oid>,
}

/// The marks by which another connection finds a transaction that has truncated.
///
/// A crash may lose the use of the id, so that another transaction gets the same id. The file tells them apart: only
/// this transaction has made it.
#[derive(Debug, Deserialize)]
pub(super) struct Transaction {
    /// `pg_current_xact_id()`.
    pub(super) id: String,
    /// One of the tables.
    pub(super) table: Oid,
    /// The file that TRUNCATE gave to that table.
    pub(super) file: Option<i64>,
}
