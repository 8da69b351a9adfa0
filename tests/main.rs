//! Integration tests: one binary, HTTP against the real gateway.
