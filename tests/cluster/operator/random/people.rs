//! The namespace of a run, with its objects and the people who deploy them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Dice,
    judge::Lever,
    kubelet::{Kubelet, SCHEDULER},
};
use crate::support::{
    hibernation::Hibernation, namespace::Namespace, operator::Operator, workload,
};

/// How an object is deployed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Deployed {
    /// By client-side apply.
    Client,
    /// By server-side apply.
    Server,
}

/// A workload or `ConfigMap`.
pub(super) struct Thing {
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) deployed: Deployed,
    pub(super) levers: BTreeMap<&'static str, Lever>,
    /// The number of foreign writes while it was held.
    pub(super) foreign: u32,
    /// The number of templates so far.
    pub(super) deploys: u32,
    /// Whether an undo may have brought a stale annotation back.
    pub(super) undone: bool,
    /// Whether it has the label that the Hibernation selects.
    pub(super) labelled: bool,
}

/// The namespace of one run.
pub(super) struct World {
    pub(super) journal: Vec<String>,
    pub(super) dice: Dice,
    began: Timestamp,
    pub(super) things: Vec<Thing>,
    /// The optional entries of the spec, and whether the spec has them now.
    pub(super) named: BTreeMap<&'static str, bool>,
    /// The value at which `MODE` is held.
    pub(super) mode: u64,
    counter: u64,
    pub(super) project: Hibernation,
    pub(super) other: Hibernation,
    pub(super) operator: Operator,
    pub(super) second: Option<Operator>,
    _kubelet: Kubelet,
    pub(super) namespace: Namespace,
}

pub(super) fn api(namespace: &Namespace, kind: &str) -> Api<DynamicObject> {
    let group = match kind {
        "ConfigMap" => "",
        "CronJob" => "batch",
        _ => "apps",
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource)
}

pub(super) fn conflicts(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

pub(super) fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("it is JSON")
}

impl Thing {
    fn new(kind: &'static str, name: &'static str, deployed: Deployed) -> Self {
        let pointers: &[&str] = match kind {
            "ConfigMap" => &["/data/MODE", "/data/FRESH"],
            "CronJob" => &["/spec/suspend"],
            _ => &["/spec/replicas"],
        };
        Self {
            kind,
            name,
            deployed,
            levers: pointers.iter().map(|pointer| (*pointer, Lever::default())).collect(),
            foreign: 0,
            deploys: 0,
            undone: false,
            labelled: name.starts_with("pool"),
        }
    }

    /// Returns the manifest in the authors' repository, with this value in its lever and this
    /// template.
    pub(super) fn manifest(&self, lever: &Value, version: u64) -> Value {
        let name = self.name;
        let template = json!({
            "metadata": {"labels": {"app": name}, "annotations": {"version": version.to_string()}},
            "spec": {
                "schedulerName": SCHEDULER,
                "containers": [{"name": "main", "image": "none"}],
            },
        });
        let mut manifest = match self.kind {
            "ConfigMap" => json!({
                "apiVersion": "v1",
                "data": {"MODE": lever, "VERSION": version.to_string()},
            }),
            "CronJob" => {
                let mut template = template;
                template["spec"]["restartPolicy"] = json!("Never");
                json!({"apiVersion": "batch/v1", "spec": {
                    "schedule": "0 0 1 1 *",
                    "suspend": lever,
                    "jobTemplate": {"spec": {"template": template}},
                }})
            }
            _ => json!({"apiVersion": "apps/v1", "spec": {
                "replicas": lever,
                "selector": {"matchLabels": {"app": name}},
                "template": template,
            }}),
        };
        if self.kind == "StatefulSet" {
            manifest["spec"]["serviceName"] = json!(name);
        }
        manifest["kind"] = json!(self.kind);
        manifest["metadata"] = json!({"name": name, "labels": {"app": name}});
        if self.labelled {
            manifest["metadata"]["labels"]["group"] = json!("sleepers");
        }
        manifest
    }

    pub(super) fn lever(&self) -> &'static str {
        self.levers.keys().last().expect("each has one")
    }
}

impl World {
    pub(super) async fn create(seed: u64) -> Self {
        let namespace = Namespace::create("random").await;
        let hibernation = |name: &str| Hibernation::existing(&namespace, name);
        let mut world = Self {
            journal: Vec::new(),
            dice: Dice(seed),
            began: Timestamp::now(),
            things: vec![
                Thing::new("Deployment", "web", Deployed::Client),
                Thing::new("Deployment", "work", Deployed::Server),
                Thing::new("Deployment", "tool", Deployed::Client),
                Thing::new("Deployment", "pool-a", Deployed::Client),
                Thing::new("Deployment", "pool-b", Deployed::Server),
                Thing::new("StatefulSet", "base", Deployed::Client),
                Thing::new("CronJob", "nightly", Deployed::Client),
                Thing::new("ConfigMap", "env", Deployed::Client),
            ],
            named: [("tool", true), ("nightly", true)].into(),
            mode: 0,
            counter: 0,
            project: hibernation("project"),
            other: hibernation("other"),
            operator: Operator::start(&namespace),
            second: None,
            _kubelet: Kubelet::start(namespace.api()),
            namespace,
        };
        for index in 0..world.things.len() {
            world.make(index).await;
        }
        Hibernation::create(&world.namespace, "project", world.spec("Hibernated")).await;
        let spec = json!({"state": "Awake", "workloads": [{"kind": "Deployment", "name": "web"}]});
        Hibernation::create(&world.namespace, "other", spec).await;
        world
    }

    pub(super) fn note(&mut self, line: impl Into<String>) {
        let since = Timestamp::now().duration_since(self.began);
        self.journal.push(format!("{:6.2} s  {}", since.as_secs_f64(), line.into()));
    }

    /// Returns the spec of the first Hibernation. A null removes the field from an existing one.
    pub(super) fn spec(&self, state: &str) -> Value {
        let mut workloads = vec![
            json!({"kind": "Deployment", "name": "web"}),
            json!({"kind": "Deployment", "name": "work"}),
            json!({"kind": "Deployment", "selector": {"matchLabels": {"group": "sleepers"}}}),
            json!({"kind": "StatefulSet", "all": true, "stage": 1}),
        ];
        for (kind, name) in [("Deployment", "tool"), ("CronJob", "nightly")] {
            if self.named[name] {
                workloads.push(json!({"kind": kind, "name": name}));
            }
        }
        json!({
            "state": state,
            "workloads": workloads,
            "configMaps": [{
                "name": "env",
                "set": {"MODE": format!("held-{}", self.mode), "FRESH": "held"},
            }],
            "onDelete": "Wake",
            "progressDeadline": "1m",
        })
    }

    /// Whether a Hibernation selects the object.
    pub(super) fn names(&self, thing: &Thing) -> bool {
        let selected =
            thing.kind != "Deployment" || !thing.name.starts_with("pool") || thing.labelled;
        selected && self.named.get(thing.name).copied().unwrap_or(true)
    }

    pub(super) fn api_of(&self, index: usize) -> Api<DynamicObject> {
        api(&self.namespace, self.things[index].kind)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Returns a plausible value for the lever of an object.
    pub(super) fn wanted(&mut self, index: usize) -> Value {
        match self.things[index].kind {
            "ConfigMap" => json!(format!("value-{}", self.next())),
            "CronJob" => json!(self.dice.chance(30)),
            _ if self.dice.chance(15) => json!(0),
            _ => json!(1 + self.dice.below(3)),
        }
    }

    /// Reads the object and updates the judge.
    pub(super) async fn see(&mut self, index: usize) -> Value {
        let name = self.things[index].name;
        let object = self.api_of(index).get(name).await.expect("the object is there");
        let object = value(&object);
        for (pointer, lever) in &mut self.things[index].levers {
            if let Err(wrong) = lever.see(&object, pointer) {
                let kind = self.things[index].kind;
                panic!("{kind} {name}: {wrong}: {object:#}");
            }
        }
        object
    }

    /// Creates an object as its author first deploys it.
    pub(super) async fn make(&mut self, index: usize) {
        let (lever, version) = (self.wanted(index), self.next());
        let thing = &self.things[index];
        let manifest = thing.manifest(&lever, version);
        let made = self.apply(index, &manifest, None).await.expect("the object is made");
        let thing = &mut self.things[index];
        thing.foreign = 0;
        thing.deploys = 1;
        thing.undone = false;
        for (pointer, lever) in &mut thing.levers {
            lever.made(&made, pointer);
        }
        let line = format!("made {} {} with {lever}", thing.kind, thing.name);
        self.note(line);
    }

    /// Deploys a manifest as its author does; onto this resourceVersion, if the object exists.
    pub(super) async fn apply(
        &self,
        index: usize,
        manifest: &Value,
        onto: Option<&Value>,
    ) -> kube::Result<Value> {
        let thing = &self.things[index];
        let api = self.api_of(index);
        let mut manifest = manifest.clone();
        if let Some(object) = onto {
            manifest["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
        }
        if thing.deployed == Deployed::Server {
            let params = PatchParams::apply("ship").force();
            return Ok(value(&api.patch(thing.name, &params, &Patch::Apply(&manifest)).await?));
        }
        let manager = "kubectl-client-side-apply".to_owned();
        if onto.is_some() {
            let params = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
            return Ok(value(&api.patch(thing.name, &params, &Patch::Merge(&manifest)).await?));
        }
        let params = PostParams { field_manager: Some(manager), dry_run: false };
        Ok(value(&api.create(&params, &workload::object(manifest)).await?))
    }
}
