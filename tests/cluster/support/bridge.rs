//! Runs a bridge as a process beside the test. The cluster reaches it through a Service.

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use torpor::{deals::client::audience, hold::record::Holder};

use super::{
    cluster::{config, kubectl},
    namespace::Namespace,
    operator::ACCOUNT,
    wait, workload,
};

/// The port of the Services.
pub(crate) const PORT: i32 = 80;

/// A bridge for one object. Dropping it kills the process.
pub(crate) struct Bridge {
    arguments: Vec<String>,
    subject: String,
    pub(crate) port: u16,
    folder: PathBuf,
    process: Option<Child>,
}

impl Bridge {
    /// Starts a bridge with the arguments of its market, on any port of this address. It has no
    /// keys yet.
    pub(crate) async fn start(holder: &Holder, market: &[&str], address: &str) -> Self {
        let name = format!("{}-{}", holder.namespace, holder.name);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let mut arguments: Vec<String> = market.iter().map(ToString::to_string).collect();
        arguments.extend(["--audience".to_owned(), audience(holder), "--listen".to_owned()]);
        let subject = format!("system:serviceaccount:{}:{ACCOUNT}", holder.namespace);
        let mut bridge = Self { arguments, subject, port: 0, folder, process: None };
        bridge.listen(&format!("{address}:0")).await;
        bridge.arguments.push(format!("{address}:{}", bridge.port));
        bridge
    }

    /// Kills the bridge.
    pub(crate) async fn kill(&mut self) {
        let mut process = self.process.take().expect("the bridge runs");
        process.kill().await.expect("the bridge is killed");
    }

    /// Starts the bridge again at the same port. It must have been killed before.
    pub(crate) async fn restart(&mut self) {
        assert!(self.process.is_none(), "the bridge runs already");
        let address = self.arguments.pop().expect("an address");
        self.listen(&address).await;
        self.arguments.push(address);
    }

    /// Accepts only tokens of this subject from the next start on.
    pub(crate) fn answers_only(&mut self, subject: &str) -> String {
        std::mem::replace(&mut self.subject, subject.to_owned())
    }

    async fn listen(&mut self, address: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
        command
            .arg("bridge")
            .args(&self.arguments)
            .arg(address)
            .args(["--issuer", "https://kubernetes.default.svc.cluster.local"])
            .args(["--subject", &self.subject, "--log-format", "json", "--config-dir"])
            .arg(&self.folder);
        let mut process = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the bridge starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let listens = async {
            while let Ok(Some(line)) = lines.next_line().await {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if entry["message"] == "the bridge listens" {
                    let address = entry["address"].as_str().expect("an address");
                    return address.parse::<SocketAddr>().ok();
                }
            }
            None
        };
        let listens = timeout(wait::TIMEOUT, listens).await.ok().flatten();
        self.port = listens.expect("it says where it listens").port();
        // Drain the rest of its log, so that a full pipe does not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
    }

    /// Writes the keys that verify tokens.
    pub(crate) fn knows(&self, keys: &str) {
        std::fs::write(self.folder.join("jwks.json"), keys).expect("keys can be written");
    }

    /// Writes the cluster's keys.
    pub(crate) fn knows_the_cluster(&self) {
        self.knows(&kubectl(&["get", "--raw", "/openid/v1/jwks"]));
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Creates a Service that leads to a port of this machine.
pub(crate) async fn serve(namespace: &Namespace, name: &str, port: u16) {
    let service: Service = workload::object(json!({
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": PORT}]},
    }));
    let service = workload::create(namespace, &service).await;
    let endpoints: EndpointSlice = workload::object(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [own_address().await]}],
        "ports": [{"name": "http", "port": port}],
    }));
    workload::create(namespace, &endpoints).await;
    let address = service.spec.and_then(|spec| spec.cluster_ip).expect("it has an address");
    until_it_leads_there(&format!("{address}:{PORT}")).await;
}

/// Waits until kube-proxy knows the Service, which nothing announces.
async fn until_it_leads_there(address: &str) {
    // Before that, a connection may be refused, or lost on its way to nowhere.
    let long = Duration::from_secs(1);
    let connect = async || timeout(long, TcpStream::connect(address)).await.ok()?.ok();
    wait::poll(&format!("something answers at {address}"), connect).await;
}

/// Returns the address at which the cluster's network reaches this machine.
async fn own_address() -> String {
    let server = config().await.cluster_url;
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: the way there tells the address.
    let port = server.port_u16().expect("the API server has a port");
    socket.connect((server.host().expect("a host"), port)).expect("there is a way there");
    socket.local_addr().expect("an address").ip().to_string()
}
