//! Dates and times (PS3.5 6.2) as FHIR dateTimes (R4 datatypes#dateTime).
//!
//! FHIR wants a zone with every time. It is the one that the object names (0008,0201), else the one that is configured for
//! the archive, with the daylight saving of that day; without either only the day is certain.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::MappingContext;
use dicom_model::{Attributes, DicomDate, DicomTime, Tag, UtcOffset, tags};

/// The moment under `date` and `time` of `attributes`; the offset from UTC may stand in `study` instead, as it is the same
/// for all that one machine wrote of it.
pub(super) fn date_time(
    context: &MappingContext,
    study: &Attributes,
    attributes: &Attributes,
    (date, time): (Tag, Tag),
) -> Option<String> {
    let day = day(attributes, date)?;
    let timed = || {
        let time = attributes.text(time).and_then(DicomTime::parse)?;
        // FHIR has no hour alone; what is not written is not made up.
        let minute = time.minute?;
        let second = time.second.unwrap_or(0);
        let nanosecond = i32::try_from(time.microsecond.unwrap_or(0)).ok()?.checked_mul(1000)?;
        let civil =
            DateTime::new(day.year(), day.month(), day.day(), time.hour, minute, second, nanosecond).ok()?;
        let offset = offset(context, [attributes, study], civil)?;
        Some(format!("{}{}", written(civil, time.microsecond), spelled(offset)))
    };
    Some(timed().unwrap_or_else(|| day.to_string()))
}

/// The day under `tag`. FHIR knows no year 0 (R4 datatypes#date).
pub(super) fn day(attributes: &Attributes, tag: Tag) -> Option<Date> {
    attributes.text(tag).and_then(DicomDate::parse).map(DicomDate::civil).filter(|day| day.year() > 0)
}

fn offset(context: &MappingContext, places: [&Attributes; 2], civil: DateTime) -> Option<Offset> {
    let named = places.into_iter().find_map(|place| place.text(tags::TIMEZONE_OFFSET_FROM_UTC));
    if let Some(offset) = named.and_then(UtcOffset::parse) {
        return Offset::from_seconds(i32::from(offset.minutes()) * 60).ok();
    }
    let zone: &TimeZone = context.time_zone.as_ref()?;
    // An hour that comes twice, or never, in the night of a change has no certain offset.
    let offset =
        zone.to_ambiguous_timestamp(civil).unambiguous().ok().map(|moment| zone.to_offset(moment))?;
    // Before zones were standardised, clocks went by the sun: offsets with seconds, which FHIR cannot write.
    (offset.seconds() % 60 == 0).then_some(offset)
}

/// FHIR requires seconds; a fraction is written when the object has one that says something.
fn written(civil: DateTime, microsecond: Option<u32>) -> String {
    let base = format!("{}T{:02}:{:02}:{:02}", civil.date(), civil.hour(), civil.minute(), civil.second());
    match microsecond.filter(|microsecond| *microsecond > 0) {
        Some(microsecond) => format!("{base}.{}", format!("{microsecond:06}").trim_end_matches('0')),
        None => base,
    }
}

fn spelled(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    if minutes == 0 {
        return "Z".to_owned();
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}
