//! Scripts and properties over the toy protocol.

mod memory;
mod properties;
mod rig;
mod scripts;
mod toy;
