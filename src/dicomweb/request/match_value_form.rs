//! Checks the form of the match values of dates, times and UIDs (PS3.18 8.3.4; PS3.4 C.2.2.2.1, C.2.2.2.2 and C.2.2.2.5; PS3.5 6.2),
//! because archives answer an invalid value with an error that does not name the parameter, or with an empty list.
//!
//! The values of other VRs are not checked, because they may contain any text.

use dicom_core::VR;

use crate::upstream::is_object_uid;
use dicom_model::{DicomDate, DicomTime, Tag, Uid, UidRule, tag};

/// The form of the match values of one VR.
struct Form {
    vr: VR,
    /// Describes the valid values.
    expected: &'static str,
    /// Whether the text is one value.
    is_value: fn(&str) -> bool,
    /// Whether a value may be a range.
    allows_ranges: bool,
}

const FORMS: [Form; 4] = [
    Form {
        vr: VR::DA,
        expected: "a date as YYYYMMDD, or a range of dates: YYYYMMDD-YYYYMMDD, YYYYMMDD- or -YYYYMMDD (PS3.4 C.2.2.2.5)",
        is_value: is_date,
        allows_ranges: true,
    },
    Form {
        vr: VR::TM,
        expected: "a time as HH, HHMM, HHMMSS or HHMMSS.FFFFFF, or a range of times: HHMM-HHMM, HHMM- or -HHMM (PS3.4 C.2.2.2.5)",
        is_value: is_time,
        allows_ranges: true,
    },
    Form {
        vr: VR::DT,
        expected: "a date and time as YYYYMMDDHHMMSS.FFFFFF&ZZXX, whose end may be omitted, or a range of two of them with a hyphen between, before or after (PS3.4 C.2.2.2.5)",
        is_value: is_date_time,
        allows_ranges: true,
    },
    Form {
        vr: VR::UI,
        expected: "a UID, or a list of UIDs with commas between them: numeric components separated by single dots, at most 64 characters (PS3.18 8.3.4.1, PS3.5 9.1)",
        is_value: Uid::is_legal,
        allows_ranges: false,
    },
];

/// The separators of several values.
const SEPARATORS: &[char] = &['\\'];

/// The separators of a list of UIDs.
const UID_SEPARATORS: &[char] = &['\\', ','];

/// Describes the valid values of `tag` that only the lenient rule accepts.
const EXPECTED_WITH_LENIENT_RULE: &str = "a UID, or a list of UIDs with commas between them: numeric components separated by single dots, at most 64 characters (PS3.18 8.3.4.1, PS3.5 9.1); if the archive has other UIDs, set lenient_uids = true for it in the configuration of the gateway";

/// Describes the valid values if `value` is not a valid match value of the attribute `tag` in archives with `uid_rule`.
/// Backslashes separate several values, and so do the commas of a list of UIDs. `*`, and `""` if `allows_empty_value` is set (PS3.4
/// C.2.2.2.7), are valid for every VR.
pub(super) fn expected_form(
    tag: Tag,
    value: &str,
    allows_empty_value: bool,
    uid_rule: UidRule,
) -> Option<&'static str> {
    let vr = tag::value_representation(tag)?;
    let is_uid = |rule: UidRule| value.split(UID_SEPARATORS).all(|item| rule.accepts(item.trim_matches(' ')));
    if is_object_uid(tag) && is_uid(UidRule::Lenient) {
        return (!is_uid(uid_rule)).then_some(EXPECTED_WITH_LENIENT_RULE);
    }
    expected_form_of(vr, value, allows_empty_value)
}

/// Describes the valid values if `value` is not a valid match value of an attribute with the value representation `vr`.
fn expected_form_of(vr: VR, value: &str, allows_empty_value: bool) -> Option<&'static str> {
    let form = FORMS.iter().find(|form| form.vr == vr)?;
    if value == "*" || (allows_empty_value && value == "\"\"") {
        return None;
    }
    let separators = if vr == VR::UI { UID_SEPARATORS } else { SEPARATORS };
    let is_valid = value
        .split(separators)
        .map(|item| item.trim_matches(' '))
        .all(|item| (form.is_value)(item) || (form.allows_ranges && is_range(item, form.is_value)));
    (!is_valid).then_some(form.expected)
}

/// Returns a valid value in the form that archives support: without the spaces around each item, which some archives would compare, and
/// with commas between UIDs (PS3.18 8.3.4.1). Values of other VRs are unchanged.
pub(super) fn in_supported_form(tag: Tag, value: &str) -> String {
    let vr = tag::value_representation(tag);
    if !FORMS.iter().any(|form| Some(form.vr) == vr) {
        return value.to_owned();
    }
    let (separators, separator) = if vr == Some(VR::UI) { (UID_SEPARATORS, ",") } else { (SEPARATORS, "\\") };
    let items: Vec<_> = value.split(separators).map(|item| item.trim_matches(' ')).collect();
    items.join(separator)
}

/// Whether the text is a range with at least one limit. The hyphen of a negative offset from UTC also occurs in the limits.
fn is_range(text: &str, is_value: fn(&str) -> bool) -> bool {
    let is_limit = |limit: &str| limit.is_empty() || is_value(limit);
    text.len() > 1
        && text.match_indices('-').any(|(index, _)| {
            let (first, last) = text.split_at(index);
            is_limit(first) && last.strip_prefix('-').is_some_and(is_limit)
        })
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && DicomDate::parse(text).is_some()
}

fn is_time(text: &str) -> bool {
    !text.contains([':', ' ']) && DicomTime::parse(text).is_some()
}

fn is_date_time(text: &str) -> bool {
    let date_time = match text.find(['+', '-']).map(|index| text.split_at(index)) {
        Some((date_time, offset)) => {
            if dicom_model::UtcOffset::parse(offset).is_none() {
                return false;
            }
            date_time
        }
        None => text,
    };
    let is_ascii_number = date_time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_ascii_number {
        return false;
    }
    let (date, time) = date_time.split_at(date_time.len().min(8));
    let date = match date.len() {
        4 => format!("{date}0101"),
        6 => format!("{date}01"),
        _ => date.to_owned(),
    };
    is_date(&date) && (time.is_empty() || is_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_model::tags;

    fn is_valid(vr: VR, value: &str) -> bool {
        expected_form_of(vr, value, false).is_none()
    }

    #[test]
    fn the_rule_of_the_archive_concerns_only_the_uids_of_objects() {
        let expected = |tag, value, rule| expected_form(tag, value, false, rule);
        for tag in [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID] {
            for value in ["ab-1", "1.2,ab-1", "1.2\\a_b", "1..2"] {
                assert_eq!(expected(tag, value, UidRule::Lenient), None, "{value}");
                let form = expected(tag, value, UidRule::Strict).unwrap();
                assert!(form.contains("lenient_uids = true"), "{value}");
            }
            for value in ["a*", "a b", "a,,b", "..", "a/b"] {
                assert!(expected(tag, value, UidRule::Lenient).is_some(), "{value}");
            }
            assert_eq!(expected(tag, "*", UidRule::Strict), None);
            assert_eq!(expected(tag, "1.2,1.3", UidRule::Strict), None);
        }
        let form = expected(tags::SOP_CLASS_UID, "ab-1", UidRule::Lenient).unwrap();
        assert!(!form.contains("lenient_uids"));
    }

    #[test]
    fn values_and_ranges_of_the_standard_are_valid() {
        for (vr, values) in [
            (
                VR::DA,
                &["20240131", "20240101-20240131", "20240101-", "-20240131", "*", "20240101\\20240131"][..],
            ),
            (
                VR::TM,
                &["10", "1015", "101530", "101530.5", "235960", "10-12", "1015-", "-101530.123456", "*"],
            ),
            (
                VR::DT,
                &[
                    "2024",
                    "202401",
                    "20240131101530.5+0100",
                    "20240131101530-0330",
                    "2024-2025",
                    "20240101-0100-20240131-0100",
                    "20240101-0100-",
                    "-20240131",
                    "*",
                ],
            ),
            (VR::UI, &["1.2.840", "1.2,1.3", "1.2\\1.3", "*"]),
            (VR::LO, &["anything", "2024-01-01"]),
        ] {
            for value in values {
                assert!(is_valid(vr, value), "{vr:?} {value}");
            }
        }
    }

    #[test]
    fn values_of_other_forms_are_invalid() {
        for (vr, values) in [
            (
                VR::DA,
                &[
                    "2024-01-01",
                    "20241301",
                    "20230229",
                    "2024",
                    "foo",
                    "2024*",
                    "-",
                    "20240101-20240131-",
                    "2024.01.31",
                ][..],
            ),
            (VR::TM, &["foo", "10:15", "1", "2500", "1060", "1015.5", "10*", "-", "\"\""]),
            (VR::DT, &["foo", "2024-01-01", "20241301", "2024013125", "20240131+9900", "-"]),
            (VR::UI, &["1.2.x", "1.2*", "1.2,,1.3", "1..2", "1.2 1.3", "1.2-1.3"]),
        ] {
            for value in values {
                assert!(!is_valid(vr, value), "{vr:?} {value}");
            }
        }
    }

    #[test]
    fn the_empty_value_is_valid_if_the_search_matches_it() {
        assert_eq!(expected_form_of(VR::DA, "\"\"", true), None);
        assert!(expected_form_of(VR::DA, "\"\"", false).is_some());
    }
}
