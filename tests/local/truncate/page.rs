//! docs/truncate-cases.md is the golden file of the cases: each with the output of the command. A
//! test compares its part of the page; with `TORPOR_WRITE_DOCS=1` it rewrites that part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use crate::support::postgres::Ended;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/truncate-cases.md");

/// The text before the cases.
const HEAD: &str = include_str!("page.md");

/// A section of the page.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) cases: Vec<String>,
}

/// Returns the sections in the order of the page. A case that is missing here is not on the page.
fn sections() -> Vec<Section> {
    use super::{
        arguments, connections, effects, hand, in_between, inheritance, keys, kinds, names,
        partitions, pooler, privileges, rivals, sequences, server, sessions, time, urls,
    };
    let table = |title, cases: &[super::case::Case]| Section {
        title,
        cases: cases.iter().map(|case| case.title.to_owned()).collect(),
    };
    let tests = |title, names: &[&str]| Section {
        title,
        cases: names.iter().map(|name| sentence(name)).collect(),
    };
    vec![
        table("Names and schemas", names::CASES),
        table("Foreign keys", keys::CASES),
        table("Partitions", partitions::CASES),
        table("Inheritance", inheritance::CASES),
        table("Sequences", sequences::CASES),
        table("Triggers, publications and rules", effects::CASES),
        table("Kinds of tables", kinds::CASES),
        table("Privileges and settings of the role", privileges::CASES),
        tests("Locks and rivals", rivals::TITLES),
        tests("Other sessions", sessions::TITLES),
        tests("Changes in between", in_between::TITLES),
        tests("The time to be done by", time::TITLES),
        tests("Connections", connections::TITLES),
        table("URLs", urls::CASES),
        tests("Certificates", urls::TITLES),
        tests("The server", server::TITLES),
        tests("pgbouncer", pooler::TITLES),
        table("The command line", arguments::CASES),
        tests("By hand", hand::TITLES),
    ]
}

/// Makes each of these functions a test of the same name and a case of the page.
macro_rules! shown {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TITLES: &[&str] = &[$(stringify!($name)),*];
        mod shown {
            $(
                #[tokio::test]
                async fn $name() {
                    let ended = super::$name().await;
                    super::super::page::check(&super::super::page::sentence(stringify!($name)), "", &ended);
                }
            )*
        }
    };
}

/// Returns the name of a test as a sentence.
pub(crate) fn sentence(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut characters = words.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Compares the outcome of a case with the page.
pub(crate) fn check(title: &str, setup: &str, ended: &Ended) {
    static WRITING: Mutex<()> = Mutex::new(());
    let body = body(setup, ended);
    if std::env::var_os("TORPOR_WRITE_DOCS").is_some() {
        let _alone = WRITING.lock().unwrap();
        let mut bodies = read();
        bodies.insert(title.to_owned(), body);
        std::fs::write(PATH, render(&bodies)).unwrap();
        return;
    }
    let kept = read().remove(title).unwrap_or_default();
    assert!(
        kept == body,
        "docs/truncate-cases.md is stale: check that the new message is better, and run `make docs`\n\
         == {title}\n{body}\n== kept\n{kept}"
    );
}

/// Returns the text below the title of a case.
fn body(setup: &str, ended: &Ended) -> String {
    let mut text = String::new();
    let setup = setup.trim();
    if !setup.is_empty() {
        let _ = write!(text, "```sql\n{setup}\n```\n");
    }
    let arguments: Vec<String> = ended.arguments.iter().map(|word| quoted(word)).collect();
    let output = format!("{}{}", ended.stdout, ended.stderr);
    let output: String = output.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{}", line.trim_end());
        all
    });
    let _ = write!(
        text,
        "```console\n$ torpor truncate {}\n{}```\nExit status {}.",
        arguments.join(" "),
        output,
        ended.status
    );
    normalised(&text, &ended.database)
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_,./:=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Replaces the values that differ from run to run.
fn normalised(text: &str, database: &str) -> String {
    let mut out = Vec::new();
    for line in text.lines() {
        // The name of a test's database is unlike any word.
        let line = if database.starts_with("t_") {
            line.replace(database, "app")
        } else {
            line.to_owned()
        };
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for position in 1..words.len() {
            let rest = words[position].trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
            let number = rest.len() < words[position].len() && rest.len() < 2;
            match words[position - 1].as_str() {
                "process" if number => words[position] = format!("4711{rest}"),
                // PostgreSQL tells the file's name.
                "file" if words[position].starts_with("\"pg_tblspc/") => {
                    "\"pg_tblspc/...\":".clone_into(&mut words[position]);
                }
                _ => {}
            }
        }
        out.push(words.join(" "));
    }
    out.join("\n")
}

/// Returns the cases of the page by title.
fn read() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(PATH).unwrap_or_default();
    let mut bodies = BTreeMap::new();
    for part in page.split("\n### ").skip(1) {
        let part = part.split("\n## ").next().unwrap();
        let (title, body) = part.split_once("\n\n").unwrap_or((part, ""));
        bodies.insert(title.to_owned(), body.trim().to_owned());
    }
    bodies
}

fn render(bodies: &BTreeMap<String, String>) -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        let _ = write!(page, "\n## {}\n", section.title);
        for title in section.cases {
            let body = bodies.get(&title).map_or("", String::as_str);
            let _ = write!(page, "\n### {title}\n\n{body}\n");
        }
    }
    page
}

#[test]
fn the_page_has_these_cases_and_nothing_else() {
    let titles: Vec<String> = sections().into_iter().flat_map(|section| section.cases).collect();
    let mut unique = titles.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), titles.len(), "a title is there twice");
    if std::env::var_os("TORPOR_WRITE_DOCS").is_none() {
        let kept = std::fs::read_to_string(PATH).unwrap();
        assert!(render(&read()) == kept, "docs/truncate-cases.md is stale: run `make docs`");
    }
}
