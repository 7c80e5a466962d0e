//! The database's URL, in the forms that applications use: libpq's, `SQLAlchemy`'s with a driver's
//! name in the scheme, asyncpg's parameters.
//!
//! libpq: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>.
//! No error here holds any part of the URL: where a parameter has to be named, it is one of a
//! list in this file.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::secret::Redactor;

/// The time limit for connecting to one host where the URL sets no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A URL that cannot be used, without a word of it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum UrlError {
    /// Not set, or only space.
    #[error("the database's URL is empty")]
    Empty,
    /// A key=value string, a bare host, anything else.
    #[error("the database's URL does not begin with postgresql:// (or postgres://)")]
    NoScheme,
    /// Somebody's shell or env file would have taken them away; nobody does here.
    #[error("the database's URL has quotation marks around it: store it without them")]
    Quoted,
    /// `host=... dbname=...`, as libpq takes it besides.
    #[error(
        "the database is given as a list of key=value: write it as \
         postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    KeyValue,
    /// `jdbc:postgresql://`: user and password are elsewhere, or are parameters.
    #[error(
        "the URL is one for Java (jdbc:): write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    Jdbc,
    /// `mysql://` and the like.
    #[error("the URL is for {0}, and only PostgreSQL is supported")]
    OtherSystem(&'static str),
    /// Something else before `://`.
    #[error(
        "the URL has an unknown scheme: write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    UnknownScheme,
    /// A character that belongs to the syntax, where a name or password was.
    #[error(
        "the URL cannot be taken apart: in a user, password or database name the characters \
         : / ? # [ ] @ % must be percent-encoded"
    )]
    Malformed,
    /// A port that is no number from 1 to 65535.
    #[error("a port in the URL is not a number from 1 to 65535")]
    Port,
    /// A value that its parameter does not allow.
    #[error("the URL's parameter {0} has a value that cannot be used here")]
    Value(&'static str),
    /// A parameter that would change what the connection protects or reaches.
    #[error("the URL's parameter {0} is not supported: remove it")]
    Unsupported(&'static str),
    /// An unknown parameter with `ssl` in its name.
    #[error(
        "the URL has an unknown parameter about TLS: remove it, or write sslmode or sslrootcert"
    )]
    UnknownTls,
    /// More ports than hosts, or the other way round.
    #[error(
        "the URL's lists of hosts and ports differ in length: give one port, or one for each host"
    )]
    HostsAndPorts,
    /// `--ca-file` with a mode that doesn't use it.
    #[error(
        "the URL forbids TLS, so that --ca-file (`caSecretRef` of a Hibernation) cannot have an effect"
    )]
    CaWithoutTls,
}

/// One server to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Host {
    /// A name, an address, or the directory of a Unix socket.
    pub(super) name: String,
    /// The TCP port, or the number in the socket's name.
    pub(super) port: u16,
}

/// The servers of a URL, and the settings of a connection to them.
#[derive(Clone)]
pub(super) struct Target {
    /// The servers, in the order in which they are tried.
    pub(super) hosts: Vec<Host>,
    /// The `sslmode`.
    pub(super) ssl_mode: PgSslMode,
    /// The time limit for connecting to one host.
    pub(super) connect_timeout: Duration,
    /// The parameters that Torpor does not know and ignores.
    pub(super) ignored: usize,
    /// The only schema that the application works in, as Prisma names it.
    pub(super) schema: Option<String>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    root_certificate: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    options: Vec<(String, String)>,
}

impl Target {
    /// Takes a URL apart. `ca_file` goes before the URL's own `sslrootcert`, whose path is often one
    /// in the application's container.
    pub(super) fn parse(url: &str, ca_file: Option<PathBuf>) -> Result<Self, UrlError> {
        let url = url.trim();
        if url.is_empty() {
            return Err(UrlError::Empty);
        }
        if url.starts_with(['"', '\'', '`']) {
            return Err(UrlError::Quoted);
        }
        if url.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("jdbc:")) {
            return Err(UrlError::Jdbc);
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(if url.contains('=') { UrlError::KeyValue } else { UrlError::NoScheme });
        };
        check_scheme(scheme)?;
        let (user_info, authority, rest) = split(rest)?;
        let (database, parameters) = match rest.split_once('?') {
            Some((path, parameters)) => (path, parameters),
            None => (rest, ""),
        };
        let database = database.strip_prefix('/').unwrap_or(database);
        if database.contains(['/', '@', '#']) {
            return Err(UrlError::Malformed);
        }

        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (Some(decode(user)?), Some(decode(password)?)),
            None => (Some(decode(user_info)?), None),
        };
        let mut raw = Parameters::default();
        for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            raw.take(&decode(key)?, decode(value)?)?;
        }

        let tls = tls(&raw, ca_file)?;
        Ok(Self {
            hosts: hosts(authority, &raw)?,
            ssl_mode: tls.mode,
            connect_timeout: raw.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            ignored: raw.ignored,
            schema: raw.schema.filter(|name| !name.is_empty()),
            user: raw.user.or(user).filter(|user| !user.is_empty()),
            password: raw.password.or(password),
            database: raw.database.or(Some(decode(database)?)).filter(|name| !name.is_empty()),
            root_certificate: tls.root_certificate,
            certificate: raw.certificate,
            key: raw.key,
            options: raw.options,
        })
    }

    /// Returns the driver's options for one of the hosts.
    pub(super) fn options(&self, host: &Host) -> PgConnectOptions {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&host.name)
            .port(host.port)
            .ssl_mode(self.ssl_mode)
            .application_name("torpor truncate")
            // A pooler refuses start parameters that it doesn't know, and gives each transaction
            // another server, on which a statement prepared earlier doesn't exist.
            .extra_float_digits(None)
            .statement_cache_capacity(0);
        if let Some(user) = &self.user {
            options = options.username(user);
        }
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if let Some(database) = self.database.as_ref().or(self.user.as_ref()) {
            options = options.database(database);
        }
        if let Some(file) = &self.root_certificate {
            options = options.ssl_root_cert(file);
        }
        if let Some(file) = &self.certificate {
            options = options.ssl_client_cert(file);
        }
        if let Some(file) = &self.key {
            options = options.ssl_client_key(file);
        }
        if !self.options.is_empty() {
            options = options.options(self.options.iter().map(|(key, value)| (key, value)));
        }
        options
    }

    /// Tells `redactor` what must never be shown. The database's name is not among it: the database
    /// itself tells it, and a person confirms by it.
    pub(super) fn hide(&self, redactor: &mut Redactor) {
        if let Some(password) = &self.password {
            redactor.secret(password);
        }
        for word in self.user.iter().chain(self.hosts.iter().map(|host| &host.name)) {
            redactor.word(word);
        }
    }

    /// Files that have to be readable before a connection is tried, with the name of what gives them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        [
            ("sslrootcert, --ca-file or DATABASE_CA_FILE", self.root_certificate.as_ref()),
            ("sslcert", self.certificate.as_ref()),
            ("sslkey", self.key.as_ref()),
        ]
        .into_iter()
        .filter_map(|(what, file)| Some((what, file?)))
    }
}

fn check_scheme(scheme: &str) -> Result<(), UrlError> {
    let scheme = scheme.to_ascii_lowercase();
    // SQLAlchemy puts the driver after a plus; it only says who reads the parameters.
    let system = scheme.split('+').next().unwrap_or_default();
    if system.contains('=') {
        return Err(UrlError::KeyValue);
    }
    match system {
        "postgres" | "postgresql" | "pgsql" | "postgis" | "timescale" | "timescalegis" => Ok(()),
        "mysql" | "mysqlgis" | "mysql2" => Err(UrlError::OtherSystem("MySQL")),
        "mariadb" => Err(UrlError::OtherSystem("MariaDB")),
        "sqlite" | "sqlite3" | "spatialite" | "file" => Err(UrlError::OtherSystem("SQLite")),
        "mssql" | "sqlserver" => Err(UrlError::OtherSystem("SQL Server")),
        "oracle" => Err(UrlError::OtherSystem("Oracle")),
        "mongodb" => Err(UrlError::OtherSystem("MongoDB")),
        "redis" | "rediss" => Err(UrlError::OtherSystem("Redis")),
        "cockroach" | "cockroachdb" => Err(UrlError::OtherSystem("CockroachDB")),
        "redshift" => Err(UrlError::OtherSystem("Redshift")),
        "clickhouse" => Err(UrlError::OtherSystem("ClickHouse")),
        "snowflake" => Err(UrlError::OtherSystem("Snowflake")),
        _ => Err(UrlError::UnknownScheme),
    }
}

/// Splits what follows `://` into user information, hosts, and the rest.
fn split(rest: &str) -> Result<(&str, &str, &str), UrlError> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if let Some((user_info, hosts)) = authority.rsplit_once('@') {
        return Ok((user_info, hosts, after));
    }
    // A password may hold one of those three characters: SQLAlchemy reads on to the next @. A host
    // with a port, however, is a host.
    let port_or_none =
        authority.rsplit_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    if port_or_none || authority.starts_with('[') {
        return Ok(("", authority, after));
    }
    let (user_info, hosts) = rest.split_once('@').ok_or(UrlError::Malformed)?;
    let end = hosts.find(['/', '?', '#']).unwrap_or(hosts.len());
    let (hosts, after) = hosts.split_at(end);
    Ok((user_info, hosts, after))
}

/// The parameters of a URL, before a [`Target`] is made of them.
#[derive(Default)]
struct Parameters {
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    hosts: Vec<String>,
    ports: Vec<String>,
    ssl_mode: Option<String>,
    root_certificate: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    channel_binding: bool,
    options: Vec<(String, String)>,
    connect_timeout: Option<Duration>,
    schema: Option<String>,
    ignored: usize,
}

impl Parameters {
    fn take(&mut self, key: &str, value: String) -> Result<(), UrlError> {
        match key {
            "user" | "username" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" | "database" => self.database = Some(value),
            "host" | "hostaddr" => self.hosts.extend(value.split(',').map(str::to_owned)),
            "port" => self.ports.extend(value.split(',').map(str::to_owned)),
            "sslmode" | "ssl" => self.ssl_mode = Some(value),
            "sslrootcert" => self.root_certificate = Some(value),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            "channel_binding" => self.channel_binding = value == "require",
            "options" => self.options.extend(options(&value)?),
            // Run-time parameters, as drivers for Go, Java and Rust write them.
            "search_path" | "currentSchema" => self.options.push(("search_path".to_owned(), value)),
            "schema" => self.schema = Some(value),
            "connect_timeout" | "timeout" => {
                let seconds: f64 = value.parse().map_err(|_| UrlError::Value("connect_timeout"))?;
                // 0 is for ever in libpq. Nothing here waits for ever.
                self.connect_timeout =
                    (seconds >= 1.0).then(|| Duration::from_secs_f64(seconds.min(60.0)));
            }
            "target_session_attrs" => {
                if !matches!(value.as_str(), "any" | "read-write" | "primary") {
                    return Err(UrlError::Value("target_session_attrs"));
                }
            }
            "gssencmode" if value == "require" => return Err(UrlError::Value("gssencmode")),
            "sslnegotiation" if value != "postgres" => {
                return Err(UrlError::Value("sslnegotiation"));
            }
            "service" => return Err(UrlError::Unsupported("service")),
            "requirepeer" => return Err(UrlError::Unsupported("requirepeer")),
            "require_auth" => return Err(UrlError::Unsupported("require_auth")),
            "sslpassword" => return Err(UrlError::Unsupported("sslpassword")),
            "sslcrl" => return Err(UrlError::Unsupported("sslcrl")),
            "sslcrldir" => return Err(UrlError::Unsupported("sslcrldir")),
            // About pools, caches, names and keepalives: nothing that one transaction needs. TLS is
            // 1.2 or newer without compression in any case.
            "application_name"
            | "fallback_application_name"
            | "client_encoding"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count"
            | "tcp_user_timeout"
            | "load_balance_hosts"
            | "passfile"
            | "gssencmode"
            | "gsslib"
            | "krbsrvname"
            | "sslcompression"
            | "sslsni"
            | "sslnegotiation"
            | "ssl_min_protocol_version"
            | "ssl_max_protocol_version"
            | "prepared_statement_cache_size"
            | "prepared_statement_name_func"
            | "statement_cache_size"
            | "command_timeout"
            | "prepare_threshold"
            | "connection_limit"
            | "pool_timeout"
            | "pgbouncer"
            | "statement-cache-capacity" => {}
            other if other.starts_with("options[") && other.ends_with(']') => {
                let name = &other["options[".len()..other.len() - 1];
                self.options.push((name.to_owned(), value));
            }
            other if other.contains("ssl") || other.contains("tls") => {
                return Err(UrlError::UnknownTls);
            }
            _ => self.ignored += 1,
        }
        Ok(())
    }
}

/// Reads `-c key=value`, the only form in which the server takes settings that matter here (`role`).
fn options(text: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut settings = Vec::new();
    let mut words = text.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next(),
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        let (key, value) =
            setting.and_then(|s| s.split_once('=')).ok_or(UrlError::Value("options"))?;
        settings.push((key.to_owned(), value.replace('\\', "")));
    }
    Ok(settings)
}

struct Tls {
    mode: PgSslMode,
    root_certificate: Option<PathBuf>,
}

/// Returns the mode, never weaker than the application's own driver would have it.
fn tls(parameters: &Parameters, ca_file: Option<PathBuf>) -> Result<Tls, UrlError> {
    let asked = match parameters.ssl_mode.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => None,
        Some("disable" | "false" | "0" | "off" | "no") => Some(PgSslMode::Disable),
        Some("allow" | "prefer") => Some(PgSslMode::Prefer),
        Some("require" | "no-verify" | "true" | "1" | "on" | "yes") => Some(PgSslMode::Require),
        Some("verify-ca" | "verify_ca") => Some(PgSslMode::VerifyCa),
        Some("verify-full" | "verify_full") => Some(PgSslMode::VerifyFull),
        Some(_) => return Err(UrlError::Value("sslmode")),
    };
    let given = ca_file.is_some();
    let system = !given && parameters.root_certificate.as_deref() == Some("system");
    let root_certificate = ca_file
        .or_else(|| parameters.root_certificate.clone().filter(|_| !system).map(PathBuf::from));

    let mode = match asked {
        // Who hands over a certificate authority wants the server checked against it.
        None if given => PgSslMode::VerifyFull,
        None => PgSslMode::Prefer,
        Some(PgSslMode::Disable) if given => return Err(UrlError::CaWithoutTls),
        // As libpq does for `require` with a root certificate.
        Some(PgSslMode::Require | PgSslMode::Prefer) if root_certificate.is_some() => {
            PgSslMode::VerifyCa
        }
        // Without an authority of one's own any public certificate would do: the name has to match.
        Some(PgSslMode::VerifyCa) if root_certificate.is_none() => PgSslMode::VerifyFull,
        Some(mode) => mode,
    };
    // `system` means verify-full in libpq. The driver cannot bind the login to the TLS channel,
    // so that the certificate has to say that this is the server.
    let mode = if system || (parameters.channel_binding && root_certificate.is_none()) {
        PgSslMode::VerifyFull
    } else {
        mode
    };
    Ok(Tls { mode, root_certificate })
}

/// Hosts and ports from the authority (`a:1,b:2`) or, where it is empty, from the parameters.
fn hosts(authority: &str, parameters: &Parameters) -> Result<Vec<Host>, UrlError> {
    let mut hosts: Vec<(String, Option<String>)> = Vec::new();
    if parameters.hosts.is_empty() {
        for one in authority.split(',') {
            let (name, port) = host_and_port(one)?;
            hosts.push((decode(name)?, port.map(str::to_owned)));
        }
    } else {
        for one in &parameters.hosts {
            // SQLAlchemy writes host=a:5432; a socket's directory and an IPv6 address stay whole.
            if one.starts_with('/') || one.matches(':').count() > 1 && !one.starts_with('[') {
                hosts.push((one.clone(), None));
            } else {
                let (name, port) = host_and_port(one)?;
                hosts.push((name.to_owned(), port.map(str::to_owned)));
            }
        }
    }
    match parameters.ports.as_slice() {
        [] => {}
        [port] => hosts.iter_mut().for_each(|host| host.1 = Some(port.clone())),
        ports if ports.len() == hosts.len() => {
            for (host, port) in hosts.iter_mut().zip(ports) {
                host.1 = Some(port.clone());
            }
        }
        _ => return Err(UrlError::HostsAndPorts),
    }
    hosts
        .into_iter()
        .map(|(name, port)| {
            let port = match port.as_deref() {
                None | Some("") => 5432,
                Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?,
            };
            let name = if name.is_empty() { "localhost".to_owned() } else { name };
            Ok(Host { name, port })
        })
        .collect()
}

fn host_and_port(text: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(UrlError::Malformed)?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if port.is_empty() => Ok((address, None)),
            None => Err(UrlError::Malformed),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(UrlError::Malformed),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn decode(text: &str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| UrlError::Malformed)?;
    // The protocol ends its strings with it.
    if decoded.contains('\0') { Err(UrlError::Malformed) } else { Ok(decoded.into_owned()) }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
