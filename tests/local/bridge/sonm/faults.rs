//! A Node that is down, slow or gives invalid answers: the bridge answers with a problem, never
//! with a partial observation.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::bridge::{Bridge, command, detail, ends, problem};
use crate::support::market::{deals, failures, forward, orders, started, tasks};
use crate::support::sonm_node::{CONSUMER, KEY, Market, Node, WORKER, plan, spot};

/// A Node without encryption that gives scripted answers.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: BTreeMap<String, (u16, String)>,
    asked: Vec<(String, Value)>,
}

impl Script {
    /// Starts with an empty market.
    async fn start() -> (Self, SocketAddr) {
        let script = Self::default();
        script.say("WorkerManagement", "Status", &json!({"uptime": 1, "ethAddr": WORKER}));
        script.say("WorkerManagement", "Tasks", &json!({}));
        script.say("WorkerManagement", "AskPlans", &json!({}));
        script.say("WorkerManagement", "NextMaintenance", &json!("2126-01-01T00:00:00Z"));
        script.say("DWH", "GetDeals", &json!({}));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = script.clone();
        let app = axum::Router::new().fallback(async move |request: Request<Body>| {
            let path = request.uri().path().trim_matches('/').to_owned();
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let mut script = answering.0.lock().unwrap();
            script.asked.push((path.clone(), serde_json::from_slice(&body).unwrap()));
            let missing =
                (404, json!({"error": "rpc error: code = NotFound desc = no"}).to_string());
            let (status, text) = script.answers.get(&path).cloned().unwrap_or(missing);
            let mut answer = Response::new(Body::from(text));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer.headers_mut().insert("location", "/elsewhere".parse().unwrap());
            answer
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (script, address)
    }

    fn say(&self, service: &str, method: &str, answer: &Value) {
        self.raw(service, method, 200, &answer.to_string());
    }

    fn raw(&self, service: &str, method: &str, status: u16, text: &str) {
        let path = format!("{service}Server/{method}");
        self.0.lock().unwrap().answers.insert(path, (status, text.to_owned()));
    }

    fn asked(&self, method: &str) -> Vec<Value> {
        let script = self.0.lock().unwrap();
        let asked = script.asked.iter().filter(|(path, _)| path.ends_with(method));
        asked.map(|(_, body)| body.clone()).collect()
    }

    /// Adds a deal on the chain, known to the index.
    fn deal(&self, id: &str, status: u8) {
        let deal = json!({"deal": {
            "id": id, "supplierID": WORKER, "consumerID": CONSUMER, "status": status,
            "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z",
        }, "running": {}});
        self.say("DealManagement", "Status", &deal);
        self.say("DWH", "GetDeals", &json!({"deals": [deal], "count": 1}));
    }
}

async fn scripted() -> (Bridge, Script) {
    let (script, address) = Script::start().await;
    let node = format!("http://{address}");
    let bridge =
        Bridge::open(&["sonm", "--node", &node, "--worker", WORKER, "--insecure-node"]).await;
    (bridge, script)
}

async fn says(bridge: &Bridge, what: &str, status: u16, kind: &str, text: &str) {
    let answer = bridge.observe().await;
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(problem(&answer).1, kind, "{what}");
    assert!(detail(&answer).contains(text), "{what}: {answer:?}");
}

#[tokio::test]
async fn faults_of_the_node_are_problems_and_it_goes_on_when_they_are_over() {
    let node =
        Node::start(&Market::of(vec![forward("f", 1, 7200), plan("o", 2), spot("s", 3)])).await;
    let bridge = Bridge::open(&[node.bridge(), vec!["--call-timeout", "700ms"]].concat()).await;
    let good = bridge.commitments().await;
    let deal_status = json!(["DealManagementServer/Status"]);
    let empty = |method: &str| json!({"answer": "empty", "methods": [method]});
    for (what, faults, status, kind, text) in [
        ("down", json!({"node": "refused"}), 503, "market-unreachable", "cannot be reached"),
        ("unavailable", json!({"node": "unavailable"}), 503, "market-unreachable", "SubConns"),
        ("no index", json!({"dwh_down": true}), 503, "market-unreachable", "DWH"),
        ("key", json!({"wrong_key": true}), 502, "market-invalid", "the key is probably wrong"),
        (
            "slow",
            json!({"delay_ms": 2000, "methods": deal_status}),
            504,
            "market-timeout",
            "in time",
        ),
        ("half", json!({"answer": "truncated"}), 502, "market-invalid", ""),
        ("all {}", json!({"answer": "empty"}), 502, "market-invalid", "ethAddr"),
        ("Status {}", empty("WorkerManagementServer/Status"), 502, "market-invalid", "ethAddr"),
        (
            "Tasks {}",
            empty("WorkerManagementServer/Tasks"),
            502,
            "market-invalid",
            "counts more tasks",
        ),
        (
            "AskPlans {}",
            empty("WorkerManagementServer/AskPlans"),
            502,
            "market-invalid",
            "is on the market, but the worker lists no plan with it",
        ),
        ("deal {}", empty("DealManagementServer/Status"), 502, "market-invalid", "missing field"),
        ("time {}", empty("WorkerManagementServer/NextMaintenance"), 502, "market-invalid", ""),
        (
            "no right",
            json!({"errors": [{"method": "WorkerManagementServer/AskPlans",
            "code": "Unauthenticated", "message": "the worker's key is wanted"}]}),
            502,
            "market-refused",
            "the worker's key is wanted",
        ),
    ] {
        node.control("PUT", "/faults", &faults).await;
        says(&bridge, what, status, kind, text).await;
        node.control("PUT", "/faults", &json!({})).await;
        let again = bridge.commitments().await;
        assert_eq!(
            (again.deals, again.orders, again.tasks),
            (good.deals.clone(), good.orders.clone(), good.tasks.clone()),
            "{what}"
        );
    }
    // Deals that were seen are asked for by name, so that an index that has lost them does no harm.
    node.control("PUT", "/faults", &empty("DWHServer/GetDeals")).await;
    assert_eq!(bridge.commitments().await.deals, good.deals);
    node.kept_its_promises().await;
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_not_an_empty_one() {
    let (bridge, node) = started(Market::of(vec![plan("o", 2)])).await;
    node.worker("POST", "stop", &json!({})).await;
    says(&bridge, "stopped", 503, "market-unreachable", "failed to connect to worker").await;
    node.worker("POST", "start", &json!({})).await;
    assert_eq!(orders(&bridge.commitments().await), ["o"]);
}

#[tokio::test]
async fn an_observation_is_held_against_itself() {
    let (bridge, script) = scripted().await;
    assert_eq!(orders(&bridge.commitments().await), Vec::<&str>::new());
    let other = "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb";
    let deal = |id: &str, supplier: &str, status: u8| {
        json!({"deal": {"id": id, "supplierID": supplier, "consumerID": CONSUMER, "status": status,
                        "startTime": "2026-01-01T00:00:00Z"}})
    };
    script.deal("7", 1);
    for (what, service, method, answer, text) in [
        (
            "another worker",
            "WorkerManagement",
            "Status",
            json!({"ethAddr": other}),
            "not to the worker of --worker",
        ),
        (
            "more tasks",
            "WorkerManagement",
            "Status",
            json!({"ethAddr": WORKER, "taskCount": 1}),
            "counts more",
        ),
        (
            "plan's name",
            "WorkerManagement",
            "AskPlans",
            json!({"askPlans": {"a": {"ID": "b"}}}),
            "under another id",
        ),
        (
            "plan's status",
            "WorkerManagement",
            "AskPlans",
            json!({"askPlans": {"a": {"status": 2}}}),
            "status 2",
        ),
        (
            "an error with 200",
            "WorkerManagement",
            "AskPlans",
            json!({"error": "no"}),
            "unknown field",
        ),
        ("no index", "DWH", "GetDeals", json!({"error": "no"}), "unknown field"),
        (
            "another's deal",
            "DWH",
            "GetDeals",
            json!({"deals": [deal("7", other, 1)], "count": 1}),
            "not this worker's",
        ),
        (
            "count",
            "DWH",
            "GetDeals",
            json!({"deals": [deal("7", WORKER, 1)], "count": 2}),
            "is inconsistent",
        ),
        (
            "no count",
            "DWH",
            "GetDeals",
            json!({"deals": [deal("7", WORKER, 1)]}),
            "is inconsistent",
        ),
        (
            "another deal",
            "DealManagement",
            "Status",
            deal("8", WORKER, 1),
            "answers with another deal",
        ),
        (
            "deal of another",
            "DealManagement",
            "Status",
            deal("7", other, 1),
            "answers with another deal",
        ),
        ("deal's status", "DealManagement", "Status", deal("7", WORKER, 0), "unknown status 0"),
        ("no time", "WorkerManagement", "NextMaintenance", json!("soon"), "NextMaintenance"),
    ] {
        let path = format!("{service}Server/{method}");
        let good = script.0.lock().unwrap().answers[&path].clone();
        script.say(service, method, &answer);
        says(&bridge, what, 502, "market-invalid", text).await;
        script.raw(service, method, good.0, &good.1);
        assert_eq!(deals(&bridge.commitments().await), ["7"], "{what}");
    }
    script.deal("7", 2);
    assert_eq!(deals(&bridge.commitments().await), Vec::<&str>::new(), "closed on the chain");
}

#[tokio::test]
async fn a_redirect_and_an_endless_answer_are_refused() {
    let (bridge, script) = scripted().await;
    script.raw("WorkerManagement", "AskPlans", 307, "");
    says(&bridge, "redirect", 502, "market-invalid", "redirect").await;
    script.raw("WorkerManagement", "AskPlans", 200, &" ".repeat(8 * 1024 * 1024 + 1));
    says(&bridge, "endless", 502, "market-invalid", "longer than 8 MiB").await;
    script.raw("WorkerManagement", "AskPlans", 500, "not JSON");
    says(&bridge, "no key", 502, "market-invalid", "--key-file").await;
    assert_eq!(script.asked("elsewhere").len(), 0);
}

#[tokio::test]
async fn every_state_of_a_task_but_an_end_is_open() {
    let (bridge, script) = scripted().await;
    let status = |number: u8| if number == 0 { json!({}) } else { json!({"status": number}) };
    let all: serde_json::Map<String, Value> =
        (0..=7).map(|number| (format!("t{number}"), status(number))).collect();
    script.say("WorkerManagement", "Tasks", &json!({"info": all}));
    script.say("WorkerManagement", "Status", &json!({"ethAddr": WORKER, "taskCount": 1}));
    assert_eq!(tasks(&bridge.commitments().await), ["t0", "t1", "t2", "t3", "t7"]);
}

#[tokio::test]
async fn a_spot_deal_without_a_plan_is_finished_and_nobody_blacklisted() {
    let (bridge, script) = scripted().await;
    script.deal("34", 1);
    for (reply, why) in [
        (json!({"response": [{"id": "34", "error": "no gas"}]}), Some("no gas")),
        (json!({}), Some("does not say")),
        (json!({"response": [{"id": "34"}]}), None),
    ] {
        script.say("DealManagement", "FinishDeals", &reply);
        let before = script.asked("FinishDeals").len();
        bridge.drain(1, &json!({"deals": ["34"]})).await;
        bridge.until("finished", |_| script.asked("FinishDeals").len() > before).await;
        assert_eq!(bridge.resume(1, &json!([])).await.status, 204);
        let seen = bridge.commitments().await;
        let details = failures(&seen).into_iter().map(|(_, why)| why).collect::<Vec<_>>().join(" ");
        assert_eq!(why.is_none(), details.is_empty(), "{details}");
        assert!(details.contains(why.unwrap_or_default()), "{details}");
    }
    assert_eq!(script.asked("FinishDeals")[0], json!({"dealInfo": [{"id": "34"}]}));
}

#[tokio::test]
async fn what_does_not_exist_is_not_drained_and_not_a_failure_where_it_is_gone() {
    let (bridge, script) = scripted().await;
    script.deal("34", 2);
    bridge.drain(1, &json!({"orders": ["gone"], "deals": ["34", "x", "0"], "tasks": ["t"]})).await;
    let seen = bridge.until("the failure is reported", |seen| failures(seen).len() == 2).await;
    assert_eq!(failures(&seen), ["x", "0"].map(|id| (id, "this is not the id of a deal")));
    // A plan that disappears between the observation and the removal.
    script.say("WorkerManagement", "AskPlans", &json!({"askPlans": {"p": {"ID": "p"}}}));
    let gone =
        json!({"error": "rpc error: code = Unknown desc = specified ask-plan does not exist"});
    script.raw("WorkerManagement", "RemoveAskPlan", 500, &gone.to_string());
    bridge.drain(1, &json!({"orders": ["p"]})).await;
    bridge.until("removed", |_| script.asked("RemoveAskPlan").len() == 1).await;
    assert_eq!(bridge.resume(1, &json!([])).await.status, 204);
    assert_eq!(failures(&bridge.commitments().await), []);
    let forward = json!({"error": "rpc error: code = Unknown desc = failed to remove ask plan p: \
        failed to close deal: failed to close deal 34: deal is forward"});
    script.raw("WorkerManagement", "RemoveAskPlan", 500, &forward.to_string());
    bridge.drain(1, &json!({"orders": ["p"]})).await;
    let seen = bridge.until("the failure is reported", |seen| !failures(seen).is_empty()).await;
    assert_eq!(
        failures(&seen),
        [("p", "the worker reports that its term still runs: drain it after its end")]
    );
}

#[tokio::test]
async fn a_key_of_another_form_than_the_nodes_is_named() {
    let secured = Node::start(&Market::default()).await;
    let url = format!("http://{}", secured.address);
    let plain =
        Bridge::open(&["sonm", "--node", &url, "--worker", WORKER, "--insecure-node"]).await;
    says(&plain, "no key", 502, "market-invalid", "it probably wants a key (--key-file)").await;
    let other = secured.file("other", &KEY.replace("e5d0", "e5d1"));
    let other = other.display().to_string();
    let wrong =
        Bridge::open(&["sonm", "--node", &url, "--worker", WORKER, "--key-file", &other]).await;
    says(&wrong, "wrong key", 502, "market-invalid", "the key is probably wrong").await;
    // The node's leading zeros are not left out here: hashing all 32 bytes would be another key.
    let open = Node::start(&Market { encrypted: false, ..Market::default() }).await;
    let url = format!("http://{}", open.address);
    let keyed =
        Bridge::open(&["sonm", "--node", &url, "--worker", WORKER, "--key-file", &other]).await;
    says(&keyed, "needless key", 502, "market-invalid", "--insecure-node").await;
}

#[tokio::test]
async fn what_it_is_started_with_is_checked() {
    let node = Node::start(&Market::default()).await;
    let keystore = node.file("keystore", r#"{"address":"8125","crypto":{"ciphertext":"5ec2e7"}}"#);
    let junk = node.file("junk", "5ec2e7");
    let (keystore, junk) = (keystore.display().to_string(), junk.display().to_string());
    let url = "http://127.0.0.1:1";
    for (arguments, text) in [
        (["--node", url, "--worker", WORKER, "--key-file", &keystore], "is a JSON keystore"),
        (["--node", url, "--worker", WORKER, "--key-file", &junk], "64 hexadecimal digits"),
        (["--node", url, "--worker", WORKER, "--key-file", "/nowhere"], "cannot be read"),
        (["--node", "https://n", "--worker", WORKER, "--key-file", &junk], ""),
        (["--node", url, "--worker", "0x12", "--key-file", &junk], "0xADDRESS@HOST:PORT"),
        (
            [
                "--node",
                url,
                "--worker",
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed@h",
                "--key-file",
                &junk,
            ],
            "0xADDRESS@HOST:PORT",
        ),
    ] {
        let mut command = command(&["sonm"]);
        command.args(arguments).args(["--insecure-no-authentication", "--listen", "127.0.0.1:0"]);
        let (status, error) = ends(&mut command).await;
        assert_eq!(status, 1, "{error}");
        assert!(error.contains(text), "{error}");
        assert!(!error.contains("5ec2e7"), "{error}");
    }
}
