//! What is generated and kept in the repository is what would be generated now.

#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn the_definitions_in_crds_are_those_that_torpor_crd_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_torpor")).arg("crd").output().unwrap();
    assert!(printed.status.success());
    let kept = include_str!("../crds/hibernations.yaml");
    assert!(
        String::from_utf8(printed.stdout).unwrap() == kept,
        "crds/hibernations.yaml is stale: run `make crds`"
    );
}
