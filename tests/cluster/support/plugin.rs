//! The commands for people, as processes.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use super::{release::Ended, scene::Scene};

/// Runs a command of `torpor` in the namespace of the scene.
pub(crate) fn torpor(scene: &Scene, arguments: &[&str]) -> Ended {
    let (command, rest) = arguments.split_first().expect("a command");
    let arguments = [&[*command, "--namespace", &scene.namespace.name], rest].concat();
    let mut torpor = Command::new(env!("CARGO_BIN_EXE_torpor"));
    Ended::of(&torpor.args(&arguments).output().expect("it runs"))
}

/// Runs a command of `kubectl torpor` in the namespace of the scene: kubectl finds the plugin by the name of a link.
pub(crate) fn kubectl_torpor(scene: &Scene, arguments: &[&str]) -> Ended {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&scene.namespace.name);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let link = folder.join("kubectl-torpor");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_torpor"), &link).expect("the link can be made");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let (command, rest) = arguments.split_first().expect("a command");
    let arguments = [&["torpor", command, "--namespace", &scene.namespace.name], rest].concat();
    let mut kubectl = Command::new("kubectl");
    kubectl.env("PATH", format!("{}:{path}", folder.display())).args(&arguments);
    Ended::of(&kubectl.output().expect("it runs"))
}
