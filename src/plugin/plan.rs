//! `torpor plan`: the dry run of a hibernation, a maintenance, or a wake, with the rights of the user. It needs no
//! operator, and writes nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use super::error::Error;
use super::find;
use super::name::Name;
use super::object::Object;
use super::paint::{Paint, Screen};
use super::table::wrap;
use crate::api::hold_state::DatabaseState;
use crate::api::schedule::DesiredState;
use crate::api::{HibernationStatus, MaintenanceWindowStatus};
use crate::apiserver::client::ClusterArgs;
use crate::schedule::Override;
use crate::transition::observe::{Observed, Reader};
use crate::transition::plan::{Input, Next, Place, PlanState};
use crate::transition::spec::Spec;
use crate::transition::standing::Standing;
use crate::{hibernation, maintenance, transition};

const EXAMPLES: &str = "\
Examples:
  torpor plan cornice                     the actions of its hibernation; of its wake, if it is hibernated
  torpor plan cornice --to awake          the actions of its wake
  torpor plan -f hibernation.yaml         the actions of a manifest that is not applied yet, in this namespace

The command reads the workloads with your own rights, needs no operator, and changes nothing. It does not ask a market, and
runs no dry run of a truncation: the operator does both.";

/// Arguments of `torpor plan`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The state to go to. Default: awake if all is down, else hibernated
    #[arg(long, value_enum, value_name = "STATE")]
    to: Option<To>,

    /// Manifest with the object; - is the standard input
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,

    /// The object: NAME, hib/NAME or mw/NAME. With --filename it may be left out if the file has one object only
    #[arg(value_name = "NAME", required_unless_present = "filename")]
    name: Option<Name>,
}

/// The state to go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum To {
    /// Everything is down
    Hibernated,
    /// Everything is as it was
    Awake,
}

/// The result of a dry run.
#[derive(Debug)]
struct DryRun {
    /// The actions, in order.
    actions: Vec<String>,
    /// How the object would stand.
    standing: Standing,
}

/// Runs the command. Returns the output.
pub(super) async fn run(args: PlanArgs) -> Result<String, Error> {
    let PlanArgs { cluster, to, filename, name } = args;
    let (client, namespace) = cluster.connect().await?;
    let mut object = match (filename, name) {
        (Some(file), name) => find::in_file(&file, name.as_ref())?,
        (None, Some(name)) => find::one(&client, &namespace, &name).await?.object,
        (None, None) => return Err(Error::refused("write NAME or --filename")),
    };
    // A manifest is planned in this namespace.
    match &mut object {
        Object::Hibernation(object) => object.metadata.namespace = Some(namespace.clone()),
        Object::MaintenanceWindow(object) => object.metadata.namespace = Some(namespace.clone()),
    }
    let is_down = matches!(object.phase().as_deref(), Some("Hibernated" | "InMaintenance"));
    let to = to.unwrap_or(if is_down { To::Awake } else { To::Hibernated });
    let reader = Reader { client, namespace };
    let done = Box::pin(dry_run(&object, to, &reader)).await?;
    Ok(render(&object, to, &done, Screen::stdout()))
}

async fn dry_run(object: &Object, to: To, reader: &Reader) -> Result<DryRun, Error> {
    let invalid = |error: String| {
        Error::Refused(format!("the spec of {} is not valid: {error}", object.display()))
    };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    match object {
        Object::Hibernation(hibernation) => {
            let mut valid = hibernation::validate::validate(&hibernation.spec)
                .map_err(|error| invalid(error.to_string()))?;
            valid.dry_run = true;
            let state = match to {
                To::Hibernated => DesiredState::Hibernated,
                To::Awake => DesiredState::Awake,
            };
            valid.override_ = Some(Override { state, until: now + SignedDuration::from_hours(24) });
            let status = hibernation.status.clone().unwrap_or_default();
            let asleep = to == To::Hibernated;
            let scene = Scene { object, spec: &valid.hold, now, asleep };
            let place = match status.phase {
                Some(crate::api::hibernation::Phase::Hibernated) => Place::Down,
                Some(crate::api::hibernation::Phase::Hibernating) => Place::GoingDown,
                Some(crate::api::hibernation::Phase::Waking) => Place::ComingUp,
                _ => Place::Up,
            };
            let HibernationStatus { hold, database, .. } = &status;
            scene.dry_run(reader, hold, database, place).await
        }
        Object::MaintenanceWindow(window) => {
            let valid = maintenance::validate::validate(&window.spec)
                .map_err(|error| invalid(error.to_string()))?;
            let status = window.status.clone().unwrap_or_default();
            let MaintenanceWindowStatus { hold, .. } = &status;
            let place = if hold.episode.is_some() { Place::Down } else { Place::Up };
            let scene = Scene { object, spec: &valid.hold, now, asleep: to == To::Hibernated };
            scene.dry_run(reader, hold, &DatabaseState::default(), place).await
        }
    }
}

/// The object of a dry run, and where it is to go.
struct Scene<'a> {
    object: &'a Object,
    spec: &'a Spec,
    now: Timestamp,
    asleep: bool,
}

impl Scene<'_> {
    /// Observes the namespace, and plans.
    async fn dry_run(
        &self,
        reader: &Reader,
        hold: &crate::api::hold_state::HoldState,
        database: &DatabaseState,
        place: Place,
    ) -> Result<DryRun, Error> {
        let holder = self.object.holder();
        let mut observed: Observed = reader.observe(self.spec, hold, Some(database), false).await?;
        observed.believe_moved(&holder);
        let meta = self.object.meta();
        let memory = PlanState::default();
        loop {
            let input = Input {
                holder: &holder,
                generation: meta.generation,
                created: meta.creation_timestamp.as_ref().map_or(self.now, |time| time.0),
                deleting_since: None,
                finalizer: false,
                spec: &(),
                status: &(),
                observed: &observed,
                market: None,
                memory: &memory,
                now: self.now,
                fresh_id: "plan",
            };
            let hold = input.hold(self.spec, hold, database, place);
            let (transition, planned) = transition::dry_run(hold, self.asleep);
            if transition.next != Next::ObservePods || observed.pods.is_some() {
                return Ok(DryRun { actions: planned.actions, standing: transition.standing });
            }
            observed.pods = Some(reader.pods(self.spec).await?);
        }
    }
}

/// Returns the plan as a screen. Pure.
fn render(object: &Object, to: To, done: &DryRun, screen: Screen) -> String {
    let what = match (object, to) {
        (Object::Hibernation(_), To::Hibernated) => "its hibernation",
        (Object::MaintenanceWindow(_), To::Hibernated) => "its maintenance",
        (_, To::Awake) => "its wake",
    };
    let title = format!("{} in namespace {}: {what}", object.display(), object.namespace());
    let mut text = screen.paint(&title, Paint::Bold) + "\n\n";
    if done.actions.is_empty() {
        text += match to {
            To::Hibernated => {
                "nothing to do: everything that the spec selects is held already, or the spec selects nothing\n"
            }
            To::Awake => "nothing to do: no object is held\n",
        };
    }
    for (index, action) in done.actions.iter().enumerate() {
        text += &numbered(index + 1, action, screen.width);
    }
    text += "\n";
    text += &match &done.standing {
        Standing::Reached => screen.paint("✓", Paint::Green) + " nothing is in the way\n",
        Standing::Progressing { message, .. } => {
            fact(&screen.paint("!", Paint::Yellow), "waits for", message, screen)
        }
        Standing::Stalled { message, .. } => {
            fact(&screen.paint("✗", Paint::Red), "in the way", message, screen)
        }
    };
    if to == To::Hibernated && object.selection().is_ok_and(|spec| spec.deals.is_some()) {
        text += &fact(
            &screen.paint("!", Paint::Yellow),
            "not asked",
            "the market of spec.deals, which may delay the start; the operator asks it before",
            screen,
        );
    }
    text
}

fn fact(mark: &str, name: &str, text: &str, screen: Screen) -> String {
    let indent = name.len() + 4;
    let lines = wrap(text, screen.width.saturating_sub(indent).max(40));
    format!("{mark} {name}: {}\n", lines.join(&format!("\n{}", " ".repeat(indent))))
}

/// Returns an action with its number.
fn numbered(number: usize, action: &str, width: usize) -> String {
    let lines = wrap(action, width.saturating_sub(6).max(40));
    format!("{number:>3}.  {}\n", lines.join("\n      "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;
    use crate::plugin::golden;

    fn plan(actions: &[&str], standing: Standing) -> DryRun {
        DryRun { actions: actions.iter().map(ToString::to_string).collect(), standing }
    }

    #[test]
    fn a_plan_lists_the_actions_and_the_obstacle() {
        let object = golden::object("hibernated");
        let actions = [
            "ConfigMap cornice-env: HIBERNATE_MODE from \"false\" to \"true\"",
            "stage 0: Deployment monitor goes from 1 to 0 replicas",
            "no action: Deployment gone is not found",
        ];
        let message = "Deployment api is paused: resume its rollout".to_owned();
        let stalled = Standing::Stalled { reason: Reason::WorkloadNotFound, message };
        let screen = Screen::plain();
        golden::check("plan", &render(&object, To::Hibernated, &plan(&actions, stalled), screen));
        let text = render(&object, To::Awake, &plan(&[], Standing::Reached), screen);
        assert!(text.contains("nothing to do: no object is held"), "{text}");
        assert!(text.ends_with("✓ nothing is in the way\n"), "{text}");
    }
}
