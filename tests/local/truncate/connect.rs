//! URLs as applications write them, against a real server: over sockets and TCP, with each
//! `sslmode`. The command never prints any part of a URL.

use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::support::folder::Folder;
use crate::support::postgres::{
    Database, Ended, Server, command, ended_of, server, start, truncate_at,
};
use crate::support::wait::poll;

const LISTS: [&str; 6] = ["--runtime", "jobs", "--opportunities", "", "--preserved", "accounts"];

const TABLES: &str = "CREATE TABLE jobs (id serial); CREATE TABLE accounts (id serial)";

/// A role with a password, which is percent-encoded in a URL.
const ROLE: &str = "with_password_1";
const PASSWORD: &str = "p@ss/w:rd?#%[1]&= +ü";
const ENCODED: &str = "p%40ss%2Fw%3Ard%3F%23%25%5B1%5D%26%3D%20%2B%C3%BC";

async fn dry_run(url: &str) -> Ended {
    truncate_at(url, &[&LISTS[..], &["--dry-run"]].concat()).await
}

/// Creates a database whose tables belong to the role with a password.
async fn database(server: &Server, name: &str) -> Database {
    // Roles are shared by the server, so one test at a time creates this one.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let mut db = Database::on(server, name).await;
    db.run(TABLES).await;
    db.role(ROLE).await;
    db.run(&format!(
        "ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'; GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO {ROLE}; \
         ALTER TABLE jobs OWNER TO {ROLE}"
    ))
    .await;
    db
}

fn port(server: &Server) -> &str {
    server.url.rsplit(':').next().unwrap().split('/').next().unwrap()
}

/// Forwards the IPv6 loopback to the server. Returns `None` on a machine without IPv6.
async fn by_ipv6(server: &Server) -> Option<u16> {
    let to: u16 = port(server).parse().unwrap();
    let listener = match TcpListener::bind("[::1]:0").await {
        Ok(listener) => listener,
        Err(error) => {
            println!("URLs with [::1] are left out, as there is none: {error}");
            return None;
        }
    };
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut there = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                // Ends when either side does, however.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut there).await;
            });
        }
    });
    Some(port)
}

#[tokio::test]
async fn every_way_to_write_the_url_leads_to_the_database() {
    let server = server();
    let db = database(server, "ways").await;
    let port = port(server);
    let directory = server.directory.to_str().unwrap();
    let encoded = directory.replace('/', "%2F");
    let mut urls: Vec<String> = [
        "postgres",
        "postgresql",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "POSTGRES",
    ]
    .map(|scheme| format!("{scheme}://{ROLE}:{ENCODED}@127.0.0.1:{port}/t_ways"))
    .to_vec();
    urls.extend([
        // Around it.
        format!("  postgres://{ROLE}:{ENCODED}@127.0.0.1:{port}/t_ways\n"),
        // Hosts.
        format!("postgres://{ROLE}:{ENCODED}@localhost:{port}/t_ways"),
        format!(
            "postgresql+asyncpg://{ROLE}:{ENCODED}@127.0.0.1:1,127.0.0.1:{port}/t_ways?ssl=disable"
        ),
        format!(
            "postgres://{ROLE}:{ENCODED}@/t_ways?host=127.0.0.1,127.0.0.1&port=1,{port}\
             &target_session_attrs=read-write"
        ),
        format!(
            "postgresql+asyncpg://{ROLE}:{ENCODED}@/t_ways?host=127.0.0.1:1&host=127.0.0.1:{port}"
        ),
        // Sockets, where the role needs no password.
        format!("postgresql://{ROLE}@/t_ways?host={directory}&port={port}"),
        format!("postgresql:///t_ways?host={encoded}&user={ROLE}&port={port}"),
        format!("postgresql://{ROLE}@{encoded}:{port}/t_ways"),
        // Everything in parameters.
        format!(
            "postgres://?host=127.0.0.1&port={port}&user={ROLE}&password={ENCODED}&dbname=t_ways"
        ),
        // Parameters of drivers and poolers.
        format!(
            "postgresql+asyncpg://{ROLE}:{ENCODED}@127.0.0.1:{port}/t_ways?ssl=require\
             &prepared_statement_cache_size=0&application_name=cornice&command_timeout=60"
        ),
        format!(
            "postgres://{ROLE}:{ENCODED}@127.0.0.1:{port}/t_ways?sslmode=disable&connect_timeout=5\
             &options=-c%20statement_timeout%3D5000&pgbouncer=true&pool_size=5"
        ),
    ]);
    if let Some(ipv6) = by_ipv6(server).await {
        urls.push(format!("postgres://{ROLE}:{ENCODED}@[::1]:{ipv6}/t_ways"));
        urls.push(format!("postgres://{ROLE}:{ENCODED}@127.0.0.1:1,[::1]:{ipv6}/t_ways"));
    }
    for url in urls {
        let ended = dry_run(&url).await;
        assert_eq!(ended.status, 0, "{url}: {ended:?}");
        let said = format!("{}{}{}", ended.stdout, ended.stderr, ended.json);
        assert!(
            !said.contains(ROLE) && !said.contains("p@ss") && !said.contains(ENCODED),
            "{said}"
        );
    }
    drop(db);
}

#[tokio::test]
async fn options_name_the_server_and_the_environment_has_the_login() {
    let server = server();
    let db = database(server, "parts").await;
    let ports = [("127.0.0.1", port(server).to_owned())];
    let ipv6 = by_ipv6(server).await.map(|port| ("::1", port.to_string()));
    let by_options = async |host: &str, port: &str, more: &[&str], login: &[(&str, &str)]| {
        let options = ["--host", host, "--port", port, "--dbname", "t_parts", "--dry-run"];
        let arguments = [&LISTS[..], &options, more].concat();
        let mut command = command("", &arguments);
        command.env_remove("DATABASE_URL").envs(login.iter().copied());
        ended_of("", &arguments, command.output().await.unwrap(), String::new())
    };
    let login = [("PGUSER", ROLE), ("PGPASSWORD", PASSWORD)];
    for (host, port) in ports.into_iter().chain(ipv6) {
        for more in [&[][..], &["--sslmode", "disable"]] {
            let ended = by_options(host, &port, more, &login).await;
            assert_eq!(ended.status, 0, "{host}: {ended:?}");
        }
    }
    let verified = by_options("127.0.0.1", port(server), &["--sslmode", "verify-full"], &login);
    assert_ne!(verified.await.status, 0, "the server's certificate is of no known authority");
    let wrong = [("PGUSER", ROLE), ("PGPASSWORD", "s3cr3t")];
    for (login, says) in [
        (&wrong[..], "password"),
        (&login[..1], "PGPASSWORD is not set"),
        (&login[1..], "PGUSER is not set"),
        (&[("PGUSER", ""), ("PGPASSWORD", "s3cr3t")], "PGUSER is empty"),
    ] {
        let ended = by_options("127.0.0.1", port(server), &[], login).await;
        assert_ne!(ended.status, 0, "{ended:?}");
        assert!(ended.stderr.contains(says), "{says}: {ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!said.contains("s3cr3t") && !said.contains("p@ss"), "{said}");
    }
    drop(db);
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_told_why() {
    for (url, says) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("'postgres://u:s3cr3t@h/d'", "quotation marks around it"),
        ("\"postgres://u:s3cr3t@h/d\"", "quotation marks around it"),
        ("host=h dbname=d password=s3cr3t", "a list of key=value"),
        ("jdbc:postgresql://h/d?user=u&password=s3cr3t", "one for Java"),
        ("mysql+pymysql://u:s3cr3t@h/d", "for MySQL, and only PostgreSQL"),
        ("sqlite:///s3cr3t.db", "for SQLite, and only PostgreSQL"),
        ("mongodb://u:s3cr3t@h/d", "for MongoDB, and only PostgreSQL"),
        ("redis://:s3cr3t@h/0", "for Redis, and only PostgreSQL"),
        ("https://u:s3cr3t@h/d", "the URL has an unknown scheme"),
        ("u:s3cr3t@h/d", "does not begin with postgresql://"),
        // The slash could be the password's or the database's.
        ("postgres://u:12/s3cr3t@h/d", "must be percent-encoded"),
        ("postgres://u:s3cr3t@h:port/d", "not a number from 1 to 65535"),
        ("postgres://u:s3cr3t@h/d?sslmode=s3cr3t", "parameter sslmode has a value"),
        ("postgres://u:s3cr3t@h/d?target_session_attrs=standby", "target_session_attrs"),
        ("postgres://u:s3cr3t@h/d?service=s3cr3t", "parameter service is not supported"),
        (
            "postgres://u:s3cr3t@h/d?sslrootcert=/s3cr3t",
            "sslrootcert, --ca-file or DATABASE_CA_FILE",
        ),
        ("postgres://u:s3cr3t@a,b/d?port=1,2,3", "differ in length"),
    ] {
        let ended = dry_run(url).await;
        let (_, object, message) = ended.refusal();
        assert!(message.contains(says) && object.is_empty(), "{url}: {ended:?}");
        let said = format!("{}{}{}", ended.stdout, ended.stderr, ended.json);
        assert!(!said.contains("s3cr3t"), "{url}: {said}");
    }
}

/// Runs openssl in the server's directory.
fn openssl(server: &Server, arguments: &[&str]) {
    let done =
        Command::new("openssl").args(arguments).current_dir(&server.directory).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Reloads the server's configuration and certificates. Returns once new connections use them.
async fn reload(db: &mut Database) {
    db.run("ALTER SYSTEM SET log_line_prefix = 'again'").await;
    db.run("SELECT pg_reload_conf()").await;
    poll("a new connection has the new setting", async || {
        let mut new = db.rival().await;
        let shown: String =
            sqlx::query_scalar("SHOW log_line_prefix").fetch_one(&mut new).await.unwrap();
        (shown == "again").then_some(())
    })
    .await;
}

fn path(directory: &Path, file: &str) -> String {
    directory.join(file).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_certificate_counts_only_by_the_authority_that_is_given_for_the_host_and_in_its_time() {
    // A separate server, as its certificate changes.
    let server = start();
    let mut db = database(&server, "tls").await;
    let ca = path(&server.directory, "ca.crt");
    openssl(
        &server,
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=another",
            "-keyout",
            "another.key",
            "-out",
            "another.crt",
        ],
    );
    let another = path(&server.directory, "another.crt");
    let base = format!("postgres://{ROLE}:{ENCODED}@localhost:{}/t_tls", port(&server));
    let by_address = base.replace("localhost", "127.0.0.1");
    let failed = async |url: String, more: &[&str], says: &str| {
        let arguments = [&LISTS[..], &["--dry-run"], more].concat();
        let ended = truncate_at(&url, &arguments).await;
        assert_eq!(ended.status, 1, "{url} {more:?}: {ended:?}");
        assert!(ended.report().message.contains(says), "{url} {more:?}: {ended:?}");
    };
    let done = async |url: String, more: &[&str]| {
        let ended = truncate_at(&url, &[&LISTS[..], &["--dry-run"], more].concat()).await;
        assert_eq!(ended.status, 0, "{url} {more:?}: {ended:?}");
    };

    // The right authority. With a CA file the URL needs no parameters.
    done(format!("{base}?sslmode=verify-full&sslrootcert={ca}"), &[]).await;
    done(base.clone(), &["--ca-file", &ca]).await;
    done(format!("{by_address}?sslmode=verify-ca&sslrootcert={ca}"), &[]).await;
    done(format!("{by_address}?sslmode=require"), &["--ca-file", &ca]).await;
    let elsewhere = format!("{base}?sslmode=verify-full&sslrootcert=/elsewhere");
    done(elsewhere, &["--ca-file", &ca]).await;
    let asyncpg = |url: &str| url.replace("postgres://", "postgresql+asyncpg://") + "?ssl=require";
    done(asyncpg(&base), &[]).await;
    let from_the_environment = command(&base, &[&LISTS[..], &["--dry-run"]].concat())
        .env("DATABASE_CA_FILE", &ca)
        .output()
        .await
        .unwrap();
    assert!(from_the_environment.status.success(), "{from_the_environment:?}");

    // A wrong authority, whatever else is trusted; and a wrong host.
    let unknown = "from an authority that is not trusted";
    for mode in ["verify-full", "verify-ca", "require"] {
        failed(format!("{base}?sslmode={mode}&sslrootcert={another}"), &[], unknown).await;
    }
    failed(base.clone(), &["--ca-file", &another], unknown).await;
    failed(format!("{base}?sslmode=verify-full"), &[], unknown).await;
    let other_host = "for another host than the URL names";
    failed(format!("{by_address}?sslmode=verify-full&sslrootcert={ca}"), &[], other_host).await;
    failed(by_address.clone(), &["--ca-file", &ca], other_host).await;

    // An expired certificate.
    openssl(
        &server,
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "-1",
            "-extfile",
            "extensions",
            "-out",
            "data/server.crt",
        ],
    );
    reload(&mut db).await;
    failed(format!("{base}?sslmode=verify-full&sslrootcert={ca}"), &[], "has expired").await;
    failed(base.clone(), &["--ca-file", &ca], "has expired").await;
    done(format!("{base}?sslmode=require"), &[]).await;

    // None at all.
    let port = without_tls().await;
    let plain = format!("postgres://{ROLE}:{ENCODED}@localhost:{port}/t_tls");
    failed(format!("{plain}?sslmode=require"), &[], "does not offer it").await;
    failed(asyncpg(&plain), &[], "does not offer it").await;
    failed(plain, &["--ca-file", &ca], "does not offer it").await;
}

/// Starts a server that refuses TLS.
async fn without_tls() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // The request has eight bytes. A client that went on without TLS would wait forever.
            let mut request = [0; 8];
            client.read_exact(&mut request).await.unwrap();
            client.write_all(b"N").await.unwrap();
            let _ = client.read(&mut request).await;
        }
    });
    port
}

#[tokio::test]
async fn no_part_of_the_url_shows_whatever_happens() {
    let server = server();
    let mut db = database(server, "hidden").await;
    let at = format!("127.0.0.1:{}", port(server));
    let url = format!("postgres://{ROLE}:{ENCODED}@{at}/t_hidden");
    let hidden = |ended: &Ended, status: i32, what: &str| {
        assert_eq!(ended.status, status, "{what}: {ended:?}");
        let said = format!("{}{}{}", ended.stdout, ended.stderr, ended.json);
        for part in
            [ROLE, PASSWORD, ENCODED, "p@ss", "p%40ss", &at, "127.0.0.1", "localhost", "wr0ng"]
        {
            assert!(!said.contains(part), "{what} shows {part}: {said}");
        }
    };

    hidden(&truncate_at(&url, &LISTS).await, 0, "success");
    hidden(&dry_run(&url).await, 0, "a dry run");
    let wrong = url.replace(ENCODED, "wr0ng");
    hidden(&dry_run(&wrong).await, 1, "a wrong password");
    hidden(&dry_run(&url.replace(&at, "127.0.0.1:1")).await, 1, "nobody there");
    hidden(&dry_run(&url.replace(&at, "wr0ng.invalid")).await, 1, "no such host");
    hidden(&dry_run(&url.replace("t_hidden", "wr0ng")).await, 1, "no such database");
    hidden(&dry_run(&format!("{url}?sslmode=verify-full")).await, 1, "TLS");
    hidden(&dry_run(&format!("{url}?options=-c%20role%3Dwr0ng")).await, 1, "no such role");
    let other = [&LISTS[..], &["--dry-run", "--scope", "All", "--confirm", "other"]].concat();
    hidden(&truncate_at(&url, &other).await, 3, "a refusal");

    // The message names the lock's holder by its application name.
    let mut rival = db.rival().await;
    let lock = format!(
        "SET application_name = '{ROLE} of {at} with p@ss'; BEGIN; LOCK TABLE jobs IN ACCESS SHARE MODE"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut rival).await.unwrap();
    let impatient = [&LISTS[..], &["--lock-timeout", "200ms"]].concat();
    let ended = truncate_at(&url, &impatient).await;
    assert!(ended.report().message.contains("jobs by process"), "{ended:?}");
    let said = format!("{}{}{}", ended.stdout, ended.stderr, ended.json);
    assert!(!said.contains(ROLE) && !said.contains(&at) && ended.status == 1, "{said}");
    sqlx::raw_sql("ROLLBACK").execute(&mut rival).await.unwrap();

    // A function that runs with the truncation raises errors with what it knows.
    for code in ["P0001", "0A000", "42501", "53100"] {
        db.run(&format!(
            "CREATE OR REPLACE FUNCTION tell(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
             IF session_user = '{ROLE}' THEN \
               RAISE USING MESSAGE = 'user ' || session_user || ' has the password {PASSWORD} ({ENCODED})', \
               ERRCODE = '{code}', DETAIL = '{ENCODED}', HINT = '{at}'; \
             END IF; RETURN 1; END $$; \
             CREATE INDEX IF NOT EXISTS telling ON jobs (tell(1)); INSERT INTO jobs DEFAULT VALUES"
        ))
        .await;
        let status = if matches!(code, "0A000" | "42501") { 3 } else { 1 };
        hidden(&truncate_at(&url, &LISTS).await, status, code);
    }
}

#[tokio::test]
async fn no_part_shows_of_a_url_that_is_wrong_or_in_the_wrong_place() {
    let server = server();
    let db = database(server, "wrong").await;
    let at = format!("127.0.0.1:{}", port(server));
    let directory = Folder::new("url-wrong");
    let report = path(directory.path(), "report");
    let run = async |url: &str, more: &[&str]| {
        let arguments = [&LISTS[..], more].concat();
        let output = command(url, &arguments).env("RUST_LOG", "trace").output().await.unwrap();
        let json = std::fs::read_to_string(&report).unwrap_or_default();
        let ended = ended_of(url, &arguments, output, json);
        let said = format!("{}{}{}", ended.stdout, ended.stderr, ended.json);
        for part in ["s3cr3t", ROLE, &at, "127.0.0.1"] {
            assert!(!said.contains(part), "{url} {more:?} shows {part}: {said}");
        }
        ended.status
    };
    for (rest, status) in [
        (format!(":s3cr3t/pass@{at}/t_wrong"), 1),
        (format!(":12s3cr3t/@:{at}/t_wrong"), 3),
        (format!("@{at}/t_wrong?s3cr3t_ssl=1"), 3),
        (format!("@{at}/t_wrong?s3cr3t=1&password=s3cr3t"), 1),
        (format!(":s3cr3t@{at}/t_wrong?options=s3cr3t"), 3),
        (format!(":{ENCODED}@{at}/t_wrong?options=-c%20s3cr3t=1"), 1),
    ] {
        let url = format!("postgres://{ROLE}{rest}");
        for more in [&["--report", &report][..], &["--report", &report, "--dry-run"]] {
            assert_eq!(run(&url, more).await, status, "{url} {more:?}");
        }
    }
    let url = format!("postgres://{ROLE}:s3cr3t@{at}/t_wrong");
    assert_eq!(run("", &["--report", &report, &url]).await, 3);
    assert_eq!(run(&url, &["--help"]).await, 0);
    drop(db);
}

#[tokio::test]
async fn a_url_can_come_from_a_file() {
    let db = database(server(), "file").await;
    let directory = Folder::new("url-file");
    let file = path(directory.path(), "url");
    std::fs::write(&file, format!("{}\n", db.url)).unwrap();
    let dry = [&LISTS[..], &["--dry-run", "--url-file"]].concat();
    let ended = truncate_at("mysql://not/this", &[&dry[..], &[&file]].concat()).await;
    assert_eq!(ended.status, 0, "{ended:?}");
    let absent = path(directory.path(), "s3cr3t");
    let ended = truncate_at(&db.url, &[&dry[..], &[&absent]].concat()).await;
    assert_eq!(ended.refusal().0, "InvalidUrl");
    assert!(!format!("{}{}", ended.stderr, ended.json).contains("s3cr3t"), "{ended:?}");
}
