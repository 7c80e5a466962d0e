//! The generated files in the repository are current.

use std::process::Command;

#[test]
fn the_definitions_in_crds_are_those_that_torpor_crd_prints() {
    for (plural, kept) in [
        ("hibernations", include_str!("../../crds/hibernations.yaml")),
        ("maintenancewindows", include_str!("../../crds/maintenancewindows.yaml")),
    ] {
        let torpor = env!("CARGO_BIN_EXE_torpor");
        let printed = Command::new(torpor).args(["crd", plural]).output().unwrap();
        assert!(printed.status.success());
        let current = String::from_utf8(printed.stdout).unwrap() == kept;
        assert!(current, "crds/{plural}.yaml is stale: run `make crds`");
    }
}
