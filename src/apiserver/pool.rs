//! A bounded number of places that namespaces share fairly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A place in a pool, until it is dropped: one in the namespace's part, and one in the whole.
pub(crate) type Place = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// A bounded number of places, and fewer for each namespace.
pub(crate) struct Pool {
    all: Arc<Semaphore>,
    of_a_namespace: usize,
    namespaces: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Pool {
    /// Returns a pool of `all` places, of which one namespace takes at most `of_a_namespace`.
    pub(crate) fn new(all: usize, of_a_namespace: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_a_namespace, namespaces: Mutex::default() }
    }

    /// Gives no more places.
    pub(crate) fn close(&self) {
        self.all.close();
    }

    /// Waits for a place. A namespace waits for its own part first, so that it never queues more than that before
    /// the others. Returns none where the pool is closed.
    pub(crate) async fn take(&self, namespace: &str) -> Option<Place> {
        let part = {
            let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
            // Parts that nobody uses or waits for.
            namespaces.retain(|_, part| Arc::strong_count(part) > 1);
            let part = namespaces
                .entry(namespace.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(self.of_a_namespace)));
            part.clone()
        };
        let part = part.acquire_owned().await.ok()?;
        let place = self.all.clone().acquire_owned().await.ok()?;
        Some((part, place))
    }
}
