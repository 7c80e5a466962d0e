//! The random operations, one at a time.

use std::time::Duration;

use axum::http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    judge::{Written, held_at},
    people::{Deployed, World, api, conflicts, value},
};
use crate::support::{
    cluster::kubectl_or_error,
    hibernation::{Hibernation, condition},
    operator::Operator,
    wait,
};

/// The limit of foreign writes to one held object. From the third on it is contested, and never `Ready`.
const PATIENCE: u32 = 2;
/// The longest pause between two operations, in milliseconds.
const LONGEST_PAUSE: u64 = 600;

/// The way of a foreign write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// `kubectl edit` of the one field.
    Edit,
    /// A deploy, of field and template.
    Deploy,
    /// `/scale`, by a person or by a controller such as an HPA.
    Scale,
    /// A key of a `ConfigMap` is taken out.
    Remove,
}

impl World {
    /// Does one random operation.
    pub(super) async fn act(&mut self) {
        let pause = self.dice.below(LONGEST_PAUSE);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let all: Vec<usize> = (0..self.things.len()).collect();
        // The last one, a ConfigMap, has more than one key to write.
        let index = if self.dice.chance(20) { all.len() - 1 } else { self.dice.pick(&all) };
        match self.dice.below(100) {
            0..22 => self.write(index, How::Edit).await,
            22..40 => self.write(index, How::Deploy).await,
            40..54 => self.write(index, How::Scale).await,
            54..58 => self.write(index, How::Remove).await,
            58..64 => self.tear(index).await,
            64..68 => self.undo().await,
            68..73 => self.make_again(index).await,
            73..78 => self.label().await,
            78..87 => self.flip().await,
            87..90 => self.for_a_while().await,
            90..94 => self.edit_spec().await,
            94..96 => self.other().await,
            96..97 => self.delete_project().await,
            97..99 => self.kill(),
            _ => self.second(),
        }
    }

    /// Writes the lever of an object, onto the resourceVersion that was judged.
    async fn write(&mut self, index: usize, how: How) {
        let (kind, name) = (self.things[index].kind, self.things[index].name);
        let scalable = ["Deployment", "StatefulSet"].contains(&kind);
        let fits = match how {
            How::Scale => scalable,
            How::Remove => kind == "ConfigMap",
            How::Edit | How::Deploy => true,
        };
        if !fits {
            return;
        }
        let controller = self.dice.chance(50);
        let fresh = how != How::Deploy && self.dice.chance(50);
        let (wanted, version) = (self.wanted(index), self.next());
        loop {
            let before = self.see(index).await;
            let pointer = match kind {
                "ConfigMap" if fresh => "/data/FRESH",
                "ConfigMap" => "/data/MODE",
                _ => self.things[index].lever(),
            };
            let held = held_at(&before, pointer);
            if held.is_some() && self.things[index].foreign >= PATIENCE {
                return;
            }
            let wanted = if how == How::Remove { Value::Null } else { wanted.clone() };
            if how == How::Scale && before.pointer(pointer) == Some(&wanted) {
                return;
            }
            let manager = match how {
                How::Edit | How::Remove => "kubectl-edit",
                How::Scale if controller => "kube-controller-manager",
                How::Scale => "kubectl",
                How::Deploy if self.things[index].deployed == Deployed::Server => "ship",
                How::Deploy => "kubectl-client-side-apply",
            };
            let sent = match how {
                How::Deploy => {
                    let manifest = self.things[index].manifest(&wanted, version);
                    self.apply(index, &manifest, Some(&before)).await
                }
                How::Scale => self.scale(index, manager, &wanted, &before).await,
                How::Edit | How::Remove => {
                    let mut patch = json!({"metadata": {
                        "resourceVersion": before["metadata"]["resourceVersion"],
                    }});
                    let mut node = &mut patch;
                    for segment in pointer.split('/').skip(1) {
                        node = &mut node[segment];
                    }
                    *node = wanted.clone();
                    let params = PatchParams {
                        field_manager: Some(manager.to_owned()),
                        ..PatchParams::default()
                    };
                    let (api, patch) = (self.api_of(index), Patch::Merge(patch));
                    api.patch(name, &params, &patch).await.map(|object| value(&object))
                }
            };
            let after = match sent {
                Ok(after) => after,
                Err(error) if conflicts(&error) => continue,
                Err(error) => panic!("{how:?} of {kind} {name}: {error}"),
            };
            let applies = how == How::Deploy && self.things[index].deployed == Deployed::Server;
            let operation = if applies { "Apply" } else { "Update" };
            let writer = (manager.to_owned(), operation.to_owned());
            let written = Written {
                writer: &writer,
                scales: how == How::Scale,
                before: &before,
                after: &after,
            };
            let thing = &mut self.things[index];
            thing.foreign += u32::from(held.is_some());
            thing.deploys += u32::from(how == How::Deploy);
            if let Some(lever) = thing.levers.get_mut(pointer) {
                lever.written(pointer, &written);
            }
            let held = if held.is_some() { ", which is held" } else { "" };
            self.note(format!("{manager}: {how:?} of {kind} {name}{held}: {pointer} = {wanted}"));
            return;
        }
    }

    /// Scales through `/scale` as `kubectl scale` and controllers do. Returns the known part of the
    /// object.
    async fn scale(
        &self,
        index: usize,
        manager: &str,
        wanted: &Value,
        before: &Value,
    ) -> kube::Result<Value> {
        let (kind, name) = (self.things[index].kind, self.things[index].name);
        let namespace = &self.namespace.name;
        let plural = format!("{}s", kind.to_lowercase());
        let scale = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {
                "name": name, "namespace": namespace,
                "resourceVersion": before["metadata"]["resourceVersion"],
            },
            "spec": {"replicas": wanted},
        });
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!(
                "/apis/apps/v1/namespaces/{namespace}/{plural}/{name}/scale?fieldManager={manager}"
            ))
            .header("content-type", "application/json")
            .body(scale.to_string().into_bytes())
            .expect("a request");
        self.namespace.client.request::<Value>(request).await?;
        let mut after = before.clone();
        after["spec"]["replicas"] = wanted.clone();
        Ok(after)
    }

    /// Removes annotation or label from a held object that has a second record in a status.
    async fn tear(&mut self, index: usize) {
        // Torpor slows down for who removes a record again and again.
        if self.things[index].foreign >= PATIENCE {
            return;
        }
        let name = self.things[index].name;
        let before = self.see(index).await;
        if !self.may_be_removed(index, &before).await {
            return;
        }
        let mut metadata = json!({"resourceVersion": before["metadata"]["resourceVersion"]});
        let which = self.dice.below(3);
        if which != 0 {
            metadata["annotations"] = json!({"torpor.dev/hold": null});
        }
        if which != 1 {
            metadata["labels"] = json!({"torpor.dev/held": null});
        }
        let params = PatchParams {
            field_manager: Some("kubectl-annotate".to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": metadata}));
        match self.api_of(index).patch(name, &params, &patch).await {
            Ok(_) => {
                let what = ["the label", "the annotation", "both"];
                let what = what[usize::try_from(which).expect("an index")];
                self.note(format!("kubectl-annotate: {what} removed from {name}"));
                self.things[index].foreign += 1;
                self.healed(index).await;
            }
            Err(error) if conflicts(&error) => {}
            Err(error) => panic!("tearing at {name}: {error}"),
        }
    }

    /// Whether all levers of an object have their held values and every holder's status has a
    /// record of them.
    async fn may_be_removed(&self, index: usize, object: &Value) -> bool {
        let thing = &self.things[index];
        let at_rest = thing.levers.keys().all(|pointer| {
            held_at(object, pointer).is_some_and(|held| object.pointer(pointer) == Some(&held))
        });
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let key = format!("{}/{}/{uid}", thing.kind, thing.name);
        let annotation = object["metadata"]["annotations"]["torpor.dev/hold"].as_str();
        for hibernation in [&self.project, &self.other] {
            let holder = format!("/{}\"", hibernation.name);
            if annotation.is_some_and(|annotation| annotation.contains(&holder)) {
                let status = hibernation.api.get_opt(&hibernation.name).await.expect("it is read");
                let kept =
                    status.is_some_and(|o| o.data["status"]["originals"].get(&key).is_some());
                if !kept {
                    return false;
                }
            }
        }
        at_rest
    }

    /// Waits until an object whose record was removed is held as before, or awake.
    async fn healed(&mut self, index: usize) {
        let levers = self.things[index].levers.clone();
        let name = self.things[index].name;
        wait::until(&self.api_of(index), name, "healed", |object| {
            let object = value(object);
            levers.iter().all(|(pointer, lever)| {
                let now = object.pointer(pointer);
                match held_at(&object, pointer) {
                    Some(held) => now == Some(&held),
                    None => {
                        object["metadata"]["labels"].get("torpor.dev/held").is_none()
                            && now == lever.original.as_ref()
                    }
                }
            })
        })
        .await;
        for lever in self.things[index].levers.values_mut() {
            lever.record_removed();
        }
    }

    /// Undoes a rollout, which copies old annotations back.
    async fn undo(&mut self) {
        let candidates: Vec<usize> = (0..self.things.len())
            .filter(|index| {
                let thing = &self.things[*index];
                thing.kind == "Deployment" && thing.deploys > 1
            })
            .collect();
        if candidates.is_empty() {
            return;
        }
        let index = self.dice.pick(&candidates);
        let name = self.things[index].name;
        let before = self.see(index).await;
        let held = before["metadata"]["labels"].get("torpor.dev/held").is_some();
        let quiet = !held && self.awake_for_good().await;
        let bearable = held && self.things[index].foreign < PATIENCE;
        if !(quiet || bearable && self.may_be_removed(index, &before).await) {
            return;
        }
        self.things[index].foreign += u32::from(held);
        let deployment = format!("deployment/{name}");
        let namespace = &self.namespace.name;
        let undo = ["--namespace", namespace, "rollout", "undo", &deployment];
        let undone = kubectl_or_error(&undo).is_ok();
        self.note(format!("kubectl rollout undo of {name}: {undone}"));
        self.things[index].undone = true;
        if held {
            self.healed(index).await;
        }
    }

    /// Whether both Hibernations are awake without a schedule or override.
    async fn awake_for_good(&self) -> bool {
        for hibernation in [&self.project, &self.other] {
            let Ok(object) = hibernation.api.get(&hibernation.name).await else { return false };
            let spec = &object.data["spec"];
            let status = &object.data["status"];
            if spec["state"] != "Awake"
                || spec.get("override").is_some()
                || status["phase"] != "Awake"
                || status["observedGeneration"].as_i64() != object.metadata.generation
            {
                return false;
            }
        }
        true
    }

    async fn make_again(&mut self, index: usize) {
        let name = self.things[index].name;
        self.see(index).await;
        let api = self.api_of(index);
        api.delete(name, &DeleteParams::background()).await.expect("the object is deleted");
        wait::until_gone(&api, name).await;
        self.note(format!("deleted {name}"));
        self.make(index).await;
    }

    /// Adds or removes the selected label.
    async fn label(&mut self) {
        let pool: Vec<usize> = (0..self.things.len())
            .filter(|index| self.things[*index].name.starts_with("pool"))
            .collect();
        let index = self.dice.pick(&pool);
        let labelled = !self.things[index].labelled;
        self.things[index].labelled = labelled;
        let group = if labelled { json!("sleepers") } else { Value::Null };
        let params = PatchParams {
            field_manager: Some("kubectl-label".to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": {"labels": {"group": group}}}));
        let name = self.things[index].name;
        self.api_of(index).patch(name, &params, &patch).await.expect("it is labelled");
        self.note(format!("kubectl-label: {name} is labelled: {labelled}"));
    }

    fn state(&mut self) -> &'static str {
        self.dice.pick(&["Awake", "Hibernated", "Hibernated"])
    }

    async fn flip(&mut self) {
        let state = self.state();
        let patch = json!({"spec": {"state": state, "schedule": null, "override": null}});
        self.project.patch(patch).await;
        self.note(format!("project: state {state}"));
        // Often much happens while it sleeps, or before it sleeps again.
        if self.dice.chance(60) {
            let held = state == "Hibernated";
            let what = format!("held: {held}");
            wait::until(&api(&self.namespace, "ConfigMap"), "env", &what, |object| {
                held == value(object)["metadata"]["labels"].get("torpor.dev/held").is_some()
            })
            .await;
            self.note(format!("env is {what}"));
        }
    }

    /// Sets an override or a schedule that expires.
    async fn for_a_while(&mut self) {
        let (state, seconds) = (self.state(), 3 + self.dice.below(8));
        let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
        let until = now + SignedDuration::from_secs(i64::try_from(seconds).expect("seconds"));
        if self.dice.chance(50) {
            let patch = json!({"spec": {"override": {"state": state, "until": until}}});
            self.project.patch(patch).await;
            self.note(format!("project: override {state} for {seconds} s"));
        } else {
            let from = now + SignedDuration::from_secs(1);
            let exceptions = json!([{"from": from, "to": until, "state": state}]);
            let patch = json!({"spec": {
                "state": null, "override": null, "schedule": {"exceptions": exceptions},
            }});
            self.project.patch(patch).await;
            self.note(format!("project: scheduled {state} for {seconds} s"));
        }
    }

    /// Adds or removes an entry of the spec, or changes the held value of the ConfigMap.
    async fn edit_spec(&mut self) {
        let name = self.dice.pick(&["tool", "nightly", ""]);
        match self.named.get_mut(name) {
            Some(named) => *named = !*named,
            None => self.mode += 1,
        }
        let spec = self.spec("Awake");
        let patch = json!({"spec": {
            "workloads": spec["workloads"], "configMaps": spec["configMaps"],
        }});
        self.project.patch(patch).await;
        self.note(format!("project: names {:?}, MODE is held at held-{}", self.named, self.mode));
    }

    async fn other(&mut self) {
        let state = self.state();
        self.other.set_state(state).await;
        self.note(format!("other: state {state}"));
    }

    /// Deletes and recreates a Hibernation, with `onDelete` Wake or Keep.
    async fn delete_project(&mut self) {
        let on_delete = self.dice.pick(&["Wake", "Keep"]);
        let state = self.state();
        self.project.patch(json!({"spec": {"onDelete": on_delete}})).await;
        let api: &Api<DynamicObject> = &self.project.api;
        api.delete("project", &DeleteParams::default()).await.expect("the object is deleted");
        wait::until_gone(api, "project").await;
        self.note(format!("project: deleted, onDelete {on_delete}; made again, state {state}"));
        Hibernation::create(&self.namespace, "project", self.spec(state)).await;
    }

    fn kill(&mut self) {
        self.operator.kill9();
        self.operator.restart();
        self.note("the operator is killed, and starts again");
    }

    /// Starts or kills a second operator.
    fn second(&mut self) {
        let there = self.second.take().is_some();
        if !there {
            self.second = Some(Operator::start_second(&self.namespace));
        }
        self.note(format!("a second operator {}", if there { "is killed" } else { "starts" }));
    }

    // At rest --------------------------------------------------------------------------------------

    /// Puts everything to sleep and checks that it is held, then wakes everything and checks that
    /// it is as its authors left it.
    pub(super) async fn rest(&mut self) {
        for state in ["Hibernated", "Awake"] {
            self.note(format!("at rest: {state}"));
            let patch = json!({"spec": {"state": state, "schedule": null, "override": null}});
            self.project.patch(patch).await;
            self.other.set_state(state).await;
            for hibernation in [&self.project, &self.other] {
                hibernation.until_phase(state).await;
            }
            for index in 0..self.things.len() {
                self.judge(index, state == "Hibernated").await;
            }
            for hibernation in [&self.project, &self.other] {
                let object = hibernation.api.get(&hibernation.name).await.expect("it is there");
                assert_eq!(condition(&object.data["status"], "Ready"), "True");
            }
        }
    }

    async fn judge(&mut self, index: usize, asleep: bool) {
        let thing = &self.things[index];
        let held = asleep && self.names(thing);
        let levers: Vec<&str> = thing.levers.keys().copied().collect();
        let undone = thing.undone;
        let what = if held { "held" } else { "released" };
        wait::until(&self.api_of(index), thing.name, what, |object| {
            let object = value(object);
            let marked = object["metadata"]["labels"].get("torpor.dev/held").is_some();
            if !held {
                let annotated = object["metadata"]["annotations"].get("torpor.dev/hold").is_some();
                return !marked && (undone || !annotated);
            }
            levers.iter().all(|pointer| {
                let held_at = held_at(&object, pointer);
                held_at.is_some() && object.pointer(pointer) == held_at.as_ref()
            })
        })
        .await;
        let object = self.see(index).await;
        let held_values = match self.things[index].kind {
            "ConfigMap" => vec![json!("held"), json!(format!("held-{}", self.mode))],
            "CronJob" => vec![json!(true)],
            _ => vec![json!(0)],
        };
        if held {
            let now: Vec<&Value> =
                levers.iter().filter_map(|lever| object.pointer(lever)).collect();
            assert_eq!(now, held_values.iter().collect::<Vec<_>>(), "{}", self.things[index].name);
        }
    }
}
