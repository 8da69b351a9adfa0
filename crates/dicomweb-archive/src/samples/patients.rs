//! The sample patients and their studies. All are fictional: many names mean "fictional" in their language, dates are years in the
//! past, and issuers of identifiers have OIDs under the arc that is reserved for examples (2.999).

mod character_sets;
mod everyday;
mod identifiers;
mod sparse;

use super::declaration::{Issuer, Patient};

/// A hospital whose issuer has an OID.
const NORTH: Issuer = Issuer { local: "NORTH", universal: Some("2.999.1.1") };
/// A hospital with only a local name.
const SOUTH: Issuer = Issuer { local: "SOUTH", universal: None };
/// The order system of the first hospital.
const NORTH_ORDERS: Issuer = Issuer { local: "NORTH-RIS", universal: Some("2.999.1.2") };
/// The pathology of the first hospital.
const NORTH_PATHOLOGY: Issuer = Issuer { local: "NORTH-PATH", universal: Some("2.999.1.3") };

/// All patients, in the order of their UIDs. New patients must be added at the end.
pub(super) const PATIENTS: &[Patient] = &[
    everyday::ANNA,
    character_sets::HANAKO,
    character_sets::JIRO,
    character_sets::IVAN,
    character_sets::ELENI,
    character_sets::MINJUN,
    character_sets::JUERGEN,
    character_sets::SARKA,
    identifiers::FRANK,
    identifiers::ISABEL,
    identifiers::ASTRID,
    identifiers::LEO,
    identifiers::LOWER,
    sparse::WITHOUT_ATTRIBUTES,
    sparse::ROSA,
    everyday::MANY_SLICES,
];
