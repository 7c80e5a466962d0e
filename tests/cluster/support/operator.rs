//! The operator, as a process of its own beside the test, that can be killed and started again.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use super::{namespace::Namespace, proxy::Proxy};

/// The image whose pods run the truncation.
pub(crate) const IMAGE: &str = "localhost/torpor:dev";

/// The service account in its namespace by whose tokens servers of the Deals API know it. Tests that need
/// it create it.
pub(crate) const ACCOUNT: &str = "torpor";

/// An operator for one namespace. It is ended when this is dropped; if the test has failed, what it
/// logged is printed.
pub(crate) struct Operator {
    namespace: String,
    lease_namespace: String,
    more: Vec<String>,
    /// The way to the cluster, where it is not the test's own.
    kubeconfig: Option<PathBuf>,
    log: PathBuf,
    process: Option<Child>,
}

impl Operator {
    /// Starts the binary under test.
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::start_from(namespace, &namespace.name, &[])
    }

    /// Starts another one for the same namespace: one of them leads.
    pub(crate) fn start_second(namespace: &Namespace) -> Self {
        let log = format!("{}-second", namespace.name);
        Self::start_with(namespace, &namespace.name, &log, &[], None)
    }

    /// Starts it with its lease in another namespace (that one may be deleted under it), and with more
    /// arguments.
    pub(crate) fn start_from(namespace: &Namespace, lease_namespace: &str, more: &[&str]) -> Self {
        Self::start_with(namespace, lease_namespace, &namespace.name, more, None)
    }

    /// Starts it with all of its requests passing through a proxy.
    pub(crate) fn start_behind(namespace: &Namespace, proxy: &Proxy) -> Self {
        let name = &namespace.name;
        Self::start_with(namespace, name, name, &[], Some(proxy.kubeconfig(name)))
    }

    fn start_with(
        namespace: &Namespace,
        lease_namespace: &str,
        log: &str,
        more: &[&str],
        kubeconfig: Option<PathBuf>,
    ) -> Self {
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{log}.log"));
        File::create(&log).expect("the log can be written");
        let lease_namespace = lease_namespace.to_owned();
        let more = more.iter().map(ToString::to_string).collect();
        let namespace = namespace.name.clone();
        let mut operator =
            Self { namespace, lease_namespace, more, kubeconfig, log, process: None };
        operator.restart();
        operator
    }

    /// Starts it again, with the same log. It must have been ended before.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "the operator runs already");
        let log = OpenOptions::new().append(true).open(&self.log).expect("the log can be written");
        let process = Command::new(env!("CARGO_BIN_EXE_torpor"))
            .args(["run", "--watch-namespace", &self.namespace])
            .args(["--lease-namespace", &self.lease_namespace])
            .args(["--image", IMAGE, "--admin-address", "127.0.0.1:0", "--log-format", "text"])
            .args(["--service-account", &format!("{}/{ACCOUNT}", self.namespace)])
            .args(&self.more)
            .envs(self.kubeconfig.iter().map(|file| ("KUBECONFIG", file)))
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the operator starts");
        self.process = Some(process);
    }

    /// Kills it, so that it can finish nothing.
    pub(crate) fn kill9(&mut self) {
        let mut process = self.process.take().expect("the operator runs");
        process.kill().expect("the operator is killed");
        process.wait().expect("the operator has ended");
    }

    /// Sends it a signal: `STOP` makes it stand still.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("the operator runs").id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.expect("the signal is sent").success(), "{signal}");
    }

    /// Asks it to end, waits for that, and expects it to do so without an error.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let status = self.until_ended().await;
        assert!(status.success(), "the operator ended with {status}:\n{}", self.output());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn until_ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the operator runs");
        tokio::task::spawn_blocking(move || process.wait())
            .await
            .expect("the wait is not cancelled")
            .expect("the operator has ended")
    }

    /// Waits until it has ended because it lost its lease, and panics where it ends otherwise.
    pub(crate) async fn until_lease_lost(&mut self) {
        let process = self.process.as_mut().expect("the operator runs");
        let status = loop {
            // A child that has ended can be waited for with blocking or by looking.
            match process.try_wait().expect("it can be looked at") {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        self.process = None;
        let output = self.output();
        assert!(output.trim_end().ends_with("the lease was lost"), "it ended with {status}");
    }

    /// What it has logged so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the operator of {} logged:\n{}---", self.namespace, self.output());
        }
    }
}
