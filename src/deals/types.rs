//! Types of the Deals API's requests and answers. They are read strictly: a field that is unknown, missing,
//! too long or malformed is an error, never a default.

use std::fmt;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Most characters of an id, and of a counterparty's name.
pub const LONGEST_ID: usize = 256;
/// Most bytes of a `restore` payload.
pub const LONGEST_RESTORE: usize = 64 * 1024;
/// Most characters of a failure's text.
pub const LONGEST_DETAIL: usize = 512;
/// Most entries of a list.
pub const LONGEST_LIST: usize = 10_000;
/// Most bytes of a request's body.
pub const LONGEST_BODY: usize = 1024 * 1024;

/// The header that carries the epoch of a change.
pub const EPOCH_HEADER: &str = "torpor-epoch";

/// Media type of requests and answers.
pub const MEDIA_TYPE: &str = "application/json";

/// A value that breaks one of the bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BoundError {
    /// An id that is empty, too long, or has control characters.
    #[error("an id has 1 to {LONGEST_ID} characters, none of them a control character")]
    Id,
    /// A payload that is too long or has a NUL.
    #[error("a restore payload has at most {LONGEST_RESTORE} bytes, none of them NUL")]
    Restore,
    /// A list that is too long.
    #[error("a list has at most {LONGEST_LIST} entries")]
    List,
    /// A term and an end that contradict each other.
    #[error("a deal of term Fixed has an endsAt, and a deal of term Open has `endsAt: null`")]
    Term,
    /// An incomplete list of commitments, which must not be used.
    #[error("complete is not true")]
    Incomplete,
}

/// The market's name for a deal, an order, a task or a counterparty.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub struct Id(String);

impl Id {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = BoundError;

    fn try_from(text: String) -> Result<Self, BoundError> {
        let fits = !text.is_empty()
            && text.chars().count() <= LONGEST_ID
            && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(BoundError::Id) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Payload from which a bridge offers an order again. Only the bridge that made it can read it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub struct Restore(String);

impl Restore {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Restore {
    type Error = BoundError;

    fn try_from(text: String) -> Result<Self, BoundError> {
        let fits = text.len() <= LONGEST_RESTORE && !text.contains('\0');
        if fits { Ok(Self(text)) } else { Err(BoundError::Restore) }
    }
}

/// The term of a deal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Term {
    /// Ending the deal before its end would break a promise.
    Fixed {
        /// End of the deal.
        ends_at: Timestamp,
    },
    /// Either side may end the deal at any time.
    Open,
}

/// A deal that is in force.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "DealOnTheWire", into = "DealOnTheWire")]
pub struct Deal {
    /// The market's name for it.
    pub id: Id,
    /// The term.
    pub term: Term,
    /// The buyer.
    pub counterparty: Option<Id>,
    /// Offers the deal's order again, if closing the deal takes the order off the market.
    pub restore: Option<Restore>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
enum TermOnTheWire {
    Fixed,
    Open,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DealOnTheWire {
    id: Id,
    term: TermOnTheWire,
    // With `deserialize_with`, serde reports an absent field as missing and does not read it as null.
    #[serde(deserialize_with = "Option::deserialize")]
    ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    counterparty: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    restore: Option<Restore>,
}

/// Reads a field that may be absent and must not be null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl TryFrom<DealOnTheWire> for Deal {
    type Error = BoundError;

    fn try_from(wire: DealOnTheWire) -> Result<Self, BoundError> {
        let term = match (wire.term, wire.ends_at) {
            (TermOnTheWire::Fixed, Some(ends_at)) => Term::Fixed { ends_at },
            (TermOnTheWire::Open, None) => Term::Open,
            _ => return Err(BoundError::Term),
        };
        Ok(Self { id: wire.id, term, counterparty: wire.counterparty, restore: wire.restore })
    }
}

impl From<Deal> for DealOnTheWire {
    fn from(deal: Deal) -> Self {
        let (term, ends_at) = match deal.term {
            Term::Fixed { ends_at } => (TermOnTheWire::Fixed, Some(ends_at)),
            Term::Open => (TermOnTheWire::Open, None),
        };
        Self { id: deal.id, term, ends_at, counterparty: deal.counterparty, restore: deal.restore }
    }
}

/// An order that is open on the market, or one to offer again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The market's name for it.
    pub id: Id,
    /// Offers the order again.
    pub restore: Restore,
}

/// A task that has not ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The market's name for it.
    pub id: Id,
}

/// A deal, order or task that the last drain could not end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The deal, order or task.
    pub id: Id,
    /// The cause, for a person.
    pub detail: String,
}

/// A list of at most [`LONGEST_LIST`] entries.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<T> {
    /// Returns the entries.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Returns the entries.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> TryFrom<Vec<T>> for List<T> {
    type Error = BoundError;

    fn try_from(entries: Vec<T>) -> Result<Self, BoundError> {
        if entries.len() <= LONGEST_LIST { Ok(Self(entries)) } else { Err(BoundError::List) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bounded<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {LONGEST_LIST} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<List<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = from.next_element()? {
                    if entries.len() == LONGEST_LIST {
                        return Err(A::Error::custom(BoundError::List));
                    }
                    entries.push(entry);
                }
                Ok(List(entries))
            }
        }

        from.deserialize_seq(Bounded(std::marker::PhantomData))
    }
}

/// `complete`, whose only value is true: a server that cannot list everything answers with a problem.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct Complete;

impl TryFrom<bool> for Complete {
    type Error = BoundError;

    fn try_from(complete: bool) -> Result<Self, BoundError> {
        if complete { Ok(Self) } else { Err(BoundError::Incomplete) }
    }
}

impl From<Complete> for bool {
    fn from(_: Complete) -> Self {
        true
    }
}

/// Open deals, orders and tasks: the answer to `GET /v1/commitments`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Commitments {
    /// Start of the observation, by the bridge's clock.
    pub as_of: Timestamp,
    /// The lists are complete.
    pub complete: Complete,
    /// Deals in force.
    pub deals: List<Deal>,
    /// Orders on the market that are no deal yet.
    pub orders: List<Order>,
    /// Tasks that have not ended.
    pub tasks: List<Task>,
    /// The announced maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub next_maintenance: Option<Timestamp>,
    /// Deals, orders and tasks that the last drain could not end.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub failures: List<Failure>,
}

/// Body of `PUT /v1/maintenance`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Start of the maintenance.
    pub at: Timestamp,
}

/// Body of `POST /v1/drain`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Orders to withdraw.
    pub orders: List<Id>,
    /// Deals to close: of term Open, or past their end.
    pub deals: List<Id>,
    /// Tasks to end.
    pub tasks: List<Id>,
}

/// Body of `POST /v1/resume`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Orders to offer again, each with the payload from an observation.
    pub orders: List<Order>,
}

/// Returns whether Content-Type has this media type, with any parameters.
pub fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
}

/// Returns text of a market or database for messages: without control characters, and bounded.
pub fn cleaned(text: &str) -> String {
    let mut clean: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(LONGEST_DETAIL + 1)
        .collect();
    if clean.chars().count() > LONGEST_DETAIL {
        clean = clean.chars().take(LONGEST_DETAIL - 1).collect();
        clean.push('…');
    }
    clean
}

#[cfg(test)]
#[path = "types_tests.rs"]
mod tests;
