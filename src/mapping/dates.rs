//! Maps dates and times (PS3.5 6.2) to FHIR dateTimes (R4 datatypes#dateTime).
//!
//! FHIR requires an offset from UTC with every time. The offset is read from the object (0008,0201), otherwise computed from the
//! configured time zone of the archive, with daylight saving time. Without an offset, only the date is mapped.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::MappingContext;
use dicom_model::{Attributes, DicomDate, DicomTime, SecondFraction, Tag, UtcOffset, tags};

/// Maps `date` and `time` of `attributes`. If `attributes` has no offset from UTC, that of `study` is used, because the devices
/// of one study have the same offset.
pub(super) fn date_time(
    context: &MappingContext,
    study: &Attributes,
    attributes: &Attributes,
    (date, time): (Tag, Tag),
) -> Option<String> {
    let day = day(attributes, date)?;
    let date_time = || {
        let time = attributes.text(time).and_then(DicomTime::parse)?;
        // FHIR does not allow an hour without minutes, and missing minutes are not invented.
        let minute = time.minute?;
        let second = time.second.unwrap_or(0);
        let microsecond = time.fraction.map_or(0, SecondFraction::microseconds);
        let nanosecond = i32::try_from(microsecond).ok()?.checked_mul(1000)?;
        let civil =
            DateTime::new(day.year(), day.month(), day.day(), time.hour, minute, second, nanosecond).ok()?;
        let offset = offset(context, [attributes, study], civil)?;
        Some(format!("{}{}", format_date_time(civil, time.fraction), format_offset(offset)))
    };
    Some(date_time().unwrap_or_else(|| day.to_string()))
}

/// Reads the date in `tag`. FHIR has no year 0 (R4 datatypes#date).
pub(super) fn day(attributes: &Attributes, tag: Tag) -> Option<Date> {
    attributes.text(tag).and_then(DicomDate::parse).map(DicomDate::civil).filter(|day| day.year() > 0)
}

fn offset(context: &MappingContext, sources: [&Attributes; 2], civil: DateTime) -> Option<Offset> {
    let text = sources.into_iter().find_map(|source| source.text(tags::TIMEZONE_OFFSET_FROM_UTC));
    if let Some(offset) = text.and_then(UtcOffset::parse) {
        return Offset::from_seconds(i32::from(offset.minutes()) * 60).ok();
    }
    let zone: &TimeZone = context.time_zone.as_ref()?;
    // When the clocks change, one hour occurs twice or is skipped, so its offset is not certain.
    let offset =
        zone.to_ambiguous_timestamp(civil).unambiguous().ok().map(|instant| zone.to_offset(instant))?;
    // Offsets of local mean time, before time zones were standardized, have seconds, which FHIR cannot express.
    (offset.seconds() % 60 == 0).then_some(offset)
}

/// Writes a dateTime without its offset. FHIR requires seconds; the fraction keeps the digits of the object, which
/// express its precision.
fn format_date_time(civil: DateTime, fraction: Option<SecondFraction>) -> String {
    let base = format!("{}T{:02}:{:02}:{:02}", civil.date(), civil.hour(), civil.minute(), civil.second());
    fraction.map_or_else(|| base.clone(), |fraction| format!("{base}.{fraction}"))
}

fn format_offset(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    if minutes == 0 {
        return "Z".to_owned();
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}
