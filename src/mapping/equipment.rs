//! The equipment that produced a series (PS3.3 C.7.5.1), as a performer (R4 ImagingStudy.series.performer).
//!
//! A logical reference instead of a contained Device: it remains under `_summary` and `_elements`, which omit contained
//! resources, and R4 allows it wherever a Device is allowed. It has no function: of the codes that R4 binds, "performer" is for
//! devices that work without people, and the others are for people.

use super::identifiers::Issuer;
use dicom_model::{Attributes, tags};
use fhir_r4::types::{Identifier, Performer, Reference, clean};

/// The equipment as a performer; `None` if the attributes do not describe it.
pub(super) fn performer(attributes: &Attributes) -> Option<Performer> {
    let text = |tag| attributes.text(tag).and_then(clean);
    let manufacturer = text(tags::MANUFACTURER);
    let identifier =
        text(tags::DEVICE_SERIAL_NUMBER).map(|number| serial_number(number, manufacturer.as_deref()));
    let kind = [manufacturer, text(tags::MANUFACTURER_MODEL_NAME)];
    let kind = kind.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let display = match (kind.is_empty(), text(tags::STATION_NAME)) {
        (false, Some(station)) => Some(format!("{kind} ({station})")),
        (false, None) => Some(kind),
        (true, station) => station,
    };
    let is_named = identifier.is_some() || display.is_some();
    is_named.then(|| Performer {
        actor: Reference { kind: Some("Device".into()), identifier, display, ..Reference::default() },
        ..Performer::default()
    })
}

/// A serial number is unique per manufacturer only, and DICOM gives only the manufacturer's name, so the identifier has no
/// system.
fn serial_number(number: String, manufacturer: Option<&str>) -> Identifier {
    Issuer { system: None, assigner: manufacturer.map(str::to_owned) }
        .identifier(number, Some(("SNO", "Serial Number")))
}
