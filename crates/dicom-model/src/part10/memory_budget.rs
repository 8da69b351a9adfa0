//! Counts the memory that is derived from an object, before it is allocated. This module does not know what the memory contains.

use super::ReadError;

/// The memory that may still be allocated.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    used: usize,
}

impl MemoryBudget {
    /// Creates a budget of `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Returns the number of bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Returns the number of bytes that may still be used.
    pub(super) fn remaining(&self) -> usize {
        self.limit - self.used
    }

    /// Takes `size` bytes; an error if fewer remain.
    pub(super) fn take(&mut self, size: usize) -> Result<(), ReadError> {
        if size > self.remaining() {
            return Err(ReadError::TooLarge);
        }
        self.used += size;
        Ok(())
    }

    /// Appends `value` to `list`. When the list grows, its old and its new allocation are in use at the same time.
    pub(super) fn push<T>(&mut self, list: &mut Vec<T>, value: T) -> Result<(), ReadError> {
        if list.len() == list.capacity() {
            let old = list.capacity();
            let new = (2 * old).max(4);
            self.take(new.saturating_mul(size_of::<T>()))?;
            list.reserve_exact(new - old);
            self.used -= old * size_of::<T>();
        }
        list.push(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_as_long_as_its_old_and_its_new_allocation_fit() {
        let mut budget = MemoryBudget::new(100);
        let mut list: Vec<u64> = Vec::new();
        let pushed = (0..100).take_while(|number| budget.push(&mut list, *number).is_ok()).count();
        // 32 and 64 bytes fit together, 64 and 128 do not.
        assert_eq!((pushed, list.capacity(), budget.used(), budget.remaining()), (8, 8, 64, 36));
        assert!(budget.take(37).is_err() && budget.take(36).is_ok());
    }
}
