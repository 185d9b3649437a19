//! Recorded sessions, rules, and what must hold for all traffic.

mod rules;
mod score;
mod script;
mod sessions;
