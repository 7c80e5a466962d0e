//! URLs as applications write them, TLS, and that no part of them shows.

use crate::case::{database, with};
use crate::postgres::{command, server, truncate_at};

#[tokio::test]
async fn several_hosts_are_tried_in_turn() {
    let mut db = database("hosts").await;
    let at = db.url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let url = format!("postgresql+asyncpg://postgres@127.0.0.1:1,{at}/t_hosts?ssl=disable");
    truncate_at(&url, &with(&[])).await.done();
    assert_eq!(db.count("jobs").await, 0);
}

#[tokio::test]
async fn tls_is_checked_up_to_the_name() {
    let directory = &server().directory;
    let db = database("tls").await;
    let ca = directory.join("ca.crt").display().to_string();
    let localhost = db.url.replace("127.0.0.1", "localhost");
    let dry = with(&["--dry-run"]);
    let try_it = async |url: &str, parameters: &str, more: &[&str]| {
        truncate_at(&format!("{url}?{parameters}"), &[&dry[..], more].concat()).await
    };
    let good = [
        try_it(&db.url, "sslmode=require", &[]).await,
        try_it(&localhost, &format!("sslmode=verify-full&sslrootcert={ca}"), &[]).await,
        try_it(&db.url, &format!("sslmode=verify-ca&sslrootcert={ca}"), &[]).await,
        try_it(&localhost, "sslmode=verify-full&sslrootcert=/elsewhere", &["--ca-file", &ca]).await,
        try_it(&localhost, "", &["--ca-file", &ca]).await,
        try_it(&localhost.replace("postgres://", "postgresql+asyncpg://"), "ssl=require", &[])
            .await,
    ];
    for ended in good {
        assert_eq!(ended.status, 0, "{ended:?}");
    }
    let other_host = try_it(&db.url, &format!("sslmode=verify-full&sslrootcert={ca}"), &[]).await;
    assert!(other_host.report().message.contains("another host"), "{other_host:?}");
    let other_ca = try_it(&localhost, "sslmode=verify-full", &[]).await;
    assert!(other_ca.report().message.contains("--ca-file"), "{other_ca:?}");
    let absent = try_it(&localhost, "sslmode=verify-full&sslrootcert=/elsewhere", &[]).await;
    assert_eq!(absent.refusal().0, "InvalidUrl");
}

#[tokio::test]
async fn the_url_never_shows_in_any_output() {
    let mut db = database("secrets").await;
    db.role("with_password_1").await;
    db.run("ALTER ROLE with_password_1 PASSWORD 's3cr3t p@ss'").await;
    let at = db.url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let port = at.split(':').nth(1).unwrap().to_owned();
    let user = "with_password_1";
    let urls = [
        format!("postgres://{user}:s3cr3t%20p%40ss@{at}/t_secrets"),
        format!("postgres://{user}:wr0ngs3cr3t@{at}/t_secrets"),
        format!("postgres://{user}:s3cr3t%20p%40ss@{at}/absent_db"),
        format!("postgres://{user}:s3cr3t@127.0.0.1:1/t_secrets"),
        format!("postgres://{user}:s3cr3t@no-such-s3cr3t-host.invalid:{port}/t_secrets"),
        format!("postgres://{user}:s3cr3t@s3cr3thost"),
        format!("postgres://{user}:s3cr3t/pass@{at}/t_secrets"),
        format!("postgres://{user}:12s3cr3t/@:{at}/t_secrets"),
        format!("mysql://{user}:s3cr3t@{at}/t_secrets"),
        format!("{user}:s3cr3t@{at}"),
        format!("s3cr3t://{user}:s3cr3t@{at}/x"),
        format!("postgres://{user}:s3cr3t@{at}/t_secrets?sslmode=s3cr3t"),
        format!("postgres://{user}@{at}/t_secrets?s3cr3t_ssl=1"),
        format!("postgres://{user}@{at}/t_secrets?s3cr3t=1&password=s3cr3t"),
        format!("postgres://{user}:s3cr3t@{at}/t_secrets?sslmode=require&sslrootcert=/s3cr3t"),
        format!("postgres://{user}:s3cr3t@{at}/t_secrets?options=s3cr3t"),
        format!("postgres://{user}:s3cr3t%20p%40ss@{at}/t_secrets?options=-c%20s3cr3t=1"),
    ];
    let mut statuses = Vec::new();
    for url in &urls {
        for more in [&[][..], &["--dry-run"]] {
            let file = std::env::temp_dir().join("torpor-secrets-report");
            let ended = command(url, &with(more))
                .env("RUST_LOG", "trace")
                .arg("--report")
                .arg(&file)
                .output()
                .await
                .unwrap();
            let json = std::fs::read_to_string(&file).unwrap();
            let out = format!(
                "{}{}{json}",
                String::from_utf8_lossy(&ended.stdout),
                String::from_utf8_lossy(&ended.stderr)
            );
            for secret in ["s3cr3t", "p@ss", "p%40ss", user, &at, "no-such", "127.0.0.1"] {
                assert!(!out.contains(secret), "{url} shows {secret}: {out}");
            }
            statuses.push(ended.status.code().unwrap());
        }
    }
    // The first one gets in, is not allowed to truncate, and is told so.
    assert_eq!(statuses[..6], [3, 3, 1, 1, 1, 1], "{statuses:?}");
    let ended = command("", &with(&["postgres://u:s3cr3t@h/d"])).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("s3cr3t"));
    let help = command(&urls[0], &["--help"]).output().await.unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("s3cr3t"));
}

#[tokio::test]
async fn a_url_can_come_from_a_file() {
    let db = database("url_file").await;
    let file = std::env::temp_dir().join("torpor-url-file");
    std::fs::write(&file, format!("{}\n", db.url)).unwrap();
    let path = file.display().to_string();
    truncate_at("mysql://not/this", &with(&["--url-file", &path])).await.done();
    let ended = truncate_at(&db.url, &with(&["--url-file", "/nonexistent/s3cr3t"])).await;
    assert_eq!(ended.refusal().0, "InvalidUrl");
}
