//! The language that the tests are written in: a PACS that can be told to misbehave, and a client that says what it is
//! told, byte for byte.

pub mod client;
pub mod deadline;
pub mod front;
pub mod gateway;
pub mod http2;
pub mod objects;
pub mod odd_objects;
pub mod pacs;
pub mod samples;
pub mod secure_pacs;
pub mod xml;
