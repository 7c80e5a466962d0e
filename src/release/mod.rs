//! `torpor release`: lets go of what is held, from the annotations alone, with a person's own rights.
//! The way out when all else is gone: neither the operator nor its custom resources need to be there.

mod report;
mod target;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams};
use kube::config::KubeConfigOptions;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};

use self::report::Report;
use self::target::{Target, holders, written};
use crate::api::labels::{MANAGED_BY, TORPOR};
use crate::apiserver::request::{self, call};
use crate::hibernation::observe::Reader;
use crate::hold::lever::{CONFIG_MAP, Kind, RESTART};
use crate::hold::plan::{Desired, decide, finish};
use crate::hold::record::{Found, Holder, LABEL};
use crate::hold::subject::Subject;
use crate::hold::writer::{self, Outcome, Writer};
use crate::metrics::Metrics;

/// Writes under way at once.
const IN_FLIGHT: usize = 16;

const EXAMPLES: &str = "\
Examples:
  torpor release -n cornice --all --dry-run      what is held, by whom, and what it comes back to
  torpor release -n cornice hib/cornice          all that the Hibernation cornice holds
  torpor release -n miner mw/gpu                 all that the MaintenanceWindow gpu holds
  torpor release -n cornice deployment/worker    one object, whoever holds it
  torpor release -n cornice --all                everything in the namespace

An object that is still there holds again what is released, as long as an operator runs: delete it first,
or set `state: Awake` (a Hibernation) or `suspend: true` (a MaintenanceWindow), each of which brings everything
back by itself, or stop the operator:
  kubectl scale --namespace torpor-system deployment/torpor --replicas=0

Exit status: 0 all of it is restored, 1 something is not, 2 the arguments are wrong.";

/// Arguments of `torpor release`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReleaseArgs {
    /// Namespace. Default: that of the context
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Context of the kubeconfig. Default: the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Release everything in the namespace, whoever holds it
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// Change nothing, and show what would be restored to what, and who holds it
    #[arg(long)]
    dry_run: bool,

    /// What to release: hib/NAME, mw/NAME, or one held object such as deployment/worker
    #[arg(value_name = "TARGET")]
    targets: Vec<Target>,
}

/// Why nothing was done at all.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no cluster: {0}. Set KUBECONFIG, or --context")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("no cluster: {0}. Set KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the client: {0}")]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Read(#[from] request::Error),
    #[error("there is no namespace {0}")]
    NoNamespace(String),
    #[error("{targets} holds nothing in namespace {namespace}; {there}")]
    NothingHeld { targets: String, namespace: String, there: String },
}

/// Does it.
pub async fn run(args: ReleaseArgs) -> ExitCode {
    if args.targets.is_empty() && !args.all {
        eprintln!(
            "torpor: say what to release: hib/NAME, mw/NAME, one held object such as deployment/worker, or --all. \
             `torpor release --all --dry-run` shows what is held, and changes nothing"
        );
        return ExitCode::from(2);
    }
    match Box::pin(release(args)).await {
        Ok(report) if report.failed() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn release(args: ReleaseArgs) -> Result<Report, Error> {
    let mut config = match args.context {
        None => Config::infer().await?,
        Some(context) => {
            let options =
                KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await?
        }
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    let namespace = args.namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let reader = Reader { client: client.clone(), namespace: namespace.clone() };

    let mut report = Report::default();
    let mut held = Vec::new();
    for kind in Kind::all() {
        match reader.list(kind, ListParams::default().labels(LABEL), Vec::new()).await {
            Ok(subjects) => held.extend(subjects),
            Err(error) if error.code() == Some(403) => {
                report.fail(&format!("{} could not be looked at: {error}", kind.plural));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let wanted = |subject: &Subject| args.all || args.targets.iter().any(|t| t.concerns(subject));
    let (mut mine, others): (Vec<_>, Vec<_>) = held.into_iter().partition(wanted);
    mine.sort_by_key(turn);
    if mine.is_empty() {
        none_found(&client, &namespace, &args.targets, &others).await?;
        if !report.failed() {
            println!("nothing is held in namespace {namespace}");
        }
        return Ok(report);
    }
    let lets_go = |holder: &Holder| args.all || args.targets.iter().any(|t| t.releases(holder));
    for warning in warnings(&client, &reader, &mine, lets_go).await {
        eprintln!("warning: {warning}");
    }
    // By object, a holder that is not meant stays: `hib/a deployment/worker` lets go of all of the
    // worker, and of what else `a` holds.
    let releases = |subject: &Subject, holder: &Holder| {
        let targets = args.targets.iter().filter(|target| target.concerns(subject));
        args.all || targets.into_iter().any(|target| target.releases(holder))
    };
    for subject in &mine {
        report.will(subject, |holder| releases(subject, holder));
    }
    report.print_table();
    if args.dry_run {
        println!("dry run: nothing was changed");
        return Ok(report);
    }
    let permit = Arc::new(|| true);
    let writer = Writer::new(client.clone(), permit, IN_FLIGHT, Arc::new(Metrics::new()));
    for subject in mine {
        let done = release_one(&reader, &writer, &subject, |holder| releases(&subject, holder));
        match done.await {
            Ok(done) => report.did(&subject, done),
            Err(why) => report.fail(&format!("{}: {why}", subject.display())),
        }
    }
    report.print_summary();
    Ok(report)
}

/// When it is an object's turn, as in a wake: ConfigMaps come first, since what comes up reads them, then
/// what was stopped, then what was restarted.
fn turn(subject: &Subject) -> (bool, bool) {
    let record = subject.found.record();
    let restarted = record.is_some_and(|record| record.levers.contains_key(RESTART));
    (*subject.kind != CONFIG_MAP, restarted)
}

/// What became of an object.
enum Done {
    /// It is as it was.
    Restored,
    /// These hold it still.
    StillHeld(Vec<Holder>),
    /// It is gone, or nobody held it any more.
    Nothing,
}

/// Lets go of one object, for each holder that is to.
async fn release_one(
    reader: &Reader,
    writer: &Writer,
    subject: &Subject,
    releases: impl Fn(&Holder) -> bool,
) -> Result<Done, String> {
    let record = match &subject.found {
        Found::Record(record) => record,
        Found::Nothing => return Ok(Done::Nothing),
        Found::RecordMissing => {
            return Err("its annotation torpor.dev/hold is gone or was changed, so that what it was is \
                        not known here; the status of who holds it may know (`originals`). Set it to \
                        what it should be, and remove the label torpor.dev/held"
                .to_owned());
        }
    };
    let all: Vec<Holder> = holders(record).into_iter().filter(|holder| releases(holder)).collect();
    let mut current = Some(subject.clone());
    for holder in &all {
        let Some(before) = &current else { return Ok(Done::Nothing) };
        let wants = std::collections::BTreeMap::new();
        let let_go = |subject: &Subject| {
            decide(subject, &Desired { holder, episode: "", wants: &wants, remembered: None })
        };
        settle(writer, before, let_go).await?;
        current = reader.again(before).await.map_err(|error| error.to_string())?;
    }
    if let Some(before) = current.as_ref().filter(|subject| subject.found.unfinished()) {
        settle(writer, before, finish).await?;
        current = reader.again(before).await.map_err(|error| error.to_string())?;
    }
    Ok(match current.as_ref().map(|subject| &subject.found) {
        Some(Found::Record(record)) => Done::StillHeld(holders(record)),
        Some(_) => Done::Restored,
        None => Done::Nothing,
    })
}

/// Writes. Who may not write a CronJob's status can't skip what it missed: it comes back all the same.
async fn settle(
    writer: &Writer,
    subject: &Subject,
    decide: impl Fn(&Subject) -> crate::hold::plan::Decision,
) -> Result<(), String> {
    let refused = |error: &writer::Error| subject.kind.name == "CronJob" && error.is_rejection();
    let outcome = match writer.settle(subject, true, &decide).await {
        Err(error) if refused(&error) => {
            eprintln!(
                "warning: {}: its status can't be written ({error}); a run that it missed may start now",
                subject.display()
            );
            writer.settle(subject, false, &decide).await
        }
        other => other,
    };
    match outcome {
        Ok(Outcome::Refused(refusal)) => Err(refusal.to_string()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Nothing of what was asked for is held: why that may be.
async fn none_found(
    client: &Client,
    namespace: &str,
    targets: &[Target],
    others: &[Subject],
) -> Result<(), Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    // Who may not read it finds out from the rest.
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
        "nothing is held there".to_owned()
    } else {
        format!("these hold something there: {}", there.join(", "))
    };
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let (targets, namespace) = (targets.join(", "), namespace.to_owned());
    Err(Error::NothingHeld { targets, namespace, there })
}

/// Whether a holder that is there holds nothing again: it says so itself, or is on its way out.
fn lets_all_be(holder: &DynamicObject) -> bool {
    let spec = &holder.data["spec"];
    holder.metadata.deletion_timestamp.is_some()
        || spec["suspend"] == true
        || (spec["state"] == "Awake" && spec["override"].is_null())
}

/// What to write into a holder, in YAML and as a patch, so that it holds nothing again.
fn way_out(holder: &Holder) -> (&'static str, &'static str) {
    if holder.kind == "MaintenanceWindow" {
        ("suspend: true", r#"{"spec":{"suspend":true}}"#)
    } else {
        ("state: Awake", r#"{"spec":{"state":"Awake"}}"#)
    }
}

/// What a person should know first: who is alive and will hold again, and a truncation that may run.
async fn warnings(
    client: &Client,
    reader: &Reader,
    subjects: &[Subject],
    lets_go: impl Fn(&Holder) -> bool,
) -> Vec<String> {
    let mut all: Vec<Holder> = subjects
        .iter()
        .filter_map(|subject| subject.found.record())
        .flat_map(holders)
        .filter(lets_go)
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
        match call("a holder", api.get_opt(&holder.name)).await {
            Ok(None) => {}
            Ok(Some(object)) if lets_all_be(&object) => {}
            Ok(Some(_)) => {
                let (field, patch) = way_out(&holder);
                warnings.push(format!(
                    "{name} is there, and holds again what is released here while an operator runs. Delete it, or set \
                     `{field}` (kubectl patch {name} --namespace {} --type=merge --patch '{patch}'), \
                     which wakes everything by itself; or stop the operator first",
                    holder.namespace
                ));
            }
            Err(error) => warnings.push(format!(
                "whether {name} is there could not be seen ({error}); if it is, it holds again what is released here"
            )),
        }
    }
    let own = ListParams::default().labels(&format!("{MANAGED_BY}={TORPOR}"));
    if let Some(kind) = Kind::workload("Job") {
        // Who may not list Jobs is told so by the release itself.
        let jobs = reader.list(kind, own.clone(), Vec::new()).await.unwrap_or_default();
        warnings.extend(jobs.iter().filter(|job| !job.facts.finished).map(|job| {
            format!("Job {} has not ended: a truncation may still be committed while what is released writes again", job.name)
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
    fn what_is_read_comes_back_before_what_reads_it() {
        let held = |kind: &str, name: &str, lever: &str| {
            let holding = json!({"by": "Hibernation/ns/a", "value": 0, "episode": "e"});
            let holders = vec![serde_json::from_value(holding).unwrap()];
            let held = Held { holders, ..Held::default() };
            let record = Record { levers: [(lever.to_owned(), held)].into() };
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
        all.sort_by_key(turn);
        let order = all.map(|subject| subject.name);
        assert_eq!(order, ["env", "worker", "nightly", "api"].map(str::to_owned));
    }
}
