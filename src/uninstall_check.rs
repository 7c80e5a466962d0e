//! `torpor uninstall-check`: refuses while something is held that nothing would wake without the operator. The chart runs it
//! before it is uninstalled.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::ApiResource;
use kube::{Client, ResourceExt};

use crate::api::text::counted;
use crate::api::{Hibernation, MaintenanceWindow};
use crate::apiserver::client::{self, ConnectError};
use crate::apiserver::request::{self, pages};
use crate::hold::kinds::{self, KindsArgs};
use crate::hold::lever::Kind;
use crate::hold::record::{Found, LABEL, Record};
use crate::transition::plan::FINALIZER;

/// The most lines about objects. All are counted.
const LINES: usize = 20;

const REMEDY: &str = "\
Wake them first: set `state: Awake` in each Hibernation and `suspend: true` in each MaintenanceWindow, or delete it. Or keep
what is held, and restore it by `torpor release` when you want it: helm uninstall --no-hooks
To keep the operator, take back the status `uninstalling` of the release: helm rollback RELEASE REVISION";

/// Arguments of `torpor uninstall-check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UninstallCheckArgs {
    /// Namespace in which the operator works. Repeat the option for several namespaces. Default: all namespaces
    #[arg(long, env = "TORPOR_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    watch_namespace: Vec<String>,

    #[command(flatten)]
    kinds: KindsArgs,
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] request::Error),
    #[error(transparent)]
    Kinds(#[from] kinds::Error),
}

/// The holders, by namespace and `KIND/NAME`, with the number of objects that each holds.
type Holders = BTreeMap<(String, String), usize>;

/// Runs `torpor uninstall-check`. Returns its exit status.
pub(crate) async fn run(args: UninstallCheckArgs) -> ExitCode {
    match Box::pin(holders(&args)).await {
        Ok(holders) if holders.is_empty() => {
            println!("nothing is held");
            ExitCode::SUCCESS
        }
        Ok(holders) => {
            eprintln!("{}", refusal(&holders));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("torpor: cannot find out whether something is held: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn holders(args: &UninstallCheckArgs) -> Result<Holders, Error> {
    args.kinds.install()?;
    let (client, _) = client::connect().await?;
    let mut scopes: Vec<_> = args.watch_namespace.iter().map(|name| Some(name.as_str())).collect();
    if scopes.is_empty() {
        scopes.push(None);
    }
    let mut holders = Holders::new();
    for scope in scopes {
        for kind in Kind::all() {
            let params = ListParams::default().labels(LABEL);
            let held = match list(&client, scope, &kind.api_resource(), params).await {
                // Without its definition, a kind of the table has no objects.
                Err(error) if kind.entry.is_some() && error.is_not_found() => continue,
                held => held?,
            };
            for object in held {
                for holder in held_by(kind, &object) {
                    *holders.entry(holder).or_default() += 1;
                }
            }
        }
        for resource in
            [ApiResource::erase::<Hibernation>(&()), ApiResource::erase::<MaintenanceWindow>(&())]
        {
            let all = match list(&client, scope, &resource, ListParams::default()).await {
                // Without the definition there is no such object.
                Err(error) if error.is_not_found() => Vec::new(),
                all => all?,
            };
            for object in all.iter().filter(|o| o.finalizers().iter().any(|f| f == FINALIZER)) {
                let name = format!("{}/{}", resource.kind, object.name_any());
                holders.entry((object.namespace().unwrap_or_default(), name)).or_default();
            }
        }
    }
    Ok(holders)
}

type Meta = PartialObjectMeta<DynamicObject>;

async fn list(
    client: &Client,
    namespace: Option<&str>,
    resource: &ApiResource,
    params: ListParams,
) -> Result<Vec<Meta>, request::Error> {
    let api: Api<Meta> = match namespace {
        None => Api::all_with(client.clone(), resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
    };
    pages("held objects and their holders", &api, params, Some).await
}

/// Returns the holders of an object. Where the record is missing, that is said in the place of the holder.
fn held_by(kind: &Kind, object: &Meta) -> Vec<(String, String)> {
    let namespace = object.namespace().unwrap_or_default();
    let found = Found::of(kind, &object.metadata);
    let names: Vec<_> = found
        .record()
        .into_iter()
        .flat_map(Record::holders)
        .map(|holding| format!("{}/{}", holding.holder.kind, holding.holder.name))
        .collect();
    if names.is_empty() {
        let name = format!("{}/{} itself", kind.name, object.name_any());
        return vec![(namespace, name)];
    }
    names.into_iter().map(|name| (namespace.clone(), name)).collect()
}

fn refusal(holders: &Holders) -> String {
    let mut lines = vec![format!(
        "torpor: {} would stay as {} now, because nothing restores {} without the operator:",
        counted(holders.len(), "holder"),
        if holders.len() == 1 { "it is" } else { "they are" },
        if holders.len() == 1 { "its objects" } else { "their objects" },
    )];
    lines.extend(holders.iter().take(LINES).map(|((namespace, holder), held)| {
        let holds = match held {
            0 => "an announcement, withdrawn orders or a bridge at the market".to_owned(),
            held => format!("{} held", counted(*held, "object")),
        };
        format!("  {holder} in namespace {namespace}: {holds}")
    }));
    let more = holders.len().saturating_sub(LINES);
    lines.extend((more > 0).then(|| format!("  and {}", counted(more, "more holder"))));
    lines.push(REMEDY.to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_holders_and_the_ways_out() {
        let holder = |name: &str, held| (("shop".to_owned(), format!("Hibernation/{name}")), held);
        let text = refusal(&[holder("web", 3), holder("worker", 0)].into());
        for words in [
            "2 holders would stay as they are",
            "Hibernation/web in namespace shop: 3 objects held",
            "Hibernation/worker in namespace shop: an announcement",
            "helm uninstall --no-hooks",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        assert!(!text.contains("more"), "{text}");
        let many = (0..25).map(|number| holder(&number.to_string(), 1)).collect();
        assert!(refusal(&many).contains("and 5 more holders"), "{}", refusal(&many));
    }
}
