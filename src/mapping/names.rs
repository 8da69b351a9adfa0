//! Person names (PS3.5 6.2.1) as FHIR names (R4 datatypes#HumanName) and as words.

use crate::dicom::{NameGroup, PersonName};
use crate::fhir::types::{Extension, HumanName, NameUse, clean};

/// In which writing a name is (R4 extension iso21090-EN-representation).
const REPRESENTATION: &str = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";

/// One name for each writing; the alphabetic one is the usual one and, as long as it is alone, needs no mark.
pub(super) fn human_names(name: &PersonName) -> Vec<HumanName> {
    let groups = [(&name.alphabetic, "ABC"), (&name.ideographic, "IDE"), (&name.phonetic, "SYL")];
    let alone = name.ideographic.is_none() && name.phonetic.is_none();
    groups
        .into_iter()
        .filter_map(|(group, writing)| Some((group.as_ref()?, writing)))
        .filter_map(|(group, writing)| {
            let mut human = human_name(group)?;
            if writing == "ABC" {
                human.usage = Some(NameUse::Usual);
            }
            if !(writing == "ABC" && alone) {
                human.extension.push(Extension::code(REPRESENTATION, writing));
            }
            Some(human)
        })
        .collect()
}

fn human_name(group: &NameGroup) -> Option<HumanName> {
    let several = |text: &str| clean(text).into_iter().collect::<Vec<_>>();
    let given: Vec<_> = [&group.given, &group.middle].into_iter().filter_map(|text| clean(text)).collect();
    Some(HumanName {
        extension: Vec::new(),
        usage: None,
        text: Some(in_words(group)?),
        family: clean(&group.family),
        given,
        prefix: several(&group.prefix),
        suffix: several(&group.suffix),
    })
}

/// A name as one would say it; `None` when there is nothing to say.
pub(super) fn display(name: &PersonName) -> Option<String> {
    name.groups().find_map(in_words)
}

/// Prefix, given, middle, family, suffix.
fn in_words(group: &NameGroup) -> Option<String> {
    let order = [&group.prefix, &group.given, &group.middle, &group.family, &group.suffix];
    let words: Vec<_> = order.into_iter().filter_map(|text| clean(text)).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
