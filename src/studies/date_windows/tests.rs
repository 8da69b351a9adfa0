use super::*;
use proptest::prelude::*;

use WalkDirection::{TowardsFuture, TowardsPast};

const TODAY: i32 = 20_000;

/// Walks over the windows like a reader that reads at most `limit` rows at once. Returns the days of the studies in the order of the walk;
/// `Err` with the day that has too many.
fn walk(mut windows: DateWalk, days: &[i32], limit: usize) -> Result<Vec<i32>, i32> {
    let mut read: Vec<i32> = Vec::new();
    let mut previous: Option<DayWindow> = None;
    for _ in 0..100_000 {
        let Some(window) = windows.window() else { return Ok(read) };
        let mut found: Vec<i32> = days.iter().copied().filter(|day| window.contains(*day)).collect();
        if found.len() > limit {
            found.truncate(limit + 1);
            if !windows.narrow(found) {
                return Err(window.last.unwrap());
            }
            continue;
        }
        if let Some(previous) = previous {
            let (earlier, later) =
                if windows.direction == TowardsPast { (window, previous) } else { (previous, window) };
            assert_eq!(earlier.last.map(|day| day + 1), later.first, "the windows have a gap or overlap");
        }
        found.sort_unstable();
        if windows.direction == TowardsPast {
            found.reverse();
        }
        windows.advance(found.len(), limit / 2 + 1);
        read.extend(found);
        previous = Some(window);
    }
    panic!("the walk does not end");
}

fn sorted(mut days: Vec<i32>, direction: WalkDirection) -> Vec<i32> {
    days.sort_unstable();
    if direction == TowardsPast {
        days.reverse();
    }
    days
}

fn day(text: &str) -> i32 {
    day_number(text.parse().unwrap())
}

#[test]
fn a_walk_without_bounds_begins_today_and_reaches_every_date() {
    let mut windows = DateWalk::start(TowardsPast, DayWindow::default(), TODAY);
    let mut read = Vec::new();
    while let Some(window) = windows.window() {
        read.push((window.first, window.last));
        windows.advance(10, 20);
    }
    assert_eq!(
        read[..4],
        [
            (Some(TODAY), None),
            (Some(TODAY - 2), Some(TODAY - 1)),
            (Some(TODAY - 6), Some(TODAY - 3)),
            (Some(TODAY - 14), Some(TODAY - 7)),
        ]
    );
    assert_eq!(read.last().unwrap().0, None);
    assert!(read.len() < 20, "{read:?}");
}

#[test]
fn windows_of_empty_days_grow_quickly() {
    let mut windows = DateWalk::start(TowardsPast, DayWindow::default(), TODAY);
    let mut count = 0;
    while windows.window().is_some() {
        windows.advance(0, 500);
        count += 1;
    }
    assert!(count <= 6, "{count}");
}

#[test]
fn a_window_is_narrowed_to_the_days_that_come_first_down_to_one_day() {
    let mut windows = DateWalk::start(TowardsPast, DayWindow::default(), TODAY);
    windows.advance(0, 500);
    assert_eq!(windows.window(), Some(DayWindow { first: Some(TODAY - 16), last: Some(TODAY - 1) }));
    assert!(windows.narrow(Vec::new()));
    assert_eq!(windows.window(), Some(DayWindow { first: Some(TODAY - 8), last: Some(TODAY - 1) }));
    assert!(windows.narrow(vec![TODAY - 8, TODAY - 2, TODAY - 2]));
    assert_eq!(windows.window(), Some(DayWindow { first: Some(TODAY - 2), last: Some(TODAY - 1) }));
    assert!(windows.narrow(vec![TODAY - 2]));
    assert_eq!(windows.window(), Some(DayWindow::of_day(TODAY - 1)));
    assert!(!windows.narrow(vec![TODAY - 1]));
}

#[test]
fn the_dates_of_a_window_have_a_margin_of_one_day() {
    let text = |first: Option<&str>, last: Option<&str>| {
        let range = DayWindow { first: first.map(day), last: last.map(day) }.dates();
        (range.first.map(|date| date.to_string()), range.last.map(|date| date.to_string()))
    };
    let dates = |first: &str, last: &str| (Some(first.to_owned()), Some(last.to_owned()));
    assert_eq!(text(Some("2024-03-01"), Some("2024-03-31")), dates("20240229", "20240401"));
    assert_eq!(text(Some("2024-03-01"), None), (Some("20240229".to_owned()), None));
    assert_eq!(text(None, Some("2024-03-01")), (None, Some("20240302".to_owned())));
    assert_eq!(text(Some("0001-01-01"), Some("9999-12-31")), (None, None));
}

#[test]
fn the_bounds_of_a_walk_have_a_margin_of_one_day() {
    let date = |text: &str| Some(text.parse::<Date>().unwrap().into());
    let range = DateRange { first: date("2015-01-01"), last: date("2015-12-31") };
    for (direction, first_window) in
        [(TowardsPast, ("2015-12-31", "2016-01-01")), (TowardsFuture, ("2014-12-31", "2015-01-02"))]
    {
        let mut windows = DateWalk::start(direction, DayWindow::around(range), TODAY);
        let window = windows.window().unwrap();
        let (first, last) = first_window;
        let expected = DayWindow { first: Some(day(first)), last: Some(day(last)) };
        if direction == TowardsPast {
            assert_eq!(window, expected);
        } else {
            assert_eq!(window.first, expected.first);
        }
        let (mut earliest, mut latest) = (window.first.unwrap(), window.last.unwrap());
        while let Some(window) = windows.window() {
            (earliest, latest) = (earliest.min(window.first.unwrap()), latest.max(window.last.unwrap()));
            windows.advance(0, 500);
        }
        assert_eq!((earliest, latest), (day("2014-12-31"), day("2016-01-01")));
    }
}

#[test]
fn a_hundred_thousand_studies_of_one_day_are_reported_as_that_day() {
    let dense = TODAY - 700;
    let mut days = vec![dense; 100_000];
    days.extend((TODAY - 1000..TODAY).chain([day("0001-01-01"), day("9999-12-31")]));
    for direction in [TowardsPast, TowardsFuture] {
        let windows = DateWalk::start(direction, DayWindow::default(), TODAY);
        assert_eq!(walk(windows, &days, 500), Err(dense), "{direction:?}");
    }
}

#[test]
fn the_first_window_of_a_large_archive_is_found_in_few_attempts() {
    // 2,000,000 studies of ten years, of which a reader sees 500 before it knows that there are too many.
    let days_of = |window: DayWindow| {
        let (first, last) = (window.first.unwrap_or(i32::MIN), window.last.unwrap_or(i32::MAX));
        (first.max(TODAY - 3650), last.min(TODAY))
    };
    for direction in [TowardsPast, TowardsFuture] {
        for newest_rows_first in [false, true] {
            let mut windows = DateWalk::start(direction, DayWindow::default(), TODAY);
            let mut attempts = 0;
            loop {
                attempts += 1;
                let (first, last) = days_of(windows.window().unwrap());
                let count = (last - first + 1).max(0) * 548;
                if count > 0 && count <= 5000 {
                    break;
                }
                if count == 0 {
                    windows.advance(0, 500);
                } else {
                    let day_of_row = |row: i32| {
                        if newest_rows_first { last - row / 548 } else { first + row * (last - first) / 500 }
                    };
                    assert!(windows.narrow((0..500).map(day_of_row).collect()));
                }
            }
            let is_adverse = newest_rows_first && direction == TowardsFuture;
            assert!(
                attempts <= if is_adverse { 20 } else { 4 },
                "{direction:?}, {newest_rows_first}: {attempts}"
            );
        }
    }
}

fn any_day() -> impl Strategy<Value = i32> {
    prop_oneof![
        8 => TODAY - 4000..TODAY + 2,
        2 => TODAY - 20..TODAY,
        1 => Just(day("0001-01-01") - 1),
        1 => Just(day("0001-01-01")),
        1 => Just(day("1899-12-31")),
        1 => Just(day("9999-12-30")),
        1 => day("1950-01-01")..TODAY + 40_000,
    ]
}

proptest! {
    #[test]
    fn a_walk_reads_every_study_once_in_order_or_finds_a_day_with_too_many(
        days in prop::collection::vec(any_day(), 0..300),
        dense in any_day(),
        copies in 0_usize..30,
        limit in 1_usize..40,
        today in prop_oneof![Just(TODAY), Just(0), Just(day("9999-12-31"))],
        is_towards_past: bool,
    ) {
        let direction = if is_towards_past { TowardsPast } else { TowardsFuture };
        let mut all = days;
        all.extend(std::iter::repeat_n(dense, copies));
        let result = walk(DateWalk::start(direction, DayWindow::default(), today), &all, limit);
        let count_of = |day: i32| all.iter().filter(|other| **other == day).count();
        match result {
            Ok(read) => prop_assert_eq!(read, sorted(all, direction)),
            Err(day) => prop_assert!(count_of(day) > limit || day <= self::day("0001-01-01")),
        }
    }

    #[test]
    fn a_walk_between_bounds_reads_the_studies_between_them(
        days in prop::collection::vec(TODAY - 300..TODAY + 300, 0..100),
        first in prop::option::of(TODAY - 350..TODAY + 350),
        length in prop::option::of(0..400),
        is_towards_past: bool,
    ) {
        let direction = if is_towards_past { TowardsPast } else { TowardsFuture };
        let date = |day: i32| date_of(day).into();
        let last = length.map(|length| first.unwrap_or(TODAY) + length);
        let range = DateRange { first: first.map(date), last: last.map(date) };
        let bounds = DayWindow::around(range);
        let between: Vec<i32> = days.iter().copied().filter(|day| bounds.contains(*day)).collect();
        prop_assert_eq!(walk(DateWalk::start(direction, bounds, TODAY), &days, 100), Ok(sorted(between, direction)));
    }

    #[test]
    fn a_walk_continues_from_any_of_its_windows(
        days in prop::collection::vec(any_day(), 0..100),
        cut in 0_usize..10,
        is_towards_past: bool,
    ) {
        let direction = if is_towards_past { TowardsPast } else { TowardsFuture };
        let mut windows = DateWalk::start(direction, DayWindow::default(), TODAY);
        let mut read = Vec::new();
        for _ in 0..cut {
            let Some(window) = windows.window() else { break };
            read.extend(sorted(days.iter().copied().filter(|day| window.contains(*day)).collect(), direction));
            windows.advance(1, 2);
        }
        if let Some(window) = windows.window() {
            let rest = DateWalk::resume(direction, DayWindow::default(), TODAY, window);
            read.extend(walk(rest, &days, 1000).unwrap());
        }
        prop_assert_eq!(read, sorted(days, direction));
    }
}
