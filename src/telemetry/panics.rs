//! Logs panics with their location, but without their message, which may contain data of patients.

/// Sets a panic hook that logs the location of every panic in the program.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(location, "the gateway panicked; please report this location");
    }));
}
