//! WADO-RS and WADO-URI requests.

pub(crate) mod retrieve;
pub(crate) mod uri;
