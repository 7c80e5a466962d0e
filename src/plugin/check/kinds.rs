//! The table of kinds that an operator in the cluster reads.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;

use super::facts::{Answer, said};
use crate::apiserver::request::call;
use crate::hold::kinds::{self, Unusable, VARIABLE};
use crate::hold::lever::Kind;

/// A key of a ConfigMap in the namespace of an operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::plugin) struct Source {
    pub(super) config_map: String,
    pub(super) key: String,
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Entry {
    pub(super) kind: Arc<Kind>,
    /// Why objects of the kind cannot be held in this cluster.
    pub(super) problems: Vec<Unusable>,
}

impl Entry {
    /// Returns whether the API server serves the kind.
    pub(super) fn is_served(&self) -> bool {
        !self.problems.contains(&Unusable::NotServed)
    }

    /// Returns whether this program has the same entry.
    pub(super) fn is_known(&self) -> bool {
        kinds::table().contains(&*self.kind)
    }
}

/// Returns where a Deployment of the operator has its table: the ConfigMap that is mounted at the file of the variable.
pub(super) fn source(deployment: &Deployment) -> Option<Source> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let container = pod.containers.first()?;
    let file = container.env.iter().flatten().find(|variable| variable.name == VARIABLE)?;
    let (folder, key) = file.value.as_deref()?.rsplit_once('/')?;
    let mount =
        container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == folder)?;
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name)?;
    let config_map = volume.config_map.as_ref()?.name.clone();
    Some(Source { config_map, key: key.to_owned() })
}

/// Reads a table, and asks the cluster for its kinds.
pub(super) async fn entries(
    client: &Client,
    namespace: &str,
    source: &Source,
) -> Answer<Vec<Entry>> {
    let Source { config_map, key } = source;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = call(format!("ConfigMap {config_map}"), api.get_opt(config_map)).await;
    let data =
        found.map_err(|error| said(&error))?.and_then(|found| found.data).unwrap_or_default();
    let text = data.get(key).ok_or(format!("ConfigMap {config_map} has no key {key}"))?;
    let mut entries = Vec::new();
    for kind in kinds::parse(text).map_err(|invalid| invalid.to_string())? {
        let problems = kinds::unusable(client, &kind).await.map_err(|error| said(&error))?;
        entries.push(Entry { kind: Arc::new(kind), problems });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_the_config_map_at_the_file_of_the_variable() {
        let deployment = |variable: &str| {
            let container = json!({
                "name": "torpor", "args": ["run"], "env": [{"name": variable, "value": "/etc/torpor/kinds.yaml"}],
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}, {"name": "kinds", "mountPath": "/etc/torpor"}],
            });
            let volumes = json!([{"name": "kinds", "configMap": {"name": "torpor-kinds"}}]);
            let pod = json!({"spec": {"containers": [container], "volumes": volumes}});
            serde_json::from_value::<Deployment>(json!({"spec": {"selector": {}, "template": pod}}))
                .unwrap()
        };
        let expected =
            Source { config_map: "torpor-kinds".to_owned(), key: "kinds.yaml".to_owned() };
        assert_eq!(source(&deployment(VARIABLE)), Some(expected));
        assert_eq!(source(&deployment("TORPOR_OTHER")), None);
    }
}
