//! `torpor status`: the state of one object on a screen, or of all objects in a table.

mod list;
mod screen;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::error::Error;
use super::find::{self, Found};
use super::live;
use super::name::Name;
use super::paint::{Paint, Screen};
use crate::apiserver::client::ClusterArgs;

const EXAMPLES: &str = "\
Examples:
  torpor status                      all Hibernations and MaintenanceWindows of the namespace
  torpor status --all-namespaces     those of all namespaces
  torpor status cornice              one of them: its request, its state, its obstacles and its workloads
  torpor status hib/cornice          the Hibernation, if a MaintenanceWindow has the same name";

/// Arguments of `torpor status`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Show the objects of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    all_namespaces: bool,

    /// Format of the output. Default: for people
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,

    /// The object: NAME, hib/NAME or mw/NAME. Default: all objects
    #[arg(value_name = "NAME")]
    name: Option<Name>,
}

/// A format for machines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// The objects as JSON
    Json,
    /// The objects as YAML
    Yaml,
    /// Their names, for kubectl
    Name,
}

/// Runs the command. Returns the output.
pub(super) async fn run(args: StatusArgs) -> Result<String, Error> {
    let (client, namespace) = args.cluster.connect().await?;
    let now = Timestamp::now();
    let screen = Screen::stdout();
    if let Some(name) = &args.name {
        let mut found = find::one(&client, &namespace, name).await?;
        if let Some(format) = args.output {
            hide_managers(&mut found);
            return formatted(&found.raw, &[&found], format);
        }
        let live = live::read(&client, &found.object).await;
        let zone = found.object.zone().unwrap_or_else(TimeZone::system);
        return Ok(screen::render(&found.object, &live, now, &zone, screen));
    }
    let scope = (!args.all_namespaces).then_some(namespace.as_str());
    let listing = find::all(&client, scope).await?;
    if let Some(hidden) = listing.hidden {
        eprintln!("{} {hidden}", screen.paint("note:", Paint::Yellow));
    }
    let mut all = listing.found;
    all.iter_mut().for_each(hide_managers);
    if let Some(format) = args.output {
        let items: Vec<&Value> = all.iter().map(|found| &found.raw).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        return formatted(&list, &all.iter().collect::<Vec<_>>(), format);
    }
    let objects: Vec<_> = all.into_iter().map(|found| found.object).collect();
    Ok(list::render(&objects, scope, now, screen))
}

/// Removes managedFields, as kubectl does.
fn hide_managers(found: &mut Found) {
    if let Some(meta) = found.raw["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
}

fn formatted(whole: &Value, all: &[&Found], format: Format) -> Result<String, Error> {
    Ok(match format {
        Format::Json => serde_json::to_string_pretty(whole)? + "\n",
        Format::Yaml => serde_saphyr::to_string(whole)?,
        Format::Name => {
            let name = |found: &&Found| {
                let kind = found.object.kind().as_str().to_lowercase();
                format!("{kind}.torpor.dev/{}\n", found.object.name())
            };
            all.iter().map(name).collect::<Vec<_>>().concat()
        }
    })
}
