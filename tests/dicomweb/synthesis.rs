//! What an archive lacks, made out of what it has.

mod counts;
mod metadata;
mod parents;
mod values;
