//! `torpor hibernate` and `torpor wake`: change `spec.state`, or set `spec.override` where a schedule decides.

mod decide;
mod until;

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use self::decide::{Decision, Desired, decide, remarks};
use super::asked::{Asked, word};
use super::error::Error;
use super::find::{self, Found};
use super::name::{Kind, Name};
use super::object::Object;
use super::paint::Screen;
use super::watch;
use crate::api::schedule::DesiredState;
use crate::api::{Hibernation, MaintenanceWindow};
use crate::apiserver::client::ClusterArgs;
use crate::apiserver::request::call;

/// The field manager of these changes. Flux takes over, and then undoes, the fields of each manager whose name begins
/// with `kubectl`, so that this name must not.
const MANAGER: &str = "torpor-cli";
/// How often a change is decided again, because somebody else has changed the object meanwhile.
const TRIES: usize = 4;

const EXAMPLES_HIBERNATE: &str = "\
Examples:
  torpor hibernate cornice                  until somebody wakes it; with a schedule: until the schedule hibernates it too
  torpor hibernate cornice --for 2h         for two hours; then spec.state or spec.schedule decides again
  torpor hibernate cornice --until 07:00    until the next 07:00 in the time zone of the schedule
  torpor hibernate cornice --dry-run=client show the change, and send nothing

Where spec.schedule decides, or with --for or --until, the command sets spec.override, which expires by itself. Else it
sets spec.state. A change of spec.state to Hibernated empties the tables of spec.database.";

const EXAMPLES_WAKE: &str = "\
Examples:
  torpor wake cornice                       until somebody hibernates it; with a schedule: until the schedule wakes it too
  torpor wake cornice --for 2h              for two hours; then spec.state or spec.schedule decides again
  torpor wake cornice --until 20:00 --wait  until the next 20:00 in the time zone of the schedule; wait until it is awake
  torpor wake cornice --dry-run=client      show the change, and send nothing

Where spec.schedule decides, or with --for or --until, the command sets spec.override, which expires by itself. Else it
sets spec.state.";

/// Arguments of `torpor hibernate`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES_HIBERNATE)]
pub(crate) struct HibernateArgs {
    #[command(flatten)]
    args: ChangeArgs,
}

/// Arguments of `torpor wake`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES_WAKE)]
pub(crate) struct WakeArgs {
    #[command(flatten)]
    args: ChangeArgs,
}

#[derive(Args, Clone, Debug)]
struct ChangeArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The time for which the state lasts, for example 2h, 90m or 1d12h
    #[arg(
        long = "for",
        value_name = "DURATION",
        conflicts_with = "until",
        allow_hyphen_values = true
    )]
    for_: Option<String>,

    /// The time until which the state lasts: 2026-12-01T07:00:00Z, or 2026-12-01T07:00 or 07:00 in the time zone of the
    /// schedule (without a schedule: of this machine)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,

    /// client: show the change, and send nothing. server: send the change, and let the API server discard it
    #[arg(long, value_enum, value_name = "MODE", default_value_t = DryRun::None, default_missing_value = "client",
          num_args = 0..=1, require_equals = true)]
    dry_run: DryRun,

    /// Wait until the Hibernation is as asked, as `torpor watch` does
    #[arg(long)]
    wait: bool,

    /// The longest time to wait with --wait. Default: without a limit
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = watch::timeout)]
    timeout: Option<Duration>,

    /// The Hibernation: NAME or hib/NAME
    #[arg(value_name = "NAME")]
    name: Name,
}

/// The dry runs of kubectl.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum DryRun {
    /// Send the change
    None,
    /// Show the change, and send nothing
    Client,
    /// Send the change, and let the API server discard it
    Server,
}

/// Runs `torpor hibernate`. Returns whether the Hibernation got where it was asked to be.
pub(super) async fn hibernate(args: HibernateArgs) -> Result<bool, Error> {
    change(args.args, DesiredState::Hibernated).await
}

/// Runs `torpor wake`. Returns whether the Hibernation got where it was asked to be.
pub(super) async fn wake(args: WakeArgs) -> Result<bool, Error> {
    change(args.args, DesiredState::Awake).await
}

async fn change(args: ChangeArgs, state: DesiredState) -> Result<bool, Error> {
    // Typing errors are told before the cluster is asked.
    let until = until::Until::parse(args.for_.as_deref(), args.until.as_deref())?;
    let (client, namespace) = args.cluster.clone().connect().await?;
    for _ in 1..TRIES {
        if let Some(object) = attempt(&client, &namespace, &args, &until, state).await? {
            return follow(&client, &args, &object).await;
        }
    }
    Err(Error::refused(format!(
        "somebody else has changed {} {TRIES} times meanwhile: try again",
        args.name
    )))
}

async fn follow(client: &Client, args: &ChangeArgs, object: &Object) -> Result<bool, Error> {
    if !args.wait || args.dry_run != DryRun::None {
        return Ok(true);
    }
    watch::follow(client, object, args.timeout).await
}

/// Reads the Hibernation, decides, and writes. Returns the Hibernation; none where somebody else has changed it
/// between the two.
async fn attempt(
    client: &Client,
    namespace: &str,
    args: &ChangeArgs,
    until: &until::Until,
    state: DesiredState,
) -> Result<Option<Object>, Error> {
    let found = find::one(client, namespace, &args.name).await?;
    let hibernation = match &found.object {
        Object::Hibernation(hibernation) => hibernation,
        Object::MaintenanceWindow(window) => {
            return Err(Error::Refused(of_a_window(window, state)));
        }
    };
    let now = Timestamp::now();
    let zone = found.object.zone().unwrap_or_else(TimeZone::system);
    let desired = Desired { state, until: until.resolve(now, &zone)? };
    let patch = match decide(hibernation, &desired, now, &zone).map_err(Error::Refused)? {
        Decision::Patch(patch) => patch,
        Decision::Nothing(why) => {
            println!("{}: nothing to change: {why}", found.object.display());
            return Ok(Some(found.object));
        }
    };
    let mut after = hibernation.clone();
    after.spec = decide::patched(&hibernation.spec, &patch).map_err(Error::Refused)?;
    if args.dry_run != DryRun::Client {
        let version = found.object.meta().resource_version.clone();
        let body = json!({"metadata": {"resourceVersion": version}, "spec": patch["spec"]});
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            dry_run: args.dry_run == DryRun::Server,
            ..PatchParams::default()
        };
        let api = find::api(client, Kind::Hibernation, Some(namespace));
        let name = found.object.name();
        let patch = Patch::Merge(body);
        match call(found.object.display(), api.patch(name, &params, &patch)).await {
            Ok(object) => {
                let found = Found::parse(Kind::Hibernation, serde_json::to_value(object)?)?;
                if let Object::Hibernation(hibernation) = found.object {
                    after = hibernation;
                }
            }
            Err(error) if error.is_conflict() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    println!("{}", done(&after, args.dry_run, now, &zone));
    if args.dry_run == DryRun::Client {
        println!("patch: {patch}");
    }
    for remark in remarks(hibernation, &patch, &desired) {
        let screen = Screen::stdout();
        eprintln!("{} {remark}", screen.paint("note:", super::paint::Paint::Yellow));
    }
    Ok(Some(Object::Hibernation(after)))
}

/// Returns the request of a Hibernation after the change.
fn done(after: &Hibernation, dry_run: DryRun, now: Timestamp, zone: &TimeZone) -> String {
    let name = after.metadata.name.as_deref().unwrap_or_default();
    let asked = Asked::of(&after.spec, now)
        .map_or_else(|error| error, |asked| asked.in_words(&after.spec, now, zone));
    let dry_run = match dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    format!("Hibernation {name}: {asked}{dry_run}")
}

/// Returns the refusal of a change of a MaintenanceWindow, and the remedy.
fn of_a_window(window: &MaintenanceWindow, state: DesiredState) -> String {
    let name = window.metadata.name.as_deref().unwrap_or_default();
    let namespace = window.metadata.namespace.as_deref().unwrap_or_default();
    let patch = |patch: &str| {
        format!("kubectl patch mw/{name} --namespace {namespace} --type=merge --patch '{patch}'")
    };
    let instead = match state {
        // Its schedule would be lost.
        DesiredState::Hibernated if window.spec.schedule.is_some() => {
            "To begin a maintenance now beside its schedule, create another MaintenanceWindow with `after: 0s`".to_owned()
        }
        DesiredState::Hibernated => {
            let patch = patch(r#"{"spec":{"after":"0s","start":null}}"#);
            format!("To begin the maintenance now: {patch}")
        }
        DesiredState::Awake => {
            format!("To end or cancel the maintenance: {}", patch(r#"{"spec":{"suspend":true}}"#))
        }
    };
    format!(
        "MaintenanceWindow {name} cannot be {}, as only a Hibernation can. {instead}",
        word(state)
    )
}
