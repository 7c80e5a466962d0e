//! The commands for people (`torpor status`, `hibernate`, `wake`, `watch`, ...) as processes, with a person's kubeconfig.

mod change;
mod show;
mod watch;
