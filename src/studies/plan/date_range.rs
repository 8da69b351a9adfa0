//! The days on which a match can have started, as a date range of QIDO-RS (PS3.4 C.2.2.2.5).

use jiff::civil::Date;

use crate::upstream::MatchValue;
use dicom_model::DicomDate;
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{Comparison, Criterion, ImagingStudyParam as Param};
use fhir_r4::types::ImagingStudy;

/// The last year in which objects may have dates in the format of ACR-NEMA, `1997.04.24` (PS3.5 table 6.2-1, note to DA): the
/// standards before DICOM remained in use for a few years after 1993.
const LAST_ACR_NEMA_YEAR: i16 = 2000;

/// A range of days. `None` means that there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::studies) struct DateRange {
    /// The first day of the range.
    pub(in crate::studies) first: Option<DicomDate>,
    /// The last day of the range.
    pub(in crate::studies) last: Option<DicomDate>,
}

impl DateRange {
    /// Returns the range in which every match of `criteria` started.
    pub(super) fn from_criteria(criteria: &[Criterion<ImagingStudy>]) -> Self {
        let mut range = Self::default();
        for criterion in criteria {
            let Comparison::Date(alternatives) = &criterion.comparison else { continue };
            if criterion.parameter.key != Param::Started {
                continue;
            }
            range = range.intersection(Self::from_alternatives(alternatives));
        }
        range
    }

    /// Returns the range in which every match of any of the alternatives started.
    fn from_alternatives(alternatives: &[(Prefix, FhirDate)]) -> Self {
        let bounds_of = |(prefix, date): &(Prefix, FhirDate)| {
            let (first, last) = date.day_bounds();
            match prefix {
                Prefix::Equal => (Some(first), Some(last)),
                Prefix::Greater | Prefix::GreaterOrEqual | Prefix::StartsAfter => (Some(first), None),
                Prefix::Less | Prefix::LessOrEqual | Prefix::EndsBefore => (None, Some(last)),
                Prefix::NotEqual | Prefix::Approximately => (None, None),
            }
        };
        let mut ranges = alternatives.iter().map(bounds_of);
        let Some((mut earliest, mut latest)) = ranges.next() else { return Self::default() };
        for (first, last) in ranges {
            earliest = earliest.zip(first).map(|(one, other)| one.min(other));
            latest = latest.zip(last).map(|(one, other)| one.max(other));
        }
        Self { first: earliest.map(Into::into), last: latest.map(Into::into) }
    }

    /// Whether the range contains no day.
    pub(in crate::studies) fn is_empty(self) -> bool {
        self.first.zip(self.last).is_some_and(|(first, last)| first > last)
    }

    /// Extends the range to the dates of its first year in the format of ACR-NEMA. Archives compare dates as text, and as text
    /// these dates are between the last day of the previous year and the first day of the year.
    pub(super) fn extended_to_dotted_dates(self) -> Self {
        let extend = |first: DicomDate| {
            let year = first.civil().year();
            let is_extended = (2..=LAST_ACR_NEMA_YEAR).contains(&year);
            let day_before_year = Date::new(year - 1, 12, 31).ok().filter(|_| is_extended);
            day_before_year.map_or(first, DicomDate::from)
        };
        Self { first: self.first.map(extend), ..self }
    }

    /// Returns the days that are in both ranges; an empty range if there are none.
    pub(in crate::studies) fn intersection(self, other: Self) -> Self {
        let last = match (self.last, other.last) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { first: self.first.max(other.first), last }
    }

    /// Returns a range of dates as text that contains the dates of the first year in the format of ACR-NEMA, if this range as text does
    /// not contain them.
    pub(in crate::studies) fn dotted_dates_of_first_year(self) -> Option<Self> {
        let new_year = |first: DicomDate| Date::new(first.civil().year(), 1, 1).ok().map(DicomDate::from);
        let extended = self.extended_to_dotted_dates();
        (extended != self).then(|| Self { first: extended.first, last: self.first.and_then(new_year) })
    }

    /// Whether this range as text contains the date if it has the format of ACR-NEMA.
    pub(in crate::studies) fn may_contain_dotted(self, date: DicomDate) -> bool {
        let year = date.civil().year();
        let is_in_first_year = |first: DicomDate| first.civil().year() <= year;
        let is_in_last_year = |last: DicomDate| year <= last.civil().year();
        year <= LAST_ACR_NEMA_YEAR
            && self.first.is_none_or(is_in_first_year)
            && self.last.is_none_or(is_in_last_year)
    }

    /// Whether the range contains the date.
    pub(in crate::studies) fn contains(self, date: DicomDate) -> bool {
        self.first.is_none_or(|first| first <= date) && self.last.is_none_or(|last| date <= last)
    }

    /// Returns the range as the value of a matching key; `None` if it has no bounds.
    pub(super) fn match_value(self) -> Option<MatchValue> {
        MatchValue::days(self.first, self.last)
    }
}
