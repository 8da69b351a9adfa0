//! The open connections of a listener: how many each peer has, and which idle connections are closed for new ones.
//!
//! No peer may have more than its share, so that one peer cannot keep the others out. Clients keep connections open that they do
//! not use (RFC 9112 9.3, 9.8), so idle connections are closed if a new one needs their place. This module does not know about
//! requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::activity::Activity;

/// The open connections of one listener.
#[derive(Debug, Default)]
pub(super) struct OpenConnections(Arc<Mutex<ConnectionTable>>);

#[derive(Debug, Default)]
struct ConnectionTable {
    next_id: u64,
    connections: HashMap<u64, ConnectionEntry>,
}

#[derive(Debug)]
struct ConnectionEntry {
    peer: IpAddr,
    activity: Arc<Activity>,
    close: Arc<Notify>,
    /// Whether the connection was asked to close. Then it does not count any more.
    is_closing: bool,
}

/// A connection that counts until this value is dropped.
#[derive(Debug)]
pub(super) struct AdmittedConnection {
    table: Arc<Mutex<ConnectionTable>>,
    id: u64,
    /// The activity of the connection.
    pub(super) activity: Arc<Activity>,
    close: Arc<Notify>,
}

impl OpenConnections {
    /// Admits a connection of `peer`, which may have `max_per_peer` connections; `None` means that there is no limit. If the peer has
    /// that many, its connection that was idle the longest is closed; without one, the new connection is not admitted.
    pub(super) fn admit(&self, peer: IpAddr, max_per_peer: Option<usize>) -> Option<AdmittedConnection> {
        let peer = network_of(peer);
        let mut table = lock(&self.0);
        if max_per_peer.is_some_and(|max| table.count(peer) >= max) && !table.close_idle_of(peer) {
            return None;
        }
        let (activity, close) = (Arc::new(Activity::default()), Arc::new(Notify::new()));
        let id = table.next_id;
        table.next_id += 1;
        let entry = ConnectionEntry {
            peer,
            activity: Arc::clone(&activity),
            close: Arc::clone(&close),
            is_closing: false,
        };
        table.connections.insert(id, entry);
        drop(table);
        Some(AdmittedConnection { table: Arc::clone(&self.0), id, activity, close })
    }

    /// Closes an idle connection other than `newest`: of the peer with the most connections, the one that has been idle the longest.
    pub(super) fn close_idle_connection(&self, newest: &AdmittedConnection) {
        let mut table = lock(&self.0);
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in table.connections.values().filter(|entry| !entry.is_closing) {
            *counts.entry(entry.peer).or_default() += 1;
        }
        let idle = table.connections.iter_mut().filter(|(id, entry)| **id != newest.id && entry.is_idle());
        let chosen = idle.min_by_key(|(_, entry)| {
            let count = counts.get(&entry.peer).copied().unwrap_or_default();
            (std::cmp::Reverse(count), entry.activity.last_use())
        });
        if let Some((_, entry)) = chosen {
            entry.close();
        }
    }
}

impl AdmittedConnection {
    /// Waits until another connection needs the place of this one, which must then close as soon as it is idle.
    pub(super) async fn wait_for_close_request(&self) {
        self.close.notified().await;
    }
}

impl Drop for AdmittedConnection {
    fn drop(&mut self) {
        lock(&self.table).connections.remove(&self.id);
    }
}

impl ConnectionTable {
    fn count(&self, peer: IpAddr) -> usize {
        self.connections.values().filter(|entry| entry.peer == peer && !entry.is_closing).count()
    }

    /// Closes the connection of `peer` that was idle the longest. Returns whether there is one.
    fn close_idle_of(&mut self, peer: IpAddr) -> bool {
        let idle = self.connections.values_mut().filter(|entry| entry.peer == peer && entry.is_idle());
        let longest_idle = idle.min_by_key(|entry| entry.activity.last_use());
        longest_idle.map(ConnectionEntry::close).is_some()
    }
}

impl ConnectionEntry {
    fn is_idle(&self) -> bool {
        !self.is_closing && self.activity.is_idle()
    }

    fn close(&mut self) {
        self.is_closing = true;
        self.close.notify_one();
    }
}

/// Returns the network that counts as one peer: an IPv4 address, or the first 64 bits of an IPv6 address, because one subscriber has
/// such a network.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

fn lock(table: &Mutex<ConnectionTable>) -> MutexGuard<'_, ConnectionTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn must_close(connection: &AdmittedConnection) -> bool {
        connection.wait_for_close_request().now_or_never().is_some()
    }

    #[test]
    fn peer_has_at_most_its_share_of_busy_connections() {
        let connections = OpenConnections::default();
        let admitted = [(); 2].map(|()| connections.admit(address(1), Some(2)).unwrap());
        let in_flight = admitted.each_ref().map(|connection| connection.activity.begin_request());
        assert!(connections.admit(address(1), Some(2)).is_none());
        assert!(connections.admit(address(2), Some(2)).is_some(), "another peer");
        assert!(connections.admit(address(1), None).is_some(), "a peer without a limit");
        drop((in_flight, admitted));
        assert!(connections.admit(address(1), Some(2)).is_some());
    }

    #[test]
    fn longest_idle_connection_is_closed_for_another_one_of_its_peer() {
        let connections = OpenConnections::default();
        let [first, second] = [(); 2].map(|()| connections.admit(address(1), Some(2)).unwrap());
        drop(first.activity.begin_request());
        let third = connections.admit(address(1), Some(2)).unwrap();
        assert!(must_close(&second) && !must_close(&first) && !must_close(&third));
    }

    #[test]
    fn idle_connection_of_the_peer_with_the_most_connections_is_closed_first() {
        let connections = OpenConnections::default();
        let other = connections.admit(address(2), None).unwrap();
        let [busy, idle] = [(); 2].map(|()| connections.admit(address(1), None).unwrap());
        let request = busy.activity.begin_request();
        let newest = connections.admit(address(3), None).unwrap();
        connections.close_idle_connection(&newest);
        assert!(must_close(&idle));
        connections.close_idle_connection(&newest);
        assert!(must_close(&other));
        connections.close_idle_connection(&newest);
        assert!(!must_close(&busy) && !must_close(&newest));
        drop(request);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer() {
        let peer = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }
}
