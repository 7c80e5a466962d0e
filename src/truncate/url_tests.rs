use proptest::prelude::*;

use super::*;

fn parse(url: &str) -> Target {
    Target::parse(url, None).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn error(url: &str) -> UrlError {
    Target::parse(url, None).err().unwrap_or_else(|| panic!("{url} was taken"))
}

fn host(name: &str, port: u16) -> Host {
    Host { name: name.to_owned(), port }
}

#[test]
fn the_schemes_of_applications_are_taken() {
    for scheme in [
        "postgres",
        "postgresql",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "postgresql+psycopg_async",
        "postgresql+pg8000",
        "POSTGRESQL",
    ] {
        let target = parse(&format!("{scheme}://app:secret@db:6432/cornice"));
        assert_eq!(target.hosts, [host("db", 6432)]);
        assert_eq!(target.user.as_deref(), Some("app"));
        assert_eq!(target.password.as_deref(), Some("secret"));
        assert_eq!(target.database.as_deref(), Some("cornice"));
    }
}

#[test]
fn another_database_system_is_named() {
    assert_eq!(error("mysql+aiomysql://a:b@c/d"), UrlError::OtherSystem("MySQL"));
    assert_eq!(error("sqlite+aiosqlite:///x.db"), UrlError::OtherSystem("SQLite"));
    assert_eq!(error("wrong://a:b@c/d"), UrlError::UnknownScheme);
    assert_eq!(error("redis://h/0"), UrlError::OtherSystem("Redis"));
    assert_eq!(error("rediss://:p@h:6379"), UrlError::OtherSystem("Redis"));
    assert_eq!(error("mongodb+srv://a:b@c/d"), UrlError::OtherSystem("MongoDB"));
    assert_eq!(error("sqlite:////var/x.db"), UrlError::OtherSystem("SQLite"));
    assert_eq!(error("mariadb+pymysql://a:b@c/d"), UrlError::OtherSystem("MariaDB"));
    assert_eq!(error("mssql+pyodbc://a:b@c/d"), UrlError::OtherSystem("SQL Server"));
    assert_eq!(error("jdbc:postgresql://h/d?user=a&password=b"), UrlError::Jdbc);
    assert_eq!(error("JDBC:mysql://h/d"), UrlError::Jdbc);
    assert_eq!(error("host=a dbname=b"), UrlError::KeyValue);
    assert_eq!(error("password=a://b host=c"), UrlError::KeyValue);
    assert_eq!(error("postgresql:h/d"), UrlError::NoScheme);
    assert_eq!(error("db.example.org"), UrlError::NoScheme);
    assert_eq!(error("'postgres://u@h/d'"), UrlError::Quoted);
    assert_eq!(error("\"postgres://u@h/d\"\n"), UrlError::Quoted);
    assert_eq!(error(""), UrlError::Empty);
    assert_eq!(error(" \n"), UrlError::Empty);
}

#[test]
fn the_space_around_a_url_in_a_file_is_no_part_of_it() {
    assert_eq!(parse(" postgres://u@h/d\n").database.as_deref(), Some("d"));
}

#[test]
fn passwords_may_be_encoded_or_not() {
    for (url, password) in [
        ("postgres://u:p%40s%2Fs%3A%25@h/d", "p@s/s:%"),
        ("postgres://u:p@ss@h/d", "p@ss"),
        ("postgres://u:pa/ss@h/d", "pa/ss"),
        ("postgres://u:pa?ss@h/d", "pa?ss"),
        ("postgres://u:pa#ss@h/d", "pa#ss"),
        ("postgres://u:a:b@h/d", "a:b"),
        ("postgres://u:a+b@h/d", "a+b"),
        ("postgres://u@h/d?password=x%26y", "x&y"),
        ("postgres://u:@h/d", ""),
    ] {
        let target = parse(url);
        assert_eq!(target.password.as_deref(), Some(password), "{url}");
        assert_eq!(target.hosts, [host("h", 5432)], "{url}");
        assert_eq!(target.database.as_deref(), Some("d"), "{url}");
    }
    // Could be host u with port 12 as well.
    assert_eq!(error("postgres://u:12/cd@host/db"), UrlError::Malformed);
    assert_eq!(error("postgres://u:pass:word/x"), UrlError::Malformed);
}

#[test]
fn several_hosts_are_all_taken() {
    assert_eq!(
        parse("postgres://u@a:1,b,[::1]:3/d").hosts,
        [host("a", 1), host("b", 5432), host("::1", 3)]
    );
    assert_eq!(parse("postgres://u@/d?host=a,b&port=1,2").hosts, [host("a", 1), host("b", 2)]);
    assert_eq!(parse("postgres://u@/d?host=a,b&port=7").hosts, [host("a", 7), host("b", 7)]);
    assert_eq!(
        parse("postgresql+asyncpg://u@/d?host=a:1&host=b:2").hosts,
        [host("a", 1), host("b", 2)]
    );
    assert_eq!(error("postgres://u@/d?host=a,b&port=1,2,3"), UrlError::HostsAndPorts);
    assert_eq!(error("postgres://u@h:0/d"), UrlError::Port);
    assert_eq!(error("postgres://u@h:65536/d"), UrlError::Port);
}

#[test]
fn unix_sockets_are_taken() {
    for url in [
        "postgresql:///d?host=/var/run/postgresql&user=u",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/d",
        "postgresql+psycopg2://u@/d?host=/var/run/postgresql",
    ] {
        let target = parse(url);
        assert_eq!(target.hosts, [host("/var/run/postgresql", 5432)], "{url}");
        assert_eq!(target.user.as_deref(), Some("u"), "{url}");
    }
}

#[test]
fn tls_is_never_weaker_than_asked_for() {
    let mode = |parameters: &str| parse(&format!("postgres://u@h/d?{parameters}")).ssl_mode;
    assert!(matches!(mode(""), PgSslMode::Prefer));
    assert!(matches!(mode("sslmode=disable"), PgSslMode::Disable));
    assert!(matches!(mode("sslmode=require"), PgSslMode::Require));
    assert!(matches!(mode("ssl=require"), PgSslMode::Require));
    assert!(matches!(mode("ssl=true"), PgSslMode::Require));
    assert!(matches!(mode("sslmode=require&sslrootcert=/ca"), PgSslMode::VerifyCa));
    assert!(matches!(mode("sslmode=verify-ca&sslrootcert=/ca"), PgSslMode::VerifyCa));
    assert!(matches!(mode("sslmode=verify-ca"), PgSslMode::VerifyFull));
    assert!(matches!(mode("ssl=verify-full"), PgSslMode::VerifyFull));
    assert!(matches!(mode("sslrootcert=system"), PgSslMode::VerifyFull));
    assert!(matches!(mode("sslmode=require&channel_binding=require"), PgSslMode::VerifyFull));
    assert_eq!(error("postgres://u@h/d?sslmode=verfy-full"), UrlError::Value("sslmode"));
    assert_eq!(error("postgres://u@h/d?sslmod=verify-full"), UrlError::UnknownTls);
}

#[test]
fn a_ca_file_makes_the_server_checked() {
    let mode = |url: &str| Target::parse(url, Some("/ca.pem".into())).map(|t| t.ssl_mode);
    assert!(matches!(mode("postgres://u@h/d"), Ok(PgSslMode::VerifyFull)));
    assert!(matches!(mode("postgres://u@h/d?sslmode=require"), Ok(PgSslMode::VerifyCa)));
    assert!(matches!(mode("postgres://u@h/d?sslmode=disable"), Err(UrlError::CaWithoutTls)));
}

#[test]
fn a_replica_is_refused_and_unknown_parameters_are_counted() {
    assert_eq!(
        error("postgres://u@h/d?target_session_attrs=standby"),
        UrlError::Value("target_session_attrs")
    );
    assert_eq!(error("postgres://u@h/d?service=x"), UrlError::Unsupported("service"));
    assert_eq!(parse("postgres://u@h/d?pool_size=5&application_name=x").ignored, 1);
}

#[test]
fn parameters_of_drivers_and_poolers_are_taken_and_do_nothing() {
    let target = parse(
        "postgresql+asyncpg://u:p@h/d?ssl=require&prepared_statement_cache_size=0&\
         statement_cache_size=0&command_timeout=60&timeout=5&pgbouncer=true&application_name=a%20b&\
         prepared_statement_name_func=x&keepalives=1&connect_timeout=7",
    );
    assert_eq!(target.ignored, 0);
    assert_eq!(target.connect_timeout, Duration::from_secs(7));
    assert!(matches!(target.ssl_mode, PgSslMode::Require));
    assert_eq!(error("postgres://u@h/d?connect_timeout=soon"), UrlError::Value("connect_timeout"));
    // For ever, in libpq.
    assert_eq!(parse("postgres://u@h/d?connect_timeout=0").connect_timeout, CONNECT_TIMEOUT);
    for attributes in ["any", "read-write", "primary"] {
        parse(&format!("postgres://u@a,b/d?target_session_attrs={attributes}"));
    }
}

#[test]
fn files_of_the_url_are_named_by_their_parameters() {
    let target = parse("postgres://u@h/d?sslrootcert=/r&sslcert=/c&sslkey=/k");
    let files: Vec<_> = target.files().map(|(_, file)| file.to_str().unwrap()).collect();
    assert_eq!(files, ["/r", "/c", "/k"]);
}

#[test]
fn settings_for_the_server_are_passed_on() {
    let target = parse("postgres://u@h/d?options=-c%20role%3Downer%20-csearch_path=a,b");
    assert_eq!(
        target.options,
        [("role".to_owned(), "owner".to_owned()), ("search_path".to_owned(), "a,b".to_owned())]
    );
    assert_eq!(error("postgres://u@h/d?options=project%3Dx"), UrlError::Value("options"));
}

proptest! {
    #[test]
    fn no_error_shows_a_part_of_the_url(
        scheme in "[a-z]{6,9}", user in "[a-z0-9]{6,10}", password in "[A-Z:/?#@%0-9]{6,20}",
        rest in "[a-zA-Z0-9=&/@,:]{6,30}",
    ) {
        let url = format!("{scheme}://{user}:{password}@{rest}");
        if let Err(error) = Target::parse(&url, None) {
            let text = error.to_string();
            for part in [&scheme, &user, &password, &rest] {
                prop_assert!(!text.contains(part.as_str()), "{text} shows {part}");
            }
        }
    }

    #[test]
    fn an_encoded_password_is_read_back(password in "\\PC{0,30}") {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC);
        let target = parse(&format!("postgres://u:{encoded}@h:1/d?sslmode=disable"));
        prop_assert_eq!(target.password, Some(password));
        prop_assert_eq!(target.hosts, [host("h", 1)]);
    }
}

#[test]
fn a_schema_and_a_search_path_are_taken_as_drivers_write_them() {
    let schema = |url: &str| parse(url).schema;
    assert_eq!(schema("postgres://h/d?schema=tenant").as_deref(), Some("tenant"));
    assert_eq!(schema("postgres://h/d?schema=My%20App").as_deref(), Some("My App"));
    assert_eq!(schema("postgres://h/d?schema="), None);
    let path = vec![("search_path".to_owned(), "tenant,public".to_owned())];
    for parameter in [
        "options=-csearch_path%3Dtenant,public",
        "options=-c%20search_path%3Dtenant,public",
        "search_path=tenant,public",
        "currentSchema=tenant,public",
        "options[search_path]=tenant,public",
        "options%5Bsearch_path%5D=tenant,public",
    ] {
        let target = parse(&format!("postgres://h/d?{parameter}"));
        assert_eq!((target.options, target.ignored), (path.clone(), 0), "{parameter}");
    }
}
