//! Splits an input into chunks in several ways. The bytes of the input determine the sizes, so an input always fails in the same way.

/// A cheap generator of pseudorandom numbers.
#[derive(Debug, Clone)]
pub struct RandomNumbers(u64);

impl RandomNumbers {
    /// Creates the generator whose seed is a hash of `data`.
    pub fn from_seed(data: &[u8]) -> Self {
        // FNV-1a; xorshift below must not start at 0.
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash | 1)
    }

    /// Returns the next number, which is below `limit`. `limit` must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// The maximum number of chunks of one byte. Most readers take time in proportion to the number of chunks and to the bytes that they
/// buffer for each chunk.
const MAX_ONE_BYTE_CHUNKS: usize = 256;

/// The maximum size in bytes of a long chunk.
const MAX_LONG_CHUNK: usize = 1500;

/// Splits `data` in several ways: into single bytes, into short chunks, into long chunks, and into two chunks. The content of a long
/// input determines which part is split into single bytes, so the fuzzer reaches every part with similar inputs.
pub fn split_in_several_ways(data: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut numbers = RandomNumbers::from_seed(data);
    let middle = numbers.below(data.len() + 1);
    let start = numbers.below(data.len().saturating_sub(MAX_ONE_BYTE_CHUNKS) + 1);
    let (before, rest) = data.split_at(start);
    let (window, after) = rest.split_at(rest.len().min(MAX_ONE_BYTE_CHUNKS));
    let mut single_bytes = split(before, MAX_LONG_CHUNK, &mut numbers);
    single_bytes.extend(window.chunks(1));
    single_bytes.extend(split(after, MAX_LONG_CHUNK, &mut numbers));
    vec![
        single_bytes,
        split(data, 24.max(data.len() / 128), &mut numbers),
        split(data, MAX_LONG_CHUNK, &mut numbers),
        vec![&data[..middle], &data[middle..]],
    ]
}

/// Splits `data` into chunks of 1 to `max_size` bytes.
fn split<'a>(mut data: &'a [u8], max_size: usize, numbers: &mut RandomNumbers) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    while !data.is_empty() {
        let (chunk, rest) = data.split_at((1 + numbers.below(max_size)).min(data.len()));
        chunks.push(chunk);
        data = rest;
    }
    chunks
}

/// A reader whose reads return the bytes of one chunk at most.
#[derive(Debug)]
pub struct ChunkReader<'a>(std::collections::VecDeque<&'a [u8]>);

impl<'a> ChunkReader<'a> {
    /// Creates a reader of `chunks`.
    pub fn new(chunks: Vec<&'a [u8]>) -> Self {
        Self(chunks.into())
    }
}

impl std::io::Read for ChunkReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(chunk) = self.0.front_mut() {
            if chunk.is_empty() {
                self.0.pop_front();
                continue;
            }
            let length = chunk.len().min(buffer.len());
            buffer[..length].copy_from_slice(&chunk[..length]);
            *chunk = &chunk[length..];
            return Ok(length);
        }
        Ok(0)
    }
}
