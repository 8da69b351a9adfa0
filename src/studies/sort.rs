//! The order of matches (R4 search#sort): by the requested keys, then by id, so that the order is the same for every page.

use std::cmp::Ordering;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::search::Cursor;
use fhir_r4::date::FhirDate;
use fhir_r4::search::{Direction, Searched, SortKey, Value, normalize};

/// Characters of a text that order matches; further ones count as equal. DICOM's sortable values are 64 characters long at most
/// (PS3.5 table 6.2-1), and cursors hold them, so that an archive's longer text may not make a link too long.
const MAX_SORT_TEXT_LEN: usize = 128;

/// A value by which matches are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum SortValue {
    /// The first moment of a date, in nanoseconds since 1970.
    Moment(i128),
    /// A code, a reference, or a text normalized as for search.
    Text(String),
}

/// The position of a match in the order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortPosition {
    values: Vec<Option<SortValue>>,
    id: String,
}

impl SortPosition {
    /// The position of `resource` by `keys`. Dates without a zone are read in `zone`.
    pub fn from_resource<R: Searched>(keys: &[SortKey<R>], resource: &R, zone: &TimeZone) -> Self {
        let values = keys.iter().map(|key| sort_value(key, resource, zone)).collect();
        Self { values, id: resource.id().to_owned() }
    }

    /// The same position, where ids alone are not unique: `name` contains the type, too.
    #[must_use]
    pub fn under(self, name: String) -> Self {
        Self { id: name, ..self }
    }

    /// Compares two positions by the same keys, which have these directions. A match without a value comes last in either
    /// direction.
    pub(super) fn compare(&self, other: &Self, directions: &[Direction]) -> Ordering {
        let pairs = directions.iter().zip(self.values.iter().zip(&other.values));
        let by_keys = pairs.map(|(direction, pair)| match (direction, pair) {
            (Direction::Descending, (Some(one), Some(other))) => other.cmp(one),
            (Direction::Ascending, (Some(one), Some(other))) => one.cmp(other),
            (_, (one, other)) => other.is_some().cmp(&one.is_some()),
        });
        by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| self.id.cmp(&other.id))
    }
}

/// One page of a list that is completely known.
#[derive(Debug)]
pub struct PageSlice<T> {
    /// The matches on the page.
    pub items: Vec<T>,
    /// The number of matches on all pages.
    pub total: usize,
    /// The previous page.
    pub previous: Option<Cursor>,
    /// The next page.
    pub next: Option<Cursor>,
}

/// Sorts `items`, by keys with these directions, and cuts a page of at most `count` from them.
pub fn paginate<T>(
    mut items: Vec<(SortPosition, T)>,
    directions: &[Direction],
    cursor: Option<&Cursor>,
    count: usize,
) -> PageSlice<T> {
    items.sort_by(|(one, _), (other, _)| one.compare(other, directions));
    let total = items.len();
    let (begin, end) = match cursor {
        None | Some(Cursor::At(_)) => (0, count.min(total)),
        Some(Cursor::After(last)) => {
            let begin = items.partition_point(|(position, _)| position.compare(last, directions).is_le());
            (begin, begin.saturating_add(count).min(total))
        }
        Some(Cursor::Before(first)) => {
            let end = items.partition_point(|(position, _)| position.compare(first, directions).is_lt());
            (end.saturating_sub(count), end)
        }
    };
    let position_at = |index: usize| items.get(index).map(|(position, _)| position.clone());
    let is_empty = begin == end;
    let previous = position_at(begin).filter(|_| begin > 0 && !is_empty).map(Cursor::Before);
    let last = end.checked_sub(1).and_then(position_at);
    let next = last.filter(|_| end < total && !is_empty).map(Cursor::After);
    let items = items.into_iter().skip(begin).take(end - begin).map(|(_, item)| item).collect();
    PageSlice { items, total, previous, next }
}

/// Of several values, the one that comes first in the order (R4 search#sort).
fn sort_value<R: Searched>(key: &SortKey<R>, resource: &R, zone: &TimeZone) -> Option<SortValue> {
    let mut first: Option<SortValue> = None;
    (key.parameter().values)(resource, &mut |value| {
        let Some(value) = comparable(&value, zone) else { return };
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

fn comparable(value: &Value<'_>, zone: &TimeZone) -> Option<SortValue> {
    match value {
        Value::Date(text) => {
            FhirDate::parse(text).map(|date| SortValue::Moment(date.first_moment(zone).as_nanosecond()))
        }
        Value::Text(text) | Value::Words(text) => Some(sort_text(&normalize(text))),
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
    use fhir_r4::search::{Context, Handling, Search};
    use fhir_r4::types::{HumanName, Patient};

    fn patient(id: &str, born: Option<&str>, families: &[&str]) -> Patient {
        let name = |family: &&str| HumanName { family: Some((*family).to_owned()), ..HumanName::default() };
        Patient {
            id: id.to_owned(),
            birth_date: born.map(str::to_owned),
            name: families.iter().map(name).collect(),
            ..Patient::default()
        }
    }

    /// The ids of the patients as `_sort` orders them.
    fn ordered(sort: &str, patients: &[Patient]) -> Vec<String> {
        let context = Context {
            base: "http://h/fhir",
            handling: Handling::Strict,
            default_count: 50,
            max_count: 200,
            is_uid: |_| false,
        };
        let pairs = [("_sort".to_owned(), sort.to_owned())];
        let keys = Search::<Patient>::parse(&pairs, &context).unwrap().sort;
        let directions: Vec<_> = keys.iter().map(SortKey::direction).collect();
        let position = |patient: &Patient| SortPosition::from_resource(&keys, patient, &TimeZone::UTC);
        let mut positions: Vec<_> = patients.iter().map(position).collect();
        positions.sort_by(|one, other| one.compare(other, &directions));
        positions.into_iter().map(|position| position.id).collect()
    }

    #[test]
    fn a_match_without_a_value_comes_last_and_equal_ones_are_sorted_by_id() {
        let patients = [
            patient("d", None, &[]),
            patient("c", Some("1970"), &[]),
            patient("b", Some("1980-05"), &[]),
            patient("a", Some("1970-01-01"), &[]),
        ];
        assert_eq!(ordered("birthdate", &patients), ["a", "c", "b", "d"]);
        assert_eq!(ordered("-birthdate", &patients), ["b", "a", "c", "d"]);
    }

    #[test]
    fn the_first_of_several_values_in_the_order_counts() {
        let patients = [patient("a", None, &["Doe", "Zorn"]), patient("b", None, &["Ärzte"])];
        assert_eq!(ordered("family", &patients), ["b", "a"]);
        assert_eq!(ordered("-family", &patients), ["a", "b"]);
    }

    #[test]
    fn pages_hold_each_match_once_in_both_directions() {
        let items = |count: usize| {
            (0..count).map(|n| (SortPosition::default().under(format!("{n:03}")), n)).collect::<Vec<_>>()
        };
        for (total, count) in [(0, 3), (1, 3), (3, 3), (7, 3), (9, 1)] {
            let (mut cursor, mut seen, mut pages) = (None, Vec::new(), Vec::new());
            loop {
                let page = paginate(items(total), &[], cursor.as_ref(), count);
                assert_eq!(page.total, total);
                seen.extend(page.items.clone());
                pages.push(page.items);
                let Some(next) = page.next else { break };
                cursor = Some(next);
            }
            assert_eq!(seen, (0..total).collect::<Vec<_>>());
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
            ["a", "c", "d"].map(|name| (SortPosition::default().under(name.to_owned()), name)).to_vec();
        let cursor = Cursor::After(SortPosition::default().under("b".to_owned()));
        assert_eq!(paginate(items, &[], Some(&cursor), 2).items, ["c", "d"]);
    }

    #[test]
    fn a_later_key_orders_matches_with_equal_values() {
        let patients = [patient("a", Some("1970"), &["X"]), patient("b", Some("1970"), &["A"])];
        assert_eq!(ordered("birthdate,family", &patients), ["b", "a"]);
    }
}
