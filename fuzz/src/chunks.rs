//! Ways to cut an input into chunks. They follow from the bytes of the input, so that an input always fails in the same way.

/// A cheap sequence of numbers that looks random.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence that goes with `data`.
    pub fn of(data: &[u8]) -> Self {
        // FNV-1a; xorshift below must not start at 0.
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash | 1)
    }

    /// The next number, below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// Of a longer input, this many bytes are cut into single ones; most readers take time in proportion to the number of chunks, and to
/// what they hold back for each.
const SINGLE: usize = 256;

/// `data` cut in several ways: into single bytes, into short pieces, into long ones, and once in two. Where a long input is cut into
/// single bytes depends on its bytes, so that inputs that differ a little are cut at all places.
pub fn cuts(data: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut numbers = Numbers::of(data);
    let middle = numbers.below(data.len() + 1);
    let start = numbers.below(data.len().saturating_sub(SINGLE) + 1);
    let (before, rest) = data.split_at(start);
    let (window, after) = rest.split_at(rest.len().min(SINGLE));
    let mut single = pieces(before, 1500, &mut numbers);
    single.extend(window.chunks(1));
    single.extend(pieces(after, 1500, &mut numbers));
    vec![
        single,
        pieces(data, 24.max(data.len() / 128), &mut numbers),
        pieces(data, 1500, &mut numbers),
        vec![&data[..middle], &data[middle..]],
    ]
}

/// Pieces of 1 to `longest` bytes.
fn pieces<'a>(mut data: &'a [u8], longest: usize, numbers: &mut Numbers) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !data.is_empty() {
        let (piece, rest) = data.split_at((1 + numbers.below(longest)).min(data.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// A reader that gives the bytes of its chunks, never of two at once.
#[derive(Debug)]
pub struct ChunkReader<'a>(std::collections::VecDeque<&'a [u8]>);

impl<'a> ChunkReader<'a> {
    /// Of these chunks.
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
