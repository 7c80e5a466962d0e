//! Invalid command lines.

use super::case::{Case, hold};

#[tokio::test]
async fn what_is_wrong_with_a_command_line_is_said() {
    hold("arguments", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::wrong("A scope that is none", &["--scope", "Everything"]),
    Case::wrong("A time that is none", &["--runtime", "jobs", "--not-after", "tomorrow"]),
    Case::wrong("A time without its zone", &["--not-after", "2026-12-24 20:00"]),
    Case::wrong("A wait that is none", &["--lock-timeout", "soon"]),
    Case::wrong("A wait for ever", &["--lock-timeout", "0s"]),
    Case::wrong("An option that is not there", &["--cascade"]),
    Case::refused("No table at all", "", &["--runtime", ""]),
    Case::refused(
        "Tables of the default lists that this database does not have",
        "",
        &["--scope", "Runtime"],
    ),
    Case::refused("All without the database's name", "", &["--scope", "All"]),
    Case::refused(
        "All with another database's name",
        "",
        &[
            "--scope",
            "All",
            "--runtime",
            "jobs,logs",
            "--opportunities",
            "",
            "--preserved",
            "accounts",
            "--confirm",
            "App",
        ],
    ),
    Case::refused(
        "Another scope with another database's name",
        "",
        &["--runtime", "jobs,logs", "--confirm", "production"],
    ),
    Case::refused("The database's URL on the command line", "", &["postgres://app:secret@db/app"]),
    Case::refused(
        "A time that has passed",
        "",
        &["--runtime", "jobs,logs", "--not-after", "2020-01-01T00:00:00Z"],
    ),
];
