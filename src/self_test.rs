//! `torpor self-test`: hibernates and wakes a Deployment of its own, to prove that an installation works. `helm test`
//! runs it in a pod, from the image of the operator.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time;

use crate::api::condition::READY;
use crate::api::hibernation::{Hibernation, Phase};
use crate::api::pod::hardened;
use crate::apiserver::client::{self, ConnectError};
use crate::apiserver::request::{self, call};
use crate::signals;

/// The name of the Deployment and of the Hibernation, and the field manager of both.
const NAME: &str = "torpor-self-test";
/// Time between two looks at an object.
const EVERY: Duration = Duration::from_secs(1);

/// Arguments of `torpor self-test`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SelfTestArgs {
    /// Namespace of the Deployment and the Hibernation: one in which the operator works. Default: the namespace of
    /// the context
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Image of the Deployment: the image of this program
    #[arg(long, env = "TORPOR_IMAGE", value_name = "IMAGE", required_unless_present = "idle")]
    image: Option<String>,

    /// Time that the whole test may take
    #[arg(long, default_value = "3m", value_name = "DURATION")]
    timeout: SignedDuration,

    /// Only wait for SIGTERM, as the pod of the Deployment does
    #[arg(long, hide = true)]
    idle: bool,
}

/// Why the test failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot wait for SIGTERM: {0}")]
    Signal(#[from] std::io::Error),
    #[error(transparent)]
    Request(#[from] request::Error),
    #[error("not within {0:#}: {1}")]
    Timeout(SignedDuration, String),
    #[error("hibernation/{NAME} is Hibernated, and deployment/{NAME} has replicas: {0:?}")]
    NotDown(Option<i32>),
    #[error(
        "hibernation/{NAME} is Awake, and deployment/{NAME} is not as before: replicas {0:?}, ready {1:?}"
    )]
    NotRestored(Option<i32>, Option<i32>),
}

/// Runs `torpor self-test`. Returns its exit status.
pub(crate) async fn run(args: SelfTestArgs) -> ExitCode {
    let result = match args.image {
        Some(image) if !args.idle => Box::pin(test(args.namespace, &image, args.timeout)).await,
        _ => idle().await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn idle() -> Result<(), Error> {
    signals::termination()?.await;
    Ok(())
}

async fn test(namespace: Option<String>, image: &str, limit: SignedDuration) -> Result<(), Error> {
    let (client, default_namespace) = client::connect().await?;
    let namespace = namespace.unwrap_or(default_namespace);
    let scene = Scene {
        deployments: Api::namespaced(client.clone(), &namespace),
        hibernations: Api::namespaced(client, &namespace),
    };
    let result = match time::timeout(limit.unsigned_abs(), scene.hibernate_and_wake(image)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout(limit, scene.state().await)),
    };
    let cleaned = scene.clean_up().await;
    result.and(cleaned)?;
    println!("all is as it was: the operator works in namespace {namespace}");
    Ok(())
}

/// The two objects of the test.
struct Scene {
    deployments: Api<Deployment>,
    hibernations: Api<Hibernation>,
}

impl Scene {
    async fn hibernate_and_wake(&self, image: &str) -> Result<(), Error> {
        apply(&self.deployments, &deployment(image)).await?;
        until(&self.deployments, |deployment| ready(deployment) == Some(1)).await?;
        println!("deployment/{NAME} is ready: 1 replica");

        apply(&self.hibernations, &hibernation("Hibernated")).await?;
        until(&self.hibernations, |hibernation| is_in(hibernation, Phase::Hibernated)).await?;
        let replicas = replicas(&self.deployment().await?);
        if replicas != Some(0) {
            return Err(Error::NotDown(replicas));
        }
        println!("hibernation/{NAME} is Hibernated: 0 replicas");

        apply(&self.hibernations, &hibernation("Awake")).await?;
        until(&self.hibernations, |hibernation| is_in(hibernation, Phase::Awake)).await?;
        let deployment = self.deployment().await?;
        let found = (self::replicas(&deployment), ready(&deployment));
        if found != (Some(1), Some(1)) {
            return Err(Error::NotRestored(found.0, found.1));
        }
        println!("hibernation/{NAME} is Awake: 1 replica");
        Ok(())
    }

    async fn deployment(&self) -> Result<Deployment, Error> {
        Ok(call(format!("deployment/{NAME}"), self.deployments.get(NAME)).await?)
    }

    /// Returns the reason why the test does not go on, from the status of the Hibernation.
    async fn state(&self) -> String {
        let hibernation = match self.hibernations.get_opt(NAME).await {
            Ok(Some(hibernation)) => hibernation,
            Ok(None) => {
                return format!("deployment/{NAME} is not ready: see the events of its pod");
            }
            Err(error) => return request::message(&error),
        };
        let Some(status) = hibernation.status else {
            return format!(
                "no operator has observed hibernation/{NAME}: see the log of the operator, and whether it watches this namespace"
            );
        };
        let mut state = format!("hibernation/{NAME} is {:?}", status.phase.unwrap_or_default());
        for condition in status.conditions.iter().filter(|condition| !condition.message.is_empty())
        {
            let _ = write!(
                state,
                "; {}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            );
        }
        state
    }

    /// Deletes the Hibernation, which wakes the Deployment, and then the Deployment.
    async fn clean_up(&self) -> Result<(), Error> {
        delete(&self.hibernations).await?;
        delete(&self.deployments).await
    }
}

fn deployment(image: &str) -> Value {
    let labels = json!({"app.kubernetes.io/name": NAME});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": hardened(json!({
                "terminationGracePeriodSeconds": 5,
                "containers": [{
                    "name": "idle",
                    "image": image,
                    "args": ["self-test", "--idle"],
                    "resources": {
                        "requests": {"cpu": "1m", "memory": "16Mi"},
                        "limits": {"memory": "32Mi"},
                    },
                }],
            }))},
        },
    })
}

fn hibernation(state: &str) -> Value {
    json!({
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "Hibernation",
        "metadata": {"name": NAME},
        "spec": {"state": state, "workloads": [{"kind": "Deployment", "name": NAME}]},
    })
}

/// Returns the number of ready replicas, once the status describes the spec.
fn ready(deployment: &Deployment) -> Option<i32> {
    let status = deployment.status.as_ref()?;
    let current = status.observed_generation == deployment.metadata.generation;
    status.ready_replicas.filter(|_| current)
}

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

/// Returns whether the current spec has led to this phase.
fn is_in(hibernation: &Hibernation, phase: Phase) -> bool {
    hibernation.status.as_ref().is_some_and(|status| {
        let mut conditions = status.conditions.iter();
        status.observed_generation == hibernation.metadata.generation
            && status.phase == Some(phase)
            && conditions.any(|condition| condition.type_ == READY && condition.status == "True")
    })
}

fn named<K: Resource<DynamicType = ()>>() -> String {
    format!("{}/{NAME}", K::kind(&()).to_lowercase())
}

async fn apply<K>(api: &Api<K>, manifest: &Value) -> Result<(), Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    // A run that was interrupted has left its replicas under the operator's manager.
    let params = PatchParams::apply(NAME).force();
    call(named::<K>(), api.patch(NAME, &params, &Patch::Apply(manifest))).await?;
    Ok(())
}

async fn until<K>(api: &Api<K>, reached: impl Fn(&K) -> bool) -> Result<(), Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    while !reached(&call(named::<K>(), api.get(NAME)).await?) {
        time::sleep(EVERY).await;
    }
    Ok(())
}

/// Deletes an object, and waits for half a minute until it has gone.
async fn delete<K>(api: &Api<K>) -> Result<(), Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    let gone = |error: &request::Error| error.is_not_found();
    if let Err(error) = call(named::<K>(), api.delete(NAME, &DeleteParams::default())).await {
        return if gone(&error) { Ok(()) } else { Err(error.into()) };
    }
    let limit = SignedDuration::from_secs(30);
    let left = async {
        while !call(named::<K>(), api.get(NAME)).await.is_err_and(|error| gone(&error)) {
            time::sleep(EVERY).await;
        }
    };
    let waited = time::timeout(limit.unsigned_abs(), left).await;
    waited.map_err(|_| Error::Timeout(limit, format!("{} is not deleted", named::<K>())))
}
