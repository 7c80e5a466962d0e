//! A server that is starting, shutting down, full or read-only.

use std::process::Command;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::case::{LISTS, base, database};
use crate::support::postgres::{Database, Ended, Server, server, start, truncate_at, until};

shown! {
    a_server_that_accepts_no_connections_yet,
    a_server_that_is_shutting_down,
    a_server_that_is_a_standby,
    a_role_that_has_all_its_connections,
    a_database_that_is_not_there,
    a_disk_that_is_full,
    a_name_that_the_databases_encoding_does_not_have,
}

/// Returns a second server for tests that harm it. One test uses it at a time.
pub(crate) async fn own() -> MutexGuard<'static, Server> {
    static OWN: OnceCell<Mutex<Server>> = OnceCell::const_new();
    OWN.get_or_init(async || Mutex::new(start())).await.lock().await
}

/// Restarts the server as a standby without a primary and with this setting, and runs the command
/// meanwhile.
async fn as_standby(name: &str, setting: &str) -> Ended {
    let own = own().await;
    let mut db = Database::on(&own, name).await;
    db.run(base()).await;
    let url = db.url.clone();
    db.admin.close().await.unwrap();
    let signal = own.directory.join("data/standby.signal");
    own.ctl(&["stop", "-m", "fast"]);
    std::fs::write(&signal, "").unwrap();
    own.ctl(&["start", "-w", "-o", setting]);
    let ended = truncate_at(&url, &LISTS).await;
    own.ctl(&["stop", "-m", "fast"]);
    std::fs::remove_file(&signal).unwrap();
    own.ctl(&["start", "-w"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    ended
}

async fn a_server_that_accepts_no_connections_yet() -> Ended {
    as_standby("starting", "-c hot_standby=off").await
}

async fn a_server_that_is_a_standby() -> Ended {
    as_standby("standby", "-c hot_standby=on").await
}

async fn a_server_that_is_shutting_down() -> Ended {
    let own = own().await;
    let mut db = Database::on(&own, "shutdown").await;
    db.run(base()).await;
    // As long as somebody is connected, it only turns newcomers away.
    own.ctl(&["stop", "-m", "smart", "-W"]);
    let options: PgConnectOptions = db.url.parse().unwrap();
    until("it turns newcomers away", async || options.clone().connect().await.is_err()).await;
    let ended = truncate_at(&db.url, &LISTS).await;
    assert_eq!((ended.status, db.count("jobs").await), (1, 10), "{ended:?}");
    db.admin.close().await.unwrap();
    let running = own.directory.join("data/postmaster.pid");
    until("it has shut down", async || !running.exists()).await;
    own.ctl(&["start", "-w"]);
    ended
}

async fn a_role_that_has_all_its_connections() -> Ended {
    let mut db = database("connections").await;
    let url = db.role("has_none_left").await;
    db.run("ALTER ROLE has_none_left CONNECTION LIMIT 0").await;
    let ended = truncate_at(&url, &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    ended
}

async fn a_database_that_is_not_there() -> Ended {
    let url = format!("{}/absent", server().url.rsplit_once('/').unwrap().0);
    let ended = truncate_at(&url, &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    ended
}

async fn a_disk_that_is_full() -> Ended {
    let mut db = database("disk_full").await;
    let small = server().directory.join("small");
    std::fs::create_dir(&small).unwrap();
    let path = small.to_str().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=512k,mode=0700,uid=postgres", "none", path]);
    db.run(&format!("CREATE TABLESPACE small LOCATION '{path}'")).await;
    db.run("ALTER TABLE jobs SET TABLESPACE small; ALTER INDEX jobs_pkey SET TABLESPACE small")
        .await;
    db.run("CHECKPOINT").await;
    let filler = small.join("filler");
    // As much as fits: the last write is cut short.
    let _ = std::fs::write(&filler, vec![0; 512 * 1024]);
    let ended = db.truncate(&LISTS).await;
    assert_eq!((ended.status, db.count("jobs").await), (1, 10), "{ended:?}");
    assert_eq!(db.count("logs").await, 10);
    std::fs::remove_file(&filler).unwrap();
    db.truncate(&LISTS).await.done();
    ended
}

async fn a_name_that_the_databases_encoding_does_not_have() -> Ended {
    let mut admin = Database::new("encoding").await;
    admin.run("DROP DATABASE IF EXISTS t_latin").await;
    admin.run("CREATE DATABASE t_latin TEMPLATE template0 ENCODING 'LATIN1'").await;
    let url = admin.url.replace("t_encoding", "t_latin");
    let ended = truncate_at(&url, &["--runtime", "\u{2603}"]).await;
    assert_eq!(ended.refusal().0, "RefusedByDatabase", "{ended:?}");
    ended
}
