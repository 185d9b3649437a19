//! Sidelight's benches.
