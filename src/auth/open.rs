//! Mode `open`: whoever can reach the gateway may see everything, and the network in front of it decides who that is.

use http::HeaderMap;

use super::{Access, Authentication, Authenticator};

/// Lets every caller see everything.
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
