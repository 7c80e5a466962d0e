//! Finds Hibernations and MaintenanceWindows in the cluster, or in a file.

use std::io::Read as _;
use std::path::Path;

use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use serde_json::Value;

use super::error::Error;
use super::name::{Kind, Name};
use super::object::Object;
use crate::apiserver::request::{self, call, pages};

/// The most names that an error lists.
const NAMED: usize = 10;

/// An object as the API server has it, and parsed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The parsed object.
    pub(super) object: Object,
    /// All of it.
    pub(super) raw: Value,
}

impl Found {
    /// Parses an object.
    pub(super) fn parse(kind: Kind, raw: Value) -> Result<Self, Error> {
        let object = Object::parse(kind, raw.clone()).map_err(Error::Refused)?;
        Ok(Self { object, raw })
    }
}

/// Returns the resource of a kind.
pub(super) fn resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("torpor.dev", "v1alpha1", kind.as_str()))
}

/// Returns the API of a kind in a namespace, or in all.
pub(super) fn api(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
        None => Api::all_with(client.clone(), &resource(kind)),
    }
}

/// Returns the object of a name. A bare name must be that of one object only.
pub(super) async fn one(client: &Client, namespace: &str, name: &Name) -> Result<Found, Error> {
    let kinds = Kind::ALL.into_iter().filter(|kind| name.kind.is_none_or(|wanted| wanted == *kind));
    let mut found = Vec::new();
    for kind in kinds {
        let what = format!("{kind} {} in namespace {namespace}", name.name);
        let api = api(client, kind, Some(namespace));
        match call(what, api.get_opt(&name.name)).await {
            Ok(None) => {}
            Ok(Some(object)) => found.push(Found::parse(kind, serde_json::to_value(object)?)?),
            // A user may have the right to one kind only.
            Err(error) if error.code() == Some(403) && name.kind.is_none() => {}
            Err(error) => return Err(explained(error)),
        }
    }
    match found.pop() {
        None => Err(not_found(client, namespace, name).await),
        Some(_) if !found.is_empty() => Err(Error::Refused(format!(
            "namespace {namespace} has a Hibernation and a MaintenanceWindow named {0}: write hib/{0} or mw/{0}",
            name.name
        ))),
        Some(found) => Ok(found),
    }
}

/// The objects of a namespace, or of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The objects, sorted.
    pub(super) found: Vec<Found>,
    /// The reason why the objects of a kind are not among them.
    pub(super) hidden: Option<String>,
}

/// Lists all objects of a namespace, or of all namespaces. A user may have the right to list one kind only.
pub(super) async fn all(client: &Client, namespace: Option<&str>) -> Result<Listing, Error> {
    let (hibernations, windows) = futures::join!(
        list(client, Kind::Hibernation, namespace),
        list(client, Kind::MaintenanceWindow, namespace)
    );
    let is_forbidden = |error: &request::Error| error.code() == Some(403);
    let mut listing = match (hibernations, windows) {
        (Ok(found), Err(error)) | (Err(error), Ok(found)) if is_forbidden(&error) => {
            Listing { found: parsed(found)?, hidden: Some(error.to_string()) }
        }
        (hibernations, windows) => {
            let mut found = parsed(hibernations.map_err(explained)?)?;
            found.extend(parsed(windows.map_err(explained)?)?);
            Listing { found, hidden: None }
        }
    };
    listing.found.sort_by(|a, b| {
        let key = |found: &Found| {
            let object = &found.object;
            (object.namespace().to_owned(), object.kind(), object.name().to_owned())
        };
        key(a).cmp(&key(b))
    });
    Ok(listing)
}

fn parsed(objects: Vec<(Kind, DynamicObject)>) -> Result<Vec<Found>, Error> {
    let parse = |(kind, object)| Found::parse(kind, serde_json::to_value(object)?);
    objects.into_iter().map(parse).collect()
}

async fn list(
    client: &Client,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<Vec<(Kind, DynamicObject)>, request::Error> {
    let what = match kind {
        Kind::Hibernation => "Hibernations",
        Kind::MaintenanceWindow => "MaintenanceWindows",
    };
    // Items of a list do not carry their type.
    let types =
        TypeMeta { api_version: "torpor.dev/v1alpha1".to_owned(), kind: kind.as_str().to_owned() };
    let with_types = |object| Some((kind, DynamicObject { types: Some(types.clone()), ..object }));
    pages(what, &api(client, kind, namespace), ListParams::default(), with_types).await
}

/// Adds the remedy to an error that says little by itself.
fn explained(error: request::Error) -> Error {
    // The API server answers so where it does not know the resource.
    if error.is_not_found() {
        return Error::Refused(format!(
            "{error}. The cluster may have no definitions of Torpor: install the chart, or run `{} check`",
            super::program()
        ));
    }
    error.into()
}

/// Returns the error of a name that no object has, with the names that there are.
async fn not_found(client: &Client, namespace: &str, name: &Name) -> Error {
    match all(client, Some(namespace)).await {
        Ok(there) => Error::Refused(missing(namespace, name, &there.found)),
        // Without definitions, or without the right to list, no name can be told.
        Err(error) => error,
    }
}

fn missing(namespace: &str, name: &Name, there: &[Found]) -> String {
    let what = match name.kind {
        Some(kind) => format!("{kind} {}", name.name),
        None => format!("Hibernation or MaintenanceWindow {}", name.name),
    };
    let names: Vec<String> = there.iter().map(|found| found.object.argument()).collect();
    let there = if names.is_empty() {
        "you see none there; set --namespace".to_owned()
    } else {
        format!("there: {}", crate::api::text::first(&names, NAMED))
    };
    format!("there is no {what} in namespace {namespace}; {there}")
}

/// Returns the object of a name in a file of manifests; `-` is the standard input.
pub(super) fn in_file(file: &Path, name: Option<&Name>) -> Result<Object, Error> {
    let failed = |source| Error::File { file: file.display().to_string(), source };
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(file).map_err(failed)?;
    }
    in_text(&text, name).map_err(|error| Error::Refused(format!("{}: {error}", file.display())))
}

/// Returns the object of a name in manifests. Without a name there must be one object only.
fn in_text(text: &str, name: Option<&Name>) -> Result<Object, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| format!("it is not YAML: {error}"))?;
    // `kubectl get -o yaml` prints a List.
    let items = documents.into_iter().flat_map(|document| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    });
    let mut objects = Vec::new();
    for item in items {
        let group = item["apiVersion"].as_str().unwrap_or_default().split('/').next();
        let kind = item["kind"].as_str().and_then(Kind::named);
        if let Some(kind) = kind.filter(|_| group == Some("torpor.dev")) {
            objects.push(Object::parse(kind, item)?);
        }
    }
    let named = |object: &Object| {
        name.is_none_or(|name| {
            object.name() == name.name && name.kind.is_none_or(|kind| kind == object.kind())
        })
    };
    let all: Vec<String> = objects.iter().map(Object::argument).collect();
    let mut chosen: Vec<Object> = objects.into_iter().filter(named).collect();
    match (chosen.pop(), all.as_slice()) {
        (Some(object), _) if chosen.is_empty() => Ok(object),
        (_, []) => Err("it contains no Hibernation and no MaintenanceWindow".to_owned()),
        (None, all) => Err(format!("it contains no such object; there: {}", all.join(", "))),
        (Some(_), all) => {
            Err(format!("it contains several objects: write one of {}", all.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: torpor.dev/v1alpha1
kind: Hibernation
metadata: {name: cornice}
spec: {state: Awake}
---
apiVersion: torpor.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: cornice}
spec: {after: 1h}
";

    #[test]
    fn an_object_of_a_file_is_chosen_by_its_name() {
        let of = |name: &str| in_text(FILE, Some(&name.parse().unwrap()));
        assert_eq!(of("mw/cornice").unwrap().display(), "MaintenanceWindow cornice");
        assert_eq!(of("hib/cornice").unwrap().display(), "Hibernation cornice");
        let error = of("cornice").unwrap_err();
        assert!(error.contains("write one of hib/cornice, mw/cornice"), "{error}");
        let error = of("hib/web").unwrap_err();
        assert!(error.contains("no such object; there: hib/cornice, mw/cornice"), "{error}");
        let only = FILE.rsplit_once("---").unwrap().0;
        assert_eq!(in_text(only, None).unwrap().display(), "Hibernation cornice");
        assert!(in_text("kind: Pod", None).unwrap_err().contains("no Hibernation"));
        assert!(in_text("a: [", None).unwrap_err().contains("not YAML"));
        let broken = FILE.replace("{after: 1h}", "{after: []}");
        let error = in_text(&broken, None).unwrap_err();
        assert!(error.contains("MaintenanceWindow cornice does not parse"), "{error}");
    }

    #[test]
    fn a_missing_object_is_answered_with_those_there_are() {
        let name: Name = "hib/web".parse().unwrap();
        let text = missing("shop", &name, &[]);
        assert_eq!(
            text,
            "there is no Hibernation web in namespace shop; you see none there; set --namespace"
        );
        let object =
            serde_json::json!({"metadata": {"name": "cornice"}, "spec": {"state": "Awake"}});
        let there = [Found::parse(Kind::Hibernation, object).unwrap()];
        let text = missing("shop", &name, &there);
        assert!(text.ends_with("in namespace shop; there: hib/cornice"), "{text}");
    }
}
