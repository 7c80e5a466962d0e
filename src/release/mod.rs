//! `torpor release`: restores held objects from their annotations, with the rights of the user. It needs
//! neither the operator nor its custom resources.

mod report;
mod target;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};

use self::report::Report;
use self::target::{Target, holders, written};
use crate::api::labels::{MANAGED_BY, TORPOR};
use crate::apiserver::client::{ClusterArgs, ConnectError};
use crate::apiserver::definitions::serves;
use crate::apiserver::request::{self, call};
use crate::hold::kinds::KindsArgs;
use crate::hold::lever::{CONFIG_MAP, Kind, RESTART};
use crate::hold::plan::{Desired, decide, hand_back_ownership};
use crate::hold::record::{Found, Holder, LABEL};
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;
use crate::hold::writer::{self, Manner, Outcome, Writer};
use crate::metrics::Metrics;
use crate::transition::missed::skips_before;
use crate::transition::observe::Reader;

/// The number of concurrent writes.
const IN_FLIGHT: usize = 16;

const EXAMPLES: &str = "\
Examples:
  torpor release -n cornice --all --dry-run      show the held objects, their holders and original values
  torpor release -n cornice hib/cornice          release all objects that the Hibernation cornice holds
  torpor release -n miner mw/gpu                 release all objects that the MaintenanceWindow gpu holds
  torpor release -n cornice deployment/worker    release one object from all its holders
  torpor release -n cornice --all                release all objects in the namespace

While an operator runs, a Hibernation or MaintenanceWindow that still exists holds its objects again. To prevent
that, set `state: Awake` in the Hibernation or `suspend: true` in the MaintenanceWindow (which restores all its
objects without this command), or delete it, or stop the operator first:
  kubectl scale --namespace torpor-system deployment/torpor --replicas=0

Exit status: 0 all objects are restored, 1 an object is not restored, 2 the arguments are invalid.";

/// Arguments of `torpor release`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReleaseArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Release all held objects in the namespace from all their holders
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// Change nothing; show the held objects, their holders and the values that a release restores
    #[arg(long)]
    dry_run: bool,

    /// The holder to release: hib/NAME or mw/NAME; or one held object, such as deployment/worker
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    #[command(flatten)]
    kinds: KindsArgs,
}

/// Why the command changed nothing.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Read(#[from] request::Error),
    #[error("there is no namespace {0}. Set --namespace")]
    NoNamespace(String),
    #[error("{targets} holds nothing in namespace {namespace}; {there}")]
    NothingHeld { targets: String, namespace: String, there: String },
}

/// Runs `torpor release`. Returns its exit status.
pub async fn run(args: ReleaseArgs) -> ExitCode {
    if args.targets.is_empty() && !args.all {
        eprintln!(
            "torpor: no target. Write hib/NAME, mw/NAME, one held object such as deployment/worker, or --all. \
             `torpor release --all --dry-run` shows the held objects and changes nothing"
        );
        return ExitCode::from(2);
    }
    let targets = args.kinds.install_with_presets().map_err(|error| error.to_string());
    let targets = targets.and_then(|()| {
        let each = args.targets.iter().map(|text| {
            text.parse::<Target>().map_err(|error| format!("invalid target {text:?}: {error}"))
        });
        each.collect::<Result<Vec<_>, _>>()
    });
    let targets = match targets {
        Ok(targets) => targets,
        Err(error) => {
            eprintln!("torpor: {error}");
            return ExitCode::from(2);
        }
    };
    match Box::pin(release(args, targets)).await {
        Ok(report) if report.failed() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn release(args: ReleaseArgs, targets: Vec<Target>) -> Result<Report, Error> {
    let (client, namespace) = args.cluster.connect().await?;
    let reader = Reader { client: client.clone(), namespace: namespace.clone() };

    let mut report = Report::default();
    let mut held = Vec::new();
    for kind in Kind::all() {
        // A list of what is not served is refused to whoever has no right to it.
        if kind.entry.is_some() && !serves(&client, &kind.api_version(), kind.plural).await? {
            continue;
        }
        match reader.list(kind, ListParams::default().labels(LABEL), Vec::new()).await {
            Ok(subjects) => held.extend(subjects),
            Err(error) if error.code() == Some(403) => {
                report.fail(&format!("cannot list {}: {error}", kind.plural));
            }
            Err(error) => return Err(error.into()),
        }
    }
    // A person asks: what was restored into this namespace is believed, whoever holds it.
    let held = held.into_iter().map(|subject| subject.moved(None).unwrap_or(subject));
    let (copies, held): (Vec<_>, Vec<_>) =
        held.partition(|subject| matches!(subject.found, Found::Copy(_)));
    for copy in &copies {
        if let Found::Copy(record) = &copy.found {
            eprintln!("warning: {}", record.explain(&copy.display()));
        }
    }
    let wanted = |subject: &Subject| args.all || targets.iter().any(|t| t.concerns(subject));
    let (mut mine, others): (Vec<_>, Vec<_>) = held.into_iter().partition(wanted);
    mine.sort_by_key(order);
    if mine.is_empty() {
        none_found(&client, &namespace, &targets, &others).await?;
        if !report.failed() {
            println!("no object is held in namespace {namespace}");
        }
        return Ok(report);
    }
    let named = |holder: &Holder| args.all || targets.iter().any(|t| t.releases(holder));
    for warning in warnings(&client, &reader, &mine, named).await {
        eprintln!("warning: {warning}");
    }
    // Per object: `hib/a deployment/worker` releases the worker from all its holders, and the other
    // objects from `a` only.
    let releases = |subject: &Subject, holder: &Holder| {
        let targets = targets.iter().filter(|target| target.concerns(subject));
        args.all || targets.into_iter().any(|target| target.releases(holder))
    };
    for subject in &mine {
        report.add_rows(subject, |holder| releases(subject, holder));
    }
    report.print_table();
    if args.dry_run {
        println!("dry run: nothing was changed");
        return Ok(report);
    }
    let writer = Writer::new(client.clone(), IN_FLIGHT, Arc::new(Metrics::new()));
    for subject in mine {
        let result =
            release_object(&reader, &writer, &subject, |holder| releases(&subject, holder)).await;
        match result {
            Ok(result) => report.add_result(&subject, result),
            Err(why) => report.fail(&format!("{}: {why}", subject.display())),
        }
    }
    report.print_summary();
    Ok(report)
}

/// Returns the order of an object, as in a wake: ConfigMaps first, because starting pods read them, then
/// stopped workloads, then restarted ones.
fn order(subject: &Subject) -> (bool, bool) {
    let record = subject.found.record();
    let restarted = record.is_some_and(|record| record.levers.contains_key(RESTART));
    (*subject.kind != CONFIG_MAP, restarted)
}

/// The result for one object.
enum Released {
    /// The object has its original values.
    Restored,
    /// The object still has these holders.
    StillHeld(Vec<Holder>),
    /// The object does not exist any more, or has no hold.
    Gone,
}

/// Releases one object from each holder that the targets name.
async fn release_object(
    reader: &Reader,
    writer: &Writer,
    subject: &Subject,
    releases: impl Fn(&Holder) -> bool,
) -> Result<Released, String> {
    let record = match &subject.found {
        Found::Record(record) => record,
        Found::Nothing | Found::Copy(_) => return Ok(Released::Gone),
        Found::RecordMissing => {
            return Err("its annotation torpor.dev/hold is gone or was changed, so its original values are \
                        unknown here. Find them in the status of its holder (`originals`), set them, and \
                        remove the label torpor.dev/held"
                .to_owned());
        }
    };
    let all: Vec<Holder> = holders(record).into_iter().filter(|holder| releases(holder)).collect();
    let mut current = Some(subject.clone());
    for holder in &all {
        let Some(before) = &current else { return Ok(Released::Gone) };
        let wants = std::collections::BTreeMap::new();
        // This process keeps the original values until they are back.
        let release = |subject: &Subject| {
            let record = subject.found.record();
            let remembered = record.map(|record| StatusRecord::of(subject, record, holder));
            let remembered = remembered.as_ref();
            decide(subject, &Desired { holder, episode: "", wants: &wants, remembered })
        };
        write(writer, before, release).await?;
        current = reader.again(before).await.map_err(|error| error.to_string())?;
    }
    if let Some(before) = current.as_ref().filter(|subject| subject.found.unfinished()) {
        write(writer, before, hand_back_ownership).await?;
        current = reader.again(before).await.map_err(|error| error.to_string())?;
    }
    Ok(match current.as_ref().map(|subject| &subject.found) {
        Some(Found::Record(record)) => Released::StillHeld(holders(record)),
        Some(_) => Released::Restored,
        None => Released::Gone,
    })
}

/// Writes one object. Without the right to patch `cronjobs/status`, a CronJob is restored all the same, and
/// its missed run is not skipped.
async fn write(
    writer: &Writer,
    subject: &Subject,
    decide: impl Fn(&Subject) -> crate::hold::plan::Decision,
) -> Result<(), String> {
    let refused = |error: &writer::Error| subject.kind.name == "CronJob" && error.is_rejection();
    let missed = skips_before(subject, Timestamp::now());
    let manner =
        |skips: bool| Manner { skip_runs_before: missed.filter(|_| skips), ..Manner::default() };
    let outcome = match writer.write(subject, manner(true), &decide).await {
        Err(error) if refused(&error) => {
            eprintln!(
                "warning: {}: cannot patch its status ({error}). A run that it missed may start now",
                subject.display()
            );
            writer.write(subject, manner(false), &decide).await
        }
        other => other,
    };
    match outcome {
        Ok(Outcome::Refused(refusal)) => Err(refusal.to_string()),
        Ok(Outcome::Altered(altered)) => Err(altered.to_string()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Fails with the cause if no object matches the targets.
async fn none_found(
    client: &Client,
    namespace: &str,
    targets: &[Target],
    others: &[Subject],
) -> Result<(), Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    // A user who may not get the namespace learns about it from the other requests.
    if let Ok(None) = namespaces.get_metadata_opt(namespace).await {
        return Err(Error::NoNamespace(namespace.to_owned()));
    }
    if targets.is_empty() {
        return Ok(());
    }
    let mut there: Vec<String> = others
        .iter()
        .filter_map(|subject| subject.found.record())
        .flat_map(holders)
        .map(|holder| written(&holder))
        .collect();
    there.sort();
    there.dedup();
    let there = if there.is_empty() {
        "no object is held there".to_owned()
    } else {
        format!("holders there: {}", there.join(", "))
    };
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let (targets, namespace) = (targets.join(", "), namespace.to_owned());
    Err(Error::NothingHeld { targets, namespace, there })
}

/// Returns whether a holder that exists will not hold again: it is awake, suspended or being deleted.
fn stays_released(holder: &DynamicObject) -> bool {
    let spec = &holder.data["spec"];
    holder.metadata.deletion_timestamp.is_some()
        || spec["suspend"] == true
        || (spec["state"] == "Awake" && spec["override"].is_null())
}

/// Returns the field, in YAML and as a patch, that keeps a holder from holding again.
fn remedy(holder: &Holder) -> (&'static str, &'static str) {
    if holder.kind == "MaintenanceWindow" {
        ("suspend: true", r#"{"spec":{"suspend":true}}"#)
    } else {
        ("state: Awake", r#"{"spec":{"state":"Awake"}}"#)
    }
}

/// Returns warnings: about holders that will hold again, and about a truncation that may still commit.
async fn warnings(
    client: &Client,
    reader: &Reader,
    subjects: &[Subject],
    named: impl Fn(&Holder) -> bool,
) -> Vec<String> {
    let mut all: Vec<Holder> = subjects
        .iter()
        .filter_map(|subject| subject.found.record())
        .flat_map(holders)
        .filter(named)
        .collect();
    all.sort();
    all.dedup();
    let mut warnings = Vec::new();
    for holder in all {
        let name = written(&holder);
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("torpor.dev", "v1alpha1", &holder.kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &holder.namespace, &resource);
        match call(holder.to_string(), api.get_opt(&holder.name)).await {
            Ok(None) => {}
            Ok(Some(object)) if stays_released(&object) => {}
            Ok(Some(_)) => {
                let (field, patch) = remedy(&holder);
                warnings.push(format!(
                    "{name} exists and holds the released objects again while an operator runs. Set `{field}` \
                     (kubectl patch {name} --namespace {} --type=merge --patch '{patch}'), which restores all its \
                     objects without this command; or delete it, or stop the operator first",
                    holder.namespace
                ));
            }
            Err(error) => warnings.push(format!(
                "cannot get {name} ({error}). If it exists, it holds the released objects again while an operator runs"
            )),
        }
    }
    let own = ListParams::default().labels(&format!("{MANAGED_BY}={TORPOR}"));
    if let Some(kind) = Kind::workload("Job") {
        // The release itself reports a missing right to list Jobs.
        let jobs = reader.list(kind, own.clone(), Vec::new()).await.unwrap_or_default();
        warnings.extend(jobs.iter().filter(|job| !job.facts.finished).map(|job| {
            format!("Job {} has not finished: its truncation may still commit after the released workloads write again", job.name)
        }));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::record::{Held, Record};
    use serde_json::json;

    #[test]
    fn config_maps_are_restored_before_the_workloads_that_read_them() {
        let held = |kind: &str, name: &str, lever: &str| {
            let holding = json!({"by": "Hibernation/ns/a", "value": 0, "episode": "e"});
            let holders = vec![serde_json::from_value(holding).unwrap()];
            let held = Held { holders, ..Held::default() };
            let record = Record { object: None, levers: [(lever.to_owned(), held)].into() };
            let (annotation, label) = record.written();
            let object = json!({"metadata": {
                "namespace": "ns", "name": name, "uid": name, "resourceVersion": "1",
                "annotations": {"torpor.dev/hold": annotation}, "labels": {LABEL: label},
            }});
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            Subject::read(Kind::any(kind).unwrap(), &object, []).unwrap()
        };
        let mut all = [
            held("Deployment", "api", RESTART),
            held("Deployment", "worker", "/spec/replicas"),
            held("CronJob", "nightly", "/spec/suspend"),
            held("ConfigMap", "env", "/data/HIBERNATE_MODE"),
        ];
        all.sort_by_key(order);
        let names = all.map(|subject| subject.name);
        assert_eq!(names, ["env", "worker", "nightly", "api"].map(str::to_owned));
    }
}
