//! Tests of the HTTP/2 parser.

mod properties;
mod rules;
mod script;
mod talk;
