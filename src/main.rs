//! The `torpor` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    torpor::cli::main().await
}
