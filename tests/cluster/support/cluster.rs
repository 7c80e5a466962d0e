//! The cluster under test. `hack/cluster/cluster env` prints its environment variables:
//!
//! - `TORPOR_CLUSTER`, its name: says that tests may use it, which a `KUBECONFIG` alone does not;
//! - `KUBECONFIG`, the way to it;
//! - `TORPOR_POSTGRES_URL`, a superuser's URL of its `PostgreSQL`, as this machine reaches it;
//! - `TORPOR_POSTGRES_SERVICE`, the host name of the same as the pods reach it;
//! - `TORPOR_POSTGRES_CA`, a file with the authority that signed its certificate;
//! - `TORPOR_AUDIT_LOG`, the API server's log of the requests of service accounts.

use std::{path::Path, process::Command, sync::OnceLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::conditions,
};

use super::wait;

/// The folder of the repository.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns a variable of the cluster's environment.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set, and this test needs a cluster: run `make test`, which starts one \
             (or `hack/cluster/cluster up` and `eval \"$(hack/cluster/cluster env)\"`)"
        )
    })
}

/// Returns a client for the runtime of this test. Torpor's resources are installed.
pub(crate) async fn client() -> Client {
    let client = bare_client().await;
    if *INSTALLED.get_or_init(install) {
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let list = definitions.list(&ListParams::default()).await.expect("definitions are listed");
        for definition in list.items.iter().filter(|d| d.spec.group == "torpor.dev") {
            let name = definition.metadata.name.as_deref().unwrap_or_default();
            wait::until(&definitions, name, "the definition is established", |definition| {
                use kube::runtime::wait::Condition as _;
                conditions::is_crd_established().matches_object(Some(definition))
            })
            .await;
        }
    }
    client
}

/// How the cluster is reached with the rights of somebody else.
pub(crate) async fn config_as(user: &str) -> Config {
    let mut config = config().await;
    config.auth_info.impersonate = Some(user.to_owned());
    config
}

/// Returns a client, without installing anything.
pub(crate) async fn bare_client() -> Client {
    Client::try_from(config().await).expect("a client can be made")
}

/// Returns the configuration of a client.
pub(crate) async fn config() -> Config {
    // Only together with TORPOR_CLUSTER: a cluster that somebody has is not there for tests.
    variable("TORPOR_CLUSTER");
    let file = variable("KUBECONFIG");
    let kubeconfig = Kubeconfig::read_from(Path::new(&file)).expect("KUBECONFIG is readable");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("KUBECONFIG is valid");
    config.read_timeout = Some(std::time::Duration::from_mins(5));
    config
}

static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Installs the CRDs, once in a run.
fn install() -> bool {
    kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", "crds/"]);
    true
}

/// Runs kubectl in the folder of the repository, and returns its output.
pub(crate) fn kubectl(arguments: &[&str]) -> String {
    run(Command::new("kubectl").args(arguments))
}

/// Runs a script of the repository, and returns its output.
pub(crate) fn script(path: &str) -> String {
    run(&mut Command::new(path))
}

/// Runs a kubectl command that may be refused.
///
/// # Errors
///
/// The error output of kubectl.
pub(crate) fn kubectl_or_error(arguments: &[&str]) -> Result<String, String> {
    outcome(Command::new("kubectl").args(arguments))
}

/// Runs a Helm command that may be refused.
///
/// # Errors
///
/// The error output of Helm.
pub(crate) fn helm_or_error(arguments: &[&str]) -> Result<String, String> {
    outcome(Command::new("helm").args(arguments))
}

/// Runs a command of torpor with a kubeconfig, and returns its output.
pub(crate) async fn torpor_as(kubeconfig: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    command.args(arguments).env("KUBECONFIG", kubeconfig);
    let run = tokio::task::spawn_blocking(move || run(&mut command));
    run.await.expect("the command ends")
}

/// Sends a signal to a process of the cluster. `STOP` makes a controller manager lag.
pub(crate) fn signal(signal: &str, process: &str) {
    let name = variable("TORPOR_CLUSTER");
    run(Command::new("hack/cluster/cluster").args(["signal", signal, process, "--name", &name]));
}

fn run(command: &mut Command) -> String {
    outcome(command).unwrap_or_else(|said| panic!("{command:?} failed:\n{said}"))
}

fn outcome(command: &mut Command) -> Result<String, String> {
    let output = command.current_dir(ROOT).output().expect("the command can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
