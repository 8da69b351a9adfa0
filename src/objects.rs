//! DICOM objects as files hold them: read up to their pixel data (PS3.10), their text in every character set (PS3.5 6.1), and
//! written as DICOM JSON (PS3.18 Annex F).
//!
//! The embedded archive reads its files with it, and the gateway the instances that it makes metadata of. This room knows
//! no sockets and nothing async; bytes come out of anything that can be read.

pub mod charset;
pub mod data_set;
pub mod encapsulated;
pub mod json;
pub mod metadata;
pub mod part10;
