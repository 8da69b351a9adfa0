//! Frames written as numbers (PS3.5 8.1.1).

use super::Samples;
use crate::object::Order;
use crate::pixels::{ImagePixelModule, Photometric};

/// The samples of `bytes`, the first of them `bit` bits into the first byte.
pub(super) fn decode(bytes: &[u8], bit: u32, order: Order, layout: &ImagePixelModule) -> Samples {
    let (bit, values) = (bit as usize, stored_values(layout));
    let is_little = order == Order::Little;
    let samples: Vec<u16> = match layout.bits_allocated {
        1 => (bit..bit + values).map(|at| u16::from(byte_at(bytes, at / 8, order) >> (at % 8) & 1)).collect(),
        8 => (bit / 8..bit / 8 + values).map(|at| u16::from(byte_at(bytes, at, order))).collect(),
        16 => {
            let word = |pair: &[u8]| {
                let pair = [pair[0], pair[1]];
                if is_little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
            };
            bytes.chunks_exact(2).map(word).collect()
        }
        _ => {
            let long = |four: &[u8]| {
                let four = [four[0], four[1], four[2], four[3]];
                if is_little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }
            };
            let longs: Vec<u32> = bytes.chunks_exact(4).map(long).collect();
            return Samples::U32(if layout.planar { interleaved(&longs, layout) } else { longs });
        }
    };
    Samples::Words(match layout.photometric {
        Photometric::YbrFull422 => with_colour_for_each(&samples),
        _ if layout.planar => interleaved(&samples, layout),
        _ => samples,
    })
}

/// How many of the samples stand there: two pixels of `YBR_FULL_422` share the colour of one.
fn stored_values(layout: &ImagePixelModule) -> usize {
    if layout.photometric == Photometric::YbrFull422 { layout.pixels() * 2 } else { layout.values() }
}

fn byte_at(bytes: &[u8], at: usize, order: Order) -> u8 {
    let turned = if order == Order::BigWords { at ^ 1 } else { at };
    // The stretch holds all of the frame.
    bytes.get(turned).copied().unwrap_or_default()
}

/// The samples of each pixel together, which stood plane by plane.
pub(super) fn interleaved<T: Copy>(planes: &[T], layout: &ImagePixelModule) -> Vec<T> {
    let pixels = layout.pixels();
    (0..layout.values()).map(|at| planes[at % layout.samples * pixels + at / layout.samples]).collect()
}

/// Y Y Cb Cr of two pixels as Y Cb Cr of each (PS3.3 C.7.6.3.1.2).
fn with_colour_for_each(shared: &[u16]) -> Vec<u16> {
    shared.chunks_exact(4).flat_map(|four| [four[0], four[2], four[3], four[1], four[2], four[3]]).collect()
}
