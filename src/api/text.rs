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

/// Returns a number as in 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns bytes in the largest unit of which there are ten or more, rounded down; less than nothing is 0 B.
pub fn size<N: TryInto<u64>>(bytes: N) -> String {
    let mut value = bytes.try_into().unwrap_or_default();
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 10 * 1024 {
            break;
        }
        value /= 1024;
        unit = larger;
    }
    format!("{} {unit}", grouped(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(size(8192), "8,192 B");
        assert_eq!(size(123 * 1024 * 1024), "123 MiB");
    }
}
