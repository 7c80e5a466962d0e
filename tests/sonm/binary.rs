//! Where the stand-in of `examples/sonm/` is, built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The built example.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // `cargo test` builds an example that has tests as a test only.
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells a test of its package would make it build dependencies anew that look at it.
        for (name, _) in std::env::vars() {
            let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_TARGET_TMPDIR"];
            if told.iter().any(|told| name.starts_with(told)) {
                cargo.env_remove(name);
            }
        }
        let output = cargo
            .args(["build", "--locked", "--quiet", "--example", "sonm"])
            .args(["--message-format", "json", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the stand-in doesn't build");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let built = messages.find(|message: &Value| {
            message["target"]["name"] == "sonm" && message["executable"].is_string()
        });
        built.unwrap()["executable"].as_str().unwrap().into()
    })
}
