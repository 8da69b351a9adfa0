//! The sample patients and their studies. All of them are invented: names say so in their own language, dates are
//! years past, and identifiers come from issuers under the arc that is reserved for examples (2.999).

mod everyday;
mod identifiers;
mod letters;
mod sparse;

use super::declaration::{Issuer, Patient};

/// A hospital whose identifiers have an OID.
const NORTH: Issuer = Issuer { local: "NORTH", universal: Some("2.999.1.1") };
/// A hospital that is known by its local name only.
const SOUTH: Issuer = Issuer { local: "SOUTH", universal: None };
/// The order system of the first.
const NORTH_ORDERS: Issuer = Issuer { local: "NORTH-RIS", universal: Some("2.999.1.2") };
/// Its laboratory.
const NORTH_PATHOLOGY: Issuer = Issuer { local: "NORTH-PATH", universal: Some("2.999.1.3") };

/// Every patient, in the order in which their UIDs are numbered: new ones are added at the end.
pub(super) const PATIENTS: &[Patient] = &[
    everyday::ANNA,
    letters::HANAKO,
    letters::JIRO,
    letters::IVAN,
    letters::ELENI,
    letters::MINJUN,
    letters::JUERGEN,
    letters::SARKA,
    identifiers::FRANK,
    identifiers::ISABEL,
    identifiers::ASTRID,
    identifiers::LEO,
    identifiers::LOWER,
    sparse::NOBODY,
    sparse::ROSA,
    everyday::MANY,
];
