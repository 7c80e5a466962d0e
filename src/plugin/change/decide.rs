//! Decides the change of the spec that leads to the desired state. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::api::schedule::DesiredState;
use crate::api::{Hibernation, HibernationSpec};
use crate::plugin::asked::{Asked, word};
use crate::plugin::program;
use crate::plugin::when::moment;
use crate::schedule::Basis;

/// What a person asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Desired {
    /// The state.
    pub(super) state: DesiredState,
    /// The end of the state; none without an end.
    pub(super) until: Option<Timestamp>,
}

/// The change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// A merge patch.
    Patch(Value),
    /// The spec asks for the desired state already, with the reason.
    Nothing(String),
}

/// Decides the change. Fails with the reason and with what to write instead.
pub(super) fn decide(
    hibernation: &Hibernation,
    desired: &Desired,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Decision, String> {
    let name = hibernation.metadata.name.as_deref().unwrap_or_default();
    if hibernation.metadata.deletion_timestamp.is_some() {
        return Err(format!("Hibernation {name} is being deleted: wait until it is gone"));
    }
    let asked = Asked::of(&hibernation.spec, now)
        .map_err(|error| format!("the spec of Hibernation {name} is not valid: {error}"))?;
    let view = View { name, asked: &asked, now, zone, state: desired.state };
    match (&asked.basis, desired.until) {
        (Basis::State(state), None) => Ok(view.state(*state)),
        (Basis::State(state), Some(_)) if *state == desired.state => Err(view.stays()),
        (_, Some(until)) => Ok(override_(desired.state, until)),
        (Basis::Schedule(_), None) => view.schedule(),
    }
}

/// A Hibernation, and the state that it is to have.
struct View<'a> {
    name: &'a str,
    asked: &'a Asked,
    now: Timestamp,
    zone: &'a TimeZone,
    state: DesiredState,
}

impl View<'_> {
    /// Returns whether an override asks for the other state.
    fn is_overridden(&self) -> bool {
        self.asked.in_force(self.now).is_some_and(|overriding| overriding.state != self.state)
    }

    /// Changes `spec.state`, and removes an override that asks for the other state.
    fn state(&self, state: DesiredState) -> Decision {
        let mut spec = json!({});
        if state != self.state {
            spec["state"] = json!(self.state);
        }
        if self.is_overridden() {
            spec["override"] = Value::Null;
        }
        if spec == json!({}) {
            let word = word(self.state);
            return Decision::Nothing(format!("spec.state is {word} already"));
        }
        Decision::Patch(json!({"spec": spec}))
    }

    /// Explains why an override for a while changes nothing.
    fn stays(&self) -> String {
        let (word, command, opposite) = match self.state {
            DesiredState::Hibernated => ("Hibernated", "hibernate", "wake"),
            DesiredState::Awake => ("Awake", "wake", "hibernate"),
        };
        let (program, name) = (program(), self.name);
        let now = if self.is_overridden() {
            format!("to end its override now: {program} {command} {name}; ")
        } else {
            String::new()
        };
        format!(
            "spec.state of Hibernation {name} is {word}, so that it is {word} after that time too. Leave out --for and --until; \
             {now}to change the state for a while: {program} {opposite} {name} --for DURATION; without an end: {program} \
             {opposite} {name}"
        )
    }

    /// Sets an override until the schedule asks for the same, or removes one that asks for the other state.
    fn schedule(&self) -> Result<Decision, String> {
        let word = word(self.state);
        let scheduled = self.asked.without_override(self.now);
        let overriding = self.asked.in_force(self.now);
        if let Some(overriding) = overriding.filter(|overriding| overriding.state == self.state) {
            let until = moment(overriding.until, self.now, self.zone);
            return Ok(Decision::Nothing(format!("spec.override is {word} until {until} already")));
        }
        if scheduled.state == self.state {
            if overriding.is_some() {
                return Ok(Decision::Patch(json!({"spec": {"override": null}})));
            }
            let until = scheduled.next.map(|next| moment(next.at, self.now, self.zone));
            let until = until.map_or("from now on".to_owned(), |until| format!("until {until}"));
            return Ok(Decision::Nothing(format!(
                "spec.schedule asks for {word} {until}. To keep that state longer, write --for or --until"
            )));
        }
        match scheduled.next {
            Some(next) => Ok(override_(self.state, next.at)),
            None => Err(format!(
                "spec.schedule of Hibernation {} never changes to {word} by itself: write --for or --until, so that the \
                 override ends",
                self.name
            )),
        }
    }
}

fn override_(state: DesiredState, until: Timestamp) -> Decision {
    Decision::Patch(json!({"spec": {"override": {"state": state, "until": until.to_string()}}}))
}

/// Returns a spec after a merge patch of its first level.
pub(super) fn patched(spec: &HibernationSpec, patch: &Value) -> Result<HibernationSpec, String> {
    let mut spec = serde_json::to_value(spec).map_err(|error| error.to_string())?;
    for (field, value) in patch["spec"].as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).map_err(|error| error.to_string())
}

/// Returns the effects of a change that a person may not expect: a field manager that undoes it, and emptied tables.
pub(super) fn remarks(hibernation: &Hibernation, patch: &Value, desired: &Desired) -> Vec<String> {
    let mut remarks = Vec::new();
    let changed = patch["spec"].as_object();
    for field in changed.into_iter().flat_map(serde_json::Map::keys) {
        let rivals = deployers(hibernation, field);
        if rivals.is_empty() {
            continue;
        }
        let rivals = rivals.join(" and ");
        let instead = if field == "state" {
            format!(
                "or write --for or --until, which set spec.override: {rivals} does not manage that field unless its source \
                 has it"
            )
        } else {
            "or remove spec.override there".to_owned()
        };
        remarks.push(format!(
            "{rivals} manages spec.{field} too, and may set it back at its next sync: change it at the source, {instead}"
        ));
    }
    let spec = &hibernation.spec;
    if let Some(database) = &spec.database
        && desired.state == DesiredState::Hibernated
    {
        let truncate = &database.truncate;
        let scope = format!("{:?}", truncate.scope);
        if patch["spec"]["state"] == json!(DesiredState::Hibernated) {
            remarks.push(format!(
                "once everything is down, the {scope} tables of spec.database are emptied; to prevent that before it happens: \
                 {} wake {}",
                program(),
                hibernation.metadata.name.as_deref().unwrap_or_default()
            ));
        } else if truncate.automatic {
            remarks.push(format!(
                "spec.database.truncate.automatic is true: once everything is down, the {scope} tables are emptied"
            ));
        } else {
            remarks.push(
                "an override empties no tables, as spec.database.truncate.automatic is not true"
                    .to_owned(),
            );
        }
    }
    if spec.dry_run {
        remarks.push("spec.dryRun is set: the operator changes nothing, and lists its actions in status.plan".to_owned());
    }
    remarks
}

/// Returns the field managers that apply a field of the spec again and again.
fn deployers(hibernation: &Hibernation, field: &str) -> Vec<String> {
    let key = format!("f:{field}");
    let mut managers: Vec<String> = hibernation
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:spec"][&key]);
            fields.is_some_and(|owned| !owned.is_null())
        })
        .filter_map(|entry| {
            let manager = entry.manager.as_deref()?;
            // A person's own `kubectl apply --server-side` comes once.
            let applies =
                entry.operation.as_deref() == Some("Apply") && !manager.starts_with("kubectl");
            let deploys = ["argocd", "helm", "kustomize-controller"];
            (applies || deploys.iter().any(|name| manager.starts_with(name)))
                .then(|| manager.to_owned())
        })
        .filter(|manager| manager != super::MANAGER)
        .collect();
    managers.sort();
    managers.dedup();
    managers
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
