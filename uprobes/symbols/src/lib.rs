//! ELF symbols and instruction decoding.
