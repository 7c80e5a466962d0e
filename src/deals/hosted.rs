//! Bridges that the operator runs.

use crate::api::deals::{CaStatus, DealsSource, SourceStatus};
use crate::hold::record::Holder;

/// Where the Deals API of an object is served.
pub fn source(holder: &Holder, source: &DealsSource) -> SourceStatus {
    match &source.service {
        Some(service) => SourceStatus {
            service: service.name.clone(),
            port: service.port,
            ca_config_map_ref: service
                .ca_config_map_ref
                .as_ref()
                .map(|ca| CaStatus { name: ca.name.clone(), key: ca.key.clone() }),
            bridge: None,
        },
        None => SourceStatus {
            service: format!("torpor-mw-{}", holder.name),
            port: 8080,
            ca_config_map_ref: None,
            bridge: Some(String::new()),
        },
    }
}
