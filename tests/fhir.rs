//! The FHIR facade over HTTP, in front of the embedded archive with the sample studies.

mod cache;
mod changes;
mod errors;
mod hostile;
mod oracle;
mod read;
mod search;
mod versions;
