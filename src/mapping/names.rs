//! Maps person names (PS3.5 6.2.1) to FHIR names (R4 datatypes#HumanName) and to display text.

use dicom_model::{ComponentGroup, PersonName};
use fhir_r4::types::{Extension, HumanName, to_fhir_string};

/// The representation of a name (R4 extension iso21090-EN-representation).
const REPRESENTATION: &str = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";

/// Returns one HumanName per component group. The alphabetic name has the use "usual", and no extension if it is the only name.
pub(super) fn human_names(name: &PersonName) -> Vec<HumanName> {
    let is_alphabetic_only = name.ideographic.is_none() && name.phonetic.is_none();
    representations(name)
        .filter_map(|(group, representation)| {
            let mut human = human_name(group, representation)?;
            if representation == "ABC" {
                human.usage = Some("usual".into());
            }
            if !(representation == "ABC" && is_alphabetic_only) {
                human.element.extend(Extension::code(REPRESENTATION, representation));
            }
            Some(human)
        })
        .collect()
}

/// Returns the component groups that are present, each with its code in the extension: alphabetic, ideographic, syllabic.
fn representations(name: &PersonName) -> impl Iterator<Item = (&ComponentGroup, &'static str)> {
    [(&name.alphabetic, "ABC"), (&name.ideographic, "IDE"), (&name.phonetic, "SYL")]
        .into_iter()
        .filter_map(|(group, representation)| Some((group.as_ref()?, representation)))
}

fn human_name(group: &ComponentGroup, representation: &str) -> Option<HumanName> {
    let list = |text: &str| to_fhir_string(text).into_iter().collect::<Vec<_>>();
    let given: Vec<_> =
        [&group.given, &group.middle].into_iter().filter_map(|text| to_fhir_string(text)).collect();
    Some(HumanName {
        text: Some(display_text(group, representation)?),
        family: to_fhir_string(&group.family),
        given,
        prefix: list(&group.prefix),
        suffix: list(&group.suffix),
        ..HumanName::default()
    })
}

/// Returns a name as display text; `None` if it is empty.
pub(super) fn display(name: &PersonName) -> Option<String> {
    representations(name).find_map(|(group, representation)| display_text(group, representation))
}

/// Joins the components: prefix, given, middle, family, suffix; in ideographic and syllabic names the family name precedes the
/// given name.
fn display_text(group: &ComponentGroup, representation: &str) -> Option<String> {
    let order = match representation {
        "ABC" => [&group.prefix, &group.given, &group.middle, &group.family, &group.suffix],
        _ => [&group.prefix, &group.family, &group.given, &group.middle, &group.suffix],
    };
    let components: Vec<_> = order.into_iter().filter_map(|text| to_fhir_string(text)).collect();
    (!components.is_empty()).then(|| components.join(" "))
}
