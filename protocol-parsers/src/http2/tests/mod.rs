//! Tests of the HTTP/2 parser.

mod detection;
mod properties;
mod rules;
mod script;
mod talk;
