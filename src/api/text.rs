//! Lists and counts, as messages say them.

use std::fmt::Display;

/// Returns the first five of a list, and how many more there are.
pub fn few(items: &[String]) -> String {
    first(items, 5)
}

/// Returns the first `shown` of a list, and how many more there are.
pub fn first(items: &[String], shown: usize) -> String {
    let text = items.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(shown) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// Returns `1 object` or `2 objects`.
pub fn counted<N: Copy + Display + From<u8> + PartialEq>(count: N, noun: &str) -> String {
    if count == N::from(1) { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
