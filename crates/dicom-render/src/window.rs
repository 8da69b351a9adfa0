//! VOI windows, which map values to levels from black to white (PS3.3 C.11.2.1.2, C.11.2.1.3). This module does not know about
//! lookup tables.

use super::number::parse_decimal;

/// VOI LUT Function (0028,1056).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WindowFunction {
    /// LINEAR: from the center of the first value to the center of the last value.
    #[default]
    Linear,
    /// LINEAR_EXACT: from edge to edge of the window.
    LinearExact,
    /// SIGMOID: a sigmoid that never reaches black or white.
    Sigmoid,
}

impl WindowFunction {
    /// Parses the value of VOI LUT Function; LINEAR by default.
    pub(super) fn from_attribute(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("LINEAR") => Some(Self::Linear),
            Some("LINEAR_EXACT") => Some(Self::LinearExact),
            Some("SIGMOID") => Some(Self::Sigmoid),
            Some(_) => None,
        }
    }

    /// Parses the function of the `window` parameter (PS3.18 8.3.5.1.4).
    fn from_parameter(text: &str) -> Option<Self> {
        match text {
            "linear" => Some(Self::Linear),
            "linear-exact" => Some(Self::LinearExact),
            "sigmoid" => Some(Self::Sigmoid),
            _ => None,
        }
    }
}

/// A VOI window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    center: f64,
    width: f64,
    function: WindowFunction,
}

impl Window {
    /// Creates a window; `None` if it is invalid. The width is at least 1 for LINEAR, and greater than 0 for the other
    /// functions.
    pub fn new(center: f64, width: f64, function: WindowFunction) -> Option<Self> {
        let is_valid = if function == WindowFunction::Linear { width >= 1.0 } else { width > 0.0 };
        (center.is_finite() && width.is_finite() && is_valid).then_some(Self { center, width, function })
    }

    /// Parses `center,width,function` (PS3.18 8.3.5.1.4).
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(',').collect();
        let [center, width, function] = *parts.as_slice() else { return None };
        Self::new(parse_decimal(center)?, parse_decimal(width)?, WindowFunction::from_parameter(function)?)
    }

    /// Returns the level of `number` from 0 (black) to 1 (white).
    pub(super) fn level(&self, number: f64) -> f64 {
        let Self { center, width, function } = *self;
        match function {
            WindowFunction::Linear if width <= 1.0 => f64::from(number > center - 0.5),
            WindowFunction::Linear => ((number - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
            WindowFunction::LinearExact => ((number - center) / width + 0.5).clamp(0.0, 1.0),
            WindowFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (number - center) / width).exp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(function: WindowFunction, center: f64, width: f64, numbers: &[f64]) -> Vec<f64> {
        let window = Window::new(center, width, function).unwrap();
        numbers.iter().map(|number| (window.level(*number) * 255.0 * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn linear_window_ends_half_a_value_inside_its_edges() {
        // PS3.3 C.11.2.1.2.1: center 2048 and width 4096 are the full range of 12 bits.
        assert_eq!(
            levels(WindowFunction::Linear, 2048.0, 4096.0, &[-1.0, 0.0, 4095.0, 4096.0]),
            [0.0, 0.0, 255.0, 255.0]
        );
        // Center 2048 with width 1 is a threshold.
        assert_eq!(levels(WindowFunction::Linear, 2048.0, 1.0, &[2047.0, 2048.0]), [0.0, 255.0]);
        // The third example of the note: center 0, width 100 is black up to -50 and white above 49.
        assert_eq!(
            levels(WindowFunction::Linear, 0.0, 100.0, &[-50.0, -49.0, 49.0, 50.0]),
            [0.0, 2.575_758, 255.0, 255.0]
        );
    }

    #[test]
    fn exact_window_ends_at_its_edges() {
        assert_eq!(
            levels(WindowFunction::LinearExact, 127.5, 255.0, &[-1.0, 0.0, 100.0, 255.0, 256.0]),
            [0.0, 0.0, 100.0, 255.0, 255.0]
        );
        assert_eq!(levels(WindowFunction::LinearExact, 0.0, 0.5, &[-0.25, 0.0, 0.25]), [0.0, 127.5, 255.0]);
    }

    #[test]
    fn sigmoid_window_is_gray_at_its_center_and_symmetric() {
        assert_eq!(levels(WindowFunction::Sigmoid, 40.0, 400.0, &[40.0]), [127.5]);
        let [lower_level, upper_level] = levels(WindowFunction::Sigmoid, 40.0, 400.0, &[-160.0, 240.0])[..]
        else {
            panic!()
        };
        // 255 / (1 + e^2) and 255 / (1 + e^-2).
        assert_eq!((lower_level, upper_level), (30.396_745, 224.603_255));
    }

    #[test]
    fn invalid_window_is_rejected() {
        for text in [
            "1,0,linear",
            "1,0.5,linear",
            "1,0,sigmoid",
            "1,-1,linear-exact",
            "1,1,cubic",
            "1,1",
            "a,1,linear",
            "+1,1,linear",
            "1,infinity,linear",
        ] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
        assert_eq!(Window::parse("40,400,linear"), Window::new(40.0, 400.0, WindowFunction::Linear));
    }
}
