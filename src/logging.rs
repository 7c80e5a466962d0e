//! Logs on standard error: text for people, JSON for collectors.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// An error that keeps logging from starting.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter has a syntax error.
    #[error(
        "the log level '{filter}' is not valid ({source}): write a level or a filter, for example 'info' or 'info,torpor=debug'"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// The syntax error.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging is started already.
    #[error("logging cannot start: {0}")]
    Init(#[from] TryInitError),
}

/// Starts logging in this process. `level` is a level or a filter (`info,kube=warn`). A non-empty
/// `rust_log`, the value of the environment variable, takes precedence.
pub fn init(format: Format, level: &str, rust_log: Option<&str>) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = filter(rust_log.filter(|filter| !filter.is_empty()).unwrap_or(level))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => logs.finish().try_init()?,
        Format::Json => logs.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, LoggingError> {
    // The database driver logs messages of the server verbatim, and these may quote a password.
    let read = || Ok(EnvFilter::try_new(text)?.add_directive("sqlx=off".parse()?));
    read().map_err(|source| LoggingError::Filter { filter: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_filter() {
        assert_eq!(filter("info").unwrap().to_string(), "sqlx=off,info");
        assert_eq!(filter("info,sqlx=debug").unwrap().to_string(), "sqlx=off,info");
        assert!(filter("info,torpor=debug").is_ok());
        let error = filter("info,torpor=loud").unwrap_err().to_string();
        assert!(error.contains("info,torpor=debug"), "{error}");
    }
}
