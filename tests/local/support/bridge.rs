//! Runs `torpor bridge` as a process.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;
use torpor::deals::types::Commitments;

use super::contract::judge_answer;
use super::http::{Answer, send};
use super::wait::{TIMEOUT, try_poll};

/// A running bridge. Dropping it kills the process.
pub(crate) struct Bridge {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    token: Option<String>,
}

/// Returns the command, without environment variables that it would read.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TORPOR_") || name.starts_with("PG") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.args(["bridge"]).args(arguments).env_remove("DATABASE_URL").kill_on_drop(true);
    command
}

impl Bridge {
    /// Starts a bridge without authentication.
    pub(crate) async fn open(arguments: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0", "--insecure-no-authentication"];
        Self::start(command(&[arguments, &listen].concat()), None).await
    }

    pub(crate) async fn start(mut command: Command, token: Option<String>) -> Self {
        let mut child = command
            .args(["--log-level", "info,torpor=debug"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = oneshot::channel();
        let written = log.clone();
        tokio::spawn(async move {
            let mut found = Some(found);
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(entry) = serde_json::from_str::<Value>(&line)
                    && entry["message"] == "the bridge listens"
                {
                    let address: SocketAddr = entry["address"].as_str().unwrap().parse().unwrap();
                    let _ = found.take().map(|found| found.send(address));
                }
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let address = timeout(TIMEOUT, address).await.unwrap();
        let address = address.unwrap_or_else(|_| panic!("it ended: {}", log.lock().unwrap()));
        Self { address, child, log, token }
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a request and checks the answer against the contract.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = headers.to_vec();
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        let answer = send(self.address, method, path, &headers, body).await;
        judge_answer(method, path, &answer);
        answer
    }

    pub(crate) async fn observe(&self) -> Answer {
        self.ask("GET", "/v1/commitments", &[], b"").await
    }

    /// Returns the commitments, parsed by the client's types. Panics at a problem.
    pub(crate) async fn commitments(&self) -> Commitments {
        let answer = self.observe().await;
        assert_eq!(answer.status, 200, "{answer:?} {}", self.log());
        serde_json::from_value(answer.json()).unwrap()
    }

    /// Observes until `holds` returns true, and returns that observation.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&Commitments) -> bool,
    ) -> Commitments {
        let asked = try_poll(async || Some(self.commitments().await).filter(&holds));
        if let Some(seen) = asked.await {
            return seen;
        }
        panic!("{what}: {:?}\n{}", self.commitments().await, self.log())
    }

    pub(crate) async fn change(
        &self,
        method: &str,
        path: &str,
        epoch: u64,
        body: &Value,
    ) -> Answer {
        let epoch = epoch.to_string();
        let headers = [("torpor-epoch", epoch.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &headers, body.as_bytes()).await
    }

    pub(crate) async fn drain(&self, epoch: u64, what: &Value) {
        let mut body = json!({"orders": [], "deals": [], "tasks": []});
        for (key, ids) in what.as_object().unwrap() {
            body[key] = ids.clone();
        }
        let answer = self.change("POST", "/v1/drain", epoch, &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    pub(crate) async fn resume(&self, epoch: u64, orders: &Value) -> Answer {
        self.change("POST", "/v1/resume", epoch, &json!({"orders": orders})).await
    }

    /// Ends the bridge with SIGTERM, as Kubernetes does. Returns its exit status.
    pub(crate) async fn terminate(mut self) -> i32 {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let status = timeout(TIMEOUT, self.child.wait()).await.expect("it ends").unwrap();
        status.code().unwrap_or(-1)
    }
}

/// Runs a bridge that ends by itself. Returns its exit status and log.
pub(crate) async fn ends(command: &mut Command) -> (i32, String) {
    let ended = timeout(TIMEOUT, command.output()).await.expect("it ends").unwrap();
    let text = String::from_utf8(ended.stderr).unwrap();
    (ended.status.code().unwrap_or(-1), text)
}

/// Returns the kind of the problem, the last part of its type.
pub(crate) fn problem(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    (answer.status, kind)
}

/// Returns the detail of the problem.
pub(crate) fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().unwrap().to_owned()
}
