//! The client verifies the server's certificate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use torpor::api::deals::CaStatus;

use crate::support::folder::Folder;
use crate::support::stub::{Reply, Stub};
use crate::support::world::{World, commitments, failed, tells};

const PLACE: &str = "/api/v1/namespaces/shop/configmaps/authority";

/// Creates two server certificates of one authority, and another authority.
fn certificates(folder: &Folder) {
    let script = "
        for authority in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                -subj /CN=$authority -keyout $authority.key -out $authority.crt
        done
        for name in market.shop.svc elsewhere.shop.svc; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
                -addext subjectAltName=DNS:$name -keyout $name.key -out $name.csr
            openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                -copy_extensions copy -out $name.crt
        done";
    let mut shell = Command::new("sh");
    let made = shell.args(["-euc", script]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn acceptor(folder: &Path, name: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(folder.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn trusting(stub: &Stub, authority: &str) -> World {
    let mut world = World::at(stub.address);
    world.api.put(PLACE, json!({"data": {"ca.crt": authority}}));
    let (name, key) = ("authority".to_owned(), "ca.crt".to_owned());
    world.source.ca_config_map_ref = Some(CaStatus { name, key });
    world
}

#[tokio::test]
async fn a_server_is_spoken_to_only_if_the_authority_vouches_for_its_name() {
    let folder = Folder::new("tls");
    certificates(&folder);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let good = [Reply::Say(tells(&commitments()))];
    let stub = Stub::start_with(&good, Some(acceptor(folder.path(), "market.shop.svc"))).await;
    let other = Stub::start_with(&good, Some(acceptor(folder.path(), "elsewhere.shop.svc"))).await;
    let plain = Stub::start(&[Reply::Unasked("HTTP/1.1 400 Bad Request\r\n\r\n".into())]).await;

    let both = read("other.crt") + &read("ca.crt");
    for authority in [read("ca.crt"), both] {
        trusting(&stub, &authority).observe().await.unwrap();
    }
    assert_eq!(stub.requests().len(), 2);
    for (what, world) in [
        ("another authority", trusting(&stub, &read("other.crt"))),
        ("another name", trusting(&other, &read("ca.crt"))),
        ("no TLS", trusting(&plain, &read("ca.crt"))),
    ] {
        let (reason, text) = failed(world.observe().await);
        assert_eq!(reason, "TLSFailed", "{what}: {text}");
    }
    let (reason, text) = failed(World::at(stub.address).observe().await);
    assert!(
        ["MarketInvalid", "MarketUnreachable"].contains(&reason.as_str()),
        "without TLS: {text}"
    );
    assert_eq!(stub.requests().len(), 2, "nobody who is not known was asked anything");
    assert!(other.requests().is_empty() && plain.requests().is_empty());

    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for authority in ["", "nothing", broken, &read("ca.key")] {
        let (reason, text) = failed(trusting(&stub, authority).observe().await);
        assert_eq!(reason, "AuthorityUnusable", "{text}");
        assert!(text.contains("ConfigMap authority, key ca.crt"), "{text}");
    }
    let mut world = trusting(&stub, &read("ca.crt"));
    for (name, key, says) in [
        ("authority", "other.crt", "does not have this key"),
        ("absent", "ca.crt", "the ConfigMap does not exist"),
        ("../../other/configmaps/authority", "ca.crt", "can have this name"),
    ] {
        let (name, key) = (name.to_owned(), key.to_owned());
        world.source.ca_config_map_ref = Some(CaStatus { name, key });
        let (reason, text) = failed(world.observe().await);
        assert_eq!(reason, "AuthorityUnusable", "{text}");
        assert!(text.contains(says), "{text}");
    }
    assert_eq!(stub.requests().len(), 2);
}
