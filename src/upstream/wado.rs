//! Retrieve requests, built from typed parts: [`retrieve`] for WADO-RS (PS3.18 10.4), [`uri`] for WADO-URI (PS3.18 9).

pub(crate) mod retrieve;
pub(crate) mod uri;
