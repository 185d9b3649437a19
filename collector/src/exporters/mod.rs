//! Where telemetry leaves the process: encoders, which give bytes, and what sends them.

pub mod console;
pub mod encode;
pub mod json;
