//! Person names (PS3.5 6.2.1) as FHIR names (R4 datatypes#HumanName) and as words.

use dicom_model::{NameGroup, PersonName};
use fhir_r4::types::{Extension, HumanName, clean};

/// In which writing a name is (R4 extension iso21090-EN-representation).
const REPRESENTATION: &str = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";

/// One name for each writing; the alphabetic one is the usual one and, as long as it is alone, needs no mark.
pub(super) fn human_names(name: &PersonName) -> Vec<HumanName> {
    let alone = name.ideographic.is_none() && name.phonetic.is_none();
    writings(name)
        .filter_map(|(group, writing)| {
            let mut human = human_name(group, writing)?;
            if writing == "ABC" {
                human.usage = Some("usual".into());
            }
            if !(writing == "ABC" && alone) {
                human.element.extend(Extension::code(REPRESENTATION, writing));
            }
            Some(human)
        })
        .collect()
}

/// The groups that are there, each with its code in the extension: alphabetic, ideographic, syllabic.
fn writings(name: &PersonName) -> impl Iterator<Item = (&NameGroup, &'static str)> {
    [(&name.alphabetic, "ABC"), (&name.ideographic, "IDE"), (&name.phonetic, "SYL")]
        .into_iter()
        .filter_map(|(group, writing)| Some((group.as_ref()?, writing)))
}

fn human_name(group: &NameGroup, writing: &str) -> Option<HumanName> {
    let several = |text: &str| clean(text).into_iter().collect::<Vec<_>>();
    let given: Vec<_> = [&group.given, &group.middle].into_iter().filter_map(|text| clean(text)).collect();
    Some(HumanName {
        text: Some(in_words(group, writing)?),
        family: clean(&group.family),
        given,
        prefix: several(&group.prefix),
        suffix: several(&group.suffix),
        ..HumanName::default()
    })
}

/// A name as one would say it; `None` when there is nothing to say.
pub(super) fn display(name: &PersonName) -> Option<String> {
    writings(name).find_map(|(group, writing)| in_words(group, writing))
}

/// Prefix, given, middle, family, suffix; where names are written in ideographs or syllables, the family comes first.
fn in_words(group: &NameGroup, writing: &str) -> Option<String> {
    let order = match writing {
        "ABC" => [&group.prefix, &group.given, &group.middle, &group.family, &group.suffix],
        _ => [&group.prefix, &group.family, &group.given, &group.middle, &group.suffix],
    };
    let words: Vec<_> = order.into_iter().filter_map(|text| clean(text)).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
