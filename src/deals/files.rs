//! Files in the folder of a bridge's `--config-dir`.

/// The cluster's published keys, a JSON Web Key Set (RFC 7517).
pub const KEYS: &str = "jwks.json";
/// A decimal number: every epoch below it is stale.
pub const EPOCH: &str = "epoch";
