//! The equipment that produced a series (PS3.3 C.7.5.1), as a performer (R4 ImagingStudy.series.performer).
//!
//! The performer is a logical reference instead of a contained Device, because `_summary` and `_elements` omit contained
//! resources. It has no function: of the codes that R4 binds, "performer" is for devices that work without people, and the
//! others are for people.

use super::identifiers::Issuer;
use dicom_model::{Attributes, tags};
use fhir_r4::types::{Identifier, Performer, Reference, to_fhir_string};

/// Maps the equipment to a performer; `None` if the attributes do not describe it.
pub(super) fn performer(attributes: &Attributes) -> Option<Performer> {
    let text = |tag| attributes.text(tag).and_then(to_fhir_string);
    let manufacturer = text(tags::MANUFACTURER);
    let identifier =
        text(tags::DEVICE_SERIAL_NUMBER).map(|number| serial_number(number, manufacturer.as_deref()));
    let model = [manufacturer, text(tags::MANUFACTURER_MODEL_NAME)];
    let model = model.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let display = match (model.is_empty(), text(tags::STATION_NAME)) {
        (false, Some(station)) => Some(format!("{model} ({station})")),
        (false, None) => Some(model),
        (true, station) => station,
    };
    let is_described = identifier.is_some() || display.is_some();
    is_described.then(|| Performer {
        actor: Reference { kind: Some("Device".into()), identifier, display, ..Reference::default() },
        ..Performer::default()
    })
}

/// Creates the identifier of a device. It has no system, because a serial number is unique only per manufacturer, and DICOM
/// contains only the name of the manufacturer.
fn serial_number(number: String, manufacturer: Option<&str>) -> Identifier {
    Issuer { system: None, assigner: manufacturer.map(str::to_owned) }
        .identifier(number, Some(("SNO", "Serial Number")))
}
