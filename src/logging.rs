//! Logs on standard error, as text for a person or JSON for a collector.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error(
        "the log level '{filter}' cannot be read ({source}); write one such as 'info' or 'info,torpor=debug'"
    )]
    Filter {
        /// What was written.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// It has been started before.
    #[error("logging cannot be started: {0}")]
    Init(#[from] TryInitError),
}

/// Starts logging in this process. `level` is a level or a filter (`info,kube=warn`); the `RUST_LOG`
/// that the caller found beats it.
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
    // The database driver would log what a server says, as it says it: it may quote a password.
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
