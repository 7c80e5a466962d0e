//! Authentication: valid tokens are accepted, all others refused.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::bridge::{Bridge, command, detail, ends, problem};
use crate::support::folder::Folder;
use crate::support::http::{Answer, send};
use crate::support::token::{AUDIENCE, ISSUER, Key, SUBJECT, claims, set, with, without};
use crate::support::wait::try_poll;

/// A bridge to a market that is always down: authenticated requests get 503, all others 401.
const MARKET: [&str; 6] = [
    "sonm",
    "--node",
    "http://127.0.0.1:1",
    "--worker",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "--insecure-node",
];

const CLAIMS: [&str; 6] = ["--audience", AUDIENCE, "--issuer", ISSUER, "--subject", SUBJECT];

fn guarded(folder: &Folder) -> Command {
    let mut command = command(&MARKET);
    command.args(["--listen", "127.0.0.1:0"]).args(CLAIMS).arg("--config-dir").arg(folder.path());
    command
}

async fn bridge(name: &str, keys: &[&Key]) -> (Bridge, Folder) {
    let folder = Folder::new(name);
    folder.write("jwks.json", &set(keys));
    (Bridge::start(guarded(&folder), None).await, folder)
}

async fn bearing(bridge: &Bridge, token: &str) -> Answer {
    let header = format!("Bearer {token}");
    bridge.ask("GET", "/v1/commitments", &[("authorization", &header)], b"").await
}

const IN: (u16, &str) = (503, "market-unreachable");
const OUT: (u16, &str) = (401, "unauthenticated");
const UNKNOWN: (u16, &str) = (401, "unknown-key");

async fn expect(bridge: &Bridge, what: &str, token: &str, wanted: (u16, &str)) {
    let answer = bearing(bridge, token).await;
    let (status, kind) = problem(&answer);
    assert_eq!((status, kind.as_str()), wanted, "{what}: {answer:?}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(signature.len() < 8 || !answer.body.contains(signature), "{what} is quoted");
}

#[tokio::test]
async fn a_token_for_this_bridge_lets_in_and_no_other() {
    let (rsa, ec, other) = (Key::rsa(), Key::new_ec(), Key::new_ec());
    let (bridge, _folder) = bridge("tokens", &[rsa, &ec]).await;
    expect(&bridge, "RS256", &rsa.token(), IN).await;
    expect(&bridge, "ES256", &ec.token(), IN).await;
    let signed = |claims: Value| rsa.sign(&rsa.header(), &claims);
    expect(&bridge, "one audience", &signed(with("aud", json!(AUDIENCE))), IN).await;

    let now = Timestamp::now().as_second();
    let another = "deals.torpor.dev/shop/MaintenanceWindow/other";
    for (what, claims) in [
        ("expired", with("exp", json!(now - 60))),
        ("not yet", with("nbf", json!(now + 60))),
        ("another's bridge", with("aud", json!([another]))),
        ("several audiences", with("aud", json!([AUDIENCE, another]))),
        ("no audience", with("aud", json!([]))),
        ("the API server's", with("aud", json!([ISSUER]))),
        ("other account", with("sub", json!("system:serviceaccount:shop:default"))),
        ("other issuer", with("iss", json!("https://elsewhere"))),
        ("exp as text", with("exp", json!("never"))),
    ] {
        expect(&bridge, what, &signed(claims), OUT).await;
    }
    for claim in ["exp", "nbf", "aud", "iss", "sub"] {
        expect(&bridge, claim, &signed(without(claim)), OUT).await;
    }
    for algorithm in ["none", "None", "RS256", "ES256", "HS256"] {
        expect(&bridge, algorithm, &rsa.unsigned(algorithm), OUT).await;
    }
    expect(&bridge, "the public key as a secret", &rsa.by_hmac(), OUT).await;
    expect(&bridge, "another cluster", &other.token(), UNKNOWN).await;
    expect(&bridge, "another cluster, our name", &other.sign(&ec.header(), &claims()), OUT).await;
    // The algorithm is the key's, whatever the token says.
    let mixed = json!({"alg": "ES256", "kid": rsa.id()});
    expect(&bridge, "the other's algorithm", &rsa.sign(&mixed, &claims()), OUT).await;
    let nameless = json!({"alg": "RS256"});
    expect(&bridge, "no key named", &rsa.sign(&nameless, &claims()), OUT).await;
    let critical = json!({"alg": "RS256", "kid": rsa.id(), "crit": ["b64"], "b64": false});
    expect(&bridge, "critical", &rsa.sign(&critical, &claims()), OUT).await;
    let mut changed = rsa.token();
    changed.truncate(changed.len() - 8);
    expect(&bridge, "cut", &changed, OUT).await;
    expect(&bridge, "long", &"a".repeat(20_000), OUT).await;
    expect(&bridge, "no token", "x", OUT).await;

    let log = bridge.log();
    assert!(!log.contains(&rsa.token()[..60]), "{log}");
    assert!(!log.contains(rsa.token().split('.').next().unwrap()), "{log}");
}

#[tokio::test]
async fn nothing_but_the_probes_is_answered_without_a_token() {
    let (bridge, _folder) = bridge("probes", &[Key::rsa()]).await;
    for path in ["/healthz", "/readyz"] {
        let answer = send(bridge.address, "GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    }
    for (method, path) in [
        ("GET", "/v1/commitments"),
        ("PUT", "/v1/maintenance"),
        ("DELETE", "/v1/maintenance"),
        ("POST", "/v1/drain"),
        ("POST", "/v1/resume"),
        ("PATCH", "/v1/drain"),
        ("GET", "/"),
    ] {
        let answer = bridge.ask(method, path, &[("torpor-epoch", "1")], b"").await;
        assert_eq!(problem(&answer), (OUT.0, OUT.1.to_owned()), "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let token = Key::rsa().token();
    let (basic, good) = (format!("Basic {token}"), format!("Bearer {token}"));
    let twice = [("authorization", good.as_str()), ("authorization", basic.as_str())];
    for headers in [&twice[1..], &twice] {
        assert_eq!(bridge.ask("GET", "/v1/commitments", headers, b"").await.status, 401);
    }
}

/// Asks until the bridge gives this answer. It reads the key file once a second at most.
async fn until(bridge: &Bridge, key: &Key, wanted: (u16, &str)) {
    let answered = try_poll(async || {
        let answer = problem(&bearing(bridge, &key.token()).await);
        (answer == (wanted.0, wanted.1.to_owned())).then_some(())
    });
    assert!(answered.await.is_some(), "{wanted:?} did not come: {}", bridge.log());
}

#[tokio::test]
async fn a_key_that_comes_later_is_learnt_and_one_that_went_is_forgotten() {
    let (old, new) = (Key::new_ec(), Key::new_ec());
    let (bridge, folder) = bridge("rotation", &[&old]).await;
    expect(&bridge, "old", &old.token(), IN).await;
    expect(&bridge, "new", &new.token(), UNKNOWN).await;
    // A file that is no key set for a moment changes nothing.
    folder.write("jwks.json", "{");
    expect(&bridge, "new", &new.token(), UNKNOWN).await;
    expect(&bridge, "old", &old.token(), IN).await;
    folder.write("jwks.json", &set(&[&new]));
    until(&bridge, &new, IN).await;
    expect(&bridge, "old", &old.token(), UNKNOWN).await;
}

/// As the operator starts it: whoever may change the folder, a ConfigMap, decides nothing of who is answered.
#[tokio::test]
async fn keys_that_are_given_stand_whatever_the_folder_says() {
    let (ours, theirs) = (Key::new_ec(), Key::new_ec());
    let folder = Folder::new("given");
    folder.write("jwks.json", &set(&[&ours, &theirs]));
    folder.write("epoch", "5");
    let mut command = guarded(&folder);
    command.env("TORPOR_BRIDGE_JWKS", set(&[&ours]));
    let bridge = Bridge::start(command, None).await;
    assert_eq!(send(bridge.address, "GET", "/readyz", &[], b"").await.status, 200);
    expect(&bridge, "given", &ours.token(), IN).await;
    for _ in 0..2 {
        expect(&bridge, "in the folder", &theirs.token(), UNKNOWN).await;
    }
    let answer = bearing(&bridge, &theirs.token()).await;
    assert!(detail(&answer).contains("--jwks"), "{answer:?}");
    // The folder still has the epoch.
    let bearer = format!("Bearer {}", ours.token());
    let headers = [("authorization", bearer.as_str()), ("torpor-epoch", "4")];
    let answer = bridge.ask("DELETE", "/v1/maintenance", &headers, b"").await;
    assert_eq!(problem(&answer), (409, "stale-epoch".to_owned()));
}

#[tokio::test]
async fn given_keys_need_no_folder_and_are_refused_at_the_start_if_none_can_be_used() {
    let key = Key::new_ec();
    let mut alone = command(&MARKET);
    alone.args(CLAIMS).args(["--listen", "127.0.0.1:0", "--jwks", &set(&[&key])]);
    let bridge = Bridge::start(alone, None).await;
    expect(&bridge, "given", &key.token(), IN).await;
    for useless in
        ["", "{", r#"{"keys": []}"#, r#"{"keys": [{"kid": "k", "kty": "oct", "k": "AA"}]}"#]
    {
        let (status, text) = ends(command(&MARKET).args(CLAIMS).args(["--jwks", useless])).await;
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("--jwks is invalid"), "{text}");
    }
}

#[tokio::test]
async fn it_is_ready_when_there_is_a_key() {
    let folder = Folder::new("ready");
    let bridge = Bridge::start(guarded(&folder), None).await;
    assert_eq!(send(bridge.address, "GET", "/readyz", &[], b"").await.status, 503);
    let key = Key::new_ec();
    expect(&bridge, "no keys", &key.token(), UNKNOWN).await;
    folder.write("jwks.json", &set(&[&key]));
    until(&bridge, &key, IN).await;
    assert_eq!(send(bridge.address, "GET", "/readyz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_key_for_something_else_is_none() {
    let good = Key::new_ec();
    let mut encrypting = good.published();
    encrypting["use"] = json!("enc");
    let folder = Folder::new("other-keys");
    let keys = json!({"keys": [encrypting, {"kid": "k", "kty": "oct", "k": "c2VjcmV0"}, 7]});
    folder.write("jwks.json", &keys.to_string());
    let bridge = Bridge::start(guarded(&folder), None).await;
    assert_eq!(send(bridge.address, "GET", "/readyz", &[], b"").await.status, 503);
    expect(&bridge, "for encryption", &good.token(), UNKNOWN).await;
}

#[tokio::test]
async fn authentication_is_left_out_on_loopback_only() {
    let mut command = command(&MARKET);
    command.args(["--insecure-no-authentication", "--listen", "0.0.0.0:0"]);
    let (status, text) = ends(&mut command).await;
    assert_eq!(status, 1);
    assert!(text.contains("is for a loopback address, and --listen is 0.0.0.0:0"), "{text}");

    let bridge = Bridge::open(&MARKET).await;
    assert_eq!(problem(&bridge.observe().await), (IN.0, IN.1.to_owned()));
}

#[tokio::test]
async fn authentication_is_never_left_out_by_leaving_out_a_flag() {
    let folder = Folder::new("flags");
    let all = CLAIMS;
    for without in [0, 2, 4] {
        let mut command = command(&MARKET);
        command.args(&all[..without]).args(&all[without + 2..]).arg("--config-dir");
        let (status, text) = ends(command.arg(folder.path())).await;
        assert_eq!(status, 2, "{text}");
        assert!(text.contains(all[without]), "{text}");
    }
    let (status, text) = ends(command(&MARKET).args(all)).await;
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("--config-dir"), "{text}");
    let mut empty = command(&MARKET);
    empty.args(["--audience", "", "--issuer", ISSUER, "--subject", SUBJECT, "--config-dir"]);
    let (status, text) = ends(empty.arg(folder.path())).await;
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("must not be empty"), "{text}");
}

#[tokio::test]
async fn an_epoch_older_than_the_folders_is_refused() {
    let key = Key::new_ec();
    let folder = Folder::new("floor");
    folder.write("jwks.json", &set(&[&key]));
    folder.write("epoch", "5\n");
    let bridge = Bridge::start(guarded(&folder), Some(key.token())).await;
    let announce =
        async |epoch| bridge.change("DELETE", "/v1/maintenance", epoch, &Value::Null).await;
    assert_eq!(problem(&announce(4).await), (409, "stale-epoch".to_owned()));
    assert_eq!(problem(&announce(5).await).1, IN.1);
    folder.write("epoch", "7");
    let answer = announce(6).await;
    assert_eq!(problem(&answer), (409, "stale-epoch".to_owned()));
    assert!(detail(&answer).contains("older than 7"), "{answer:?}");
    folder.write("epoch", "none");
    assert_eq!(problem(&announce(9).await), (500, "misconfigured".to_owned()));
}
