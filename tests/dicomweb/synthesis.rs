//! Synthesis of resources that an archive does not provide.

mod counts;
mod metadata;
mod parents;
mod values;
