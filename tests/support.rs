//! Test support: a scripted PACS that can send any bytes and break off anywhere, a running gateway, and clients that send
//! requests byte for byte.

pub mod archive_root;
pub mod client;
pub mod gateway;
pub mod http2;
pub mod objects;
pub mod pacs;
pub mod raw_objects;
pub mod retries;
pub mod samples;
pub mod tls_pacs;
pub mod xml;
