//! Messages of the protocol as Go's `encoding/json` reads and writes them.
//!
//! Zero scalars, empty texts and unset messages are absent. `BigInt` is a decimal text, `Timestamp` an
//! RFC 3339 text, `EthAddress` a text, an enum a number, bytes are base64, a `Duration` is
//! `{"nanoseconds": n}`. A field that isn't known is passed over, and names match in whatever case.

pub mod read;
pub mod write;

#[cfg(test)]
mod tests;
