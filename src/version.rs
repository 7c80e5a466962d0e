//! The version of this program, and the commit that it was built from.

use std::sync::LazyLock;

/// The variable of the image that has the commit. The binary does not contain it: the binary is the same, and is not
/// compiled again, where only other files have changed.
const VARIABLE: &str = "TORPOR_REVISION";

static REVISION: LazyLock<String> = LazyLock::new(|| {
    let revision = std::env::var(VARIABLE).unwrap_or_default();
    let known = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if known { revision } else { "unknown".to_owned() }
});
static FULL: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (commit {})", *REVISION));

/// The version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the commit, or `unknown` outside of the image.
pub(crate) fn revision() -> &'static str {
    &REVISION
}

/// Returns the version with the commit.
pub(crate) fn full() -> &'static str {
    &FULL
}
