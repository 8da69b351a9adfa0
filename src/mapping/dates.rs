//! Dates and times (PS3.5 6.2) as FHIR dateTimes (R4 datatypes#dateTime).
//!
//! FHIR requires a time zone with every time. It is taken from the object (0008,0201), else from the archive's configuration,
//! with the daylight saving time of that day. Without either, only the date is certain.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::MappingContext;
use dicom_model::{Attributes, DicomDate, DicomTime, SecondFraction, Tag, UtcOffset, tags};

/// The moment in `date` and `time` of `attributes`. The offset from UTC may be in `study` instead, because it is the same for
/// everything that one machine wrote in a study.
pub(super) fn date_time(
    context: &MappingContext,
    study: &Attributes,
    attributes: &Attributes,
    (date, time): (Tag, Tag),
) -> Option<String> {
    let day = day(attributes, date)?;
    let timed = || {
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
    Some(timed().unwrap_or_else(|| day.to_string()))
}

/// The date in `tag`. FHIR has no year 0 (R4 datatypes#date).
pub(super) fn day(attributes: &Attributes, tag: Tag) -> Option<Date> {
    attributes.text(tag).and_then(DicomDate::parse).map(DicomDate::civil).filter(|day| day.year() > 0)
}

fn offset(context: &MappingContext, places: [&Attributes; 2], civil: DateTime) -> Option<Offset> {
    let named = places.into_iter().find_map(|place| place.text(tags::TIMEZONE_OFFSET_FROM_UTC));
    if let Some(offset) = named.and_then(UtcOffset::parse) {
        return Offset::from_seconds(i32::from(offset.minutes()) * 60).ok();
    }
    let zone: &TimeZone = context.time_zone.as_ref()?;
    // An hour that occurs twice, or not at all, when the clock changes has no certain offset.
    let offset =
        zone.to_ambiguous_timestamp(civil).unambiguous().ok().map(|moment| zone.to_offset(moment))?;
    // Before time zones were standardized, local mean time had offsets with seconds, which FHIR cannot express.
    (offset.seconds() % 60 == 0).then_some(offset)
}

/// FHIR requires seconds; a fraction is written with the digits of the object, because they are its precision.
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
