//! Log lines on standard error.
//!
//! In: the values of `SIDELIGHT_LOG` or `RUST_LOG` (`info`, `debug`, `sidelight=trace`, ...). Out: a global subscriber.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Without a setting: what an operator must know, and of libraries only what is wrong.
const DEFAULT: &str = "warn,sidelight=info";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter does not parse.
    #[error("SIDELIGHT_LOG is {value:?}; expected a level (error, warn, info, debug, trace) or module=level pairs")]
    Filter {
        /// As found.
        value: String,
        /// Where.
        source: ParseError,
    },
}

/// Installs the subscriber, once per process: later calls (tests) leave the first one in place.
///
/// # Errors
/// When the filter does not parse.
pub fn init(filter: Option<&str>) -> Result<(), LoggingError> {
    let value = filter.filter(|text| !text.is_empty()).unwrap_or(DEFAULT);
    let filter =
        EnvFilter::try_new(value).map_err(|source| LoggingError::Filter { value: value.to_owned(), source })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .finish();
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_refused_with_its_text_and_what_was_expected() {
        let error = init(Some("sidelight=loud")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "SIDELIGHT_LOG is \"sidelight=loud\"; expected a level (error, warn, info, debug, trace) or module=level pairs"
        );
    }
}
