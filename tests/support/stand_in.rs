//! The path of the stand-in of `examples/sonm/`, a package of its own.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Returns the path of the stand-in, which cargo builds beside the operator.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_torpor")).with_file_name("sonm");
        assert!(path.exists(), "{} is missing: cargo build --package sonm", path.display());
        path
    })
}
