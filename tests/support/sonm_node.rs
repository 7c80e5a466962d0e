//! Runs the stand-in of a SONM Node (`examples/sonm/`) as a process, with the arguments for a
//! bridge to it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::folder::Folder;
use super::http::send;
use super::stand_in::binary;
use super::wait::TIMEOUT;

pub(crate) const WORKER: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const NODE: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
pub(crate) const CONSUMER: &str = "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB";

/// Two leading bytes of zero, which the Node's key derivation leaves out.
pub(crate) const KEY: &str = "0000e5d0e9a7c3f1b2a4968778695a4b3c2d1e0ff1e2d3c4b5a6978869504132";

/// The name of the file with the key, in the folder of the Node.
const KEY_FILE: &str = "key";

/// The initial state of a market.
pub(crate) struct Market {
    pub(crate) plans: Vec<Value>,
    pub(crate) settings: Value,
    pub(crate) defects: Value,
    pub(crate) encrypted: bool,
}

impl Default for Market {
    /// Returns an empty market, which only changes when a test asks it to.
    fn default() -> Self {
        Self { plans: Vec::new(), settings: json!({}), defects: json!({}), encrypted: true }
    }
}

/// Returns a plan with an order.
pub(crate) fn plan(id: &str, price: u64) -> Value {
    json!({"id": id, "ask": {
        "price": {"perSecond": price.to_string()}, "tag": "dG9ycG9y",
        "duration": {"nanoseconds": 86_400_000_000_000_u64},
        "resources": {"CPU": {"core_percents": 100}, "RAM": {"size": {"bytes": 536_870_912}}},
    }})
}

/// Returns a plan with a Spot deal that runs one task.
pub(crate) fn spot(id: &str, price: u64) -> Value {
    let mut plan = plan(id, price);
    plan["deal"] = json!({"consumer": CONSUMER, "tasks": [{"image": "alpine"}]});
    plan
}

/// A running Node. Dropping it kills the process.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    control: SocketAddr,
    pub(crate) folder: Folder,
    encrypted: bool,
    _child: Child,
}

impl Node {
    pub(crate) async fn start(market: &Market) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let folder = Folder::new(&format!("node-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        let mut settings = json!({
            "sync_ms": 0, "maintenance_gap_s": 600, "dwh_lag_ms": 0, "removal_ms": 0,
        });
        for (key, value) in market.settings.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let scenario = json!({"node": NODE, "settings": settings, "workers": [
            {"address": WORKER, "plans": market.plans, "defects": market.defects},
        ]});
        let scenario = folder.write("scenario.json", &scenario.to_string());
        let mut command = Command::new(binary());
        command.args(["node", "--port", "0", "--control", "127.0.0.1:0", "--scenario"]);
        command.arg(scenario);
        if market.encrypted {
            command.arg("--key").arg(folder.write(KEY_FILE, KEY));
        } else {
            command.arg("--insecure");
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(TIMEOUT, lines.next_line()).await.unwrap().unwrap();
        let line = line.expect("the stand-in starts");
        let after = |name: &str| -> SocketAddr {
            let rest = line.split_once(&format!("{name}=")).unwrap().1;
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        let (address, control) = (after("node"), after("control"));
        Self { address, control, folder, encrypted: market.encrypted, _child: child }
    }

    /// Returns the arguments of a bridge to this Node.
    pub(crate) fn bridge(&self) -> Vec<&'static str> {
        // Few and small, so leaking them until the process ends is fine.
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let mut arguments = vec!["sonm", "--node", leak(format!("http://{}", self.address))];
        arguments.extend(["--worker", leak(format!("{WORKER}@127.0.0.1:15010"))]);
        if self.encrypted {
            let file = self.folder.path().join(KEY_FILE);
            arguments.extend(["--key-file", leak(file.display().to_string())]);
        } else {
            arguments.push("--insecure-node");
        }
        arguments
    }

    /// Calls the control interface, as a consumer, a person or a fault would act.
    pub(crate) async fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        // A body that the server does not read resets the connection, which may lose the answer.
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = send(self.control, method, path, &[], text.as_bytes()).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// Makes the worker synchronise its plans once.
    pub(crate) async fn sync(&self) {
        self.control("POST", "/sync", &Value::Null).await;
    }

    /// Returns the complete state of the market.
    pub(crate) async fn truth(&self) -> Value {
        self.control("GET", "/state", &Value::Null).await
    }

    pub(crate) async fn worker(&self, method: &str, what: &str, body: &Value) -> Value {
        self.control(method, &format!("/workers/{WORKER}/{what}"), body).await
    }
}
