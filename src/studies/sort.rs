//! Sorts matches (R4 search#sort) by the requested keys and then by id, so that the order is the same for every page.

use std::cmp::Ordering;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::search::Cursor;
use fhir_r4::date::FhirDate;
use fhir_r4::search::{Direction, Searchable, SortKey, Value, normalize};

/// Maximum number of characters of a text that are compared. The limit bounds the length of a cursor, which contains the text.
/// DICOM values by which matches are sorted have at most 64 characters (PS3.5 table 6.2-1).
const MAX_SORT_TEXT_LEN: usize = 128;

const NANOSECONDS_PER_DAY: i128 = 24 * 60 * 60 * 1_000_000_000;

/// A value by which matches are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum SortValue {
    /// The first instant of a date, in nanoseconds since 1970-01-01T00:00:00Z.
    Moment(i128),
    /// A code, a reference, a URI, or a text that is normalized as for searches.
    Text(String),
}

/// The position of a match in the sort order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortPosition {
    values: Vec<Option<SortValue>>,
    id: String,
}

impl SortPosition {
    /// Returns the position of `resource` in the order of `keys`. Dates without a time zone are interpreted in `zone`.
    pub fn from_resource<R: Searchable>(keys: &[SortKey<R>], resource: &R, zone: &TimeZone) -> Self {
        let values = keys.iter().map(|key| sort_value(key, resource, zone)).collect();
        Self { values, id: resource.id().to_owned() }
    }

    /// Returns the same position with another id, for lists of several resource types, whose ids alone are not unique.
    #[must_use]
    pub fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// Returns the day of UTC of the first value, as a number that counts from 1970-01-01; `None` if the match has no value, or if
    /// the first key is not a date.
    pub(super) fn day(&self) -> Option<i32> {
        match self.values.first() {
            Some(Some(SortValue::Moment(instant))) => {
                i32::try_from(instant.div_euclid(NANOSECONDS_PER_DAY)).ok()
            }
            _ => None,
        }
    }

    /// Compares two positions in the order of the same keys, which have `directions`. A match without a value comes last in both
    /// directions.
    pub(super) fn compare(&self, other: &Self, directions: &[Direction]) -> Ordering {
        let pairs = directions.iter().zip(self.values.iter().zip(&other.values));
        let by_keys = pairs.map(|(direction, pair)| match (direction, pair) {
            (Direction::Descending, (Some(left), Some(right))) => right.cmp(left),
            (Direction::Ascending, (Some(left), Some(right))) => left.cmp(right),
            (_, (left, right)) => right.is_some().cmp(&left.is_some()),
        });
        by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| self.id.cmp(&other.id))
    }
}

/// One page of a list of which all matches are known.
#[derive(Debug)]
pub struct PageSlice<T> {
    /// The matches on the page.
    pub items: Vec<T>,
    /// The number of matches on all pages.
    pub total: usize,
    /// The cursor of the previous page.
    pub previous: Option<Cursor>,
    /// The cursor of the next page.
    pub next: Option<Cursor>,
}

/// Sorts `items` by keys with `directions`, and selects a page of at most `count` items.
pub fn paginate<T>(
    mut items: Vec<(SortPosition, T)>,
    directions: &[Direction],
    cursor: Option<&Cursor>,
    count: usize,
) -> PageSlice<T> {
    items.sort_by(|(left, _), (right, _)| left.compare(right, directions));
    let total = items.len();
    let (start, end) = match cursor {
        None | Some(Cursor::At(_) | Cursor::InWindow(_)) => (0, count.min(total)),
        Some(Cursor::After(last)) => {
            let start = items.partition_point(|(position, _)| position.compare(last, directions).is_le());
            (start, start.saturating_add(count).min(total))
        }
        Some(Cursor::Before(first)) => {
            let end = items.partition_point(|(position, _)| position.compare(first, directions).is_lt());
            (end.saturating_sub(count), end)
        }
    };
    let position_at = |index: usize| items.get(index).map(|(position, _)| position.clone());
    let is_empty = start == end;
    let previous = position_at(start).filter(|_| start > 0 && !is_empty).map(Cursor::Before);
    let last = end.checked_sub(1).and_then(position_at);
    let next = last.filter(|_| end < total && !is_empty).map(Cursor::After);
    let items = items.into_iter().skip(start).take(end - start).map(|(_, item)| item).collect();
    PageSlice { items, total, previous, next }
}

/// Returns the value of a resource that comes first in the order, if there are several (R4 search#sort).
fn sort_value<R: Searchable>(key: &SortKey<R>, resource: &R, zone: &TimeZone) -> Option<SortValue> {
    let mut first: Option<SortValue> = None;
    (key.parameter().values)(resource, &mut |value| {
        let Some(value) = to_sort_value(&value, zone) else { return };
        let comes_first = first.as_ref().is_none_or(|first| match key.direction() {
            Direction::Ascending => value < *first,
            Direction::Descending => value >= *first,
        });
        if comes_first {
            first = Some(value);
        }
    });
    first
}

fn to_sort_value(value: &Value<'_>, zone: &TimeZone) -> Option<SortValue> {
    match value {
        Value::Date(text) => {
            FhirDate::parse(text).map(|date| SortValue::Moment(date.first_instant(zone).as_nanosecond()))
        }
        Value::Text(text) | Value::NamePart(text) => Some(sort_text(&normalize(text))),
        Value::Uri(text) | Value::Oid(text) => Some(sort_text(text)),
        Value::Token(token) => token.code.map(sort_text),
        Value::Reference(reference) => reference.reference.as_deref().map(sort_text),
    }
}

fn sort_text(text: &str) -> SortValue {
    SortValue::Text(text.chars().take(MAX_SORT_TEXT_LEN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir_r4::search::{Handling, ParseContext, Search};
    use fhir_r4::types::{HumanName, Patient};

    fn patient(id: &str, birth_date: Option<&str>, families: &[&str]) -> Patient {
        let name = |family: &&str| HumanName { family: Some((*family).to_owned()), ..HumanName::default() };
        Patient {
            id: id.to_owned(),
            birth_date: birth_date.map(str::to_owned),
            name: families.iter().map(name).collect(),
            ..Patient::default()
        }
    }

    /// Returns the ids of the patients in the order of `_sort`.
    fn sorted_ids(sort: &str, patients: &[Patient]) -> Vec<String> {
        let context = ParseContext {
            base: "http://h/fhir",
            handling: Handling::Strict,
            default_count: 50,
            max_count: 200,
            is_uid: |_| false,
            is_other_uid: |_| false,
        };
        let pairs = [("_sort".to_owned(), sort.to_owned())];
        let keys = Search::<Patient>::parse(&pairs, &context).unwrap().sort;
        let directions: Vec<_> = keys.iter().map(SortKey::direction).collect();
        let position = |patient: &Patient| SortPosition::from_resource(&keys, patient, &TimeZone::UTC);
        let mut positions: Vec<_> = patients.iter().map(position).collect();
        positions.sort_by(|left, right| left.compare(right, &directions));
        positions.into_iter().map(|position| position.id).collect()
    }

    #[test]
    fn a_match_without_a_value_comes_last_and_matches_with_equal_values_are_sorted_by_id() {
        let patients = [
            patient("d", None, &[]),
            patient("c", Some("1970"), &[]),
            patient("b", Some("1980-05"), &[]),
            patient("a", Some("1970-01-01"), &[]),
        ];
        assert_eq!(sorted_ids("birthdate", &patients), ["a", "c", "b", "d"]);
        assert_eq!(sorted_ids("-birthdate", &patients), ["b", "a", "c", "d"]);
    }

    #[test]
    fn the_value_that_comes_first_in_the_order_determines_the_position() {
        let patients = [patient("a", None, &["Doe", "Zorn"]), patient("b", None, &["Ärzte"])];
        assert_eq!(sorted_ids("family", &patients), ["b", "a"]);
        assert_eq!(sorted_ids("-family", &patients), ["a", "b"]);
    }

    #[test]
    fn the_opposite_direction_of_a_key_orders_matches_with_an_equal_last_value() {
        let patients = [patient("a", None, &["Doe", "Zorn"]), patient("b", None, &["Abel", "Zorn"])];
        assert_eq!(sorted_ids("-family,family", &patients), ["b", "a"]);
        assert_eq!(sorted_ids("-family,-family", &patients), ["a", "b"]);
    }

    #[test]
    fn pages_contain_each_match_once_in_both_directions() {
        let items = |count: usize| {
            (0..count).map(|n| (SortPosition::default().with_id(format!("{n:03}")), n)).collect::<Vec<_>>()
        };
        for (total, count) in [(0, 3), (1, 3), (3, 3), (7, 3), (9, 1)] {
            let (mut cursor, mut collected, mut pages) = (None, Vec::new(), Vec::new());
            loop {
                let page = paginate(items(total), &[], cursor.as_ref(), count);
                assert_eq!(page.total, total);
                collected.extend(page.items.clone());
                pages.push(page.items);
                let Some(next) = page.next else { break };
                cursor = Some(next);
            }
            assert_eq!(collected, (0..total).collect::<Vec<_>>());
            for expected in pages.iter().rev().skip(1) {
                let page = paginate(items(total), &[], cursor.as_ref(), count);
                cursor = page.previous;
                assert_eq!(&paginate(items(total), &[], cursor.as_ref(), count).items, expected);
            }
        }
    }

    #[test]
    fn a_page_continues_correctly_after_its_last_match_was_deleted() {
        let items =
            ["a", "c", "d"].map(|name| (SortPosition::default().with_id(name.to_owned()), name)).to_vec();
        let cursor = Cursor::After(SortPosition::default().with_id("b".to_owned()));
        assert_eq!(paginate(items, &[], Some(&cursor), 2).items, ["c", "d"]);
    }

    #[test]
    fn a_later_key_orders_matches_with_equal_values() {
        let patients = [patient("a", Some("1970"), &["X"]), patient("b", Some("1970"), &["A"])];
        assert_eq!(sorted_ids("birthdate,family", &patients), ["b", "a"]);
    }
}
