//! What is told of a defect: where it is. Never the message of the panic, which can quote what was being worked on.

/// Has panics told in the log, by their place alone.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "the gateway has a defect; please report its place");
    }));
}
