//! The second line of defence for the database's URL: everything that goes out is searched for it.
//!
//! The first line is that errors are told in words of our own; see [`super::fault`].

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The text that replaces a secret.
const MASK: &str = "[redacted]";

/// A secret shorter than this is only taken for one where it stands alone as a word.
const DISTINCTIVE: usize = 4;

/// Knows the parts of a URL and takes them out of text.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    /// Never to be shown, wherever they are: the URL, the password in every spelling.
    secrets: Vec<String>,
    /// Not to be shown in text that comes from elsewhere: user and hosts. In text of our own such
    /// a word can be a table's name.
    words: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Adds a secret in each spelling that it can have in a URL.
    pub(super) fn secret(&mut self, secret: &str) {
        let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        for spelling in [secret.to_owned(), secret.replace(' ', "+"), encoded] {
            if !spelling.is_empty() && !self.secrets.contains(&spelling) {
                self.secrets.push(spelling);
            }
        }
        // A longer secret may contain a shorter one: the longer goes first.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Adds a user's or host's name.
    pub(super) fn word(&mut self, word: &str) {
        // A host with a dot, an address or a path is never a table's name.
        if word.contains(['.', ':', '/']) {
            self.secret(word);
        } else if !word.is_empty() {
            self.words.push(word.to_owned());
        }
    }

    /// Returns `text`, written by us, without secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = if secret.chars().count() < DISTINCTIVE {
                replace_word(&text, secret)
            } else {
                text.replace(secret.as_str(), MASK)
            };
        }
        text
    }

    /// Returns `text`, written by a server or library, without secrets and without user and hosts.
    pub(super) fn clean_foreign(&self, text: &str) -> String {
        let mut text = self.clean(text);
        for word in &self.words {
            text = replace_word(&text, word);
        }
        text
    }
}

/// Replaces `word` where neither a letter, a digit nor an underscore is next to it.
fn replace_word(text: &str, word: &str) -> String {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(word) {
        let end = at + found.len();
        let alone = !text[..at].chars().next_back().is_some_and(part_of_word)
            && !text[end..].chars().next().is_some_and(part_of_word);
        if alone && at >= done {
            out.push_str(&text[done..at]);
            out.push_str(MASK);
            done = end;
        }
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_password_goes() {
        let mut redactor = Redactor::default();
        redactor.secret("p@ss w/rd");
        for text in ["x p@ss w/rd y", "x p%40ss%20w%2Frd y", "x p@ss+w/rd y"] {
            assert_eq!(redactor.clean(text), "x [redacted] y");
        }
    }

    #[test]
    fn a_short_password_goes_only_as_a_word() {
        let mut redactor = Redactor::default();
        redactor.secret("a");
        assert_eq!(redactor.clean("a table, a b"), "[redacted] table, [redacted] b");
        assert_eq!(redactor.clean("table"), "table");
    }

    #[test]
    fn a_user_goes_from_foreign_text_only() {
        let mut redactor = Redactor::default();
        redactor.word("users");
        assert_eq!(redactor.clean("public.users stays"), "public.users stays");
        assert_eq!(
            redactor.clean_foreign("authentication failed for user \"users\""),
            "authentication failed for user \"[redacted]\""
        );
    }

    #[test]
    fn a_host_with_a_dot_goes_everywhere() {
        let mut redactor = Redactor::default();
        redactor.word("db.internal");
        assert_eq!(redactor.clean("no route to db.internal"), "no route to [redacted]");
    }

    #[test]
    fn a_secret_within_a_longer_one_leaves_nothing() {
        let mut redactor = Redactor::default();
        redactor.secret("hunter");
        redactor.secret("postgres://u:hunter@h/d");
        assert_eq!(redactor.clean("<postgres://u:hunter@h/d>"), "<[redacted]>");
    }
}
