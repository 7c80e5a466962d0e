//! Runs the operator as a process beside the test, which can kill and restart it.
//!
//! The operator exits when it loses its lease, as when the machine or the API server stalls. A
//! supervisor restarts it then, as the kubelet would.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{namespace::Namespace, proxy::Proxy, shared::http, wait};

/// The image whose pods run the truncation.
pub(crate) const IMAGE: &str = "localhost/torpor:dev";

/// How often the supervisor checks whether the operator runs.
const CHECK_EVERY: Duration = Duration::from_millis(200);
/// The service account in its namespace whose tokens authenticate it to servers of the Deals API.
/// Tests that need the account create it.
pub(crate) const ACCOUNT: &str = "torpor";

/// An operator for one namespace. Dropping it kills the process, and prints the log if the test has
/// failed.
pub(crate) struct Operator {
    program: Arc<Program>,
    /// `None` while the operator is stopped on purpose.
    process: Arc<Mutex<Option<Child>>>,
}

/// The settings with which the operator starts.
struct Program {
    namespace: String,
    lease_namespace: String,
    more: Vec<String>,
    /// The kubeconfig, if not that of the test.
    kubeconfig: Option<PathBuf>,
    log: PathBuf,
}

impl Program {
    fn start(&self) -> Child {
        let log = OpenOptions::new().append(true).open(&self.log).expect("the log can be written");
        Command::new(env!("CARGO_BIN_EXE_torpor"))
            .args(["run", "--watch-namespace", &self.namespace])
            .args(["--lease-namespace", &self.lease_namespace])
            .args(["--image", IMAGE, "--admin-address", "127.0.0.1:0", "--log-format", "text"])
            .args(["--service-account", &format!("{}/{ACCOUNT}", self.namespace)])
            .args(&self.more)
            // As the chart sets them.
            .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")])
            .envs(self.kubeconfig.iter().map(|file| ("KUBECONFIG", file)))
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the operator starts")
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether the process has exited because it lost its lease.
    fn lost_its_lease(&self, process: &mut Child) -> bool {
        let ended = process.try_wait().expect("its state can be read");
        ended.is_some() && self.output().trim_end().ends_with("the lease was lost")
    }
}

/// Restarts the process when it has lost its lease, until the operator is dropped.
fn supervise(program: &Program, process: &Weak<Mutex<Option<Child>>>) {
    while let Some(process) = process.upgrade() {
        if let Some(process) = &mut *lock(&process)
            && program.lost_its_lease(process)
        {
            *process = program.start();
        }
        drop(process);
        std::thread::sleep(CHECK_EVERY);
    }
}

fn lock(process: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Operator {
    /// Starts an operator.
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::start_from(namespace, &namespace.name, &[])
    }

    /// Starts a second operator for the same namespace. One of them leads.
    pub(crate) fn start_second(namespace: &Namespace) -> Self {
        Self::start_second_with(namespace, "-second", &[])
    }

    /// Starts one more operator for the same namespace, with more arguments. The log has this suffix.
    pub(crate) fn start_second_with(namespace: &Namespace, suffix: &str, more: &[&str]) -> Self {
        let log = format!("{}{suffix}", namespace.name);
        Self::start_with(namespace, &namespace.name, &log, more, None)
    }

    /// Starts an operator with its lease in another namespace, as the watched one may be deleted,
    /// and with more arguments.
    pub(crate) fn start_from(namespace: &Namespace, lease_namespace: &str, more: &[&str]) -> Self {
        Self::start_with(namespace, lease_namespace, &namespace.name, more, None)
    }

    /// Starts an operator whose requests go through a proxy, with more arguments.
    pub(crate) fn start_behind_with(namespace: &Namespace, proxy: &Proxy, more: &[&str]) -> Self {
        let name = &namespace.name;
        Self::start_with(namespace, name, name, more, Some(proxy.kubeconfig(name)))
    }

    /// Starts an operator whose requests go through a proxy. The proxy counts them, so a long lease
    /// keeps the operator from restarting when the API server stalls.
    pub(crate) fn start_behind(namespace: &Namespace, proxy: &Proxy) -> Self {
        Self::start_behind_with(namespace, proxy, &["--lease-duration", "2m"])
    }

    /// Starts an operator with another kubeconfig and more arguments. The log has this suffix.
    pub(crate) fn start_as(
        namespace: &Namespace,
        kubeconfig: &Path,
        suffix: &str,
        more: &[&str],
    ) -> Self {
        let log = format!("{}{suffix}", namespace.name);
        Self::start_with(namespace, &namespace.name, &log, more, Some(kubeconfig.to_owned()))
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
        let program = Arc::new(Program {
            namespace: namespace.name.clone(),
            lease_namespace: lease_namespace.to_owned(),
            more: more.iter().map(ToString::to_string).collect(),
            kubeconfig,
            log,
        });
        let mut operator = Self { program: program.clone(), process: Arc::default() };
        operator.restart();
        let process = Arc::downgrade(&operator.process);
        std::thread::spawn(move || supervise(&program, &process));
        operator
    }

    /// Starts the operator again, with the same log. It must have been stopped before.
    pub(crate) fn restart(&mut self) {
        let before = lock(&self.process).replace(self.program.start());
        assert!(before.is_none(), "the operator runs already");
    }

    /// Returns the process. The supervisor does not restart it any more.
    fn take(&mut self) -> Child {
        lock(&self.process).take().expect("the operator runs")
    }

    /// Returns the most memory that the operator has had resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let id = lock(&self.process).as_ref().expect("the operator runs").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        1024 * kibibytes.and_then(|k| k.parse::<u64>().ok()).expect("it has a peak")
    }

    /// Kills the operator with SIGKILL.
    pub(crate) fn kill9(&mut self) {
        let mut process = self.take();
        process.kill().expect("the operator is killed");
        process.wait().expect("the operator has ended");
    }

    /// Returns the process ID.
    pub(crate) fn id(&self) -> u32 {
        lock(&self.process).as_ref().expect("the operator runs").id()
    }

    /// Sends a signal. `STOP` stalls the operator.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.expect("the signal is sent").success(), "{signal}");
    }

    /// Sends SIGTERM, and expects the operator to exit without an error.
    pub(crate) async fn stop(&mut self) {
        let process = self.take();
        Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("sent");
        let status = until_ended(process).await;
        assert!(status.success(), "the operator ended with {status}:\n{}", self.output());
    }

    /// Waits until the operator has exited by itself, and does not restart it.
    pub(crate) async fn until_ended(&mut self) -> ExitStatus {
        until_ended(self.take()).await
    }

    /// Waits until the operator has noticed that another one leads.
    pub(crate) async fn until_lease_lost(&self) {
        self.until_logged("the lease was lost").await;
    }

    /// Returns the status and the body of `/readyz`.
    pub(crate) async fn readyz(&self) -> (u16, String) {
        self.until_logged("admin server is listening").await;
        let log = self.output();
        let line = log.lines().rfind(|line| line.contains("admin server is listening"));
        let port = line.and_then(|line| line.rsplit("127.0.0.1:").next());
        let port =
            port.map(|text| text.chars().take_while(char::is_ascii_digit).collect::<String>());
        let address = format!("127.0.0.1:{}", port.unwrap_or_default());
        let answer = http::send(address.parse().expect("an address"), "GET", "/readyz", &[], &[]);
        let answer = answer.await;
        (answer.status, answer.body)
    }

    /// Waits until the log contains this text. Nothing else announces what a process waits for.
    pub(crate) async fn until_logged(&self, text: &str) {
        let logged = async || self.output().contains(text).then_some(());
        wait::poll(&format!("it logs: {text}"), logged).await;
    }

    /// Returns the log so far.
    pub(crate) fn output(&self) -> String {
        self.program.output()
    }
}

async fn until_ended(mut process: Child) -> ExitStatus {
    tokio::task::spawn_blocking(move || process.wait())
        .await
        .expect("the wait is not cancelled")
        .expect("the operator has ended")
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(mut process) = lock(&self.process).take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- the operator of {} logged:\n{}---",
                self.program.namespace,
                self.output()
            );
        }
    }
}
