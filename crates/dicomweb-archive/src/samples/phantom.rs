//! Computes phantom images for each modality. This module uses only integers, basic floating-point arithmetic and square roots, so
//! that every machine computes the same bytes. This module does not know about DICOM objects.

use super::declaration::{AttributeValue, Kind, SeriesDeclaration};

/// A function that returns the brightness, from 0.0 to 1.0, at a point from -1.0 to 1.0 in both directions. `relative_position` is
/// the position in the series, from 0.0 to 1.0.
type Phantom = fn(x: f64, y: f64, relative_position: f64) -> f64;

/// Computes one frame of a series with 8 bits per pixel. `relative_position` is the position of the slice or frame, from 0.0
/// to 1.0.
pub(super) fn render(series: &SeriesDeclaration, relative_position: f64) -> Vec<u8> {
    let part = if let AttributeValue::Present(part) = series.body_part { part } else { "" };
    let phantom: Phantom = match (series.kind, part) {
        (Kind::Us | Kind::UsMultiFrame, _) => ultrasound_sector,
        (Kind::Mg, _) => breast,
        (Kind::Xa, _) => vessels,
        (Kind::Pt, _) => hot_spots,
        (_, "HEAD" | "BRAIN" | "SKULL") => head,
        (_, "KNEE" | "HAND" | "ANKLE" | "EXTREMITY") => bones,
        (Kind::Cr | Kind::Dx, _) => chest,
        _ => thorax,
    };
    render_phantom(phantom, series.size, relative_position, series.laterality == AttributeValue::Present("R"))
}

fn render_phantom(phantom: Phantom, size: u16, relative_position: f64, is_mirrored: bool) -> Vec<u8> {
    let coordinate = |index: u16| f64::from(2 * index + 1) / f64::from(size) - 1.0;
    let mut pixels = Vec::with_capacity(usize::from(size) * usize::from(size));
    for y in 0..size {
        for x in 0..size {
            let horizontal = if is_mirrored { -coordinate(x) } else { coordinate(x) };
            let brightness =
                phantom(horizontal, coordinate(y), relative_position) + noise(x, y, relative_position);
            pixels.push(to_byte(brightness));
        }
    }
    pixels
}

/// Computes the mask of the lungs, one bit per pixel, lowest bit first (PS3.5 8.2).
pub(super) fn lung_mask(size: u16, relative_position: f64) -> Vec<u8> {
    let pixels = render_phantom(lungs, size, relative_position, false);
    pixels
        .chunks(8)
        .map(|bits_of_byte| {
            bits_of_byte.iter().rev().fold(0, |bits, pixel| bits << 1 | u8::from(*pixel > 127))
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of a byte")]
fn to_byte(brightness: f64) -> u8 {
    (brightness.clamp(0.0, 1.0) * 255.0) as u8
}

/// Returns noise that depends only on the position.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions are between 0 and 1")]
fn noise(x: u16, y: u16, relative_position: f64) -> f64 {
    let mut hash = u32::from(x) << 16 | u32::from(y) ^ ((relative_position * 1000.0) as u32) << 7;
    hash = (hash ^ hash >> 15).wrapping_mul(0x2C1B_3C6D);
    hash = (hash ^ hash >> 12).wrapping_mul(0x297A_2D39);
    f64::from(hash >> 24) / 255.0 * 0.04
}

/// Whether a point is inside an ellipse.
fn is_inside(x: f64, y: f64, (cx, cy): (f64, f64), (rx, ry): (f64, f64)) -> bool {
    let (dx, dy) = ((x - cx) / rx, (y - cy) / ry);
    dx * dx + dy * dy < 1.0
}

fn distance(x: f64, y: f64, cx: f64, cy: f64) -> f64 {
    ((x - cx) * (x - cx) + (y - cy) * (y - cy)).sqrt()
}

/// Returns the relative width of a slice, which decreases towards both ends of the series.
fn relative_width(relative_position: f64) -> f64 {
    let from_middle = 2.0 * relative_position - 1.0;
    (1.0 - 0.45 * from_middle * from_middle).max(0.1)
}

fn thorax(x: f64, y: f64, relative_position: f64) -> f64 {
    let width = relative_width(relative_position);
    if !is_inside(x, y, (0.0, 0.0), (0.9, 0.65)) {
        return 0.0;
    }
    if is_inside(x, y, (0.0, 0.38), (0.12, 0.13)) {
        return 0.95;
    }
    if is_inside(x, y, (-0.25, -0.42 + 0.5 * relative_position), (0.05, 0.05)) {
        return 0.7;
    }
    if lungs(x, y, relative_position) > 0.5 {
        return 0.08;
    }
    if is_inside(x, y, (0.08, -0.05), (0.24 * width, 0.28 * width)) { 0.62 } else { 0.5 }
}

fn lungs(x: f64, y: f64, relative_position: f64) -> f64 {
    let width = relative_width(relative_position);
    let is_in_lung = |side: f64| is_inside(x, y, (side * 0.47, -0.02), (0.3 * width, 0.45 * width));
    f64::from(u8::from(is_in_lung(1.0) || is_in_lung(-1.0)))
}

fn head(x: f64, y: f64, relative_position: f64) -> f64 {
    let width = relative_width(relative_position);
    if !is_inside(x, y, (0.0, 0.0), (0.72 * width, 0.88 * width)) {
        return 0.0;
    }
    if !is_inside(x, y, (0.0, 0.0), (0.66 * width, 0.82 * width)) {
        return 0.9;
    }
    if is_inside(x, y, (-0.13, -0.05), (0.09, 0.25 * width))
        || is_inside(x, y, (0.13, -0.05), (0.09, 0.25 * width))
    {
        return 0.12;
    }
    if x.abs() < 0.012 { 0.2 } else { 0.45 + 0.12 * (1.0 - distance(x, y, 0.0, 0.0)) }
}

/// Returns an ultrasound sector with a valve that opens and closes.
fn ultrasound_sector(x: f64, y: f64, relative_position: f64) -> f64 {
    let (depth, down) = (distance(x, y, 0.0, -1.0), y + 1.0);
    if depth > 1.85 || x.abs() > 0.75 * down {
        return 0.0;
    }
    let swing = 0.25 * (4.0 * (relative_position - 0.5) * (relative_position - 0.5));
    if is_inside(x, y, (0.0, 0.1), (0.35, 0.4)) {
        let is_leaflet = (y - 0.1 - swing * x.abs() * 2.0).abs() < 0.03;
        return if is_leaflet { 0.95 } else { 0.05 };
    }
    0.55 - 0.2 * depth
}

fn chest(x: f64, y: f64, _: f64) -> f64 {
    let is_lung = is_inside(x, y, (-0.4, 0.0), (0.32, 0.7)) || is_inside(x, y, (0.42, -0.05), (0.3, 0.65));
    let is_rib = ((y + 0.35 * x * x) * 6.0).rem_euclid(1.0) < 0.22;
    let is_spine = x.abs() < 0.08;
    let is_heart = is_inside(x, y, (0.15, 0.35), (0.33, 0.3));
    let tissue = if is_lung && !is_heart { 0.2 } else { 0.65 };
    let bone = if is_spine || (is_rib && x.abs() < 0.8) { 0.2 } else { 0.0 };
    tissue + bone
}

fn bones(x: f64, y: f64, _: f64) -> f64 {
    let is_shaft = |center: f64, half_width: f64| (x - center).abs() < half_width;
    let is_upper_bone = y < -0.02 && (is_shaft(0.0, 0.22) || is_inside(x, y, (0.0, -0.15), (0.42, 0.16)));
    let is_lower_bone = y > 0.04
        && (is_shaft(-0.05, 0.18) || is_shaft(0.33, 0.06) || is_inside(x, y, (0.0, 0.15), (0.4, 0.12)));
    let is_flesh = x.abs() < 0.65;
    match (is_upper_bone || is_lower_bone, is_flesh) {
        (true, _) => 0.85,
        (false, true) => 0.35,
        _ => 0.03,
    }
}

fn breast(x: f64, y: f64, _: f64) -> f64 {
    if !is_inside(x, y, (-1.0, 0.0), (1.35, 0.85)) {
        return 0.0;
    }
    let is_strand = ((x * 3.0 + y * y * 4.0) * 2.5).rem_euclid(1.0) < 0.25;
    let is_calcification = is_inside(x, y, (-0.35, -0.2), (0.05, 0.05));
    match (is_calcification, is_strand) {
        (true, _) => 1.0,
        (false, true) => 0.6,
        _ => 0.38,
    }
}

/// Returns a branching vessel that fills with contrast agent.
fn vessels(x: f64, y: f64, relative_position: f64) -> f64 {
    let is_filled = y < 2.2 * relative_position - 1.0;
    let is_trunk = (x - 0.25 * y * y).abs() < 0.07 - 0.02 * y;
    let is_branch = y > -0.3 && (x + 0.5 * (y + 0.3)).abs() < 0.045;
    if is_filled && (is_trunk || is_branch) { 0.12 } else { 0.72 - 0.1 * distance(x, y, 0.0, 0.0) }
}

fn hot_spots(x: f64, y: f64, relative_position: f64) -> f64 {
    let spot = |cx: f64, cy: f64, width: f64| {
        let relative_distance = distance(x, y, cx, cy) / width;
        1.0 / (1.0 + relative_distance * relative_distance * relative_distance * relative_distance)
    };
    let body = if is_inside(x, y, (0.0, 0.0), (0.8, 0.6)) { 0.08 } else { 0.0 };
    body + 0.9 * spot(-0.3, -0.1, 0.12 * relative_width(relative_position))
        + 0.5 * spot(0.35, 0.15, 0.18)
        + 0.3 * spot(0.0, 0.4, 0.1)
}
