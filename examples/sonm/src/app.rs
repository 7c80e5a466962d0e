//! The one lock, the clock, and what is kept over a restart.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::envelope::Key;
use crate::faults::{Faults, Reach};
use crate::model::{Address, Model};

/// All that changes.
#[derive(Clone, Serialize, Deserialize)]
pub struct World {
    pub model: Model,
    pub faults: Faults,
    /// By how much the market's clock is ahead of the computer's.
    pub ahead: SignedDuration,
}

impl World {
    pub fn new(model: Model, faults: Faults) -> Self {
        Self { model, faults, ahead: SignedDuration::ZERO }
    }

    /// Reads what a former process left. Its workers have been restarted since then.
    pub fn load(path: &Path) -> Result<Self, String> {
        let said = |why: String| format!("the state {}: {why}", path.display());
        let text = std::fs::read(path).map_err(|error| said(error.to_string()))?;
        let mut world: Self =
            serde_json::from_slice(&text).map_err(|error| said(error.to_string()))?;
        let now = world.now();
        world.model.restart_all(now);
        Ok(world)
    }

    fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }
}

/// The stand-in as its servers share it.
pub struct App {
    /// None: the insecure mode.
    pub key: Option<Key>,
    world: Mutex<World>,
    state: Option<PathBuf>,
    /// Counts changes.
    changes: watch::Sender<u64>,
    /// Whether the REST interface is to listen, and whether it does.
    wanted: watch::Sender<bool>,
    listens: watch::Sender<bool>,
    /// Calls that hang, as their worker is locked out of its plans.
    hanging: AtomicUsize,
}

impl App {
    pub fn new(key: Option<Key>, world: World, state: Option<PathBuf>) -> Self {
        let wanted = world.faults.node != Reach::Refused;
        Self {
            key,
            world: Mutex::new(world),
            state,
            changes: watch::Sender::new(0),
            wanted: watch::Sender::new(wanted),
            listens: watch::Sender::new(true),
            hanging: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The market's time.
    pub fn now(&self) -> Timestamp {
        self.lock().now()
    }

    /// Looks at the world.
    pub fn look<T>(&self, look: impl FnOnce(&World, Timestamp) -> T) -> T {
        let world = self.lock();
        let now = world.now();
        look(&world, now)
    }

    /// Changes the world. What has changed is in the file before anybody sees it.
    pub fn change<T>(&self, change: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let mut world = self.lock();
        let now = world.now();
        let result = change(&mut world, now);
        if let Some(path) = &self.state
            && let Err(error) = save(path, &world)
        {
            tracing::error!(%error, path = %path.display(), "the state is not kept");
        }
        let listen = world.faults.node != Reach::Refused;
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, listen) != listen);
        drop(world);
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// The two ends by which a gate is told, and tells.
    pub fn gate(&self) -> (watch::Receiver<bool>, watch::Sender<bool>) {
        (self.wanted.subscribe(), self.listens.clone())
    }

    /// Waits until the REST interface listens, or doesn't, as is wanted.
    pub async fn gate_follows(&self) {
        let wanted = *self.wanted.borrow();
        // Both ends live as long as this does.
        let _ = self.listens.subscribe().wait_for(|listens| *listens == wanted).await;
    }

    /// Waits as long as the worker is locked out of its plans. An error: it was, and was restarted or stopped.
    pub async fn past_deadlock(&self, address: &Address) -> Result<(), ()> {
        let mut changes = self.changes.subscribe();
        let locked = || {
            self.look(|world, _| {
                let worker = world.model.workers.get(address);
                worker.is_some_and(|worker| worker.running && worker.defects.deadlocked)
            })
        };
        if !locked() {
            return Ok(());
        }
        self.hanging.fetch_add(1, Ordering::Relaxed);
        while changes.changed().await.is_ok() {
            if !locked() {
                break;
            }
        }
        self.hanging.fetch_sub(1, Ordering::Relaxed);
        Err(())
    }

    /// How many calls hang.
    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::Relaxed)
    }

    /// The workers' syncs, for ever.
    pub async fn sync_for_ever(&self) {
        let mut changes = self.changes.subscribe();
        let interval = || self.look(|world, _| world.model.settings.sync_ms);
        loop {
            let present = interval();
            let other = async {
                while changes.changed().await.is_ok() {
                    if interval() != present {
                        return;
                    }
                }
            };
            if present == 0 {
                other.await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(present)) => {
                    self.change(|world, now| world.model.sync_all(now));
                }
                () = other => {}
            }
        }
    }
}

/// Writes the state beside the file and then into its place, so that it is whole at any time.
fn save(path: &Path, world: &World) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let text = serde_json::to_vec(world).map_err(|error| said(&error))?;
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).map_err(|error| said(&error))?;
    std::fs::rename(&beside, path).map_err(|error| said(&error))
}
