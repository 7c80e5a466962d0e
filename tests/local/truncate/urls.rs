//! Invalid URLs, and certificates that are not trusted.

use super::case::{Case, LISTS, database, hold};
use crate::support::postgres::{Ended, server, truncate_at};

#[tokio::test]
async fn what_is_wrong_with_a_url_is_said() {
    hold("urls", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::with_url("No URL", ""),
    Case::with_url("A URL in quotation marks", "\"postgres://app@db/app\""),
    Case::with_url("Keys and values instead of a URL", "host=db dbname=app user=app"),
    Case::with_url("A URL of Java", "jdbc:postgresql://db/app"),
    Case::with_url("A URL of MySQL", "mysql+pymysql://app@db/app"),
    Case::with_url("A URL of SQLite", "sqlite:///app.db"),
    Case::with_url("A URL of MongoDB", "mongodb://app@db/app"),
    Case::with_url("A URL of Redis", "redis://db:6379/0"),
    Case::with_url("A URL without its scheme", "app@db/app"),
    Case::with_url("A way of TLS that is none", "postgres://app@db/app?sslmode=always"),
    Case::with_url(
        "A parameter of TLS that nobody knows",
        "postgres://app@db/app?ssl_mode=require",
    ),
    Case::with_url("A standby asked for", "postgres://app@db/app?target_session_attrs=standby"),
    Case::with_url(
        "A file of an authority that is not there",
        "postgres://app@db/app?sslmode=verify-full&sslrootcert=/nonexistent/ca.crt",
    ),
];

shown! {
    a_certificate_of_another_name_than_the_urls,
}

async fn a_certificate_of_another_name_than_the_urls() -> Ended {
    let db = database("tls_name").await;
    let authority = server().directory.join("ca.crt");
    let url = format!("{}?sslmode=verify-full&sslrootcert={}", db.url, authority.display());
    // The server's is for localhost.
    let ended = truncate_at(&url, &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    let right = truncate_at(&url.replace("127.0.0.1", "localhost"), &LISTS).await;
    assert_eq!(right.status, 0, "{right:?}");
    ended
}
