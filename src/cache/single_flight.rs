//! Single flight: concurrent requests for a key share one load and its result.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::request_priority::{RequestPriority, SharedWorkWaiter};

/// The error for a load that ended without a result, because its task panicked or the program is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work shared with other requests ended without a result")]
pub struct Interrupted;

/// Loads in flight, by key. A load runs in a separate task, so that it continues when the request that started it is canceled.
/// Every request that waits receives the result, which is not stored. A load has the priority of the oldest request that waits.
pub struct SingleFlight<K, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
}

/// A load in flight.
struct Flight<V> {
    receiver: watch::Receiver<Option<V>>,
    priority: RequestPriority,
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { flights: Arc::default() }
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner).len();
        formatter.debug_struct("SingleFlight").field("flights", &flights).finish()
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits for the result of the load for `key` that is in flight, or starts `load` if there is none. `request` is the priority
    /// of the request that waits; `load` receives the priority of the load.
    pub async fn run<F>(
        &self,
        key: K,
        request: &RequestPriority,
        load: impl FnOnce(RequestPriority) -> F,
    ) -> Result<V, Interrupted>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (mut flight, _waiter) = self.join_or_start(key, request, load);
        match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().ok_or(Interrupted),
            Err(_) => Err(Interrupted),
        }
    }

    fn join_or_start<F>(
        &self,
        key: K,
        request: &RequestPriority,
        load: impl FnOnce(RequestPriority) -> F,
    ) -> (watch::Receiver<Option<V>>, SharedWorkWaiter)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.entry(key) {
            Entry::Occupied(flight) => {
                let Flight { receiver, priority } = flight.get();
                (receiver.clone(), priority.add_waiter(request))
            }
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                let key_removal = KeyRemoval { key: entry.key().clone(), flights: Arc::clone(&self.flights) };
                let priority = RequestPriority::of_shared_work();
                let waiter = priority.add_waiter(request);
                entry.insert(Flight { receiver: receiver.clone(), priority: priority.clone() });
                let load = load(priority);
                tokio::spawn(async move {
                    let outcome = load.await;
                    // The key is removed first, so that later requests start a new load.
                    drop(key_removal);
                    sender.send_replace(Some(outcome));
                });
                (receiver, waiter)
            }
        }
    }
}

/// A guard that removes the key of a load when the task of the load ends, even if it panics.
struct KeyRemoval<K: Eq + Hash, V> {
    key: K,
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
}

impl<K: Eq + Hash, V> Drop for KeyRemoval<K, V> {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::{Notify, oneshot};

    #[tokio::test]
    async fn a_hundred_requests_share_one_load() {
        let flights = Arc::new(SingleFlight::<u8, usize>::default());
        let (loads, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut requests = Vec::new();
        for _ in 0..100 {
            let (flights, loads, gate) = (Arc::clone(&flights), Arc::clone(&loads), Arc::clone(&gate));
            requests.push(tokio::spawn(async move {
                let load = |_| async move {
                    gate.notified().await;
                    loads.fetch_add(1, Ordering::SeqCst) + 1
                };
                flights.run(1, &RequestPriority::of_new_request(), load).await
            }));
        }
        // In this runtime a yield runs every task until it waits: first the requests, then the load.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        gate.notify_waiters();
        for request in requests {
            assert_eq!(request.await.unwrap(), Ok(1));
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert!(flights.flights.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_load_outlives_the_request_that_started_it() {
        let flights = Arc::new(SingleFlight::<u8, u8>::default());
        let (open, gate) = oneshot::channel::<()>();
        let (ended, end) = oneshot::channel::<()>();
        let first = {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move {
                let load = |_| async move {
                    let _ = gate.await;
                    let _ = ended.send(());
                    7
                };
                flights.run(1, &RequestPriority::of_new_request(), load).await
            })
        };
        while flights.flights.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        let request = RequestPriority::of_new_request();
        let second =
            flights.run(1, &request, |_| async { unreachable!("the first load is still in flight") });
        open.send(()).unwrap();
        assert_eq!(second.await, Ok(7));
        end.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_in_a_load_is_an_error_for_the_waiting_requests_and_is_not_cached() {
        let flights = SingleFlight::<u8, u8>::default();
        let request = RequestPriority::of_new_request();
        let failing = flights.run(1, &request, |_| async { panic!("a load that fails") });
        assert_eq!(failing.await, Err(Interrupted));
        assert_eq!(flights.run(1, &request, |_| async { 2 }).await, Ok(2));
    }

    #[tokio::test]
    async fn a_load_has_the_priority_of_the_oldest_request_that_waits() {
        let flights = SingleFlight::<u8, u8>::default();
        let (older, newer) = (RequestPriority::of_new_request(), RequestPriority::of_new_request());
        let (sender, receiver) = oneshot::channel();
        let mut first = Box::pin(flights.run(1, &newer, |priority| async move {
            sender.send(priority).unwrap();
            std::future::pending().await
        }));
        assert!((&mut first).now_or_never().is_none());
        let load = receiver.await.unwrap();
        assert_eq!(load.arrival(), newer.arrival());
        let mut second = Box::pin(flights.run(1, &older, |_| async { unreachable!("a load is in flight") }));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(load.arrival(), older.arrival());
        drop(second);
        assert_eq!(load.arrival(), newer.arrival());
        drop(first);
        assert_eq!(load.arrival(), None, "no request waits");
    }
}
