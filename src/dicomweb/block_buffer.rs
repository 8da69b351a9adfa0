//! Bytes that are collected in blocks, because a buffer that grows leaves ever larger allocations behind, which the allocator keeps
//! for some time. This module does not limit the size: the caller does.

use bytes::Bytes;

/// Capacity of the first block in bytes. Most collections are smaller.
const FIRST_BLOCK_SIZE: usize = 64 * 1024;

/// Maximum capacity of a block in bytes.
const MAX_BLOCK_SIZE: usize = 1024 * 1024;

/// Collected bytes.
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    blocks: Vec<Vec<u8>>,
    size: usize,
}

impl BlockBuffer {
    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        self.size
    }

    /// Appends `bytes`. Each block doubles the capacity, up to the maximum capacity of a block.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.blocks.last().map_or(0, |block| block.capacity() - block.len());
            let (appended, rest) = bytes.split_at(bytes.len().min(space));
            match self.blocks.last_mut() {
                Some(block) if space > 0 => block.extend_from_slice(appended),
                _ => self.blocks.push(Vec::with_capacity(self.size.clamp(FIRST_BLOCK_SIZE, MAX_BLOCK_SIZE))),
            }
            self.size += appended.len();
            bytes = rest;
        }
    }

    /// Returns all bytes. If there are several blocks, they are in memory twice meanwhile.
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.blocks.len() == 1 {
            return self.blocks.remove(0).into();
        }
        self.blocks.concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_unchanged_and_the_capacity_is_at_most_one_block_larger() {
        for chunk_size in [1, 1000, 300_000, 3_000_000] {
            let chunk: Vec<u8> = (0..=u8::MAX).cycle().take(chunk_size).collect();
            let (mut buffer, mut expected) = (BlockBuffer::default(), Vec::new());
            assert!(std::mem::take(&mut buffer).into_bytes().is_empty());
            for _ in 0..20 {
                buffer.append(&chunk);
                expected.extend_from_slice(&chunk);
                let capacity: usize = buffer.blocks.iter().map(Vec::capacity).sum();
                assert!(capacity <= (2 * expected.len()).max(FIRST_BLOCK_SIZE));
                assert!(capacity <= expected.len() + MAX_BLOCK_SIZE);
                assert_eq!(buffer.len(), expected.len());
            }
            assert!(buffer.into_bytes() == expected, "{chunk_size}");
        }
    }
}
