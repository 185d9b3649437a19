//! Tests of the MySQL parser.

mod answers;
mod detection;
mod frames;
mod losses;
mod recorded;
mod script;
mod statements;
