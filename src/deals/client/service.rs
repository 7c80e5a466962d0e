//! Finds the server of an object: the `ClusterIP` of a Service in the object's namespace, and nothing else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceSpec};
use kube::{Api, Client};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{Error, Server, cluster};
use crate::api::deals::CaStatus;
use crate::deals::types::cleaned;

/// Most bytes of a certificate authority; parsing is work.
const LONGEST_AUTHORITY: usize = 256 * 1024;

/// A server that can be dialled.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// `NAME.NAMESPACE.svc:PORT`
    pub(super) host: String,
    pub(super) tls: Option<Tls>,
}

/// The server's name and the authority of its certificate.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Endpoint {
    /// Reads the Service from the API server.
    pub(super) async fn find(kube: &Client, server: &Server<'_>) -> Result<Self, Error> {
        let namespace = &server.holder.namespace;
        let name = &server.source.service;
        // The name becomes part of a path and of a host name.
        if !is_label(name) {
            return Err(Error::ServiceNotFound(cleaned(name)));
        }
        let services: Api<Service> = Api::namespaced(kube.clone(), namespace);
        let service = cluster("reading the Service", services.get_opt(name)).await?;
        let service = service.ok_or_else(|| Error::ServiceNotFound(name.clone()))?;
        let address = address(&service.spec.unwrap_or_default(), server.source.port)
            .map_err(|why| Error::ServiceUnusable { service: name.clone(), why })?;
        let host = format!("{name}.{namespace}.svc");
        let tls = match &server.source.ca_config_map_ref {
            None => None,
            Some(place) => Some(tls(kube, namespace, place, &host).await?),
        };
        Ok(Self { address, host: format!("{host}:{}", server.source.port), tls })
    }
}

/// Returns whether a Service can have this name (RFC 1035).
fn is_label(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn address(service: &ServiceSpec, port: i32) -> Result<SocketAddr, String> {
    if service.type_.as_deref() == Some("ExternalName") {
        return Err(
            "is of type ExternalName, which leads out of the namespace: create a Service with \
                    a selector, or with EndpointSlices of your own"
                .to_owned(),
        );
    }
    let address = match service.cluster_ip.as_deref() {
        Some("None") => {
            return Err("is headless, and Torpor dials only a ClusterIP: remove `clusterIP: None`"
                .to_owned());
        }
        None | Some("") => return Err("has no ClusterIP yet".to_owned()),
        Some(address) => address.parse::<IpAddr>().map_err(|_| {
            format!("has the ClusterIP {}, which is no IP address", cleaned(address))
        })?,
    };
    let ports = service.ports.as_deref().unwrap_or_default();
    let tcp = |protocol: Option<&str>| matches!(protocol, None | Some("TCP"));
    let known = ports.iter().any(|one| one.port == port && tcp(one.protocol.as_deref()));
    let number = u16::try_from(port).ok().filter(|_| known);
    let number = number.ok_or_else(|| {
        let has: Vec<String> = ports
            .iter()
            .filter(|one| tcp(one.protocol.as_deref()))
            .map(|one| one.port.to_string())
            .collect();
        format!("has no TCP port {port}; its TCP ports are: {}", cleaned(&has.join(", ")))
    })?;
    Ok(SocketAddr::new(address, number))
}

/// Returns TLS settings that trust this authority alone.
async fn tls(kube: &Client, namespace: &str, place: &CaStatus, host: &str) -> Result<Tls, Error> {
    let unusable = |why: String| Error::AuthorityUnusable {
        place: cleaned(&format!("ConfigMap {}, key {}", place.name, place.key)),
        why: cleaned(&why),
    };
    // The name becomes part of a path.
    if place.name.is_empty() || place.name.split('.').any(|label| !is_part(label)) {
        return Err(unusable(
            "no ConfigMap can have this name: correct `caConfigMapRef.name`".to_owned(),
        ));
    }
    let maps: Api<ConfigMap> = Api::namespaced(kube.clone(), namespace);
    let map = cluster("reading the ConfigMap", maps.get_opt(&place.name)).await?;
    let map = map.ok_or_else(|| unusable("the ConfigMap does not exist".to_owned()))?;
    let text = map.data.and_then(|mut data| data.remove(&place.key));
    let text = text.ok_or_else(|| unusable("the ConfigMap does not have this key".to_owned()))?;
    let config = trusting(&text).map_err(unusable)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| unusable(format!("a certificate cannot have the name {host}")))?;
    Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
}

fn is_part(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn trusting(authority: &str) -> Result<ClientConfig, String> {
    if authority.len() > LONGEST_AUTHORITY {
        return Err(format!("the value has more than {LONGEST_AUTHORITY} bytes"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the value is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("the value has no PEM certificate".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(spec: Value, port: i32) -> Result<String, String> {
        address(&serde_json::from_value(spec).unwrap(), port).map(|address| address.to_string())
    }

    #[test]
    fn only_a_cluster_ip_is_dialled_and_only_at_a_port_of_the_service() {
        let ports = json!([{"port": 8080}, {"port": 53, "protocol": "UDP"}]);
        let of = |ip: &str| json!({"clusterIP": ip, "ports": ports});
        assert_eq!(found(of("10.96.0.7"), 8080).unwrap(), "10.96.0.7:8080");
        assert_eq!(found(of("fd00::7"), 8080).unwrap(), "[fd00::7]:8080");
        let external = json!({
            "type": "ExternalName", "externalName": "example.org", "clusterIP": "10.96.0.7",
            "ports": ports,
        });
        for (spec, port, says) in [
            (of("None"), 8080, "headless"),
            (of(""), 8080, "no ClusterIP yet"),
            (json!({"ports": ports}), 8080, "no ClusterIP yet"),
            (of("example.org"), 8080, "is no IP address"),
            (external, 8080, "ExternalName"),
            (of("10.96.0.7"), 80, "has no TCP port 80; its TCP ports are: 8080"),
            (of("10.96.0.7"), 53, "has no TCP port 53"),
            (json!({"clusterIP": "10.96.0.7", "ports": [{"port": 65537}]}), 65537, "no TCP port"),
        ] {
            let why = found(spec.clone(), port).unwrap_err();
            assert!(why.contains(says), "{spec} {port}: {why}");
        }
    }
}
