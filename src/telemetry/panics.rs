//! Logs panics: only their location, never their message, which may quote the data being processed.

/// Logs panics of the whole program, by their location alone.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(location, "the gateway panicked; please report this location");
    }));
}
