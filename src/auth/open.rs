//! Mode `open`, without access control: anyone who can reach the gateway may see everything, and the network in front of it
//! must restrict access.

use http::HeaderMap;

use super::{Access, Authentication, Authenticator};

/// Gives every caller access to everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Authenticator for Open {
    fn authenticate(&self, _headers: &HeaderMap) -> Authentication {
        Authentication::Decided(Ok(Access::everything()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_caller_sees_everything() {
        let access = Open.authenticate(&HeaderMap::new()).decision().await;
        assert_eq!(access, Ok(Access::everything()));
    }
}
