//! The limit of open file descriptors of the process: raised at the start as far as the listeners and the archives need it, and
//! distributed so that client connections leave descriptors to the admin listener.

use crate::config::Config;

/// Maximum number of connections of the admin listener: probes and a few readers of metrics.
pub(super) const MAX_ADMIN_CONNECTIONS: usize = 32;

/// Descriptors for everything but connections: the runtime, the listeners, the store, the log, name lookups and certificates.
const OTHER_DESCRIPTORS: usize = 64;

/// The descriptors that the process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorDemand {
    client_connections: usize,
    archive_connections: usize,
}

impl DescriptorDemand {
    pub(super) fn of(config: &Config) -> Self {
        // Each archive has two pools of connections, and a connection that one of them keeps is not used by the other.
        let archive_connections =
            config.archives.iter().map(|archive| 2 * archive.settings.max_calls()).sum();
        Self { client_connections: config.server.max_connections, archive_connections }
    }

    /// Returns the number of descriptors for all connections and everything else.
    fn total(self) -> usize {
        self.client_connections + self.archive_connections + MAX_ADMIN_CONNECTIONS + OTHER_DESCRIPTORS
    }

    /// Returns the number of client connections for which `limit` is enough. If it is not enough for the connections to the archives
    /// either, both have half of it.
    fn max_client_connections(self, limit: usize) -> usize {
        let available = limit.saturating_sub(MAX_ADMIN_CONNECTIONS + OTHER_DESCRIPTORS);
        let remaining = available.saturating_sub(self.archive_connections).max(available / 2);
        remaining.clamp(1, self.client_connections)
    }
}

/// Raises the soft limit of the process up to its hard limit, if `demand` requires it. Returns the maximum number of client
/// connections, and warns if it is smaller than configured.
pub(super) fn raise_limit(demand: DescriptorDemand) -> usize {
    let needed = demand.total();
    let limit = raise_soft_limit(needed);
    let max_client_connections = demand.max_client_connections(limit);
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            max_connections = max_client_connections,
            "the limit of open files (ulimit -n) is lower than server.max_connections and the archives need; fewer client \
             connections are accepted"
        );
    }
    max_client_connections
}

/// Raises the soft limit to `needed`, or to the hard limit if that is lower. Returns the soft limit.
#[cfg(unix)]
fn raise_soft_limit(needed: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    // A limit that is absent is unlimited.
    let current = current.unwrap_or(u64::MAX);
    let raised = needed.min(maximum.unwrap_or(u64::MAX));
    let is_raised =
        raised > current && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok();
    usize::try_from(if is_raised { raised } else { current }).unwrap_or(usize::MAX)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
fn raise_soft_limit(_: usize) -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_connections_leave_descriptors_to_the_archives_and_the_admin_listener() {
        let demand = DescriptorDemand { client_connections: 1024, archive_connections: 160 };
        assert_eq!(demand.total(), 1280);
        for (limit, client_connections) in
            [(usize::MAX, 1024), (1280, 1024), (1279, 1023), (1024, 768), (256, 80), (96, 1), (0, 1)]
        {
            assert_eq!(demand.max_client_connections(limit), client_connections, "{limit}");
        }
    }
}
