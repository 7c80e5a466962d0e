//! The client of the Deals API with a real API server: its tokens, its Services, and the rights of
//! the chart. The bridge is a process beside the test, reached through a Service.

use k8s_openapi::api::core::v1::Service;
use kube::Client as Kube;
use serde_json::json;
use torpor::{
    api::deals::SourceStatus,
    deals::{
        client::{Account, Client, Error, Server},
        problem::ProblemType,
    },
    hold::record::Holder,
};

use crate::support::{
    bridge::{Bridge, PORT, serve},
    cluster::config,
    namespace::Namespace,
    rights, wait, workload,
};

/// The arguments of a bridge to a market that is always down: authenticated requests get 503, all
/// others 401.
const NOWHERE: [&str; 6] = [
    "sonm",
    "--node",
    "http://127.0.0.1:1",
    "--insecure-node",
    "--worker",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
];

/// Returns a client with the operator's rights in the namespace, those of the chart.
async fn operator(namespace: &Namespace) -> Kube {
    let mut config = config().await;
    config.auth_info.impersonate = Some(rights::grant(namespace).await);
    Kube::try_from(config).expect("a client can be made")
}

fn let_in(error: &Error) -> bool {
    matches!(error, Error::Problem(problem) if problem.kind == ProblemType::MarketUnreachable)
}

#[tokio::test]
async fn the_operators_tokens_are_good_for_its_objects_bridge_alone() {
    let namespace = Namespace::create("market").await;
    let kube = operator(&namespace).await;
    let holder = |name: &str| Holder {
        kind: "MaintenanceWindow".to_owned(),
        namespace: namespace.name.clone(),
        name: name.to_owned(),
    };
    let account = |name: &str| Account { namespace: namespace.name.clone(), name: name.to_owned() };
    let window = holder("worker");
    let bridge = Bridge::start(&window, &NOWHERE, "0.0.0.0").await;
    bridge.knows(r#"{"keys": []}"#);
    serve(&namespace, "market", bridge.port).await;
    let source = |name: &str| SourceStatus {
        service: name.to_owned(),
        port: PORT,
        ca_config_map_ref: None,
        bridge: None,
    };
    let market = source("market");
    let client = Client::new(kube.clone(), account("torpor"));
    let server = Server { holder: &window, source: &market };
    let until = async |what: &str, holds: fn(&Error) -> bool| {
        wait::poll(what, async || {
            // The market behind the bridge is always down.
            let error = client.observe(&server).await.expect_err("no market");
            holds(&error).then_some(())
        })
        .await;
    };

    // First the Service must lead to the bridge, and then the bridge must read the cluster's keys.
    until("the bridge knows no key", Error::unknown_key).await;
    bridge.knows_the_cluster();
    until("it knows the cluster's", let_in).await;

    let refused = async |client: &Client, server: Server<'_>, reason: &str, says: &str| {
        let error = client.observe(&server).await.expect_err("it is refused");
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    let other = holder("other");
    let others = Server { holder: &other, source: &market };
    refused(&client, others, "Unauthenticated", "for another audience").await;

    // The operator may have no tokens but its own; an administrator may, and the bridge takes none.
    let default = Client::new(kube, account("default"));
    refused(&default, server, "TokenRefused", "forbidden").await;
    let default = Client::new(namespace.client.clone(), account("default"));
    refused(&default, server, "Unauthenticated", "to another service account").await;
    let absent = Client::new(namespace.client.clone(), account("absent"));
    refused(&absent, server, "TokenRefused", "not found").await;

    let without = source("absent");
    let nowhere = Server { holder: &window, source: &without };
    refused(&client, nowhere, "ServiceNotFound", "Service absent does not exist").await;
    for (name, spec) in [
        ("external", json!({"type": "ExternalName", "externalName": "example.org"})),
        ("headless", json!({"clusterIP": "None", "ports": [{"port": PORT}]})),
        ("other-port", json!({"ports": [{"port": 81}]})),
    ] {
        let service = workload::object(json!({"metadata": {"name": name}, "spec": spec}));
        workload::create::<Service>(&namespace, &service).await;
        let source = source(name);
        let server = Server { holder: &window, source: &source };
        refused(&client, server, "ServiceUnusable", name).await;
    }
    assert!(let_in(&client.observe(&server).await.expect_err("no market")), "as before");
}
