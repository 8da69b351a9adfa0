//! The mode `open`, without access control: anyone who can reach the gateway may see all data, so access to the network must be
//! restricted.

use http::HeaderMap;

use super::{Access, Authentication, Authenticator};

/// An authenticator that gives every caller access to all data.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Authenticator for Open {
    fn authenticate(&self, _headers: &HeaderMap) -> Authentication {
        Authentication::Decided(Ok(Access::all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_caller_may_see_all_studies() {
        let access = Open.authenticate(&HeaderMap::new()).decision().await;
        assert_eq!(access, Ok(Access::all()));
    }
}
