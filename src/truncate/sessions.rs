//! Other sessions of the database: whoever is connected may write until COMMIT. Pure, apart from the query.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;

use super::report::bounded;
use super::secret::Redactor;
use super::session::{Session, more_in_words};

/// Most bytes of the name of a role or application.
const NAME_LIMIT: usize = 64;

/// Key of the advisory lock, the same for every run in a database: "torpor" in ASCII.
pub(super) const ADVISORY_KEY: i64 = 0x746f_7270_6f72;

/// Sessions in one message; of more the number is told.
const MOST_TOLD: usize = 3;

/// Lets the session see the others anew: what it saw of them stays the same until the end of its transaction.
pub(super) const ANEW: &str = "SELECT pg_stat_clear_snapshot()";

/// Client sessions of this database but our own. Of the sessions of other roles, a role without `pg_read_all_stats`
/// sees neither address nor kind. A walsender is none, nor is another run of the command that waits for us.
const SESSIONS: &str = "
SELECT coalesce(json_agg(json_build_object(
    'process', a.pid, 'address', host(a.client_addr), 'role', a.usename, 'application', a.application_name,
    'state', a.state, 'hidden', a.backend_type IS NULL,
    'own', a.usesysid = (SELECT oid FROM pg_roles WHERE rolname = session_user)
  ) ORDER BY a.pid), '[]')::text
FROM pg_stat_activity a
WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND NOT EXISTS (SELECT FROM pg_stat_get_wal_senders() w WHERE w.pid = a.pid)
  AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND NOT l.granted
                  AND l.database = a.datid AND l.classid::bigint = {key} >> 32
                  AND l.objid::bigint = {key} & 4294967295 AND l.objsubid = 1)";

/// The sessions that keep a truncation back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Watched {
    /// None: nobody asks.
    #[default]
    Nobody,
    /// Those from these addresses.
    From(BTreeSet<IpAddr>),
    /// All.
    All,
}

/// A session as the database shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientSession {
    process: i32,
    /// None for a socket.
    address: Option<IpAddr>,
    role: Option<String>,
    application: Option<String>,
    state: Option<String>,
    /// Whether the role may not see more of it.
    hidden: bool,
    /// Whether its role is that of the URL, whose name is not shown.
    own: bool,
}

/// What there is to say of other sessions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Sessions {
    /// Those that keep the truncation back.
    pub(super) found: Vec<Session>,
    /// How many sessions of other roles show no address.
    pub(super) hidden: u64,
}

impl Watched {
    /// Returns the query for the sessions.
    pub(super) fn query(&self) -> String {
        match self {
            Self::Nobody => "SELECT '[]'".to_owned(),
            Self::From(_) | Self::All => SESSIONS.replace("{key}", &ADVISORY_KEY.to_string()),
        }
    }

    /// Returns the sessions that keep the truncation back, by address.
    pub(super) fn among(&self, seen: &[ClientSession], redactor: &Redactor) -> Sessions {
        let counts = |session: &ClientSession| match self {
            Self::Nobody => false,
            Self::From(addresses) => session.address.is_some_and(|from| addresses.contains(&from)),
            Self::All => true,
        };
        let mut by_address: BTreeMap<(bool, Option<IpAddr>), Session> = BTreeMap::new();
        for session in seen.iter().filter(|session| counts(session)) {
            let found = by_address.entry((session.hidden, session.address)).or_insert_with(|| {
                let detail = session.detail(redactor);
                Session { address: session.address, count: 0, detail }
            });
            found.count += 1;
        }
        let hidden = match self {
            Self::Nobody => 0,
            _ => seen.iter().filter(|session| session.hidden).count() as u64,
        };
        Sessions { found: by_address.into_values().collect(), hidden }
    }
}

impl ClientSession {
    fn detail(&self, redactor: &Redactor) -> String {
        let name = |name: &Option<String>| {
            let name = name.as_deref().filter(|name| !name.is_empty())?;
            Some(bounded(&redactor.clean_foreign(name), NAME_LIMIT))
        };
        let role = match name(&self.role) {
            _ if self.own => "the same role".to_owned(),
            Some(role) => format!("role {role}"),
            None => "no role".to_owned(),
        };
        let application = name(&self.application).map(|name| format!(", application {name}"));
        let state = match &self.state {
            _ if self.hidden => "address hidden",
            Some(state) => state,
            None => "no state",
        };
        let socket =
            if self.address.is_none() && !self.hidden { ", by a local socket" } else { "" };
        let process = self.process;
        format!("{role}{}{socket}, {state}, process {process}", application.unwrap_or_default())
    }
}

impl Sessions {
    /// Returns why nothing is truncated; none where no session keeps it back.
    pub(super) fn obstacle(&self) -> Option<String> {
        let told: Vec<String> = self.found.iter().take(MOST_TOLD).map(Session::in_words).collect();
        let more = more_in_words(self.found.len().saturating_sub(MOST_TOLD) as u64);
        let more = more.map(|more| format!(", and {more}")).unwrap_or_default();
        (!told.is_empty()).then(|| {
            format!("other clients are connected and may write: {}{more}", told.join("; "))
        })
    }
}
