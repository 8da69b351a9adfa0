use super::*;
use crate::clock::ManualClock;

#[derive(Debug, PartialEq)]
struct Text(&'static str);

impl CacheEntry for Text {
    fn size(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug, PartialEq)]
struct Weight(usize);

impl CacheEntry for Weight {
    fn size(&self) -> usize {
        self.0
    }
}

fn cache(memory: u64) -> (Cache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Cache::new(memory, Duration::from_secs(30), Arc::clone(&clock) as SharedClock), clock)
}

fn key(text: &str) -> CacheKey {
    CacheKey::from_parts([text])
}

#[test]
fn one_limit_applies_to_the_entries_of_all_types_together() {
    let (cache, _) = cache(100_000);
    for number in 0..200 {
        cache.insert(key(&number.to_string()), Arc::new(Weight(5_000)));
        cache.insert(key(&number.to_string()), Arc::new(Text("text")));
    }
    let (entries, bytes) = cache.usage();
    assert!(bytes <= 100_000, "{bytes}");
    assert!(entries >= 10, "{entries}");
}

#[test]
fn the_size_of_an_entry_includes_its_key() {
    let (cache, _) = cache(100_000);
    cache.insert(key("1"), Arc::new(Weight(1_000)));
    let (_, bytes) = cache.usage();
    assert_eq!(bytes, (ENTRY_OVERHEAD + key("1").size() + 1_000) as u64);
    cache.remove::<Weight>(key("1"));
    assert_eq!(cache.usage(), (0, 0));
}

#[test]
fn a_key_finds_only_entries_of_the_requested_type() {
    let (cache, _) = cache(100_000);
    cache.insert(key("1"), Arc::new(Text("one")));
    assert_eq!(cache.get::<Text>(key("1")).as_deref(), Some(&Text("one")));
    assert!(cache.contains::<Text>(key("1")));
    assert!(!cache.contains::<Text>(key("2")));
    assert_eq!(cache.get::<Weight>(key("1")), None);
    cache.insert(key("1"), Arc::new(Weight(1)));
    cache.remove::<Weight>(key("1"));
    assert!(cache.get::<Text>(key("1")).is_some());
}

#[test]
fn an_entry_is_fresh_for_the_configured_time() {
    let (cache, clock) = cache(100_000);
    let checked_at = cache.elapsed();
    clock.advance(Duration::from_secs(29));
    assert!(cache.is_fresh(checked_at));
    clock.advance(Duration::from_secs(1));
    assert!(!cache.is_fresh(checked_at));
    assert_eq!(cache.age(checked_at), Duration::from_secs(30));
}

#[test]
fn debug_output_contains_neither_keys_nor_entries() {
    let (cache, _) = cache(100_000);
    cache.insert(key("PatientID=P1"), Arc::new(Text("Doe")));
    let text = format!("{cache:?}");
    assert!(!text.contains("P1") && !text.contains("Doe"), "{text}");
}
