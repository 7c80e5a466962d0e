//! The way to the database: a URL, or options with user and password in the environment.

use std::fs::File;

use clap::ValueEnum;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::report::{Refusal, RefusalReason};
use super::secret::Redactor;
use super::url::{Target, UrlError};
use super::{Args, PASSWORD_VARIABLE, URL_VARIABLE, USER_VARIABLE};

/// Returns the URL of a database that options name. Fails with a message.
fn url_of_parts(args: &Args, host: &str, redactor: &mut Redactor) -> Result<String, String> {
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) => Err(format!("{name} is empty")),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("{name} is not set: with --host it has the login"))
        }
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8")),
    };
    let (user, password) = (variable(USER_VARIABLE)?, variable(PASSWORD_VARIABLE)?);
    redactor.secret(&password);
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (user, password) = (encoded(&user), encoded(&password));
    // An IPv6 address.
    let host = if host.contains(':') { format!("[{host}]") } else { encoded(host) };
    let database = encoded(args.dbname.as_deref().unwrap_or_default());
    let mode = args.sslmode.and_then(|mode| mode.to_possible_value());
    let mode = mode.map(|mode| format!("?sslmode={}", mode.get_name())).unwrap_or_default();
    Ok(format!("postgresql://{user}:{password}@{host}:{}/{database}{mode}", args.port))
}

/// Returns the database of the URL, or of the options, and hides its parts. Fails with a refusal.
pub(super) fn target(args: &Args, redactor: &mut Redactor) -> Result<Target, Refusal> {
    let refuse = |message: String| RefusalReason::InvalidUrl.refuse("", message);
    let url = if let Some(host) = &args.host {
        url_of_parts(args, host, redactor).map_err(refuse)?
    } else if let Some(file) = &args.url_file {
        std::fs::read_to_string(file)
            .map_err(|error| refuse(format!("--url-file cannot be read: {}", error.kind())))?
    } else {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => url,
            Err(std::env::VarError::NotPresent) => {
                return Err(refuse(format!(
                    "neither {URL_VARIABLE} nor --url-file nor --host is given"
                )));
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(refuse(format!("{URL_VARIABLE} is not valid UTF-8")));
            }
        }
    };
    redactor.secret(url.trim());
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        redactor.secret(&password);
    }
    let target = Target::parse(&url, args.ca_file.clone()).map_err(|error| match error {
        UrlError::OtherSystem(_) => {
            RefusalReason::OtherDatabaseSystem.refuse("", error.to_string())
        }
        error => refuse(error.to_string()),
    })?;
    target.hide(redactor);
    for (what, file) in target.files() {
        if let Err(error) = File::open(file) {
            let hint = if args.ca_file.as_ref() == Some(file) {
                "in a Job the Secret, or its key, that `caSecretRef` names is not there"
            } else {
                "mount it; a certificate authority can be given with --ca-file (`caSecretRef` of a Hibernation)"
            };
            let kind = error.kind();
            return Err(refuse(format!(
                "the file that {what} names cannot be read here: {kind} ({hint})"
            )));
        }
    }
    Ok(target)
}
