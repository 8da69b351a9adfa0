//! Windows: which numbers are black, which are white, and what lies between (PS3.3 C.11.2.1.2, C.11.2.1.3).

/// VOI LUT Function (0028,1056).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WindowFunction {
    /// Between the centres of the first and the last number.
    #[default]
    Linear,
    /// Between the edges.
    LinearExact,
    /// An S, which never quite reaches black or white.
    Sigmoid,
}

impl WindowFunction {
    /// As DICOM writes it; as the standard has it where nothing is written.
    pub(super) fn of_attribute(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("LINEAR") => Some(Self::Linear),
            Some("LINEAR_EXACT") => Some(Self::LinearExact),
            Some("SIGMOID") => Some(Self::Sigmoid),
            Some(_) => None,
        }
    }

    /// As PS3.18 8.3.5.1.4 writes it.
    fn of_parameter(text: &str) -> Option<Self> {
        match text {
            "linear" => Some(Self::Linear),
            "linear-exact" => Some(Self::LinearExact),
            "sigmoid" => Some(Self::Sigmoid),
            _ => None,
        }
    }
}

/// A window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    center: f64,
    width: f64,
    function: WindowFunction,
}

impl Window {
    /// A window that is one: a linear one is 1 wide at least, the others wider than 0.
    pub fn new(center: f64, width: f64, function: WindowFunction) -> Option<Self> {
        let is_wide = if function == WindowFunction::Linear { width >= 1.0 } else { width > 0.0 };
        (center.is_finite() && width.is_finite() && is_wide).then_some(Self { center, width, function })
    }

    /// Reads `center,width,function` (PS3.18 8.3.5.1.4).
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(',').collect();
        let [center, width, function] = *parts.as_slice() else { return None };
        Self::new(center.parse().ok()?, width.parse().ok()?, WindowFunction::of_parameter(function)?)
    }

    /// Where `number` lies between black, 0, and white, 1.
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
    fn a_linear_window_has_its_ends_half_a_number_within() {
        // PS3.3 C.11.2.1.2.1: center 2048 and width 4096 are the whole of 12 bits.
        assert_eq!(
            levels(WindowFunction::Linear, 2048.0, 4096.0, &[-1.0, 0.0, 4095.0, 4096.0]),
            [0.0, 0.0, 255.0, 255.0]
        );
        // And center 2048 with width 1 is a threshold.
        assert_eq!(levels(WindowFunction::Linear, 2048.0, 1.0, &[2047.0, 2048.0]), [0.0, 255.0]);
        // The note's third: center 0, width 100 has black up to -50 and white above 49.
        assert_eq!(
            levels(WindowFunction::Linear, 0.0, 100.0, &[-50.0, -49.0, 49.0, 50.0]),
            [0.0, 2.575_758, 255.0, 255.0]
        );
    }

    #[test]
    fn an_exact_window_has_its_ends_at_its_edges() {
        assert_eq!(
            levels(WindowFunction::LinearExact, 127.5, 255.0, &[-1.0, 0.0, 100.0, 255.0, 256.0]),
            [0.0, 0.0, 100.0, 255.0, 255.0]
        );
        assert_eq!(levels(WindowFunction::LinearExact, 0.0, 0.5, &[-0.25, 0.0, 0.25]), [0.0, 127.5, 255.0]);
    }

    #[test]
    fn a_sigmoid_window_is_grey_at_its_center_and_even_around_it() {
        assert_eq!(levels(WindowFunction::Sigmoid, 40.0, 400.0, &[40.0]), [127.5]);
        let [below, above] = levels(WindowFunction::Sigmoid, 40.0, 400.0, &[-160.0, 240.0])[..] else {
            panic!()
        };
        // 255 / (1 + e^2) and 255 / (1 + e^-2).
        assert_eq!((below, above), (30.396_745, 224.603_255));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "1,0,linear",
            "1,0.5,linear",
            "1,0,sigmoid",
            "1,-1,linear-exact",
            "1,1,cubic",
            "1,1",
            "a,1,linear",
        ] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
        assert_eq!(Window::parse("40,400,linear"), Window::new(40.0, 400.0, WindowFunction::Linear));
    }
}
